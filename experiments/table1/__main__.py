"""``python -m experiments.table1``: compare the systems of Table I and of the related work by their runs."""

import csv
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.shared.command import PUBLISHED, command, publish
from experiments.shared.patients import SCORES, patient_cells, score_cells, with_lesions
from experiments.table1.picture import systems_picture
from experiments.table1.systems import BASE, SYSTEMS, Stage, System
from lits_seg import RESEARCH_USE
from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.common.ownership import MARK, PICTURE, table_file
from lits_seg.common.records import read_record
from lits_seg.common.settings import Place
from lits_seg.common.tables import DASH, csv_text, markdown, number
from lits_seg.evaluation.score_tables import EVALUATION
from lits_seg.metrics.scores import CaseScores
from lits_seg.runs.folder import RESULT
from lits_seg.runs.result import NetworkUnderTest

NAME = re.compile(r"(?P<regime>steps|minutes)_(?P<data>lits|phantom)_(?P<system>\w+)_f(?P<fold>\d+)")
STAGE = re.compile(r".+-(liver|lesion)_f\d+")
TITLES = {"steps": "equal steps", "minutes": "equal minutes", "lits": "real patients", "phantom": "synthetic patients"}
PAPER = "reported by the paper, LiTS test, other patients"
HEADER = ["system", "parameters", "GMAC", "ms", "steps", *SCORES, PAPER]
ENGINE = ("ONNX Runtime", "1")  # engine and threads of the times
SPEED_NAMES = {"dsc_unet": "dsc_unet/subpixel", "unet": "unet/deconv", "unet_bn": "unet_bn/deconv"}
OUTPUTS = {
    "table1.md": PUBLISHED,
    "patients.csv": table_file("regime,data,system,"),
    "systems.png": PICTURE,
}


@dataclass(frozen=True)
class Settings:
    """The settings in ``settings.yaml``."""

    runs: Place
    speed: Place | None
    output: Place


@dataclass(frozen=True, kw_only=True)
class Tested(NetworkUnderTest):
    """The part that ``result.json`` of a run and ``evaluation.json`` of a checkpoint share.

    Args:
        cases: scores of each patient.
        synthetic: whether the CTs are synthetic; None if unknown.
        steps: steps of the training; None in evaluations.
    """

    cases: tuple[CaseScores, ...]
    synthetic: bool | None
    steps: int | None = None


Folds = dict[int, tuple[Path, Tested]]  # by fold: the folder and its content
Groups = dict[tuple[str, str], dict[str, Folds]]  # by regime and data, by system


@command("table1/settings", Settings, OUTPUTS)
def main(cfg: Settings) -> None:
    """Read the runs, print the tables, and write tables and picture into ``output``."""
    groups, notes = find_runs(Path(cfg.runs))
    times = {} if cfg.speed is None else read_times(Path(cfg.speed))
    parts = ["# Table I, run"]
    for (regime, data), systems in sorted(groups.items()):
        rows = [row(name, system, systems, times) for name, system in SYSTEMS.items()]
        parts += [f"## {TITLES[regime].capitalize()}, {TITLES[data]}", markdown(HEADER, rows)]
    parts += [EXPLANATION, "## What the originals reported", originals(), *notes, WRITTEN]
    publish("\n\n".join(parts) + "\n", Path(cfg.output) / "table1.md")
    write_text(Path(cfg.output) / "patients.csv", csv_text(list(patient_rows(groups))))
    for key in (("minutes", "phantom"), ("steps", "phantom")):
        shown = {name: folds[0] for name, folds in groups.get(key, {}).items() if 0 in folds}
        tested = {name: (folder, one.cases) for name, (folder, one) in shown.items() if one.synthetic}
        if figure := systems_picture(tested):
            figure.savefig(Path(cfg.output) / "systems.png", dpi=110, metadata=MARK)
            return


