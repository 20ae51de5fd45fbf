"""Score one patient: all scores of a predicted mask and a reference mask."""

import math
from dataclasses import asdict, dataclass

import numpy as np

from lits_seg.metrics.detection import OVERLAPS, detection, detection_by_size, match_lesions
from lits_seg.metrics.froc import froc
from lits_seg.metrics.lesions import Box, box_around, boxes_and_sizes, components, label_box
from lits_seg.metrics.overlap import LOWEST_LABEL, case_scores, liver_predicted
from lits_seg.metrics.scores import (
    CaseScores,
    Detection,
    DetectionBySize,
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
    predicted: np.ndarray,
    reference: np.ndarray,
    spacing: Spacing,
    case: str = "",
    voxel_ml: float | None = None,
    probability: np.ndarray | None = None,
) -> CaseScores:
    """Score a patient's predicted mask against the reference.

    Args:
        predicted: LiTS labels ``(S, H, W)`` uint8.
        reference: LiTS labels ``(S, H, W)`` uint8.
        spacing: size of a voxel in mm along x (W), y (H), z (S).
        case: name of the patient.
        voxel_ml: volume of a voxel in mL (``Grid.voxel_ml``); None: the product of the sides in ``spacing``.
        probability: the lesion's probability scaled to 0…255, ``(S, H, W)`` uint8; None: no FROC.

    Returns:
        All scores; a score that is not defined for this patient is NaN.
    """
    volume = box_ml(spacing) if voxel_ml is None else voxel_ml
    curve = None if probability is None else froc(probability, reference, volume)
    # Far fewer voxels: the liver, with its lesions, takes a tenth of a CT.
    around = _box(predicted, reference, LOWEST_LABEL["liver"])
    predicted, reference = predicted[around], reference[around]
    lesion = count_voxels(predicted, reference, LOWEST_LABEL["lesion"])
    liver = count_voxels(predicted, reference, LOWEST_LABEL["liver"])
    has_liver = bool(liver_predicted(lesion, liver))
    found, by_size, lesions = _lesions(predicted, reference, spacing, volume, around[0].start)
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
        by_size=by_size,
        froc=curve,
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
    predicted: np.ndarray, reference: np.ndarray, spacing: Spacing, voxel_ml: float, lowest_slice: int
) -> tuple[Detection, DetectionBySize, tuple[LesionScores, ...]]:
    around = _box(predicted, reference, 2)
    references, reference_count = components(reference[around] == 2)
    predictions, prediction_count = components(predicted[around] == 2)
    reference_boxes, reference_sizes = boxes_and_sizes(references, voxel_ml)
    prediction_boxes, prediction_sizes = boxes_and_sizes(predictions, voxel_ml)
    pairs = match_lesions(references, predictions)
    first = lowest_slice + around[0].start
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
                first_slice=first + box[0].start,
                last_slice=first + box[0].stop - 1,
                reference_ml=float(true.sum() * voxel_ml),
                predicted_ml=float(found.sum() * voxel_ml),
                **asdict(scores),
            )
        )
    over_half, over_zero = (detection(pairs, prediction_count, overlap) for overlap in OVERLAPS)
    found_lesions = Detection(reference_count, prediction_count, over_half, over_zero)
    return found_lesions, detection_by_size(pairs, reference_sizes, prediction_sizes), tuple(rows)


def _liver(
    predicted: np.ndarray, reference: np.ndarray, spacing: Spacing, counts: VoxelCounts, has_liver: bool
) -> LiverScores:
    scores = Quality()
    if has_liver and counts.reference:
        scores = quality(predicted >= 1, reference >= 1, spacing)
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
