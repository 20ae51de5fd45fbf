"""Score one patient: all scores of a predicted mask and a reference mask."""

import math
from dataclasses import asdict, dataclass

import numpy as np

from lits_seg.metrics.detection import OVERLAPS, detection, match_lesions
from lits_seg.metrics.lesions import Box, box_around, boxes, components, label_box
from lits_seg.metrics.overlap import LOWEST_LABEL, case_scores, liver_predicted
from lits_seg.metrics.scores import (
    CaseScores,
    Detection,
    LesionScores,
    LiverScores,
    Overlap,
    TumourBurden,
    VoxelCounts,
    Voxels,
)
from lits_seg.metrics.surface import distance_scores

NAN = float("nan")
Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Quality:
    """Overlap and surface distances of two masks, see ``LesionScores``; NaN means not defined."""

    dice: float = NAN
    jaccard: float = NAN
    voe: float = NAN
    rvd: float = NAN
    assd: float = NAN
    rmsd: float = NAN
    msd: float = NAN


def score_case(
    predicted: np.ndarray, reference: np.ndarray, spacing: Spacing, case: str = "", voxel_ml: float | None = None
) -> CaseScores:
    """Score a patient's predicted mask against the reference.

    Args:
        predicted: LiTS labels ``(S, H, W)`` uint8.
        reference: LiTS labels ``(S, H, W)`` uint8.
        spacing: size of a voxel in mm along x (W), y (H), z (S).
        case: name of the patient.
        voxel_ml: volume of a voxel in mL (``Grid.voxel_ml``); None: the product of the sides in ``spacing``.

    Returns:
        All scores; a score that is not defined for this patient is NaN.
    """
    lesion = count_voxels(predicted, reference, LOWEST_LABEL["lesion"])
    liver = count_voxels(predicted, reference, LOWEST_LABEL["liver"])
    has_liver = bool(liver_predicted(lesion, liver))
    volume = box_ml(spacing) if voxel_ml is None else voxel_ml
    found, lesions = _lesions(predicted, reference, spacing, volume)
    return CaseScores(
        case=case,
        spacing=spacing,
        voxels=Voxels(lesion, liver),
        lesion=_overlap(lesion),
        detection=found,
        lesions=lesions,
        liver=_liver(predicted, reference, spacing, liver, has_liver),
        tumour_burden=_burden(lesion, liver, has_liver),
        voxel_ml=volume,
    )


def box_ml(spacing: Spacing) -> float:
    """Return the volume in mL of a box whose sides are given in mm."""
    return math.prod(spacing) / 1000


def count_voxels(predicted: np.ndarray, reference: np.ndarray, lowest: int) -> VoxelCounts:
    """Count the voxels of a structure in two masks.

    Args:
        predicted: LiTS labels ``(S, H, W)``.
        reference: LiTS labels ``(S, H, W)``.
        lowest: lowest label of the structure, see ``LOWEST_LABEL``.
    """
    counts = np.zeros(3, np.int64)
    for found_slice, true_slice in zip(predicted, reference, strict=True):  # fastest slice by slice
        found, true = found_slice >= lowest, true_slice >= lowest
        counts += [np.count_nonzero(mask) for mask in (found & true, found, true)]
    return VoxelCounts(*counts.tolist())


def quality(predicted: np.ndarray, reference: np.ndarray, spacing: Spacing) -> Quality:
    """Score two masks that are not empty.

    Args:
        predicted: mask ``(S, H, W)``, bool.
        reference: mask ``(S, H, W)``, bool.
        spacing: size of a voxel in mm along x (W), y (H), z (S).
    """
    both, found, true = (int(np.count_nonzero(mask)) for mask in (predicted & reference, predicted, reference))
    jaccard = both / (found + true - both)
    return Quality(
        dice=2 * both / (found + true),
        jaccard=jaccard,
        voe=1 - jaccard,
        rvd=(found - true) / true,
        **distance_scores(predicted, reference, spacing),
    )


def _lesions(
    predicted: np.ndarray, reference: np.ndarray, spacing: Spacing, voxel_ml: float
) -> tuple[Detection, tuple[LesionScores, ...]]:
    around = _box(predicted, reference, 2)
    references, reference_count = components(reference[around] == 2)
    predictions, prediction_count = components(predicted[around] == 2)
    reference_boxes, prediction_boxes = boxes(references), boxes(predictions)
    pairs = match_lesions(references, predictions)
    rows = []
    for pair in pairs:
        parts = [reference_boxes[number - 1] for number in pair.reference]
        parts += [prediction_boxes[number - 1] for number in pair.predicted]
        box = box_around(parts)
        true, found = np.isin(references[box], pair.reference), np.isin(predictions[box], pair.predicted)
        scores = quality(found, true, spacing) if pair.iou > OVERLAPS[0] else Quality()
        rows.append(
            LesionScores(
                merged_references=len(pair.reference),
                merged_predictions=len(pair.predicted),
                iou=pair.iou,
                first_slice=around[0].start + box[0].start,
                last_slice=around[0].start + box[0].stop - 1,
                reference_ml=float(true.sum() * voxel_ml),
                predicted_ml=float(found.sum() * voxel_ml),
                **asdict(scores),
            )
        )
    over_half, over_zero = (detection(pairs, prediction_count, overlap) for overlap in OVERLAPS)
    return Detection(reference_count, prediction_count, over_half, over_zero), tuple(rows)


def _liver(
    predicted: np.ndarray, reference: np.ndarray, spacing: Spacing, counts: VoxelCounts, has_liver: bool
) -> LiverScores:
    scores = Quality()
    if has_liver and counts.reference:
        box = _box(predicted, reference, 1)
        scores = quality(predicted[box] >= 1, reference[box] >= 1, spacing)
    overlap = _overlap(counts, has_liver)
    return LiverScores(**asdict(overlap), rvd=scores.rvd, assd=scores.assd, rmsd=scores.rmsd, msd=scores.msd)


def _burden(lesion: VoxelCounts, liver: VoxelCounts, has_liver: bool) -> TumourBurden:
    reference = lesion.reference / liver.reference if liver.reference else NAN
    predicted = lesion.predicted / liver.predicted if has_liver else NAN
    return TumourBurden(reference, predicted, predicted - reference)


def _box(predicted: np.ndarray, reference: np.ndarray, lowest: int) -> Box:
    """Return the box around a structure in both masks; a box of one voxel if the structure is in neither."""
    parts = [box for labels in (predicted, reference) if (box := label_box(labels, lowest)) is not None]
    return box_around(parts or [(slice(0, 1),) * 3])


def _overlap(counts: VoxelCounts, predicted: bool = True) -> Overlap:
    scores = {name: float(value) for name, value in case_scores(counts, predicted).items()}
    return Overlap(**scores, voe=1 - scores["jaccard"])
