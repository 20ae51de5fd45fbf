"""Splits by the names of patients: sets that publications use, and files."""

from collections.abc import Sequence
from pathlib import Path

from lits_seg.common.errors import InputError
from lits_seg.data.split_record import SplitRecord
from lits_seg.data.splits import PARTS, Split, in_random_order, with_validation
from lits_seg.data.stored_case import StoredCase

# The patients of 3D-IRCADb, whom LiTS contains under these numbers.
NAMED = {"ircadb": tuple(str(number) for number in range(28, 48))}

ALL = "all"


def named_split(split: str, cases: Sequence[StoredCase], val_share: float | None, seed: int) -> Split:
    """Select the patients for training, validation and test by their names.

    Args:
        split: a name in ``NAMED``, whose patients are tested; ``all``: everybody trains; or a JSON file with lists of
            names for ``train``, ``val`` and ``test``, of which ``val`` may be empty. Patients that the file does not
            name are not used.
        cases: the patients.
        val_share: see ``split_patients``; not used with a file.
        seed: seed of the choice of validation patients; not used with a file.

    Raises:
        InputError: if the split is unknown, the file is damaged, or patients are missing.
    """
    by_name = {case.name: case for case in cases}
    if split == ALL:
        return {"train": list(cases), "val": [], "test": []}
    if split in NAMED:
        test = [by_name[name] for name in NAMED[split] if name in by_name]
        rest = in_random_order([case for case in cases if case not in test], seed)
        if not test or len(rest) < 2:
            expected = f"patients of {split} ({NAMED[split][0]} to {NAMED[split][-1]}), and at least two others"
            raise InputError(f"data.split={split}", expected, f"{len(test)}, and {len(rest)} others")
        return with_validation(rest, test, val_share)
    if not Path(split).is_file():
        raise InputError("data.split", f"folds, {ALL}, {', '.join(NAMED)}, or a JSON file", split)
    record = SplitRecord.read(Path(split))
    record.require_each_once(one_set=True, where=split)
    if not record.train or not record.test:
        raise InputError(split, "at least one patient each for train and test", "none")
    missing = [name for name in record.names(*PARTS) if name not in by_name]
    if missing:
        raise InputError(split, "names of patients in data.root", f"others: {', '.join(missing)}")
    return {part: [by_name[name] for name in record.names(part)] for part in PARTS}
