"""Where voxels are: the file's grid, and the one orientation that all axial slices have here.

Slices ``(S, H, W)``: the first is the lowest, row 0 is anterior, column 0 is the patient's right (as a radiologist
sees it), to the nearest axis where the file's axes are oblique.
"""

from dataclasses import dataclass
from itertools import product

import nibabel as nib
import numpy as np
from nibabel.affines import apply_affine, voxel_sizes
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)

from lits_seg.metrics.lesions import voxel_ml

SLICES_ORIENTATION = axcodes2ornt(("L", "P", "S"))


@dataclass(frozen=True)
class Grid:
    """Where a file's voxels are: its affine (RAS+, mm) and its shape."""

    affine: np.ndarray
    shape: tuple[int, ...]

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along the slices' axes: along W, along H, along S."""
        x, y, z = voxel_sizes(self.affine)[reorientation(self.affine)[:, 0].argsort()].tolist()
        return x, y, z

    @property
    def voxel_ml(self) -> float:
        """A voxel's volume in mL."""
        return voxel_ml(self.affine)

    @property
    def slices_affine(self) -> np.ndarray:
        """Brings ``(column, row, slice)`` to mm, as the affine brings the file's own voxels."""
        return self.affine @ inv_ornt_aff(reorientation(self.affine), self.shape)

    @property
    def corners(self) -> np.ndarray:
        """The places of the eight corner voxels in mm, in the order of the slices' axes."""
        width, height, depth = (self.shape[axis] for axis in reorientation(self.affine)[:, 0].argsort())
        ends = np.array(list(product((0, width - 1), (0, height - 1), (0, depth - 1))))
        return apply_affine(self.slices_affine, ends)

    def __str__(self) -> str:
        shape = "×".join(str(n) for n in self.shape)
        spacing = "×".join(f"{size:.4g}" for size in voxel_sizes(self.affine))
        origin = ", ".join(f"{x:.4g}" for x in self.affine[:3, 3])
        return f"{shape} voxels, {''.join(nib.aff2axcodes(self.affine))}, {spacing} mm, first at {origin} mm"


def same_place(one: Grid, other: Grid) -> bool:
    """Whether both headers put the corners of the slices at the same places, to a tenth of a voxel."""
    return np.allclose(one.corners, other.corners, rtol=0, atol=0.1 * min(one.spacing))


def to_slices(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A file's array ``(X, Y, Z)`` as axial slices ``(S, H, W)``: axes swapped and flipped, never resampled."""
    return np.ascontiguousarray(view_slices(array, affine))


def view_slices(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """``to_slices`` without a copy: what is written into the slices is written into the array."""
    return apply_orientation(array, reorientation(affine)).transpose(2, 1, 0)


def from_slices(slices: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The inverse of ``to_slices``: axial slices ``(S, H, W)`` back on the file's own grid, voxel for voxel."""
    back = ornt_transform(SLICES_ORIENTATION, io_orientation(affine))
    return np.ascontiguousarray(apply_orientation(slices.transpose(2, 1, 0), back))


def reorientation(affine: np.ndarray) -> np.ndarray:
    """From the file's axes to those of the slices, ``(x, y, z)``, as nibabel's orientations tell it."""
    return ornt_transform(io_orientation(affine), SLICES_ORIENTATION)
