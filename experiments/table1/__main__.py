"""``python -m experiments.table1``: compare the systems of Table I and of the related work by their runs."""

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.shared.command import PUBLISHED, command, publish
from experiments.shared.named_runs import (
    TITLES,
    Folds,
    Groups,
    find_runs,
    lesions_of,
    patient_rows,
    read_times,
    run_rows,
    synthetic_cases,
)
from experiments.shared.patients import SAME_PERSON, SCORES, score_cells
from experiments.shared.picture import systems_picture
from experiments.table1.systems import BASE, SYSTEMS, Stage, System
from lits_seg import RESEARCH_USE
from lits_seg.common.files import write_text
from lits_seg.common.ownership import MARK, PICTURE, table_file
from lits_seg.common.settings import Place
from lits_seg.common.tables import DASH, csv_text, markdown, number
from lits_seg.comparison.finished_runs import Run, opened, read_run
from lits_seg.comparison.rows import version_table
from lits_seg.runs.folder import RESULT

STAGE = re.compile(r".+-(liver|lesion)_f\d+")
PAPER = "reported by the paper, LiTS test, other patients"
HEADER = ["system", "parameters", "GMAC", "ms", "steps", *SCORES, PAPER]
PLANNED = frozenset(itertools.product(("steps", "minutes"), ("lits", "phantom"), SYSTEMS))
ENGINES = ("ONNX Runtime",)  # of the times
OUTPUTS = {
    "table1.md": PUBLISHED,
    "patients.csv": table_file("regime,data,system,"),
    "runs.csv": table_file("run,seed,steps,train_seconds,"),
    "systems.png": PICTURE,
}


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    runs: Place
    speed: Place | None
    output: Place


@command("table1/settings", Settings, OUTPUTS)
def main(cfg: Settings) -> None:
    """Read the runs, print the tables, and write tables and picture into ``output``."""
    with opened(cfg.runs) as folder:
        groups, others = find_runs(folder, "experiments.table1.plan", PLANNED)
        _write(cfg, groups, others)


def row(name: str, system: System, systems: Mapping[str, Folds], times: Mapping[str, float]) -> list[str]:
    """Return the row of a system.

    Args:
        name: name of the system.
        system: the system.
        systems: the runs of all systems of the group.
        times: milliseconds of a slice by network.
    """
    folds = systems.get(name)
    if not folds:
        return [f"`{name}`", system.missing or "not run", *[DASH] * (len(HEADER) - 3), system.paper or DASH]
    one = next(iter(folds.values()))[1]
    base = lesions_of(systems[BASE]) if BASE in systems and name != BASE else None
    stages = (SYSTEMS[system.after] if system.after else system).stages
    # A system after another one adds rules, such as the CRF, whose time is not known.
    milliseconds = None if system.after else sum(times.get(_timed_as(stage), float("nan")) for stage in stages)
    steps = sorted({tested.steps for _, tested in folds.values() if tested.steps is not None})
    return [
        f"`{name}`",
        f"{one.parameters:,}",
        f"{one.macs / 1e9:.2f}",
        number(milliseconds, 1),
        ", ".join(f"{count:,}" for count in steps) or DASH,
        *score_cells(lesions_of(folds), base),
        system.paper or DASH,
    ]


def trainings_of(groups: Groups) -> list[Run]:
    """Return the trainings of last stages; evaluations by other rules are left out."""
    folders = [folder for systems in groups.values() for folds in systems.values() for folder, _ in folds.values()]
    return [read_run(folder, folder.name) for folder in sorted(folders) if (folder / RESULT).exists()]


def originals() -> str:
    """Return the table of what was reported, by whom."""
    rows = [[f"`{name}`", one.paper or DASH, one.original or DASH] for name, one in SYSTEMS.items()]
    known = [cells for cells in rows if cells[1:] != [DASH, DASH]]
    return markdown(["system", PAPER, "reported by its authors or a benchmark, Dice per case"], known)


def _write(cfg: Settings, groups: Groups, others: list[str]) -> None:
    unknown = [name for name in others if not STAGE.fullmatch(name)]
    notes = [f"Runs of no system: {', '.join(unknown)}."] if unknown else []
    times = {} if cfg.speed is None else read_times(Path(cfg.speed), ENGINES)
    parts = ["# Table I, run"]
    for (regime, data), systems in sorted(groups.items()):
        rows = [row(name, system, systems, times) for name, system in SYSTEMS.items()]
        parts += [f"## {TITLES[regime].capitalize()}, {TITLES[data]}", markdown(HEADER, rows)]
    runs = trainings_of(groups)
    versions = ["## Versions", markdown(*version_table(runs)), "Of each training: `runs.csv`."]
    parts += [EXPLANATION, "## What the originals reported", originals(), *versions, *notes, WRITTEN]
    publish("\n\n".join(parts) + "\n", Path(cfg.output) / "table1.md")
    write_text(Path(cfg.output) / "patients.csv", csv_text(list(patient_rows(groups))))
    write_text(Path(cfg.output) / "runs.csv", csv_text(list(run_rows(runs))))
    for key in (("minutes", "phantom"), ("steps", "phantom")):
        if figure := systems_picture(synthetic_cases(groups.get(key, {}), 0), TITLES[key[0]]):
            figure.savefig(Path(cfg.output) / "systems.png", dpi=110, metadata=MARK)
            return


def _timed_as(stage: Stage) -> str:
    """Return the network's name in ``inference.csv``, which has no detector."""
    return "detector" if "model=detector" in stage.overrides else stage.network


EXPLANATION = (
    f"Difference from `{BASE}`, the paper's network, patient by patient (in brackets: the patients of both). "
    f"Intervals: 95 %, bootstrap over patients. {SAME_PERSON} Means over other patients are not comparable. Patients "
    "without lesions are left out. A lesion is found if it touches a predicted lesion. All networks were trained from "
    "random weights by one recipe (`experiment=common`) for few steps; `vorontsov_own` has its authors' loss and "
    "optimizer. The originals were trained for days, some from "
    "ImageNet, so that these figures do not repeat theirs. "
    "Steps: of the last stage. ms: a slice of 256 px in ONNX Runtime, one thread, the sum of all stages; parameters "
    "and GMAC likewise. The GMAC of a detector are without its windows. `driu` was timed with one slice. The CRF was "
    "not tuned. The trainings ran in the precision of `runs.csv`."
)
WRITTEN = f"Written by `python -m experiments.table1`. {RESEARCH_USE}"


if __name__ == "__main__":
    main()
