"""Split patients into folds, so that all slices of a patient are in the same set."""

from collections.abc import Sequence

import numpy as np

from lits_seg.common.errors import InputError
from lits_seg.data.stored_case import StoredCase

Split = dict[str, list[StoredCase]]
PARTS = ("train", "val", "test")


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
    source = f"data.sources.{cases[0].source}" if cases and cases[0].source else "data"
    require_fold(len(cases), folds, fold, val_share, f"{source}.root")
    dealt = in_random_order(cases, seed)
    test = dealt[fold::folds]
    return with_validation([case for case in dealt if case not in test], test, val_share)


def require_fold(count: int, folds: int, fold: int, val_share: float | None, where: str = "data.root") -> None:
    """Require that the fold exists, and enough patients for all folds.

    Args:
        count: number of patients.
        folds: number of folds.
        fold: index of the fold.
        val_share: see ``split_patients``.
        where: setting that errors name.

    Raises:
        InputError: if the fold does not exist, or if there are too few patients.
    """
    if folds < 2:
        raise InputError("data.folds", "at least 2", folds)
    # Three patients in two folds would leave one patient to train and none to validate.
    needed = max(folds + 1, 4) if val_share else folds
    if count < needed:
        raise InputError(where, f"at least {needed} patients for {folds} folds", f"{count}")
    if not 0 <= fold < folds:
        raise InputError("data.fold", f"one of 0 to {folds - 1} (data.folds={folds})", fold)


def in_random_order(cases: Sequence[StoredCase], seed: int) -> list[StoredCase]:
    """Return shuffled patients, those with lesions first, whatever the size of the images, in which lesions may vanish.

    Args:
        cases: the patients.
        seed: seed of the shuffle.
    """
    order = np.random.default_rng(seed).permutation(len(cases))
    with_lesion = [cases[i] for i in order if cases[i].check.burden.lesion]
    without = [cases[i] for i in order if not cases[i].check.burden.lesion]
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
