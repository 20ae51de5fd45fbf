"""Split patients into folds, so that all slices of a patient are in the same set."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lits_seg.common.errors import InputError
from lits_seg.data.fingerprints import Fingerprint
from lits_seg.data.layouts import Case, find_cases
from lits_seg.data.stored_case import StoredCase

Split = dict[str, list[StoredCase]]
PARTS = ("train", "val", "test")
RECORD = "split.json, the split of this run"


def split_patients(cases: Sequence[StoredCase], *, folds: int, fold: int, val_share: float | None, seed: int) -> Split:
    """Select the patients for training, validation and test.

    Every patient is in exactly one fold. Patients with and without lesions are distributed separately, so that all
    folds have a similar share of both.

    Args:
        cases: the patients.
        folds: number of folds.
        fold: index of the test fold.
        val_share: share of the other patients, at least one patient, for validation. With 0, the test patients are
            also used for validation, as in the paper ("the best results on the validation set"). Their scores are
            then optimistic, since they select the checkpoint. None: no validation; all other patients train.
        seed: seed of the shuffle.

    Returns:
        ``{"train": [...], "val": [...], "test": [...]}``.

    Raises:
        InputError: if the fold does not exist, or if there are too few patients.
    """
    if folds < 2:
        raise InputError("data.folds", "at least 2", folds)
    if not 0 <= fold < folds:
        raise InputError("data.fold", f"one of 0 to {folds - 1} (data.folds={folds})", fold)
    # Three patients in two folds would leave one patient to train and none to validate.
    needed = max(folds + 1, 4) if val_share else folds
    if len(cases) < needed:
        raise InputError("data.root", f"at least {needed} patients for {folds} folds", f"{len(cases)}")
    dealt = in_random_order(cases, seed)
    test = dealt[fold::folds]
    return with_validation([case for case in dealt if case not in test], test, val_share)


def in_random_order(cases: Sequence[StoredCase], seed: int) -> list[StoredCase]:
    """Return shuffled patients, those with lesions first.

    Args:
        cases: the patients.
        seed: seed of the shuffle.
    """
    order = np.random.default_rng(seed).permutation(len(cases))
    with_lesion = [cases[i] for i in order if any(cases[i].lesion_pixels)]
    without = [cases[i] for i in order if not any(cases[i].lesion_pixels)]
    return with_lesion + without


def with_validation(rest: Sequence[StoredCase], test: Sequence[StoredCase], val_share: float | None) -> Split:
    """Select validation patients among those that are not tested.

    Args:
        rest: the patients that are not tested, in the order of ``in_random_order``; at least two.
        test: the test patients.
        val_share: see ``split_patients``.

    Raises:
        InputError: if ``val_share`` is out of range.
    """
    if val_share is None:
        return {"train": list(rest), "val": [], "test": list(test)}
    if not 0 <= val_share < 1:
        raise InputError("data.val_share", "0 or more, less than 1, or null", val_share)
    if val_share == 0:
        return {"train": list(rest), "val": list(test), "test": list(test)}
    count = min(max(1, round(val_share * len(rest))), len(rest) - 1)
    # `rest` starts with the patients with lesions. Evenly spaced picks give validation the same mix, and at least one
    # patient with a lesion: without any lesion, Dice could not select a checkpoint.
    picked = {int(i * len(rest) / count) for i in range(count)}
    val = [case for i, case in enumerate(rest) if i in picked]
    return {"train": [case for i, case in enumerate(rest) if i not in picked], "val": val, "test": list(test)}


def split_record(split: Split) -> dict[str, Any]:
    """Return the content of ``split.json``: the names of the patients of each part, and hashes of their voxels."""
    names = {part: [case.name for case in cases] for part, cases in split.items()}
    voxels = {part: {case.name: str(case.fingerprint) for case in cases} for part, cases in split.items()}
    return {**names, "voxels": voxels}


def require_record(recorded: Mapping[str, Any], one_set: bool) -> None:
    """Require that a recorded split names the patients of each part, and no patient twice.

    Hashes of the voxels are optional. Validation and test may have the same patients, see ``val_share`` of
    ``split_patients``.

    Args:
        recorded: the content of ``split.json``.
        one_set: whether the test patients are from the same data set as the others.

    Raises:
        InputError: if a part is missing or of another type, or if a patient is named twice.
    """
    for part in PARTS:
        names = recorded.get(part) if isinstance(recorded, Mapping) else None
        if not isinstance(names, Sequence) or isinstance(names, str) or not all(isinstance(n, str) for n in names):
            raise InputError(RECORD, f"a list of names of patients for {part}", names)
        voxels = recorded.get("voxels", {}).get(part, {}) if isinstance(recorded.get("voxels", {}), Mapping) else None
        if not isinstance(voxels, Mapping) or not all(
            isinstance(t, str) and len(t.split()) > 1 for t in voxels.values()
        ):
            raise InputError(RECORD, f"hashes of voxels by name of the patient for {part}", voxels)
    train, val, test = (list(recorded[part]) for part in PARTS)
    named = train + val + (test if one_set and set(test) != set(val) else [])
    twice = {name for names in (named, test) for name in names if names.count(name) > 1}
    if twice:
        raise InputError(RECORD, "every patient once", f"more than once: {', '.join(sorted(twice))}")


def recorded_cases(root: Path, names: Sequence[str]) -> tuple[list[Case], list[str]]:
    """Find the files of recorded patients, in the order of the record.

    Args:
        root: folder with volumes.
        names: names of the patients.

    Returns:
        The files, and the names of the other patients in the folder.

    Raises:
        InputError: if patients are missing; names all of them.
    """
    unpaired: list[InputError] = []
    found = {case.name: case for case in find_cases(root, unpaired)}
    missing = [name for name in names if name not in found]
    if missing:
        reasons = "".join(f"\n{error}" for error in unpaired)
        raise InputError(root, f"the {len(names)} patients of {RECORD}", f"none for {', '.join(missing)}{reasons}")
    return [found[name] for name in names], [name for name in found if name not in names]


def require_unchanged(split: Split, recorded: Mapping[str, Any]) -> None:
    """Require that patients have the voxels and the labels that a run has recorded.

    Args:
        split: the patients.
        recorded: the content of ``split.json``; without hashes of voxels, nothing is compared.

    Raises:
        InputError: if voxels or labels have changed; names the patients.
    """
    changed = []
    for part, cases in split.items():
        for case in cases:
            text = recorded.get("voxels", {}).get(part, {}).get(case.name)
            before = case.fingerprint if text is None else Fingerprint.parse(text)
            changes = [what for what in ("image", "label") if getattr(before, what) != getattr(case.fingerprint, what)]
            if changes:
                changed.append(f"{case.name} ({part}: {' and '.join(changes)})")
    if changed:
        raise InputError(RECORD, "the voxels and labels of that time", f"others now: {', '.join(changed)}")
