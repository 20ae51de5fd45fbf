"""Overlap of voxels, per patient and of all patients together.

Edge cases: a patient scores 1 if truth and prediction are both empty, 0 if exactly one of them is.
"""

import numpy as np
from numpy.typing import ArrayLike

LOWEST_LABEL = {"lesion": 2, "liver": 1}

SCORES = {
    "dice": "Dice per case",
    "jaccard": "Jaccard (the paper's words)",
    "paper_symbols": "|A∩B|/|B| (the paper's symbols)",
}


def liver_predicted(lesion: ArrayLike, liver: ArrayLike) -> np.ndarray:
    """Return whether each patient's prediction has a voxel of value 1: LiTS scores 0 for a liver without one.

    Args:
        lesion: counts ``(patients, 3)``: voxels in both masks, in the prediction, in the truth.
        liver: counts ``(patients, 3)`` of the liver with its lesions.

    Returns:
        Booleans ``(patients,)``.
    """
    return np.asarray(liver)[..., 1] > np.asarray(lesion)[..., 1]


def case_scores(counts: ArrayLike, predicted: ArrayLike = True) -> dict[str, np.ndarray]:
    """Return the scores of each patient, as float64 ``(patients,)``, all in [0, 1].

    - ``dice``: 2|A∩B| / (|A| + |B|).
    - ``jaccard``: |A∩B| / |A∪B|; what the paper's text (V.B) defines and calls Dice.
    - ``paper_symbols``: |A∩B| / (|A| + |B| - |A|) = |A∩B| / |B|, A the truth and B the prediction; what its
      formula (VI) says. It is the precision: a prediction of one true voxel scores 1.

    Args:
        counts: ``(patients, 3)``: voxels in both masks, in the prediction, in the truth.
        predicted: ``(patients,)``; False scores 0. For the liver, see ``liver_predicted``.
    """
    both, inside, true = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    empty = (inside + true) == 0

    def ratio(over: np.ndarray, under: np.ndarray) -> np.ndarray:
        return np.where(predicted, np.where(empty, 1.0, over / under.clip(min=1)), 0.0)

    return {
        "dice": ratio(2 * both, inside + true),
        "jaccard": ratio(both, inside + true - both),
        "paper_symbols": ratio(both, inside),
    }


def global_dice(counts: ArrayLike) -> float:
    """Return the Dice of all patients' voxels together, from counts ``(patients, 3)``; 0 if all masks are empty."""
    both, inside, true = np.asarray(counts, np.float64).sum(axis=0)
    return float(2 * both / max(inside + true, 1))


def summarise(counts: ArrayLike, predicted: ArrayLike = True) -> dict[str, float]:
    """Return the means of ``case_scores`` over patients, and ``dice_global``; arguments as for ``case_scores``."""
    means = {name: float(values.mean()) for name, values in case_scores(counts, predicted).items()}
    return {**means, "dice_global": global_dice(counts)}
