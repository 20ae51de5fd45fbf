"""Warn about CTs unlike those that the networks are trained for: livers of adults, with contrast medium in the veins.

The limits were derived from 21 patients of LiTS (0 to 12, 14 to 16, 18, 22, 23, 48, 50), the healthy scan 3 of CHAOS,
and two CTs of TotalSegmentator (TS): a NIfTI file without contrast medium, and 20 slices of a DICOM series.
"""

import numpy as np

from lits_seg.data.checks import SPACING_MM
from lits_seg.data.crop import BODY_HU
from lits_seg.data.ct import Ct

CONTRAST_HU = (60, 200)  # median without lesions: LiTS 64 to 125, CHAOS 143, TS 93; without contrast medium 46
LIVER_ML = (300, 6000)  # LiTS 1,252 to 3,144; less remains only after a large resection
LIVER_MM = 100  # height of a CT that may show a whole liver: those of LiTS are 130 to 190 mm high
CUT = 0.4  # area of the liver in an end slice / largest area: LiTS at most 0.33; cut livers of TS 0.85 and more
BODY_CM2 = 250  # median cross-section: LiTS, CHAOS and TS 530 and more; a head has 230, a leg less
AIR_HU, LEAST_AIR = -500, 0.001  # share of the voxels: CHAOS and TS 0.38 and more
SLICE_MM = 8  # LiTS at most 6.5
PIXEL_MM = 2.5  # LiTS, CHAOS and the series of TS at most 1.0; 2.5 mm are half a lesion of 5 mm
FEWEST = 10  # slices
SAMPLE, STEP = 40, 4  # slices that are read again, evenly spaced; of their rows and columns, each fourth


def scope_warnings(ct: Ct, labels: np.ndarray, liver_ml: float | None, lowest: float) -> list[str]:
    """Warn if a CT or the liver found in it is unlike those that the networks are trained for.

    Args:
        ct: the CT.
        labels: LiTS labels ``(S, H, W)``.
        liver_ml: volume of the liver in mL, including its lesions; None if the liver is unknown.
        lowest: lowest HU of the CT.

    Returns:
        The warnings, an empty list if there is none.
    """
    chosen = np.unique(np.linspace(0, len(ct) - 1, SAMPLE).astype(int))
    thin = np.stack([ct.slices(index, index + 1)[0, ::STEP, ::STEP] for index in chosen.tolist()])
    found = [*_grid(ct), *_content(ct, thin, lowest)]
    if liver_ml is not None:
        found += _liver(ct, labels, chosen, thin, liver_ml)
    return [f"{ct.path}: {text}" for text in found]


def _grid(ct: Ct) -> list[str]:
    """Warn about voxel sizes that are too large; ``grid_warnings`` warns about those above ``SPACING_MM``."""
    found = []
    pixel, slice_mm = max(ct.pixel_mm), ct.spacing[2]
    if SLICE_MM < slice_mm <= SPACING_MM[1]:
        found.append(f"slices of {slice_mm:.3g} mm; expected at most {SLICE_MM} mm (small lesions lie in no slice)")
    if PIXEL_MM < pixel <= SPACING_MM[1]:
        found.append(f"pixels of {pixel:.3g} mm; expected at most {PIXEL_MM} mm (small lesions are blurred)")
    if _is_short(ct):
        count = "1 slice, " if len(ct) == 1 else f"{len(ct)} slices, together "
        needed = f"a whole liver needs {LIVER_MM} mm and {FEWEST} slices"
        found.append(f"{count}{len(ct) * slice_mm:.0f} mm high; {needed}")
    return found


def _is_short(ct: Ct) -> bool:
    return len(ct) < FEWEST or len(ct) * ct.spacing[2] < LIVER_MM


def _content(ct: Ct, thin: np.ndarray, lowest: float) -> list[str]:
    """Warn about sampled slices without air or with a small body.

    Args:
        ct: the CT.
        thin: sampled voxels in HU, ``(slices, rows, columns)``.
        lowest: lowest HU of the CT; ``hu_warnings`` warns if it is above -200.
    """
    found = []
    air = np.mean(thin < AIR_HU)
    if air < LEAST_AIR and lowest <= -200:
        found.append(f"{air:.2%} air (below {AIR_HU} HU); the image is cropped, or is not a CT in HU")
    pixel_cm2 = ct.pixel_mm[0] * ct.pixel_mm[1] * STEP**2 / 100
    body = float(np.median(np.count_nonzero(thin > BODY_HU, axis=(1, 2)))) * pixel_cm2
    if body < BODY_CM2:
        text = f"median cross-section of the body {body:.0f} cm²; an adult's abdomen has {BODY_CM2} cm² or more"
        found.append(f"{text} (this is a head, a leg, a child, or a crop)")
    return found


def _liver(ct: Ct, labels: np.ndarray, chosen: np.ndarray, thin: np.ndarray, liver_ml: float) -> list[str]:
    """Warn about a liver that is missing, cut, of an unusual size, or without contrast medium.

    Args:
        ct: the CT.
        labels: LiTS labels ``(S, H, W)``.
        chosen: indices of the sampled slices, including the first and last one.
        thin: their voxels in HU, ``(slices, rows, columns)``.
        liver_ml: volume of the liver in mL, including its lesions.
    """
    if liver_ml == 0:
        return ["no liver was found; the CT may show another part of the body, or may not be a CT in HU"]
    found = []
    areas = [np.count_nonzero(labels[index]) for index in chosen.tolist()]
    ends = [name for name, area in (("lowest", areas[0]), ("highest", areas[-1])) if area > CUT * max(areas)]
    if ends and not _is_short(ct):
        found.append(f"the liver is large in the {' and '.join(ends)} slice; a part of it is outside of the CT")
    elif liver_ml < LIVER_ML[0] and not _is_short(ct):
        found.append(f"only {liver_ml:.0f} mL of liver were found; the CT may show another part of the body")
    if liver_ml > LIVER_ML[1]:
        found.append(f"{liver_ml:.0f} mL of liver were found; expected at most {LIVER_ML[1]} mL")
    parts = zip(chosen.tolist(), thin, strict=True)
    hu = np.concatenate([part[labels[index, ::STEP, ::STEP] == 1] for index, part in parts])
    median = float(np.median(hu)) if hu.size else CONTRAST_HU[0]
    if not CONTRAST_HU[0] <= median <= CONTRAST_HU[1]:
        reason = "no contrast medium, or a fatty liver" if 0 < median < CONTRAST_HU[0] else "not a CT in HU"
        low, high = CONTRAST_HU
        found.append(f"median of the liver {median:.0f} HU; expected {low} to {high} HU (probably {reason})")
    return found
