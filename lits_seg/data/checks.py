"""Warn about suspicious cases; ``volumes`` rejects unreadable cases."""

from dataclasses import dataclass
from pathlib import Path

import cc3d
import nibabel as nib
import numpy as np

from lits_seg.data.burden import Burden, burden
from lits_seg.data.grid import Grid, short_affine
from lits_seg.data.layouts import Case
from lits_seg.data.volumes import Volume
from lits_seg.metrics.lesions import dilate, label_box

# Outside this range, the labels do not mark the liver or the voxels are not in HU (fat: -100, contrast-enhanced liver:
# 60 to 200).
LIVER_HU = (-20, 250)
SPACING_MM = (0.3, 10.0)  # outside this range, the header is probably wrong
HIGHEST_HU = 4000  # 12 bits end at 3071; only metal on an extended scale is higher


@dataclass(frozen=True)
class CaseCheck:
    """Facts about a readable case, and warnings.

    Args:
        orientation: axes of the image file, such as ``LPS``.
        hu: lowest and highest HU.
        liver_hu: median of the liver in HU, from every eighth voxel; None if there is no liver.
        voxels: number of background, liver and lesion voxels.
        lesion_outside: share of lesion voxels in connected components without an adjacent liver voxel.
        warnings: messages, each starting with the path of the file.
        liver_enclosed: whether there is more lesion than liver, and the lesion encloses the liver.
        cut: share of the body that the network's images do not show, if that is worth a warning, see ``crop``.
    """

    orientation: str
    hu: list[float]
    liver_hu: float | None
    voxels: list[int]
    lesion_outside: float
    warnings: list[str]
    liver_enclosed: bool = False
    cut: float = 0.0

    @property
    def burden(self) -> Burden:
        """The voxels of liver and lesion."""
        return Burden(self.voxels[1], self.voxels[2], self.liver_enclosed)


def check_case(case: Case, image: Volume, label: Volume) -> CaseCheck:
    """Collect facts about a case, and warnings.

    Args:
        case: the paths that warnings name.
        image: the CT.
        label: its labels.
    """
    found = burden(label.slices)
    counts = [found.liver, found.lesion]
    liver = image.slices[::2, ::2, ::2][label.slices[::2, ::2, ::2] == 1]
    lowest, highest = float(image.slices.min()), float(image.slices.max())
    median = float(np.median(liver)) if liver.size else None
    outside = _outside(label.slices) / counts[1] if counts[1] else 0.0
    return CaseCheck(
        orientation="".join(nib.aff2axcodes(image.affine)),
        hu=[lowest, highest],
        liver_hu=median,
        voxels=[label.slices.size - sum(counts), *counts],
        lesion_outside=outside,
        warnings=[
            *grid_warnings(case.image, image),
            *_label_grid_warnings(case, image, label),
            *hu_warnings(case.image, lowest, highest),
            *([f"{case.image}: every voxel is {lowest:g} HU"] if lowest == highest else []),
            *_label_warnings(case, median, outside),
        ],
        liver_enclosed=found.enclosed,
    )


def grid_warnings(path: Path, grid: Grid) -> list[str]:
    """Warn if a header lacks voxel size and position, contradicts itself, or has an unlikely voxel size.

    Args:
        path: the CT or mask, which warnings name.
        grid: the grid in its header.

    Returns:
        The warnings, an empty list if there is none.
    """
    doubts = doubt_warnings(path, grid)
    if np.array_equal(grid.affine, np.eye(4)):
        return [*doubts, f"{path}: identity affine; orientation and spacing are unknown (do not use mm and mL)"]
    if np.allclose(grid.spacing, 1, rtol=0, atol=1e-6):
        return [*doubts, f"{path}: spacing 1×1×1 mm, untypical of CT; it is probably missing (do not use mm and mL)"]
    if not all(SPACING_MM[0] <= size <= SPACING_MM[1] for size in grid.spacing):
        sizes = "×".join(f"{size:.3g}" for size in grid.spacing)
        return [*doubts, f"{path}: spacing {sizes} mm; expected {SPACING_MM[0]} to {SPACING_MM[1]} mm"]
    return doubts


def doubt_warnings(path: Path, grid: Grid) -> list[str]:
    """Return a warning for each reason why orientation, position or unit in a header may be wrong.

    Args:
        path: the CT or mask, which warnings name.
        grid: the grid in its header.
    """
    return [f"{path}: {doubt}" for doubt in grid.doubts]


def hu_warnings(path: Path, lowest: float, highest: float) -> list[str]:
    """Warn if the range of the voxels is untypical of a CT.

    Args:
        path: the CT, which warnings name.
        lowest: lowest HU.
        highest: highest HU.

    Returns:
        The warnings, an empty list if there is none.
    """
    if lowest >= 0 and highest > 255:
        return [
            f"{path}: lowest HU is {lowest:g}; an offset of 1024 was probably not applied, or this is not a CT (MR)"
        ]
    if highest > HIGHEST_HU:
        return [f"{path}: highest HU is {highest:g}; expected at most {HIGHEST_HU} (metal, or values that are not HU)"]
    if lowest > -200:
        return [f"{path}: HU {lowest:g} to {highest:g}, no air; the CT is cropped or windowed, or is not a CT"]
    return []


def _label_grid_warnings(case: Case, image: Volume, label: Volume) -> list[str]:
    doubts = doubt_warnings(case.label, label.header_grid or label)
    if label.header_grid is None:
        return doubts
    return [
        *doubts,
        f"{case.label}: affine differs from the image's (image {short_affine(image.affine)}, labels "
        f"{short_affine(label.header_grid.affine)}); the image's grid is used for the labels",
    ]


def _label_warnings(case: Case, liver_hu: float | None, lesion_outside: float) -> list[str]:
    found = []
    if liver_hu is None:
        found.append(f"{case.label}: no liver")
    elif not LIVER_HU[0] <= liver_hu <= LIVER_HU[1]:
        found.append(
            f"{case.image}: median of the liver {liver_hu:g} HU; expected {LIVER_HU[0]} to {LIVER_HU[1]} HU (an "
            "offset was not applied, or the labels do not mark the liver)"
        )
    if lesion_outside > 0:
        found.append(f"{case.label}: {lesion_outside:.2%} of the lesion voxels are not connected to the liver")
    return found


def _outside(label: np.ndarray) -> int:
    """Count the lesion voxels in connected components without an adjacent liver voxel."""
    box = label_box(label, 2)
    if box is None:
        return 0
    near = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in box)
    lesion = label[near] == 2
    pieces, count = cc3d.connected_components(lesion, connectivity=26, return_N=True, binary_image=True)
    touched = np.unique(pieces[dilate(label[near] == 1) & lesion])
    apart = np.ones(count + 1, bool)
    apart[[0, *touched]] = False
    return int(np.count_nonzero(apart[pieces]))
