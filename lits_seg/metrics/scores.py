"""Records of one patient's scores, as ``result.json`` and ``evaluation.json`` contain them.

NaN means that a score is not defined for this patient. JSON files contain null instead.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

# A whole number for a single run, but not always for the mean of several seeds.
Count = int | float

IOU_OVER_HALF = "iou>0.5"
IOU_OVER_ZERO = "iou>0"
SIZES = ("<10mm", "10-20mm", ">20mm")  # classes of the diameter, see ``lesions.size_class``


class VoxelCounts(NamedTuple):
    """Voxels of a structure: in both masks, in the prediction, in the reference."""

    both: Count
    predicted: Count
    reference: Count


@dataclass(frozen=True)
class Voxels:
    """Voxel counts of each structure; lesions also count as liver."""

    lesion: VoxelCounts
    liver: VoxelCounts


@dataclass(frozen=True)
class Overlap:
    """Overlap of the reference A and the prediction B, without unit, in [0, 1].

    Args:
        dice: 2|A∩B| / (|A| + |B|).
        jaccard: |A∩B| / |A∪B|, which the paper's text calls Dice.
        paper_symbols: |A∩B| / |B|, which the paper's formula says.
        voe: volumetric overlap error, 1 - jaccard.
    """

    dice: float
    jaccard: float
    paper_symbols: float
    voe: float


@dataclass(frozen=True)
class LiverScores(Overlap):
    """Overlap, relative volume difference and surface distances of the liver with its lesions.

    If the prediction contains no voxel of value 1, no liver was predicted. Then all overlaps are 0, ``voe`` is 1, and
    the other scores are NaN.

    Args:
        rvd: relative volume difference, (|B| - |A|) / |A|.
        assd: mean surface distance in mm.
        rmsd: root mean square surface distance in mm.
        msd: maximum surface distance in mm.
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
    """Detection of lesions.

    Args:
        references: number of lesions in the reference.
        predictions: number of lesions in the prediction.
        over_half: counts if an IoU above 0.5 means found.
        over_zero: counts if any overlap means found.
    """

    references: Count
    predictions: Count
    over_half: DetectionCounts = field(metadata={"key": IOU_OVER_HALF})
    over_zero: DetectionCounts = field(metadata={"key": IOU_OVER_ZERO})

    def by_overlap(self) -> dict[str, DetectionCounts]:
        """Return the counts for each threshold, by its name."""
        return {IOU_OVER_HALF: self.over_half, IOU_OVER_ZERO: self.over_zero}


@dataclass(frozen=True)
class DetectionBySize:
    """Detection of the lesions of each size class (see ``lesions.size_class``).

    ``references``, ``tp`` and ``fn`` count reference lesions of the class; ``predictions`` and ``fp`` count predicted
    lesions of the class.

    Args:
        small: lesions with a diameter below 10 mm.
        medium: lesions with a diameter from 10 to 20 mm.
        large: lesions with a diameter above 20 mm.
    """

    small: Detection = field(metadata={"key": SIZES[0]})
    medium: Detection = field(metadata={"key": SIZES[1]})
    large: Detection = field(metadata={"key": SIZES[2]})

    def by_size(self) -> dict[str, Detection]:
        """Return the detection of each class, by its name in ``SIZES``."""
        return dict(zip(SIZES, (self.small, self.medium, self.large), strict=True))


FrocCounts = tuple[Count, Count, Count, Count]


@dataclass(frozen=True)
class Froc:
    """Detection in masks that are cut from a probability map at several thresholds, see ``froc.froc``.

    A row contains the found reference lesions of each size class, smallest first, and the false lesions of all sizes.

    Args:
        thresholds: lowest probability of a lesion's voxels in each mask.
        over_half: a row for each threshold, if an IoU above 0.5 means found.
        over_zero: a row for each threshold, if any overlap means found.
    """

    thresholds: tuple[float, ...]
    over_half: tuple[FrocCounts, ...] = field(metadata={"key": IOU_OVER_HALF})
    over_zero: tuple[FrocCounts, ...] = field(metadata={"key": IOU_OVER_ZERO})

    def by_overlap(self) -> dict[str, tuple[FrocCounts, ...]]:
        """Return the rows for each threshold of the IoU, by its name."""
        return {IOU_OVER_HALF: self.over_half, IOU_OVER_ZERO: self.over_zero}


@dataclass(frozen=True)
class LesionScores:
    """Scores of a reference lesion, or of several merged ones, and the predicted lesions matched with it.

    All scores after ``predicted_ml`` are NaN unless ``iou`` is above 0.5.

    Args:
        merged_references: number of reference lesions that are merged.
        merged_predictions: number of predicted lesions that are matched; 0 if the lesion was missed.
        iou: intersection over union of reference and prediction, in [0, 1].
        first_slice: lowest axial slice that shows reference or prediction; slice 0 is the lowest of the volume.
        last_slice: highest axial slice that shows reference or prediction.
        reference_ml: volume in mL of the reference.
        predicted_ml: volume in mL of the prediction.
        dice: see ``Overlap``; here of this lesion alone.
        jaccard: see ``Overlap``.
        voe: see ``Overlap``.
        rvd: see ``LiverScores``.
        assd: see ``LiverScores``, in mm.
        rmsd: see ``LiverScores``, in mm.
        msd: see ``LiverScores``, in mm.
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
    """Tumour burden: lesion voxels / liver voxels, in [0, 1]; NaN without a liver.

    Args:
        reference: tumour burden of the reference.
        predicted: tumour burden of the prediction.
        error: ``predicted`` - ``reference``.
    """

    reference: float
    predicted: float
    error: float


@dataclass(frozen=True)
class CaseScores:
    """All scores of one patient.

    Args:
        case: name of the patient.
        spacing: size of a voxel in mm along x (columns), y (rows), z (slices).
        voxels: voxel counts of lesions and liver.
        lesion: overlap of all lesions together.
        detection: found, false and missed lesions.
        lesions: scores of each reference lesion; merged lesions share an entry.
        liver: scores of the liver with its lesions.
        tumour_burden: tumour burden of both masks.
        voxel_ml: volume of a voxel in mL; NaN in files of earlier versions (``read_result`` fills it in).
        by_size: found, false and missed lesions by diameter; None in files of earlier versions.
        froc: detection at several thresholds of the lesion's probability; None without a probability map.
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
    by_size: DetectionBySize | None = None
    froc: Froc | None = None


def flat_case(case: CaseScores) -> dict[str, Any]:
    """Return one patient's scores as a table row: columns are named ``part_score``; volumes are in mL."""
    row: dict[str, Any] = {"case": case.case}
    for part, voxels, scores in (("lesion", case.voxels.lesion, case.lesion), ("liver", case.voxels.liver, case.liver)):
        row[f"{part}_reference_ml"] = voxels.reference * case.voxel_ml
        row[f"{part}_predicted_ml"] = voxels.predicted * case.voxel_ml
        row |= {f"{part}_{name}": value for name, value in asdict(scores).items()}
    row |= {"lesions_references": case.detection.references, "lesions_predictions": case.detection.predictions}
    for overlap, counts in case.detection.by_overlap().items():
        row |= {f"{name}_{overlap}": count for name, count in asdict(counts).items()}
    return row | {f"tumour_burden_{name}": value for name, value in asdict(case.tumour_burden).items()}
