"""Read what the plan requires of runs, and check whether they keep it."""

import csv
import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from experiments.shared.named_runs import Folds, Key
from experiments.shared.trainings import FOLDS, LARGEST, SPLITS
from lits_seg.common.errors import InputError
from lits_seg.common.records import read_json
from lits_seg.common.untrusted import read_text


@dataclass(frozen=True)
class Protocol:
    """Hold what the plan requires of the runs on real patients.

    Args:
        steps: steps of each training by regime, data and system.
        patients: names of all patients, each of whom is tested in one fold.
    """

    steps: Mapping[Key, int]
    patients: Collection[str]

    def kept(self, key: Key, folds: Folds | None) -> bool:
        """Return whether every fold was trained for the planned steps, and every patient tested.

        Args:
            key: regime, data and system.
            folds: the runs by fold; None if there is none.
        """
        if folds is None or len(folds) != FOLDS:
            return False
        tested = {case.case for _, one in folds.values() for case in one.cases}
        return tested == set(self.patients) and {one.steps for _, one in folds.values()} == {self.steps.get(key)}


def read_protocol(plan: Path) -> Protocol:
    """Read ``plan.csv`` of ``experiments.answer.plan``, and the test patients of the folds.

    Raises:
        InputError: if a file is missing or another table.
    """
    expected = "plan.csv of python -m experiments.answer.plan"
    try:
        rows = list(csv.DictReader(io.StringIO(read_text(plan, expected, LARGEST))))
        steps = {(row["regime"], row["data"], row["system"]): int(row["steps"]) for row in rows}
    except (KeyError, ValueError, TypeError, csv.Error) as error:
        raise InputError(plan, expected, f"{type(error).__name__}: {error}") from error
    files = [Path(__file__).parents[2] / SPLITS / f"{fold}.json" for fold in range(FOLDS)]
    return Protocol(steps, {name for file in files for name in read_json(file, "a split")["test"]})