def find_runs(folder: Path) -> tuple[Groups, list[str]]:
    """Return the runs below a folder, and a note on those that belong to no system.

    Args:
        folder: folder of the runs.

    Raises:
        InputError: if there is none, if a file is damaged, or if a patient was tested in two folds.
    """
    groups: Groups = defaultdict(lambda: defaultdict(dict))
    others = []
    for path in sorted([*folder.rglob(RESULT), *folder.rglob(EVALUATION)]):
        name = NAME.fullmatch(path.parent.name)
        if name and name["system"] in SYSTEMS:
            tested = read_record(Tested, path, "a tested network")
            groups[name["regime"], name["data"]][name["system"]][int(name["fold"])] = (path.parent, tested)
        elif not STAGE.fullmatch(path.parent.name):
            others.append(path.parent.name)
    if not groups:
        expected = "finished runs that are named as by python -m experiments.table1.plan"
        raise InputError(folder, expected, ", ".join(others) or "none")
    for systems in groups.values():
        for folds in systems.values():
            names = [case.case for _, tested in folds.values() for case in tested.cases]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise InputError(next(iter(folds.values()))[0], "each patient in one fold", ", ".join(twice))
    return groups, [f"Runs of no system: {', '.join(others)}."] if others else []


def read_times(path: Path) -> dict[str, float]:
    """Return the milliseconds of a slice by network, from ``inference.csv`` of ``experiments.inference_speed``."""
    try:
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if (row["engine"], row["threads"]) == ENGINE]
        return {row["network"]: float(row["milliseconds_per_slice"]) for row in rows}
    except (OSError, KeyError, ValueError) as error:
        expected = "inference.csv of python -m experiments.inference_speed (or speed=null)"
        raise InputError(path, expected, type(error).__name__) from error


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
    base = _lesions(systems[BASE]) if BASE in systems and name != BASE else None
    stages = (SYSTEMS[system.after] if system.after else system).stages
    milliseconds = sum(times.get(_timed_as(stage), float("nan")) for stage in stages)
    return [
        f"`{name}`",
        f"{one.parameters:,}",
        f"{one.macs / 1e9:.2f}",
        number(milliseconds, 1),
        DASH if one.steps is None else f"{one.steps:,}",
        *score_cells(_lesions(folds), base),
        system.paper or DASH,
    ]


def originals() -> str:
    """Return the table of what was reported, by whom."""
    rows = [[f"`{name}`", one.paper or DASH, one.original or DASH] for name, one in SYSTEMS.items()]
    known = [cells for cells in rows if cells[1:] != [DASH, DASH]]
    return markdown(["system", PAPER, "reported by its authors or a benchmark, Dice per case"], known)


def patient_rows(groups: Groups) -> Iterator[dict[str, Any]]:
    """Yield a row per regime, data set, system and patient."""
    for (regime, data), systems in sorted(groups.items()):
        for name, folds in sorted(systems.items()):
            for fold, (_, tested) in sorted(folds.items()):
                for case in tested.cases:
                    yield {"regime": regime, "data": data, "system": name, "fold": fold, **patient_cells(case)}


def _timed_as(stage: Stage) -> str:
    """Return the network's name in ``inference.csv``, which has no detector."""
    return "detector" if "model=detector" in stage.overrides else SPEED_NAMES.get(stage.network, stage.network)


def _lesions(folds: Folds) -> list[CaseScores]:
    return with_lesions(case for _, (_, tested) in sorted(folds.items()) for case in tested.cases)


EXPLANATION = (
    f"Difference from `{BASE}`, the paper's network, patient by patient (in brackets: the patients of both). "
    "Intervals: 95 %, bootstrap over patients. Patients without lesions are left out. A lesion is found if it touches "
    "a predicted lesion. All networks were trained from random weights by one recipe (`experiment=common`) for few "
    "steps. The originals were trained for days, some from ImageNet, so that these figures do not repeat theirs. "
    "Steps: of the last stage. ms: a slice of 256 px in ONNX Runtime, one thread, the sum of all stages; parameters "
    "and GMAC likewise. The GMAC of a detector are without its windows. The CRF was not tuned."
)
WRITTEN = f"Written by `python -m experiments.table1`. {RESEARCH_USE}"


if __name__ == "__main__":
    main()
