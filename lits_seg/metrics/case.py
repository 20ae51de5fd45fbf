"""All scores of one patient."""

from typing import Any

import numpy as np

from lits_seg.metrics.detection import OVERLAPS, Pair, detection, match_lesions
from lits_seg.metrics.lesions import Box, box_around, boxes, components, label_box
from lits_seg.metrics.overlap import LOWEST_LABEL, case_scores, liver_predicted
from lits_seg.metrics.surface import distance_scores

NAN = float("nan")
QUALITY = ("dice", "jaccard", "voe", "rvd", "assd", "rmsd", "msd")


def score_case(predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]) -> dict[str, Any]:
    """Scores of LiTS labels ``(S, H, W)`` uint8 against the reference's, voxels of ``spacing`` (x, y, z) in mm.

    Returns, with NaN for what has no meaning:

    - ``voxels``: of ``lesion`` and ``liver``, those in both, in the prediction, in the reference.
    - ``lesion``: ``dice``, ``jaccard``, ``paper_symbols``, ``voe``.
    - ``detection``: for overlaps 0.5 and 0, ``tp``, ``fp``, ``fn``; ``references`` and ``predictions``.
    - ``lesions``: each reference lesion, or several merged ones, with the prediction that belongs to it: the axial
      slices that show them (0: the lowest), mL, ``iou``, and ``QUALITY`` where detected (IoU > 0.5).
    - ``liver``: ``dice``, ``jaccard``, ``paper_symbols`` and the rest of ``QUALITY``. Without a voxel of value 1 in
      the prediction: no liver was predicted; overlaps 0, VOE 1, and NaN for ``rvd`` and distances.
    - ``tumour_burden``: lesion voxels / liver voxels, ``reference``, ``predicted``, ``error`` (their difference);
      NaN without a liver.
    """
    lesion, liver = (count_voxels(predicted, reference, LOWEST_LABEL[structure]) for structure in ("lesion", "liver"))
    exists = bool(liver_predicted(lesion, liver))
    lesion_scores = _scores(lesion)
    return {
        "voxels": {"lesion": lesion.tolist(), "liver": liver.tolist()},
        "lesion": {**lesion_scores, "voe": 1 - lesion_scores["jaccard"]},
        **_lesions(predicted, reference, spacing),
        "liver": {
            **_scores(liver, exists),
            **_liver(predicted, reference, spacing, exists and bool(liver[2])),
        },
        "tumour_burden": _burden(lesion.tolist(), liver.tolist(), exists),
    }


def count_voxels(predicted: np.ndarray, reference: np.ndarray, lowest: int) -> np.ndarray:
    """Voxels of at least ``lowest`` in both, in the prediction, in the reference, ``(3,)``: as ``VolumeOverlap``."""
    counts = np.zeros(3, np.int64)
    for one, other in zip(predicted, reference, strict=True):  # a slice at a time, and NumPy counts fastest
        inside, true = one >= lowest, other >= lowest
        counts += [np.count_nonzero(mask) for mask in (inside & true, inside, true)]
    return counts


def quality(predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]) -> dict[str, float]:
    """Dice, Jaccard, VOE = 1 - Jaccard, RVD = (|P| - |R|) / |R|, and distances, of masks that are not empty."""
    both, inside, true = (int(np.count_nonzero(mask)) for mask in (predicted & reference, predicted, reference))
    jaccard = both / (inside + true - both)
    overlap = {"dice": 2 * both / (inside + true), "jaccard": jaccard, "voe": 1 - jaccard}
    return {**overlap, "rvd": (inside - true) / true, **distance_scores(predicted, reference, spacing)}


def _lesions(predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float]) -> dict[str, Any]:
    around = _box(predicted, reference, 2)
    true, found = reference[around] == 2, predicted[around] == 2
    (references, true_count), (predictions, count) = components(true), components(found)
    pairs = match_lesions(references, predictions)
    places = boxes(references), boxes(predictions)
    voxel_ml = float(np.prod(spacing)) / 1000
    rows = []
    for pair in pairs:
        box = box_around([*(places[0][i - 1] for i in pair.reference), *(places[1][i - 1] for i in pair.predicted)])
        true, found = np.isin(references[box], pair.reference), np.isin(predictions[box], pair.predicted)
        scores = quality(found, true, spacing) if pair.iou > OVERLAPS[0] else dict.fromkeys(QUALITY, NAN)
        slices = {"first_slice": around[0].start + box[0].start, "last_slice": around[0].start + box[0].stop - 1}
        rows.append({**_facts(pair), **slices, **_volumes(found, true, voxel_ml), **scores})
    found_by = {f"iou>{overlap:g}": detection(pairs, count, overlap) for overlap in OVERLAPS}
    return {"detection": {"references": true_count, "predictions": count, **found_by}, "lesions": rows}


def _facts(pair: Pair) -> dict[str, Any]:
    return {"merged_references": len(pair.reference), "merged_predictions": len(pair.predicted), "iou": pair.iou}


def _volumes(found: np.ndarray, true: np.ndarray, voxel_ml: float) -> dict[str, float]:
    return {"reference_ml": float(true.sum() * voxel_ml), "predicted_ml": float(found.sum() * voxel_ml)}


def _liver(
    predicted: np.ndarray, reference: np.ndarray, spacing: tuple[float, float, float], in_both: bool
) -> dict[str, float]:
    if not in_both:
        return {"voe": 1.0, **dict.fromkeys(("rvd", "assd", "rmsd", "msd"), NAN)}
    box = _box(predicted, reference, 1)
    scores = quality(predicted[box] >= 1, reference[box] >= 1, spacing)
    return {name: scores[name] for name in QUALITY[2:]}


def _burden(lesion: list[int], liver: list[int], exists: bool) -> dict[str, float]:
    reference = lesion[2] / liver[2] if liver[2] else NAN
    predicted = lesion[1] / liver[1] if exists else NAN
    return {"reference": reference, "predicted": predicted, "error": predicted - reference}


def _box(predicted: np.ndarray, reference: np.ndarray, lowest: int) -> Box:
    """Around a structure in both; of one voxel where neither has it."""
    parts = [box for labels in (predicted, reference) if (box := label_box(labels, lowest)) is not None]
    return box_around(parts or [(slice(0, 1),) * 3])


def _scores(counts: np.ndarray, predicted: bool = True) -> dict[str, float]:
    return {name: float(value) for name, value in case_scores(counts, predicted).items()}
