"""Which lesions were found: predicted and reference lesions matched as LiTS does."""

from collections.abc import Sequence
from dataclasses import dataclass

import cc3d
import numpy as np

from lits_seg.metrics.scores import DetectionCounts

OVERLAPS = (0.5, 0.0)


@dataclass(frozen=True)
class Pair:
    """Reference lesions that count as one, the predicted lesions that belong to them (or none), and their IoU."""

    reference: tuple[int, ...]
    predicted: tuple[int, ...]
    iou: float


def match_lesions(reference: np.ndarray, predicted: np.ndarray) -> list[Pair]:
    """Match lesions as LiTS's scoring program does since its correction in 2018.

    Reference lesions whose largest overlap is with the same prediction are merged. Then each prediction goes to the
    merged reference that it overlaps most; predictions of the same reference are merged. Of equal overlaps the lower
    number counts.

    Args:
        reference: components ``(S, H, W)`` numbered from 1.
        predicted: components ``(S, H, W)`` numbered from 1.

    Returns:
        Pairs; every reference lesion is in exactly one.
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


def detection(pairs: Sequence[Pair], predictions: int, overlap: float) -> DetectionCounts:
    """Count the lesions of one patient that were found, false, and missed.

    A reference lesion is found if the IoU of its pair is above ``overlap``. Merged reference lesions count one by one.
    A prediction that belongs to no found pair is false.

    Args:
        pairs: from ``match_lesions``.
        predictions: number of predicted lesions.
        overlap: threshold of the IoU.
    """
    detected = [pair for pair in pairs if pair.iou > overlap]
    found = sum(len(pair.reference) for pair in detected)
    return DetectionCounts(
        tp=found,
        fp=predictions - sum(len(pair.predicted) for pair in detected),
        fn=sum(len(pair.reference) for pair in pairs) - found,
    )


def _overlaps(reference: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the numbers of the lesions that overlap, and their common voxels: three arrays of one length."""
    inside = (reference > 0) & (predicted > 0)
    # Each pair of lesions as one number, since np.unique(axis=1) would sort rows of bytes.
    width = int(predicted.max(initial=0)) + 1
    pairs, voxels = np.unique(reference[inside].astype(np.int64) * width + predicted[inside], return_counts=True)
    return pairs // width, pairs % width, voxels


def _merged(owner: np.ndarray) -> np.ndarray:
    """Return for each lesion the lowest number among the lesions of the same owner; its own if it has no owner."""
    first: dict[int, int] = {}
    merged = []
    for lesion, prediction in enumerate(owner.tolist()):
        merged.append(first.setdefault(prediction, lesion) if prediction else lesion)
    return np.array(merged)


def _members(group_of: np.ndarray) -> dict[int, list[int]]:
    """Return the numbers, from 1, that belong to each group."""
    groups: dict[int, list[int]] = {}
    for number, group in enumerate(group_of[1:].tolist(), start=1):
        groups.setdefault(group, []).append(number)
    return groups


def _largest(items: np.ndarray, partners: np.ndarray, voxels: np.ndarray, count: int) -> np.ndarray:
    """Return the partner that each item overlaps most, by the item's number; 0 if none."""
    order = np.lexsort((partners, -voxels, items))
    first, place = np.unique(items[order], return_index=True)
    found = np.zeros(count, np.int64)
    found[first] = partners[order][place]
    return found
