"""``python -m experiments.answer.plan``: print the command of each training, and write steps and hours of each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le

from experiments.answer.rows import GROUPS, Group, Row
from experiments.shared.command import command
from experiments.shared.trainings import FOLDS, OWN, SPLITS, Rate, of_phantom, read_rates, training
from experiments.train_speed.measure import NETWORKS as OVERRIDES
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.ownership import table_file
from lits_seg.common.settings import Count, Place, Size
from lits_seg.common.tables import csv_text

COLUMNS = ("regime", "data", "system", "steps", "minutes")


@dataclass(frozen=True)
class Settings:
    """The settings in ``plan.yaml``."""

    rates: Place
    output: Place
    lits: Place | None
    phantom: Place | None
    phantom_size: Size
    runs: Place
    networks: list[str] | None
    regimes: list[Literal["steps", "minutes", "decoders"]]
    steps: Count
    minutes: Annotated[float, Gt(0), Le(100_000)]
    decoder_steps: Count
    folds: Annotated[int, Ge(1), Le(FOLDS)]
    overrides: list[str]


@dataclass(frozen=True)
class Planned:
    """A network's trainings of a group, one for each fold.

    Args:
        row: the network.
        steps: steps of each training.
        minutes: minutes of each training by the measured rate; None if the rate was not measured.
    """

    row: Row
    steps: int
    minutes: float | None


@command("answer/plan", Settings, {"plan.csv": table_file(",".join(COLUMNS))})
def main(cfg: Settings) -> None:
    """Print the commands, the cheapest network of a group first, and write ``plan.csv``."""
    _require_known(cfg)
    rates, table = read_rates(Path(cfg.rates)), []
    for group in GROUPS:
        if group.regime in cfg.regimes and _root(cfg, group) is not None:
            planned, missing = plan(cfg, group, rates)
            print("\n".join([heading(cfg, group, planned), *missing, *commands(cfg, group, planned)]))
            table += list(plan_rows(group, planned))
    Path(cfg.output).mkdir(parents=True, exist_ok=True)
    write_text(Path(cfg.output) / "plan.csv", csv_text(table, COLUMNS))


def plan(cfg: Settings, group: Group, rates: Mapping[str, Rate]) -> tuple[list[Planned], list[str]]:
    """Return the trainings of a group, the cheapest first, and a comment on each that lacks a rate.

    Args:
        cfg: settings of the command.
        group: the group.
        rates: measured rates by network.
    """
    planned, missing = [], []
    for row in group.rows:
        rate = rates.get(row.network)
        if cfg.networks is not None and row.name not in cfg.networks:
            continue
        if group.regime != "minutes":
            steps = cfg.steps if group.regime == "steps" else cfg.decoder_steps
            planned.append(Planned(row, steps, None if rate is None else rate.minutes(steps)))
        elif rate:
            planned.append(Planned(row, rate.steps(cfg.minutes), cfg.minutes))
        else:
            missing.append(f"# {row.network}: not in equal minutes, since {cfg.rates} lacks it")
    return sorted(planned, key=lambda one: float("inf") if one.minutes is None else one.minutes), missing


def heading(cfg: Settings, group: Group, planned: list[Planned]) -> str:
    """Return a comment with the group's number of trainings, and their hours by the measured rates.

    Args:
        cfg: settings of the command.
        group: the group.
        planned: its trainings.
    """
    folds = _folds(cfg, group)
    hours = sum(one.minutes or 0 for one in planned) * folds / 60
    unknown = ", ".join(one.row.network for one in planned if one.minutes is None)
    count = f"{len(planned) * folds} trainings, {hours:.1f} hours of one core"
    return f"# {group.title}: {count}" + (f", and those of {unknown}, whose rate was not measured" if unknown else "")


def commands(cfg: Settings, group: Group, planned: list[Planned]) -> Iterator[str]:
    """Yield the commands of a group.

    Args:
        cfg: settings of the command.
        group: the group.
        planned: its trainings.
    """
    for one in planned:
        for fold in range(_folds(cfg, group)):
            seed = [f"seed={one.row.seed}"] if one.row.seed else []
            own = OWN[one.row.network] if one.row.own else ()
            settings = [*OVERRIDES[one.row.network], *own, *_patients(cfg, group, fold), *seed, *cfg.overrides]
            run = f"{group.regime}_{group.data}_{one.row.system}_f{fold}"
            yield training(cfg.runs, run, settings, one.steps)


def plan_rows(group: Group, planned: list[Planned]) -> Iterator[dict[str, Any]]:
    """Yield the rows of ``plan.csv``: steps and minutes of each system.

    Args:
        group: the group.
        planned: its trainings.
    """
    for one in planned:
        minutes = "" if one.minutes is None else round(one.minutes, 1)
        yield dict(zip(COLUMNS, (*group.key(one.row), one.steps, minutes), strict=True))


def _patients(cfg: Settings, group: Group, fold: int) -> list[str]:
    """Return the overrides of ``train`` for the patients of a fold; no other patients train with them."""
    root = _root(cfg, group)
    if group.data == "phantom":
        return [*of_phantom(str(root), fold), f"data.preprocess.size={cfg.phantom_size}"]
    return ["data=lits", f"data.root={root}", f"data.split={SPLITS}/{fold}.json"]


def _folds(cfg: Settings, group: Group) -> int:
    return min(cfg.folds, group.folds)


def _root(cfg: Settings, group: Group) -> str | None:
    return cfg.phantom if group.data == "phantom" else cfg.lits


def _require_known(cfg: Settings) -> None:
    known = dict.fromkeys(row.name for group in GROUPS for row in group.rows)
    for name in cfg.networks or ():
        if name not in known:
            raise InputError("networks", f"some of {', '.join(known)}", name)
    if cfg.lits is None and cfg.phantom is None:
        raise InputError("lits, phantom", "at least one folder of patients", "null for both")


if __name__ == "__main__":
    main()
