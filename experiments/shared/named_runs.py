"""Find the runs of a plan by their names, ``REGIME_DATA_SYSTEM_fFOLD``, and the times of their networks."""

import csv
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.shared.networks import SHORT
from experiments.shared.patients import patient_cells, with_lesions
from lits_seg.common.errors import InputError
from lits_seg.common.records import read_record
from lits_seg.comparison.finished_runs import Run
from lits_seg.evaluation.score_tables import EVALUATION
from lits_seg.metrics.scores import CaseScores
from lits_seg.runs.folder import RESULT
from lits_seg.runs.result import NetworkUnderTest

NAME = re.compile(r"(?P<regime>[a-z]+)_(?P<data>lits|phantom)_(?P<system>[\w-]+)_f(?P<fold>\d+)")
TITLES = {
    "steps": "equal steps",
    "minutes": "equal minutes",
    "decoders": "decoders",
    "lits": "real patients",
    "phantom": "synthetic patients",
}


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


Key = tuple[str, str, str]  # regime, data and system, as in the name of a run
Folds = dict[int, tuple[Path, Tested]]  # by fold: the folder and its content
Groups = dict[tuple[str, str], dict[str, Folds]]  # by regime and data, by system


def find_runs(folder: Path, plan: str, planned: Collection[Key]) -> tuple[Groups, list[str]]:
    """Return the runs below a folder, and the names of those that do not belong to the plan.

    Args:
        folder: folder of the runs.
        plan: name of the program that names the runs.
        planned: regime, data and system of the plan's runs.

    Raises:
        InputError: if there is none, if a file is damaged, if two runs have the same name, or if a patient was tested
            in two folds.
    """
    groups: Groups = defaultdict(lambda: defaultdict(dict))
    others = []
    for path in sorted([*folder.rglob(RESULT), *folder.rglob(EVALUATION)]):
        name = NAME.fullmatch(path.parent.name)
        if name and (name["regime"], name["data"], name["system"]) in planned:
            tested = read_record(Tested, path, "a tested network")
            folds, fold = groups[name["regime"], name["data"]][name["system"]], int(name["fold"])
            if fold in folds:
                raise InputError(path.parent, "one run of this name", f"another in {folds[fold][0]}")
            folds[fold] = (path.parent, tested)
        else:
            others.append(path.parent.name)
    if not groups:
        raise InputError(folder, f"finished runs that are named as by python -m {plan}", ", ".join(others) or "none")
    for runs in groups.values():
        for folds in runs.values():
            names = [case.case for _, tested in folds.values() for case in tested.cases]
            if twice := sorted({name for name in names if names.count(name) > 1}):
                raise InputError(next(iter(folds.values()))[0], "each patient in one fold", ", ".join(twice))
    return groups, others


def lesions_of(folds: Folds) -> list[CaseScores]:
    """Return the tested patients of all folds that have lesions."""
    return with_lesions(case for _, (_, tested) in sorted(folds.items()) for case in tested.cases)


def patient_rows(groups: Groups) -> Iterator[dict[str, Any]]:
    """Yield a row per regime, data set, system and patient."""
    for (regime, data), systems in sorted(groups.items()):
        for name, folds in sorted(systems.items()):
            for fold, (_, tested) in sorted(folds.items()):
                for case in tested.cases:
                    yield {"regime": regime, "data": data, "system": name, "fold": fold, **patient_cells(case)}


def run_rows(runs: Sequence[Run]) -> Iterator[dict[str, Any]]:
    """Yield a row for each run: what was trained, for how long, and by which commit."""
    for run in runs:
        yield {
            "run": run.name,
            "seed": run.result.seed,
            "steps": run.result.steps,
            "train_seconds": round(run.result.train_seconds, 1),
            "device": run.result.device,
            "precision": run.result.precision,
            "lits_seg": run.versions.get("lits-seg"),
            "commit": run.versions.get("git_commit"),
            "changed": run.versions.get("git_dirty"),
            "torch": run.versions.get("torch"),
        }


def synthetic_cases(systems: Mapping[str, Folds], fold: int) -> dict[str, tuple[Path, Sequence[CaseScores]]]:
    """Return run folder and patients by system, for the runs of a fold whose patients are certainly synthetic.

    Args:
        systems: the runs of a group.
        fold: index of the test fold.
    """
    tested = {name: folds[fold] for name, folds in systems.items() if fold in folds}
    return {name: (folder, one.cases) for name, (folder, one) in tested.items() if one.synthetic}


def read_times(path: Path, engines: Collection[str]) -> dict[str, float]:
    """Return the milliseconds of a slice by network, with one thread, in the fastest of some engines.

    Networks are named as in ``train_speed``.

    Args:
        path: ``inference.csv`` of ``experiments.inference_speed``, or a table with the same columns.
        engines: names of engines.
    """
    times: dict[str, float] = {}
    try:
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                if row["engine"] in engines and row["threads"] == "1":
                    name, milliseconds = SHORT.get(row["network"], row["network"]), float(row["milliseconds_per_slice"])
                    times[name] = min(milliseconds, times.get(name, milliseconds))
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            path, "inference.csv of python -m experiments.inference_speed", type(error).__name__
        ) from error
    return times
