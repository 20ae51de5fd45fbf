"""``python -m experiments.table1.plan``: print the command of each training, and write the steps of each."""

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from experiments.shared.command import command
from experiments.shared.trainings import FOLDS, SPLITS, Rate, of_phantom, read_rates, training
from experiments.table1.systems import SYSTEMS, Stage, System
from experiments.train_speed.measure import NETWORKS
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.ownership import table_file
from lits_seg.common.settings import Place
from lits_seg.common.tables import csv_text
from lits_seg.runs.folder import BEST

BATCH = 8  # crops in a step: with a budget so small, more steps teach more than larger ones
Regime = Literal["steps", "minutes"]


@dataclass(frozen=True)
class Settings:
    """The settings in ``plan.yaml``."""

    rates: Place
    output: Place
    lits: Place | None
    healthy: Place | None
    phantom: Place
    runs: Place
    systems: list[str] | None
    regimes: list[Regime]
    steps: Annotated[int, Ge(10), Le(1_000_000)]
    minutes: Annotated[float, Gt(0), Le(100_000)]
    light: Annotated[int, Ge(0), Le(10**12)]


@command("table1/plan", Settings, {"plan.csv": table_file("system,stage,")})
def main(cfg: Settings) -> None:
    """Print the commands, and write ``plan.csv``."""
    rates = read_rates(Path(cfg.rates))
    systems = _chosen(cfg.systems)
    for name, system in systems.items():
        for line in commands(cfg, name, system, rates):
            print(line)
    rows = [row for name, system in systems.items() for row in steps_of(cfg, name, system, rates)]
    Path(cfg.output).mkdir(parents=True, exist_ok=True)
    write_text(Path(cfg.output) / "plan.csv", csv_text(rows, ("system", "stage", "network", "steps", "minutes")))


def steps_of(cfg: Settings, name: str, system: System, rates: Mapping[str, Rate]) -> list[dict[str, Any]]:
    """Return the steps of each stage in both regimes; those by minutes are empty if a rate was not measured.

    Args:
        cfg: settings of the command.
        name: name of the system.
        system: the system.
        rates: measured rates by network.
    """
    return [
        {
            "system": name,
            "stage": stage.name or "last",
            "network": stage.network,
            "steps": max(1, cfg.steps // len(system.stages)),
            "minutes": _in_minutes(cfg, system, stage, rates),
        }
        for stage in system.stages
    ]


def commands(cfg: Settings, name: str, system: System, rates: Mapping[str, Rate]) -> Iterator[str]:
    """Yield the commands of a system: for each regime, data set and fold, its stages in order.

    Args:
        cfg: settings of the command.
        name: name of the system.
        system: the system.
        rates: measured rates by network.
    """
    trained = SYSTEMS[system.after] if system.after else system
    if system.missing:
        yield f"# {name}: {system.missing}"
        return
    unknown = sorted({stage.network for stage in trained.stages} - rates.keys())
    parameters = sum(rates[stage.network].parameters for stage in trained.stages) if not unknown else cfg.light
    for regime in cfg.regimes:
        if unknown and regime == "minutes":
            yield f"# {name}: not in equal minutes, since {cfg.rates} lacks {', '.join(unknown)}"
            continue
        steps = [row[regime] for row in steps_of(cfg, name, trained, rates)]
        for data, fold, overrides in _patients(cfg, range(FOLDS) if parameters < cfg.light else range(1)):
            if system.after:
                yield _evaluation(cfg, f"{regime}_{data}", name, system, fold)
            else:
                yield from _stages(cfg, f"{regime}_{data}_{name}", system, steps, fold, overrides)


def _chosen(names: list[str] | None) -> dict[str, System]:
    for name in names or ():
        if name not in SYSTEMS:
            raise InputError("systems", f"some of {', '.join(SYSTEMS)}", name)
    return {name: SYSTEMS[name] for name in names or SYSTEMS}


def _in_minutes(cfg: Settings, system: System, stage: Stage, rates: Mapping[str, Rate]) -> int | str:
    """Return the steps of a stage in its part of the minutes, which all stages share alike."""
    if stage.network not in rates:
        return ""
    return rates[stage.network].steps(cfg.minutes / len(system.stages) / stage.cost, BATCH)


def _patients(cfg: Settings, folds: range) -> Iterator[tuple[str, int, list[str]]]:
    """Yield data sets, folds, and their overrides of ``train``."""
    for fold in folds if cfg.lits is not None else ():
        real = ["data=mix", f"data.root={cfg.lits}", f"data.sources.phantom.root={cfg.phantom}"]
        if cfg.healthy is not None:
            root = str(cfg.healthy).replace("FOLD", str(fold))
            source = f"{{_target_: lits_seg.data.sources.Source, root: {root}, share: 0.15, lesions: absent}}"
            real.append(f"+data.sources.healthy={source}")
        yield "lits", fold, [*real, f"data.split={SPLITS}/{fold}.json"]
    yield "phantom", 0, of_phantom(cfg.phantom, 0)


def _stages(
    cfg: Settings, start: str, system: System, steps: list[int], fold: int, overrides: list[str]
) -> Iterator[str]:
    """Yield a command per stage; ``start`` begins the names of the runs."""
    before: list[str] = []
    for stage, count in zip(system.stages, steps, strict=True):
        run = f"{start}{'-' * bool(stage.name)}{stage.name}_f{fold}"
        settings = [*NETWORKS[stage.network], *stage.overrides, *overrides, *before, f"data.batch_size={BATCH}"]
        yield training(cfg.runs, run, settings, count)
        before = [f"liver_ckpt={Path(cfg.runs) / run / BEST}"]


def _evaluation(cfg: Settings, start: str, name: str, system: System, fold: int) -> str:
    ckpt = Path(cfg.runs) / f"{start}_{system.after}_f{fold}" / BEST
    output = Path(cfg.runs) / f"{start}_{name}_f{fold}"
    # The precision of the tests after trainings by experiment=common.
    return shlex.join(["lits-seg", "evaluate", f"ckpt={ckpt}", *system.rules, "precision=auto", f"output={output}"])


if __name__ == "__main__":
    main()
