"""Define a file's grid and the common orientation of axial slices.

Axial slices ``(S, H, W)`` start with the patient's lowest slice. Row 0 is anterior, column 0 is the patient's right, as
radiologists display them. If the file's axes are oblique, each is assigned to the nearest axis of the patient.
"""

import math
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

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

from lits_seg.common.errors import InputError

HIGHEST_COUNT = 2**32  # voxels of a volume; the largest CTs have half of them
SLICES_ORIENTATION = axcodes2ornt(("L", "P", "S"))


@dataclass(frozen=True)
class Grid:
    """The position of a file's voxels.

    Args:
        affine: from voxel indices to mm (RAS+), ``(4, 4)``.
        shape: shape of the voxel array, in the order of the file.
        doubts: reasons why the affine or the voxels' unit may be wrong, such as another affine in the same header.
    """

    affine: np.ndarray
    shape: tuple[int, ...]
    doubts: tuple[str, ...] = field(default=(), kw_only=True)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Return the voxel size in mm along the axes W, H and S of the slices."""
        x, y, z = voxel_sizes(self.affine)[reorientation(self.affine)[:, 0].argsort()].tolist()
        return x, y, z

    @property
    def pixel_mm(self) -> tuple[float, float]:
        """Return the size of the slices' pixels in mm along their axes H and W."""
        x, y, _ = self.spacing
        return y, x

    @property
    def voxel_ml(self) -> float:
        """Return the volume of a voxel in mL."""
        return abs(float(np.linalg.det(self.affine[:3, :3]))) / 1000

    @property
    def slices_affine(self) -> np.ndarray:
        """Return the affine from ``(column, row, slice)`` to mm (RAS+)."""
        return self.affine @ inv_ornt_aff(reorientation(self.affine), self.shape)

    @property
    def corners(self) -> np.ndarray:
        """Return the positions of the eight corner voxels in mm, ``(8, 3)``, in the order of the slices' axes."""
        width, height, depth = (self.shape[axis] for axis in reorientation(self.affine)[:, 0].argsort())
        return place_corners(self.slices_affine, (width, height, depth))

    def __str__(self) -> str:
        shape = "×".join(str(n) for n in self.shape)
        spacing = "×".join(f"{size:.4g}" for size in voxel_sizes(self.affine))
        origin = ", ".join(f"{x:.4g}" for x in self.affine[:3, 3])
        return f"{shape} voxels, {''.join(nib.aff2axcodes(self.affine))}, {spacing} mm, first at {origin} mm"


def place_corners(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return the positions of an array's eight corner voxels in mm, ``(8, 3)``.

    Args:
        affine: from voxel indices to mm, ``(4, 4)``.
        shape: shape of the array.
    """
    return apply_affine(affine, np.array(list(product(*((0, size - 1) for size in shape)))))


def short_affine(affine: np.ndarray) -> str:
    """Return the axes, the voxel size and the first position of an affine as text."""
    sizes = "×".join(f"{size:.3g}" for size in voxel_sizes(affine))
    origin = ", ".join(f"{x:.4g}" for x in affine[:3, 3])
    return f"{''.join(str(code) for code in nib.aff2axcodes(affine))} {sizes} mm at {origin}"


def same_place(one: Grid, other: Grid) -> bool:
    """Return whether the corners of two grids agree to a tenth of a voxel.

    Args:
        one: the grid whose voxel size sets the tolerance.
        other: the other grid.
    """
    return np.allclose(one.corners, other.corners, rtol=0, atol=0.1 * min(one.spacing))


def require_volume(path: Path, shape: tuple[int, ...], dtype: np.dtype, affine: np.ndarray) -> None:
    """Check that a header describes a 3-D volume of real numbers.

    Args:
        path: the file or folder, which errors name.
        shape: shape of the voxel array.
        dtype: type of the voxel array.
        affine: from voxel indices to mm, ``(4, 4)``.

    Raises:
        InputError: if it describes other data, or if the affine does not determine the order of the axes.
    """
    if len(shape) != 3:
        raise InputError(path, "a 3-D volume", f"{len(shape)} dimensions, shape {shape}")
    if math.prod(map(int, shape)) > HIGHEST_COUNT:
        raise InputError(path, f"at most {HIGHEST_COUNT} voxels", f"shape {shape}")
    if not _distinct_axes(affine):
        raise InputError(path, "an affine with three distinct axes", f"{affine.tolist()}")
    if dtype.kind not in "iuf" or min(shape) < 1:
        raise InputError(path, "voxels with a single real number each", f"type {dtype}, shape {shape}")


def _distinct_axes(affine: np.ndarray) -> bool:
    """Return whether the axes are finite, and far from one common plane: at least 0.01 of a box's volume is left."""
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not (np.isfinite(affine).all() and np.isfinite(lengths).all() and (lengths > 0).all()):
        return False
    return abs(np.linalg.det(affine[:3, :3] / lengths)) > 0.01 and not np.isnan(io_orientation(affine)).any()


def to_slices(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return a file's array as axial slices: axes are swapped and flipped, never resampled.

    Args:
        array: ``(X, Y, Z)``, in the order of the file.
        affine: of the file.

    Returns:
        Contiguous slices ``(S, H, W)``.
    """
    return np.ascontiguousarray(view_slices(array, affine))


def view_slices(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return a view of a file's array as axial slices: writing to the slices changes the array.

    Args:
        array: ``(X, Y, Z)``, in the order of the file.
        affine: of the file.

    Returns:
        Slices ``(S, H, W)``, not contiguous.
    """
    return apply_orientation(array, reorientation(affine)).transpose(2, 1, 0)


def from_slices(slices: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Return axial slices in the order of the file's own axes, the inverse of ``to_slices``.

    Args:
        slices: ``(S, H, W)``.
        affine: of the file.

    Returns:
        A contiguous array ``(X, Y, Z)``.
    """
    back = ornt_transform(SLICES_ORIENTATION, io_orientation(affine))
    return np.ascontiguousarray(apply_orientation(slices.transpose(2, 1, 0), back))


def reorientation(affine: np.ndarray) -> np.ndarray:
    """Return nibabel's orientation transform ``(3, 2)`` from the file's axes to the axes W, H and S of the slices."""
    return ornt_transform(io_orientation(affine), SLICES_ORIENTATION)
