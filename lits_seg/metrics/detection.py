"""Match predicted lesions with reference lesions as LiTS does, and count those found, false and missed."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lits_seg.metrics.scores import SIZES, Detection, DetectionBySize, DetectionCounts

OVERLAPS = (0.5, 0.0)


@dataclass(frozen=True)
class Pair:
    """Matched lesions.

    Args:
        reference: numbers of the reference lesions, which are merged if there are several.
        predicted: numbers of the predicted lesions matched with them; empty if they were missed.
        iou: intersection over union of both, in [0, 1].
    """

    reference: tuple[int, ...]
    predicted: tuple[int, ...]
    iou: float


def match_lesions(reference: np.ndarray, predicted: np.ndarray) -> list[Pair]:
    """Match lesions like LiTS's scoring program after its correction in 2018.

    First, reference lesions whose largest overlap is with the same prediction are merged. Then each prediction is
    assigned to the merged reference with the largest overlap, and predictions of the same reference are merged. If
    overlaps are equal, the lower number wins.

    Args:
        reference: components ``(S, H, W)`` numbered from 1.
        predicted: components ``(S, H, W)`` numbered from 1.

    Returns:
        Pairs; every reference lesion is in exactly one pair.
    """
    either = np.flatnonzero((reference > 0) | (predicted > 0))  # a small part of all voxels
    reference, predicted = (numbered.ravel()[either].astype(np.int64) for numbered in (reference, predicted))
    sizes, predicted_sizes = np.bincount(reference, minlength=1), np.bincount(predicted, minlength=1)
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
    """Count one patient's found, false and missed lesions.

    A reference lesion is found if the IoU of its pair is above ``overlap``. Merged reference lesions are counted
    separately. A prediction in no found pair is false.

    Args:
        pairs: result of ``match_lesions``.
        predictions: number of predicted lesions.
        overlap: threshold of the IoU, in [0, 1).
    """
    detected = [pair for pair in pairs if pair.iou > overlap]
    found = sum(len(pair.reference) for pair in detected)
    return DetectionCounts(
        tp=found,
        fp=predictions - sum(len(pair.predicted) for pair in detected),
        fn=sum(len(pair.reference) for pair in pairs) - found,
    )


def detection_by_size(pairs: Sequence[Pair], references: Sequence[int], predictions: Sequence[int]) -> DetectionBySize:
    """Count one patient's lesions as ``detection`` does, separately for each size class.

    Args:
        pairs: result of ``match_lesions``.
        references: size class of each reference lesion, in the order of their numbers.
        predictions: size class of each predicted lesion, in the order of their numbers.
    """
    true, found = _by_class(references), _by_class(predictions)
    counts: list[list[DetectionCounts]] = [[] for _ in SIZES]
    for overlap in OVERLAPS:
        detected = [pair for pair in pairs if pair.iou > overlap]
        tp = _by_class([references[number - 1] for pair in detected for number in pair.reference])
        matched = _by_class([predictions[number - 1] for pair in detected for number in pair.predicted])
        for i, size in enumerate(counts):
            size.append(DetectionCounts(tp=tp[i], fp=found[i] - matched[i], fn=true[i] - tp[i]))
    return DetectionBySize(*(Detection(true[i], found[i], *size) for i, size in enumerate(counts)))


def _by_class(classes: Sequence[int]) -> list[int]:
    """Return the number of lesions in each size class."""
    return [classes.count(size) for size in range(len(SIZES))]


def _overlaps(reference: np.ndarray, predicted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the reference, the prediction and the common voxels of each overlapping pair of lesions, ``(pairs,)``."""
    inside = (reference > 0) & (predicted > 0)
    # Each pair is encoded as a single number, since np.unique(axis=1) is slow: it sorts rows of bytes.
    width = int(predicted.max(initial=0)) + 1
    pairs, voxels = np.unique(reference[inside] * width + predicted[inside], return_counts=True)
    return pairs // width, pairs % width, voxels


def _merged(owner: np.ndarray) -> np.ndarray:
    """Return each lesion's group: the lowest number of the lesions with the same owner, or its own without an owner."""
    first: dict[int, int] = {}
    merged = []
    for lesion, prediction in enumerate(owner.tolist()):
        merged.append(first.setdefault(prediction, lesion) if prediction else lesion)
    return np.array(merged)


def _members(group_of: np.ndarray) -> dict[int, list[int]]:
    """Return the members of each group, numbered from 1."""
    groups: dict[int, list[int]] = {}
    for number, group in enumerate(group_of[1:].tolist(), start=1):
        groups.setdefault(group, []).append(number)
    return groups


def _largest(items: np.ndarray, partners: np.ndarray, voxels: np.ndarray, count: int) -> np.ndarray:
    """Return the partner with which each item, by its number, has the largest overlap; 0 if there is no overlap."""
    order = np.lexsort((partners, -voxels, items))
    first, place = np.unique(items[order], return_index=True)
    found = np.zeros(count, np.int64)
    found[first] = partners[order][place]
    return found
