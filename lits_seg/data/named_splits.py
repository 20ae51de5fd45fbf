"""Splits by the names of patients: sets that publications use, and files, also those of nnU-Net."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lits_seg.common.errors import InputError
from lits_seg.common.records import from_plain, read_json
from lits_seg.data.split_record import NAME, SplitRecord
from lits_seg.data.splits import PARTS, Split, in_random_order, with_validation
from lits_seg.data.stored_case import StoredCase

# The patients of 3D-IRCADb, whom LiTS contains under these numbers.
NAMED = {"ircadb": tuple(str(number) for number in range(28, 48))}

ALL = "all"
EITHER = f"{NAME}, or nnU-Net's splits_final.json"  # what errors call the file


@dataclass(frozen=True)
class NnunetFold:
    """A fold of ``splits_final.json``. nnU-Net chooses no checkpoint by ``val``: in our words, these are the test."""

    train: list[str]
    val: list[str]


def named_split(
    split: str, cases: Sequence[StoredCase], val_share: float | None, seed: int, folds: int = 4, fold: int = 0
) -> Split:
    """Select the patients for training, validation and test by their names.

    Args:
        split: a name in ``NAMED``, whose patients are tested; ``all``: everybody trains; or a JSON file with lists of
            names for ``train``, ``val`` and ``test``, of which ``val`` may be empty; or nnU-Net's
            ``splits_final.json``, whose ``val`` is tested. Patients that a file does not name are not used.
        cases: the patients.
        val_share: see ``split_patients``; not used with a file that has validation patients.
        seed: seed of the choice of validation patients.
        folds: number of folds in nnU-Net's file, unless it has a single one.
        fold: index of the fold in nnU-Net's file.

    Raises:
        InputError: if the split is unknown, the file is damaged, or patients are missing.
    """
    by_name = {case.name: case for case in cases}
    record = named_patients(split, list(by_name), folds, fold)
    found = {part: [by_name[name] for name in record.names(part)] for part in PARTS}
    if split in NAMED:
        return with_validation(in_random_order(found["train"], seed), found["test"], val_share)
    if count_folds(split) is not None:  # drawn from the same order as by split_patients: equal folds have equal parts
        rest = [case for case in in_random_order(cases, seed) if case.name in record.train]
        return with_validation(rest, found["test"], val_share)
    return found


def named_patients(split: str, names: Sequence[str], folds: int, fold: int) -> SplitRecord:
    """Return the names of the patients of each part, before ``val_share`` takes validation patients from ``train``.

    Args:
        split: see ``named_split``, as all arguments but ``names``.
        names: names of the patients.
        folds: number of folds.
        fold: index of the fold.

    Raises:
        InputError: if the split is unknown, the file is damaged, or patients are missing.
    """
    if split == ALL:
        return SplitRecord(list(names), [], [])
    if split in NAMED:
        test = [name for name in NAMED[split] if name in names]
        rest = [name for name in names if name not in test]
        if not test or len(rest) < 2:
            expected = f"patients of {split} ({NAMED[split][0]} to {NAMED[split][-1]}), and at least two others"
            raise InputError(f"data.split={split}", expected, f"{len(test)}, and {len(rest)} others")
        return SplitRecord(rest, [], test)
    if not Path(split).is_file():
        expected = f"folds, {ALL}, {', '.join(NAMED)}, or a JSON file"
        raise InputError("data.split", expected, f"{split}, and there is no such file")
    record = read_split(split, fold, folds)
    record.require_each_once(one_set=True, where=split)
    if not record.train or not record.test:
        raise InputError(split, "at least one patient each for train and test", "none")
    missing = [name for name in record.names(*PARTS) if name not in names]
    if missing:
        raise InputError(split, "names of usable patients in data.root", f"others: {', '.join(missing)}")
    return record


def count_folds(split: str) -> int | None:
    """Return the number of folds in nnU-Net's file; None for all other splits, which have no folds."""
    plain = read_json(Path(split), EITHER) if Path(split).is_file() else None
    return len(plain) if isinstance(plain, list) else None


def read_split(path: str, fold: int, folds: int | None = None) -> SplitRecord:
    """Read a split from our file, which has no folds, or a fold from nnU-Net's.

    Args:
        path: the JSON file.
        fold: index of the fold in nnU-Net's file.
        folds: number of folds that nnU-Net's file must have, unless it has a single one; None: any number.

    Returns:
        The names of the patients; those of nnU-Net's ``val`` are in ``test``.

    Raises:
        InputError: if the file is damaged, or the fold is not in the file.
    """
    plain = read_json(Path(path), EITHER)
    if not isinstance(plain, list):
        return from_plain(SplitRecord, plain, path, EITHER)
    if not plain:
        raise InputError(path, "at least one fold", "none")
    if folds is not None and len(plain) not in (1, folds):
        raise InputError("data.folds", f"{len(plain)}, the folds in {path}", folds)
    if fold >= len(plain):
        raise InputError("data.fold" if folds else "fold", f"one of the {len(plain)} folds in {path}", fold)
    found = from_plain(NnunetFold, plain[fold], f"{path}, fold {fold}", "lists of names for train and val (nnU-Net)")
    return SplitRecord(train=found.train, val=[], test=found.val)
