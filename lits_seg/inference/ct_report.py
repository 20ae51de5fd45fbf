"""Measure a mask, and make the report that is saved next to the mask."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from lits_seg.common.records import as_plain
from lits_seg.data.checks import grid_warnings, hu_warnings
from lits_seg.data.ct import Ct
from lits_seg.data.layouts import is_phantom
from lits_seg.inference.scope import scope_warnings
from lits_seg.inference.segmenter import ModelFacts, RunSettings, Segmenter
from lits_seg.metrics.lesions import measure
from lits_seg.postprocess import Rules
from lits_seg.runs.provenance import PERMITTED_USE, provenance

DEFINITIONS = (
    "lesions: connected components (voxels that share a face); diameter: largest distance in 3-D between two points of "
    "the surface; liver: including its lesions; tumour burden: lesion / liver; centre: RAS+; slices: from 0, the lowest"
)


@dataclass(frozen=True)
class PredictionSettings(RunSettings):
    """The settings of inference, the rules, and the path of the given liver masks (None: no path was given)."""

    rules: Rules
    liver: str | None


@dataclass(frozen=True)
class MadeBy:
    """The code, the network and the settings that produced a mask."""

    lits_seg: str
    git_commit: str | None
    model: ModelFacts
    settings: PredictionSettings


@dataclass(frozen=True)
class LesionRow:
    """A lesion in a report.

    Args:
        number: rank by size; 1 is the largest lesion.
        volume_ml: volume in mL.
        diameter_mm: largest diameter in mm.
        slices: indices of the first and last slice with the lesion; 0 is the lowest slice.
        largest_in_slice: index of the slice with the most voxels of the lesion.
        centre_mm: centre in mm (RAS+).
    """

    number: int
    volume_ml: float
    diameter_mm: float
    slices: tuple[int, int]
    largest_in_slice: int
    centre_mm: tuple[float, float, float]


@dataclass(frozen=True)
class CtReport:
    """The findings in a CT, the content of its JSON file.

    Args:
        research_use_only: statement of the permitted use.
        ct: path of the CT.
        synthetic: True for a phantom; None: unknown.
        shape: shape of the CT in voxels, in the order of its file.
        spacing_mm: voxel size in mm along the columns, rows and normal of the slices.
        axes: orientation of the CT's file, such as ``LPS``.
        hu: lowest and highest HU.
        warnings: warnings about the CT's header or values, and about a CT unlike those that the networks know.
        lesion_count: number of all lesions.
        lesion_ml: volume of all lesions in mL.
        liver_ml: volume of the liver in mL, including its lesions; None if the liver is unknown.
        tumour_burden: lesion volume / liver volume; None if the liver is unknown or empty.
        largest_diameter_mm: diameter of the largest lesion in mm; None if there is no lesion.
        lesions: the largest lesions, at most 1,000.
        definitions: definitions of the quantities.
        mask: file name of the mask.
        lits_seg: version of the package.
        git_commit: commit of the code; None if the package is not in a git checkout.
        model: facts about the network.
        settings: settings of inference.
    """

    research_use_only: str
    ct: str
    synthetic: bool | None
    shape: tuple[int, ...]
    spacing_mm: tuple[float, float, float]
    axes: str
    hu: tuple[float, float]
    warnings: list[str]
    lesion_count: int
    lesion_ml: float
    liver_ml: float | None
    tumour_burden: float | None
    largest_diameter_mm: float | None
    lesions: list[LesionRow]
    definitions: str
    mask: str
    lits_seg: str
    git_commit: str | None
    model: ModelFacts
    settings: PredictionSettings

    def plain(self) -> dict[str, Any]:
        """Return the report as dicts and lists; ``exported`` and ``card`` are omitted if there is none."""
        plain = as_plain(self)
        for name in ("exported", "card"):
            if plain["model"][name] is None:
                del plain["model"][name]
        return plain


def made_by(segmenter: Segmenter, rules: Rules, liver: str | Path | None) -> MadeBy:
    """Describe the code, the network and the settings of a prediction.

    Args:
        segmenter: segmenter that predicts the labels.
        rules: rules applied to its mask.
        liver: path of a liver mask or of a folder with liver masks; None: no liver mask is given.
    """
    code = provenance()
    settings = PredictionSettings(
        **asdict(segmenter.settings()), rules=rules, liver=None if liver is None else str(liver)
    )
    return MadeBy(code.lits_seg, code.git_commit, segmenter.model(), settings)


def ct_report(
    ct: Ct, labels: np.ndarray, hu: tuple[float, float], liver_known: bool, mask: str, made_by: MadeBy
) -> CtReport:
    """Measure the lesions in a mask: volume (mL), largest diameter (mm) and position.

    Args:
        ct: the CT.
        labels: LiTS labels ``(S, H, W)`` of the CT's slices.
        hu: lowest and highest HU of the CT.
        liver_known: whether the mask includes the liver (label 1).
        mask: file name of the mask.
        made_by: code, network and settings that produced the mask.
    """
    count, lesions = measure(labels, ct.slices_affine, ct.voxel_ml)
    lesion_ml = sum(int(np.count_nonzero(part == 2)) for part in labels) * ct.voxel_ml
    liver_ml = sum(int(np.count_nonzero(part)) for part in labels) * ct.voxel_ml if liver_known else None
    return CtReport(
        research_use_only=PERMITTED_USE,
        ct=str(ct.path),
        synthetic=is_phantom(ct.path.parent) or None,
        shape=tuple(ct.shape),
        spacing_mm=ct.spacing,
        axes="".join(nib.aff2axcodes(ct.affine)),
        hu=hu,
        warnings=[
            *grid_warnings(ct.path, ct),
            *hu_warnings(ct.path, *hu),
            *scope_warnings(ct, labels, liver_ml, lowest=hu[0]),
        ],
        lesion_count=count,
        lesion_ml=lesion_ml,
        liver_ml=liver_ml,
        tumour_burden=lesion_ml / liver_ml if liver_ml else None,
        largest_diameter_mm=max((lesion.diameter_mm for lesion in lesions), default=None),
        lesions=[
            LesionRow(number, found.volume_ml, found.diameter_mm, found.slices, found.largest, found.centre_mm)
            for number, found in enumerate(lesions, start=1)
        ],
        definitions=DEFINITIONS,
        mask=mask,
        lits_seg=made_by.lits_seg,
        git_commit=made_by.git_commit,
        model=made_by.model,
        settings=made_by.settings,
    )


def one_line(name: str, report: CtReport) -> str:
    """Summarise a report for the terminal.

    Args:
        name: name of the mask.
        report: report on the CT.
    """
    lesions = "1 lesion" if report.lesion_count == 1 else f"{report.lesion_count} lesions"
    parts = [f"{lesions}, {report.lesion_ml:.1f} mL"]
    if report.largest_diameter_mm is not None:
        parts.append(f"largest {report.largest_diameter_mm:.0f} mm")
    if report.liver_ml is not None:
        parts.append(f"liver {report.liver_ml:.0f} mL")
    if report.tumour_burden is not None:
        parts.append(f"burden {report.tumour_burden:.1%}")
    synthetic = " (synthetic CT)" if report.synthetic else ""
    return f"{name}{synthetic}: {', '.join(parts)}"
