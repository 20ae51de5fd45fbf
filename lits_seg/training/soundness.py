"""Require slices that can be scored: finite logits, LiTS labels, and patients that were seen whole."""

from collections.abc import Mapping, Sequence

import pytorch_lightning as pl
from torch import Tensor

from lits_seg.common.errors import InputError
from lits_seg.data.stored_case import StoredCase
from lits_seg.metrics.counts import SeenSlices


def require_finite(logits: Tensor, batch: Mapping[str, Tensor], cases: Sequence[StoredCase]) -> None:
    """Raise an InputError that names patient and slice if a logit ``(B, K, H, W)`` of the batch is not finite."""
    finite = logits.isfinite().flatten(1).all(dim=1)
    if not finite.all():
        index = int(finite.int().argmin())
        patient = cases[int(batch["case"][index])].name
        found = f"NaN or infinity in slice {int(batch['slice'][index])} of {patient} (slice 0 is the lowest)"
        raise InputError("the network", "finite logits", found)


def require_sound(seen: SeenSlices, cases: Sequence[StoredCase], trainer: pl.Trainer, part: str) -> list[bool]:
    """Require finite logits and LiTS labels in all slices; return whether each patient was seen whole.

    Args:
        seen: the slices of the validation or test.
        cases: its patients.
        trainer: the trainer, which may be trying a few batches only.
        part: ``val`` or ``test``.

    Raises:
        InputError: if a slice is unsound, or if no patient was seen whole.
    """
    counts, infinite, odd = seen.compute().tolist()
    weights = "finite logits (weights that a training with a lower optimizer.lr keeps small)"
    labels = "labels 0, 1 and 2 in the store (delete its folder; it is made anew)"
    for first, expected, found in ((infinite, weights, "NaN or infinity"), (odd, labels, "others")):
        for case, number in zip(cases, first, strict=True):
            if number != SeenSlices.NONE:
                raise InputError(f"{case.name}, slice {number}", expected, found)
    whole = [count == len(case) for count, case in zip(counts, cases, strict=True)]
    if not any(whole) and not (trainer.fast_dev_run or trainer.sanity_checking):
        expected = "all slices of at least one patient, as only whole patients have scores"
        found = f"{sum(counts)} of {sum(map(len, cases))} slices"
        raise InputError(f"trainer.limit_{part}_batches", expected, found)
    return whole
