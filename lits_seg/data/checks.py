"""What a person should know about a case before trusting it. What makes a case unusable, reading it refuses."""

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import scipy
from nibabel.affines import voxel_sizes

from lits_seg.data.grid import Grid
from lits_seg.data.layouts import Case
from lits_seg.data.volumes import Volume

# Beyond these, liver is not what the labels mark, or the numbers are not HU (fat: -100, contrasted liver: 60 to 200).
LIVER_HU = (-20, 250)
SPACING_MM = (0.3, 10.0)


def check_case(case: Case, image: Volume, label: Volume) -> dict[str, Any]:
    """Facts and warnings of a case that was read, for JSON.

    Returns ``orientation`` (of the image's file), ``hu`` (lowest, highest), ``liver_hu`` (median, of every eighth
    voxel), ``voxels`` (background, liver, lesion), ``lesion_outside`` (share of the lesion's voxels in pieces that
    touch no liver) and ``warnings``, each of which names its file.
    """
    counts = [int(np.count_nonzero(label.slices == value)) for value in (1, 2)]
    liver = image.slices[::2, ::2, ::2][label.slices[::2, ::2, ::2] == 1]
    facts = {
        "orientation": "".join(nib.aff2axcodes(image.affine)),
        "hu": [float(image.slices.min()), float(image.slices.max())],
        "liver_hu": float(np.median(liver)) if liver.size else None,
        "voxels": [label.slices.size - sum(counts), *counts],
        "lesion_outside": _outside(label.slices) / counts[1] if counts[1] else 0.0,
    }
    return {**facts, "warnings": [*_header_warnings(case, image, label), *_voxel_warnings(case, facts)]}


def grid_warnings(path: Path, grid: Grid) -> list[str]:
    """Where a CT's header does not tell its voxels' size and place, or tells an unlikely one."""
    if np.array_equal(grid.affine, np.eye(4)):
        return [f"{path}: identity affine; orientation and spacing are unknown (mm and mL mean nothing)"]
    if np.allclose(grid.spacing, 1, rtol=0, atol=1e-6):
        return [f"{path}: spacing 1×1×1 mm, which no scanner gives: it is probably missing (mm and mL mean nothing)"]
    if not all(SPACING_MM[0] <= size <= SPACING_MM[1] for size in grid.spacing):
        sizes = "×".join(f"{size:.3g}" for size in grid.spacing)
        return [f"{path}: spacing {sizes} mm; expected {SPACING_MM[0]} to {SPACING_MM[1]} mm"]
    return []


def hu_warnings(path: Path, lowest: float, highest: float) -> list[str]:
    """Where the voxels' range is not a CT's."""
    if lowest >= 0 and highest > 255:
        return [f"{path}: HU from {lowest:g}: an offset of 1024 was probably not applied"]
    if lowest > -200:
        return [f"{path}: HU {lowest:g} to {highest:g}: no air; cropped, windowed, or no CT"]
    return []


def _header_warnings(case: Case, image: Volume, label: Volume) -> list[str]:
    found = grid_warnings(case.image, image)
    if label.header_grid is not None:
        found.append(
            f"{case.label}: affine differs from the image's (image {_short(image.affine)}, labels "
            f"{_short(label.header_grid.affine)}); the labels are taken on the image's grid"
        )
    return found


def _voxel_warnings(case: Case, facts: dict[str, Any]) -> list[str]:
    found = hu_warnings(case.image, *facts["hu"])
    median = facts["liver_hu"]
    if median is None:
        found.append(f"{case.label}: no liver")
    elif not LIVER_HU[0] <= median <= LIVER_HU[1]:
        found.append(
            f"{case.image}: the liver's median is {median:g} HU, expected {LIVER_HU[0]} to {LIVER_HU[1]}: an offset, "
            "or labels that do not lie on the liver"
        )
    if facts["lesion_outside"] > 0:
        found.append(f"{case.label}: {facts['lesion_outside']:.2%} of the lesion's voxels lie apart from the liver")
    return found


def _outside(label: np.ndarray) -> int:
    """Lesion voxels in connected pieces without a liver voxel beside them."""
    lesion_box = scipy.ndimage.find_objects(label, max_label=2)[1:]
    if not lesion_box or lesion_box[0] is None:
        return 0
    near = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in lesion_box[0])
    lesion = label[near] == 2
    pieces, count = scipy.ndimage.label(lesion, scipy.ndimage.generate_binary_structure(3, 3))
    touched = np.unique(pieces[scipy.ndimage.binary_dilation(label[near] == 1) & lesion])
    apart = np.ones(count + 1, bool)
    apart[[0, *touched]] = False
    return int(np.count_nonzero(apart[pieces]))


def _short(affine: np.ndarray) -> str:
    codes = "".join(nib.aff2axcodes(affine))
    sizes = "×".join(f"{size:.3g}" for size in voxel_sizes(affine))
    return f"{codes} {sizes} mm at {', '.join(f'{x:.4g}' for x in affine[:3, 3])}"
