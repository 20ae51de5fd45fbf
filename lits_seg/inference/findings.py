"""What a mask says in numbers: the report beside it."""

from typing import Any

import nibabel as nib
import numpy as np

from lits_seg import RESEARCH_USE
from lits_seg.data.checks import grid_warnings, hu_warnings
from lits_seg.data.ct import Ct
from lits_seg.data.layouts import is_phantom
from lits_seg.metrics.lesions import measure

DEFINITIONS = (
    "lesions: pieces that connect by faces; diameter: the largest distance, in 3-D, between two points of the "
    "surface; liver: with its lesions; tumour burden: lesion / liver; centre: RAS+; slices: from 0, the lowest"
)
NO_DEVICE = f"{RESEARCH_USE} Not a medical device: nothing here may guide the care of a patient."


def findings(ct: Ct, labels: np.ndarray, hu: tuple[float, float], liver_known: bool) -> dict[str, Any]:
    """Lesions with volume (mL), largest diameter (mm) and place, the 1,000 largest; liver and burden where known.

    ``labels``: LiTS's, ``(S, H, W)`` on the CT's slices; ``hu``: the CT's lowest and highest value.
    """
    count, lesions = measure(labels, ct.slices_affine, ct.voxel_ml)
    lesion_ml = sum(int(np.count_nonzero(part == 2)) for part in labels) * ct.voxel_ml
    liver_ml = sum(int(np.count_nonzero(part)) for part in labels) * ct.voxel_ml if liver_known else None
    return {
        "research_use_only": NO_DEVICE,
        "ct": str(ct.path),
        "synthetic": is_phantom(ct.path.parent) or None,  # None: not known
        "shape": list(ct.shape),
        "spacing_mm": list(ct.spacing),
        "axes": "".join(nib.aff2axcodes(ct.affine)),
        "hu": list(hu),
        "warnings": [*grid_warnings(ct.path, ct), *hu_warnings(ct.path, *hu)],
        "lesion_count": count,
        "lesion_ml": lesion_ml,
        "liver_ml": liver_ml,
        "tumour_burden": lesion_ml / liver_ml if liver_ml else None,
        "largest_diameter_mm": max((lesion.diameter_mm for lesion in lesions), default=None),
        "lesions": [
            {
                "number": number,
                "volume_ml": lesion.volume_ml,
                "diameter_mm": lesion.diameter_mm,
                "slices": list(lesion.slices),
                "largest_in_slice": lesion.largest,
                "centre_mm": list(lesion.centre_mm),
            }
            for number, lesion in enumerate(lesions, start=1)
        ],
        "definitions": DEFINITIONS,
    }


def one_line(name: str, report: dict[str, Any]) -> str:
    """The report for a terminal."""
    count = report["lesion_count"]
    parts = [f"{count} lesion{'s' * (count != 1)}, {report['lesion_ml']:.1f} mL"]
    if count:
        parts.append(f"largest {report['largest_diameter_mm']:.0f} mm")
    if report["liver_ml"] is not None:
        parts.append(f"liver {report['liver_ml']:.0f} mL")
    if report["tumour_burden"] is not None:
        parts.append(f"burden {report['tumour_burden']:.1%}")
    return f"{name}{' (synthetic CT)' * bool(report['synthetic'])}: {', '.join(parts)}"
