"""Count the lesions found and the false lesions at several thresholds of the lesion's probability (FROC)."""

import math

import numpy as np

from lits_seg.metrics.detection import OVERLAPS, Pair, detection, match_lesions
from lits_seg.metrics.lesions import box_around, boxes_and_sizes, components, label_box
from lits_seg.metrics.scores import SIZES, Froc, FrocCounts

THRESHOLDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99)


def froc(probability: np.ndarray, reference: np.ndarray, voxel_ml: float) -> Froc:
    """Cut a patient's probability map at each of ``THRESHOLDS``, and match the lesions of these masks.

    Args:
        probability: the lesion's probability scaled to 0…255, ``(S, H, W)`` uint8.
        reference: LiTS labels ``(S, H, W)``.
        voxel_ml: volume of a voxel in mL.
    """
    lowest = [math.ceil(255 * threshold) for threshold in THRESHOLDS]
    parts = [label_box(probability, lowest[0]), label_box(reference, 2)]
    around = box_around([box for box in parts if box is not None] or [(slice(0, 1),) * 3])
    probability, (lesions, _) = probability[around], components(reference[around] == 2)
    _, classes = boxes_and_sizes(lesions, voxel_ml)
    rows: list[tuple[FrocCounts, FrocCounts]] = []
    for level in lowest:
        predictions, count = components(probability >= level)
        pairs = match_lesions(lesions, predictions)
        over_half, over_zero = (_row(pairs, count, overlap, classes) for overlap in OVERLAPS)
        rows.append((over_half, over_zero))
    return Froc(THRESHOLDS, *zip(*rows, strict=True))


def _row(pairs: list[Pair], predictions: int, overlap: float, classes: list[int]) -> FrocCounts:
    found = [classes[number - 1] for pair in pairs if pair.iou > overlap for number in pair.reference]
    small, medium, large = (found.count(size) for size in range(len(SIZES)))
    return small, medium, large, detection(pairs, predictions, overlap).fp
