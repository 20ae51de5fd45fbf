"""Which lesions were found: predicted and reference lesions brought together, as LiTS does it."""

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np

OVERLAPS = (0.5, 0.0)


@dataclass(frozen=True)
class Pair:
    """Reference lesions that count as one, the predicted lesions that belong to them (or none), and their IoU."""

    reference: tuple[int, ...]
    predicted: tuple[int, ...]
    iou: float


def match_lesions(reference: np.ndarray, predicted: np.ndarray) -> list[Pair]:
    """Every reference lesion in one pair, from components ``(S, H, W)`` numbered from 1.

    After LiTS's scoring program, as corrected in 2018: reference lesions whose largest overlap is with the same
    prediction are merged; then each prediction goes to the merged reference that it overlaps most, and those that
    go to the same one are merged. Of equal overlaps the lower number counts.
    """
    sizes, predicted_sizes = (cc3d.statistics(numbered)["voxel_counts"] for numbered in (reference, predicted))
    lesion, prediction, voxels = _overlaps(reference, predicted)
    merged = _merged(_largest(lesion, prediction, voxels, len(sizes)))
    (prediction, target), inverse = np.unique([prediction, merged[lesion]], axis=1, return_inverse=True)
    voxels = np.bincount(inverse.ravel(), voxels, len(prediction))
    goes_to = _largest(prediction, target, voxels, len(predicted_sizes))
    inside = np.bincount(target, voxels * (goes_to[prediction] == target), len(sizes))
    union = np.bincount(merged, sizes, len(sizes)) + np.bincount(goes_to, predicted_sizes, len(sizes)) - inside
    parts, predictions = _members(merged), _members(goes_to)
    return [
        Pair(tuple(parts[lesion]), tuple(predictions.get(lesion, [])), float(inside[lesion] / union[lesion]))
        for lesion in sorted(parts)
    ]


def detection(pairs: Sequence[Pair], predictions: int, overlap: float) -> dict[str, int]:
    """Counts ``tp``, ``fp``, ``fn`` of one patient: a reference lesion is detected where its pair's IoU > ``overlap``.

    Merged reference lesions count one by one, as detected or as missed; a prediction that belongs to no detected
    pair is a false positive. ``predictions``: how many lesions were predicted.
    """
    detected = [pair for pair in pairs if pair.iou > overlap]
    found = sum(len(pair.reference) for pair in detected)
    return {
        "tp": found,
        "fp": predictions - sum(len(pair.predicted) for pair in detected),
        "fn": sum(len(pair.reference) for pair in pairs) - found,
    }


def _overlaps(reference: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of the lesions that overlap, and in how many voxels."""
    inside = (reference > 0) & (predicted > 0)
    keys, voxels = np.unique(reference[inside].astype(np.int64) << 32 | predicted[inside], return_counts=True)
    return keys >> 32, keys & (2**32 - 1), voxels


def _merged(owner: np.ndarray) -> np.ndarray:
    """The lowest number among the lesions of the same owner, for each lesion; without an owner its own."""
    first: dict[int, int] = {}
    return np.array([first.setdefault(one, lesion) if one else lesion for lesion, one in enumerate(owner.tolist())])


def _members(group_of: np.ndarray) -> dict[int, list[int]]:
    """The numbers from 1 that belong to each group."""
    groups: dict[int, list[int]] = {}
    for number, group in enumerate(group_of[1:].tolist(), start=1):
        groups.setdefault(group, []).append(number)
    return groups


def _largest(items: np.ndarray, partners: np.ndarray, voxels: np.ndarray, count: int) -> np.ndarray:
    """The partner that each item overlaps most, by the item's number; 0 where none."""
    order = np.lexsort((partners, -voxels, items))
    first, place = np.unique(items[order], return_index=True)
    found = np.zeros(count, np.int64)
    found[first] = partners[order][place]
    return found
