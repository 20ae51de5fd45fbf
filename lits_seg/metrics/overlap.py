"""Overlap of voxels, per patient and of all patients together.

Edge cases: where truth and prediction are both empty, a patient scores 1; where exactly one is, 0.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

LOWEST_LABEL = {"lesion": 2, "liver": 1}

SCORES = {
    "dice": "Dice per case",
    "jaccard": "Jaccard (the paper's words)",
    "paper_symbols": "|A∩B|/|B| (the paper's symbols)",
}


class VolumeOverlap(Metric):
    """Counts voxels per patient while slices arrive in any order, from any rank.

    ``update`` takes LiTS labels ``(B, H, W)``, predicted and true, and the patients' numbers ``(B,)``.
    ``compute`` gives ``(patients, structures, 3)`` int64: voxels in both, in the prediction, in the truth.
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
        """Adds slices."""
        for number, structure in enumerate(self.structures):
            inside, true = predicted >= LOWEST_LABEL[structure], truth >= LOWEST_LABEL[structure]
            # 32 bits hold a slice's voxels, and are summed a dozen times as fast as 64.
            voxels = [mask.flatten(1).sum(dim=1, dtype=torch.int32) for mask in (inside & true, inside, true)]
            self.counts[:, number].index_add_(0, patient, torch.stack(voxels, dim=-1).long())

    def compute(self) -> Tensor:
        """``(patients, structures, 3)`` int64."""
        return self.counts.clone()


def liver_predicted(lesion: Tensor, liver: Tensor) -> Tensor:
    """Whether each patient's prediction has a voxel of value 1, ``(patients,)``, from counts ``(patients, 3)``.

    LiTS scores a liver 0 where the prediction holds none: lesions alone are no liver.
    """
    return liver[:, 1] > lesion[:, 1]


def case_scores(counts: Tensor, predicted: Tensor | None = None) -> dict[str, Tensor]:
    """Scores of each patient from counts ``(patients, 3)``, as float64 ``(patients,)``, all in [0, 1].

    - ``dice``: 2|A∩B| / (|A| + |B|).
    - ``jaccard``: |A∩B| / |A∪B|; what the paper's text (V.B) defines and calls Dice.
    - ``paper_symbols``: |A∩B| / (|A| + |B| - |A|) = |A∩B| / |B|, A the truth and B the prediction; what its
      formula (VI) says. It is the precision: a prediction of one true voxel scores 1.

    ``predicted`` ``(patients,)``: False scores 0 throughout; for the liver, see ``liver_predicted``.
    """
    both, inside, true = counts.double().unbind(-1)
    empty = (inside + true) == 0

    def ratio(over: Tensor, under: Tensor) -> Tensor:
        value = torch.where(empty, 1.0, over / under.clamp(min=1))
        return value if predicted is None else torch.where(predicted, value, 0.0)

    return {
        "dice": ratio(2 * both, inside + true),
        "jaccard": ratio(both, inside + true - both),
        "paper_symbols": ratio(both, inside),
    }


def global_dice(counts: Tensor) -> Tensor:
    """Dice of all patients' voxels together, from counts ``(patients, 3)``; 0 where everything is empty."""
    both, inside, true = counts.double().sum(dim=0)
    return 2 * both / (inside + true).clamp(min=1)


def summarise(counts: Tensor, predicted: Tensor | None = None) -> dict[str, float]:
    """Means of ``case_scores`` over patients, and ``dice_global``, from counts ``(patients, 3)``."""
    means = {name: float(values.mean()) for name, values in case_scores(counts, predicted).items()}
    return {**means, "dice_global": float(global_dice(counts))}
