"""The scores of one patient, as records: written to ``result.json`` and ``evaluation.json``, read from both.

NaN means that a score is not defined for this patient; JSON has null in its place.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

# Whole for a single run; the mean of several seeds need not be.
Count = int | float

IOU_OVER_HALF, IOU_OVER_ZERO = "iou>0.5", "iou>0"


class VoxelCounts(NamedTuple):
    """Numbers of voxels of a structure: in both masks, in the prediction, in the reference."""

    both: Count
    predicted: Count
    reference: Count


@dataclass(frozen=True)
class Voxels:
    """Voxels of each structure. Lesions belong to the liver."""

    lesion: VoxelCounts
    liver: VoxelCounts


@dataclass(frozen=True)
class Overlap:
    """Overlap of the lesion's voxels; no unit, in [0, 1].

    Args:
        dice: 2|A∩B| / (|A| + |B|).
        jaccard: |A∩B| / |A∪B|; the paper's Dice by its words.
        paper_symbols: |A∩B| / |B| with B the prediction; the paper's Dice by its symbols.
        voe: volumetric overlap error, 1 - jaccard.
    """

    dice: float
    jaccard: float
    paper_symbols: float
    voe: float


@dataclass(frozen=True)
class LiverScores(Overlap):
    """Overlap of the liver, its relative volume difference and the distances between both surfaces.

    Without a voxel of value 1 in the prediction no liver was predicted: overlaps are 0, ``voe`` is 1, the rest NaN.

    Args:
        rvd: (|P| - |R|) / |R|.
        assd: mean surface distance in mm.
        rmsd: root mean square surface distance in mm.
        msd: largest surface distance in mm.
    """

    rvd: float
    assd: float
    rmsd: float
    msd: float


@dataclass(frozen=True)
class DetectionCounts:
    """Lesions found (``tp``), predicted without a reference (``fp``), and missed (``fn``)."""

    tp: Count
    fp: Count
    fn: Count


@dataclass(frozen=True)
class Detection:
    """Which lesions were found.

    Args:
        references: lesions in the reference.
        predictions: lesions in the prediction.
        over_half: counts if a lesion is found with an IoU above 0.5.
        over_zero: counts if a lesion is found with any overlap.
    """

    references: Count
    predictions: Count
    over_half: DetectionCounts = field(metadata={"key": IOU_OVER_HALF})
    over_zero: DetectionCounts = field(metadata={"key": IOU_OVER_ZERO})

    def by_overlap(self) -> dict[str, DetectionCounts]:
        """Return the counts by the name of their threshold."""
        return {IOU_OVER_HALF: self.over_half, IOU_OVER_ZERO: self.over_zero}


@dataclass(frozen=True)
class LesionScores:
    """A reference lesion, or several that LiTS merges, and the predicted lesions that belong to it.

    The scores from ``dice`` on are NaN unless ``iou`` is above 0.5.

    Args:
        merged_references: number of reference lesions merged into this one.
        merged_predictions: number of predicted lesions that belong to it; 0 if none.
        iou: intersection over union of both.
        first_slice: lowest axial slice that shows either; slice 0 is the lowest of the volume.
        last_slice: highest axial slice that shows either.
        reference_ml: volume in mL of the reference.
        predicted_ml: volume in mL of the prediction.
        dice: as in ``Overlap``, of this lesion alone; so are ``jaccard`` and ``voe``.
        rvd: as in ``LiverScores``; so are the distances ``assd``, ``rmsd`` and ``msd`` in mm.
    """

    merged_references: int
    merged_predictions: int
    iou: float
    first_slice: int
    last_slice: int
    reference_ml: float
    predicted_ml: float
    dice: float
    jaccard: float
    voe: float
    rvd: float
    assd: float
    rmsd: float
    msd: float


@dataclass(frozen=True)
class TumourBurden:
    """Lesion voxels / liver voxels; NaN without a liver. ``error`` is ``predicted`` - ``reference``."""

    reference: float
    predicted: float
    error: float


@dataclass(frozen=True)
class CaseScores:
    """All scores of one patient.

    Args:
        case: name of the patient.
        spacing: size of a voxel in mm along x (columns), y (rows), z (slices).
        voxels: counted voxels.
        lesion: overlap of all lesions together.
        detection: lesions found, false and missed.
        lesions: one entry for each reference lesion, or for several merged ones.
        liver: scores of the liver with its lesions.
        tumour_burden: lesion / liver.
        voxel_ml: volume of a voxel in mL; NaN in files of earlier versions (``read_result`` fills it in).
    """

    case: str
    spacing: tuple[float, float, float]
    voxels: Voxels
    lesion: Overlap
    detection: Detection
    lesions: tuple[LesionScores, ...]
    liver: LiverScores
    tumour_burden: TumourBurden
    voxel_ml: float = float("nan")


def flat_case(case: CaseScores) -> dict[str, Any]:
    """Return one patient as a row of a table: ``part_name``, with volumes in mL."""
    row: dict[str, Any] = {"case": case.case}
    for part, voxels, scores in (("lesion", case.voxels.lesion, case.lesion), ("liver", case.voxels.liver, case.liver)):
        row[f"{part}_reference_ml"] = voxels.reference * case.voxel_ml
        row[f"{part}_predicted_ml"] = voxels.predicted * case.voxel_ml
        row |= {f"{part}_{name}": value for name, value in asdict(scores).items()}
    row |= {"lesions_references": case.detection.references, "lesions_predictions": case.detection.predictions}
    for overlap, counts in case.detection.by_overlap().items():
        row |= {f"{name}_{overlap}": count for name, count in asdict(counts).items()}
    return row | {f"tumour_burden_{name}": value for name, value in asdict(case.tumour_burden).items()}
