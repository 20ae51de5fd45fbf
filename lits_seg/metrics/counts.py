"""Voxels counted slice by slice: a metric whose counts are summed over ranks."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from lits_seg.metrics.overlap import LOWEST_LABEL


class VolumeOverlap(Metric):
    """Counts voxels per patient, from slices in any order and on any rank.

    ``update`` takes LiTS labels ``(B, H, W)``, predicted and true, and the patients' numbers ``(B,)``.
    ``compute`` returns ``(patients, structures, 3)`` int64: voxels in both, in the prediction, in the truth.
    Only these counts are kept, so memory does not grow with the volumes, and summing them over ranks is exact.
    """

    full_state_update = False
    counts: Tensor

    def __init__(self, patients: int, structures: Sequence[str] = ("lesion",)) -> None:
        super().__init__()
        self.structures = tuple(structures)
        zeros = torch.zeros(patients, len(self.structures), 3, dtype=torch.long)
        self.add_state("counts", zeros, dist_reduce_fx="sum")

    def update(self, predicted: Tensor, truth: Tensor, patient: Tensor) -> None:
        """Add the voxels of a batch of slices."""
        for number, structure in enumerate(self.structures):
            inside, true = predicted >= LOWEST_LABEL[structure], truth >= LOWEST_LABEL[structure]
            # 32 bits hold a slice's voxels, and their sum is a dozen times as fast as that of 64 bits.
            voxels = [mask.flatten(1).sum(dim=1, dtype=torch.int32) for mask in (inside & true, inside, true)]
            self.counts[:, number].index_add_(0, patient, torch.stack(voxels, dim=-1).long())

    def compute(self) -> Tensor:
        """Return the counts ``(patients, structures, 3)`` int64."""
        return self.counts.clone()
