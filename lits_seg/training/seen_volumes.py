"""The volumes of a validation or test, which the network sees slice by slice: their soundness and their scores."""

from collections.abc import Mapping, Sequence
from typing import Literal

import pytorch_lightning as pl
import torch
from torch import Tensor

from lits_seg import metrics
from lits_seg.common.errors import InputError
from lits_seg.metrics.counts import SeenSlices, VolumeOverlap


class SeenVolumes:
    """The volumes of one validation or test, whose slices may come in any order and on any rank.

    Only counts are kept on the device: reading a value in every batch would make a GPU wait.

    Args:
        trainer: the trainer, at the start of the validation or test; it may be trying a few batches only.
        part: the part of the split.
        structures: the structures that are scored.
        device: device of the batches.
    """

    def __init__(
        self, trainer: pl.Trainer, part: Literal["val", "test"], structures: Sequence[str], device: torch.device
    ) -> None:
        self.part, self.structures, self.cases = part, structures, trainer.datamodule.split[part]
        self.trying = bool(trainer.fast_dev_run or trainer.sanity_checking)
        self.overlap = VolumeOverlap(len(self.cases), structures).to(device)
        self.slices = SeenSlices(len(self.cases)).to(device)

    def update(self, logits: Tensor, predicted: Tensor, batch: Mapping[str, Tensor]) -> None:
        """Add a batch of slices of one patient.

        Args:
            logits: ``(B, K, size, size)``.
            predicted: LiTS labels ``(B, H, W)``.
            batch: the batch, see ``SliceDataModule``.
        """
        if self.part == "val":  # PatientScores scores the test volumes
            self.overlap.update(predicted, batch["truth"], batch["case"])
        self.slices.update(logits, batch["truth"], batch["case"], batch["slice"])

    def require_finite(self, logits: Tensor, batch: Mapping[str, Tensor]) -> None:
        """Raise an InputError that names patient and slice if a logit ``(B, K, H, W)`` of the batch is not finite."""
        finite = logits.isfinite().flatten(1).all(dim=1)
        if not finite.all():
            index = int(finite.int().argmin())
            patient = self.cases[int(batch["case"][index])].name
            found = f"NaN or infinity in slice {int(batch['slice'][index])} of {patient} (slice 0 is the lowest)"
            raise InputError("the network", "finite logits", found)

    def require_sound(self) -> list[bool]:
        """Require finite logits and LiTS labels in all slices; return whether each patient was seen whole.

        Raises:
            InputError: if a slice is unsound, or if no patient was seen whole.
        """
        counts, infinite, odd = self.slices.compute().tolist()
        weights = "finite logits (weights that a training with a lower optimizer.lr keeps small)"
        labels = "labels 0, 1 and 2 in the store (delete its folder; it is made anew)"
        for first, expected, found in ((infinite, weights, "NaN or infinity"), (odd, labels, "others")):
            for case, number in zip(self.cases, first, strict=True):
                if number != SeenSlices.NONE:
                    raise InputError(f"{case.name}, slice {number}", expected, found)
        whole = [count == len(case) for count, case in zip(counts, self.cases, strict=True)]
        if not any(whole) and not self.trying:
            expected = "all slices of at least one patient, as only whole patients have scores"
            found = f"{sum(counts)} of {sum(map(len, self.cases))} slices"
            raise InputError(f"trainer.limit_{self.part}_batches", expected, found)
        return whole

    def scores(self) -> dict[str, float]:
        """Return the scores of the patients that were seen whole, before any rules; none if there is no such patient.

        Raises:
            InputError: see ``require_sound``.
        """
        whole = self.require_sound()
        counts = self.overlap.compute().cpu()[torch.tensor(whole)].unbind(1)
        return metrics.summarise_structures(**dict(zip(self.structures, counts, strict=True))) if any(whole) else {}
