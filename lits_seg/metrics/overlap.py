"""Score the overlap of voxels, per patient and for all patients together.

A patient scores 1 if reference and prediction are both empty, and 0 if exactly one of them is empty.
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
    """Return whether each patient's prediction contains a voxel of value 1; without any, LiTS scores the liver 0.

    Args:
        lesion: counts ``(patients, 3)``: voxels in both masks, in the prediction, in the reference.
        liver: the same counts ``(patients, 3)`` of the liver with its lesions.

    Returns:
        Booleans ``(patients,)``.
    """
    return np.asarray(liver)[..., 1] > np.asarray(lesion)[..., 1]


def case_scores(counts: ArrayLike, predicted: ArrayLike = True) -> dict[str, np.ndarray]:
    """Return the scores of each patient, float64 ``(patients,)`` in [0, 1]. A is the reference, B the prediction.

    - ``dice``: 2|A∩B| / (|A| + |B|).
    - ``jaccard``: |A∩B| / |A∪B|. The paper's text (V.B) defines this ratio and calls it Dice.
    - ``paper_symbols``: |A∩B| / (|A| + |B| - |A|) = |A∩B| / |B|. The paper's formula (VI) says this. The ratio is the
      precision: a prediction of a single correct voxel scores 1.

    Args:
        counts: ``(patients, 3)``: voxels in both masks, in the prediction, in the reference.
        predicted: booleans ``(patients,)``; a patient with False scores 0. For the liver, see ``liver_predicted``.
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
    """Return the Dice of the pooled voxels of all patients, from counts ``(patients, 3)``; 0 if all masks are empty."""
    both, inside, true = np.asarray(counts, np.float64).sum(axis=0)
    return float(2 * both / max(inside + true, 1))


def summarise(counts: ArrayLike, predicted: ArrayLike = True) -> dict[str, float]:
    """Return the means of ``case_scores`` over patients, and ``dice_global``.

    Args:
        counts: see ``case_scores``.
        predicted: see ``case_scores``.
    """
    means = {name: float(values.mean()) for name, values in case_scores(counts, predicted).items()}
    return {**means, "dice_global": global_dice(counts)}


def summarise_structures(lesion: ArrayLike | None = None, liver: ArrayLike | None = None) -> dict[str, float]:
    """Return ``summarise`` of lesions, and of livers with names that start with ``liver/``.

    Args:
        lesion: counts ``(patients, 3)``; None: no lesions are segmented.
        liver: counts ``(patients, 3)`` of livers with their lesions; None: no livers are segmented.
    """
    means = {} if lesion is None else summarise(lesion)
    if liver is not None:
        found = liver_predicted(np.zeros_like(liver) if lesion is None else lesion, liver)
        means |= {f"liver/{name}": mean for name, mean in summarise(liver, found).items()}
    return means
