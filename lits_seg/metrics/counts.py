"""Metrics that count voxels, and slices, slice by slice, and sum the counts over ranks."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from lits_seg.metrics.overlap import LOWEST_LABEL


class VolumeOverlap(Metric):
    """Voxel counts per patient, from slices in any order and on any rank.

    Only counts are kept: memory does not grow with the volumes, and the sum over ranks is exact.

    Args:
        patients: number of patients.
        structures: names in ``LOWEST_LABEL``.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, patients: int, structures: Sequence[str] = ("lesion",)) -> None:
        super().__init__()
        self.structures = tuple(structures)
        zeros = torch.zeros(patients, len(self.structures), 3, dtype=torch.long)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, predicted: Tensor, truth: Tensor, patient: Tensor) -> None:
        """Add the voxels of a batch of slices.

        Args:
            predicted: LiTS labels ``(B, H, W)`` of the prediction.
            truth: LiTS labels ``(B, H, W)`` of the reference.
            patient: index of each slice's patient, ``(B,)``.
        """
        for number, structure in enumerate(self.structures):
            inside, true = predicted >= LOWEST_LABEL[structure], truth >= LOWEST_LABEL[structure]
            # 32 bits are enough for one slice, and the sum is a dozen times as fast as with 64 bits.
            voxels = [mask.flatten(1).sum(dim=1, dtype=torch.int32) for mask in (inside & true, inside, true)]
            self.counts[:, number].index_add_(0, patient, torch.stack(voxels, dim=-1).long())

    def compute(self) -> Tensor:
        """Return voxels in both masks, in the prediction, in the reference: ``(patients, structures, 3)``, int64."""
        return self.counts.clone()


class SeenSlices(Metric):
    """The slices that each patient was seen with, and the first slice with unsound values, on any rank.

    Args:
        patients: number of patients.
    """

    full_state_update = False
    NONE = 2**62  # no slice
    seen: Tensor
    infinite: Tensor
    odd: Tensor

    def __init__(self, patients: int) -> None:
        super().__init__()
        self.add_state("seen", torch.zeros(patients, dtype=torch.long), dist_reduce_fx="sum")
        for name in ("infinite", "odd"):
            self.add_state(name, torch.full((patients,), self.NONE), dist_reduce_fx="min")

    def update(self, logits: Tensor, truth: Tensor, patient: Tensor, slices: Tensor) -> None:
        """Add a batch of slices of one patient.

        Args:
            logits: ``(B, K, size, size)``.
            truth: labels ``(B, H, W)`` of the reference.
            patient: index of each slice's patient, ``(B,)``.
            slices: number of each slice, ``(B,)``.
        """
        self.seen.index_add_(0, patient, torch.ones_like(patient))
        # Only tensors: reading a value here would make a GPU wait in every batch.
        for first, wrong in (
            (self.infinite, ~logits.isfinite().flatten(1).all(dim=1)),
            (self.odd, (truth > 2).flatten(1).any(dim=1)),
        ):
            first[patient] = torch.minimum(first[patient], torch.where(wrong, slices, self.NONE).min())

    def compute(self) -> Tensor:
        """Return seen slices, first slice with logits that are not finite, and with odd labels: ``(3, patients)``.

        Odd labels are other than 0, 1 and 2. Without such a slice, the value is ``NONE``.
        """
        return torch.stack([self.seen, self.infinite, self.odd])
