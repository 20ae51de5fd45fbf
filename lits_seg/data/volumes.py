"""CT volumes and their labels: read from disk and verified.

Arrays leave this module as axial slices ``(S, H, W)`` in one orientation, whatever the file's affine: the
first slice is the lowest, row 0 is anterior, column 0 is the patient's right (as a radiologist sees it).
"""

from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import (
    apply_orientation,
    axcodes2ornt,
    inv_ornt_aff,
    io_orientation,
    ornt_transform,
)
from nibabel.spatialimages import HeaderDataError

from lits_seg.data.cases import Case
from lits_seg.errors import InputError

SLICES_ORIENTATION = axcodes2ornt(("L", "P", "S"))
LABELS = {0: "background", 1: "liver", 2: "lesion"}


@dataclass(frozen=True)
class Volume:
    """Axial slices ``(S, H, W)``, the file's own affine and shape, and the voxel size ``(x, y, z)`` in mm.

    The spacing is that of the slices' axes: ``spacing[0]`` along W, ``[1]`` along H, ``[2]`` along S.
    """

    slices: np.ndarray
    affine: np.ndarray
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]


def read_volume(path: str | Path) -> Volume:
    """A CT volume in HU, int16 where the file stores integers without scaling, else float32.

    Raises ``InputError`` for a file that is no NIfTI, is cut off, is not 3-D, or holds NaN or infinity.
    """
    volume = _read(Path(path))
    if not np.isfinite(volume.slices).all():
        raise InputError(path, "finite HU values", f"{int((~np.isfinite(volume.slices)).sum())} NaN or infinite")
    return volume


def read_labels(path: str | Path) -> Volume:
    """A label volume as uint8: 0 background, 1 liver, 2 lesion. Raises ``InputError`` for other values."""
    volume = _read(Path(path))
    values = np.unique(volume.slices)
    if not np.isin(values, list(LABELS)).all():
        shown = ", ".join(f"{value:g}" for value in values[:8]) + (", …" if len(values) > 8 else "")
        raise InputError(path, "labels 0 (background), 1 (liver), 2 (lesion) alone", f"values {shown}")
    return Volume(volume.slices.astype(np.uint8), volume.affine, volume.shape, volume.spacing)


def read_case(case: Case) -> tuple[Volume, Volume]:
    """Image and labels of a case as slices on the same grid, verified against each other.

    Where both headers tell the same place, each file is oriented by its own. Where they disagree (LiTS has
    such pairs, and their voxels fit), the labels are taken voxel by voxel onto the image's grid, and
    ``header_warnings`` says so. Raises ``InputError`` where the shapes then differ.
    """
    image, label = read_volume(case.image), read_labels(case.label)
    if not _same_place(image, label):
        stored = from_slices(label.slices, label.affine)
        label = Volume(to_slices(stored, image.affine), image.affine, label.shape, image.spacing)
    if image.slices.shape != label.slices.shape:
        raise InputError(case.label, f"the shape of {case.image.name}, {image.shape}", label.shape)
    return image, label


def header_warnings(case: Case) -> list[str]:
    """What a person should know about a case's headers; reads no voxels."""
    image, label = nib.load(case.image), nib.load(case.label)
    found = []
    if np.array_equal(image.affine, np.eye(4)):
        found.append(f"{case.image}: identity affine; orientation and spacing are unknown (mm and mL mean nothing)")
    if not np.allclose(image.affine, label.affine, atol=1e-2):
        found.append(
            f"{case.label}: affine differs from the image's (image {_short(image.affine)}, labels "
            f"{_short(label.affine)}); the labels are taken on the image's grid"
        )
    return found


def to_slices(array: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """A file's array ``(X, Y, Z)`` as axial slices ``(S, H, W)``: axes swapped and flipped, never resampled."""
    return np.ascontiguousarray(apply_orientation(array, _reorientation(affine)).transpose(2, 1, 0))


def from_slices(slices: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """The inverse of ``to_slices``: axial slices ``(S, H, W)`` back on the file's own grid, voxel for voxel."""
    back = ornt_transform(SLICES_ORIENTATION, io_orientation(affine))
    return np.ascontiguousarray(apply_orientation(slices.transpose(2, 1, 0), back))


def _read(path: Path) -> Volume:
    try:
        image = nib.load(path)
        array = np.asanyarray(image.dataobj)
    except FileNotFoundError:
        raise InputError(path, "a NIfTI volume", "no such file") from None
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, OverflowError, MemoryError) as error:
        raise InputError(path, "a readable NIfTI volume", f"{type(error).__name__}: {error}") from error
    except Exception as error:
        # A damaged gzip stream ends in zlib.error or other types of its decompressor.
        if type(error).__module__.split(".")[0] not in ("zlib", "gzip", "indexed_gzip", "isal"):
            raise
        raise InputError(path, "a readable NIfTI volume", f"{type(error).__name__}: {error}") from error
    if array.ndim != 3:
        raise InputError(path, "a 3-D volume", f"{array.ndim} dimensions, shape {array.shape}")
    if not np.isfinite(image.affine).all() or np.isnan(io_orientation(image.affine)).any():
        raise InputError(path, "an affine that tells the axes apart", f"{image.affine.tolist()}")
    if array.dtype.kind not in "iuf" or not array.size:
        raise InputError(path, "voxels with one real number each", f"type {array.dtype}, shape {array.shape}")
    if array.dtype != np.int16:
        array = array.astype(np.float32)
    order = _reorientation(image.affine)[:, 0].argsort()
    sizes = voxel_sizes(image.affine)[order]
    return Volume(
        to_slices(array, image.affine), image.affine, array.shape, (float(sizes[0]), float(sizes[1]), float(sizes[2]))
    )


def _same_place(one: Volume, other: Volume) -> bool:
    return np.allclose(_slices_affine(one), _slices_affine(other), atol=1e-2)


def _slices_affine(volume: Volume) -> np.ndarray:
    return volume.affine @ inv_ornt_aff(_reorientation(volume.affine), volume.shape)


def _reorientation(affine: np.ndarray) -> np.ndarray:
    return ornt_transform(io_orientation(affine), SLICES_ORIENTATION)


def _short(affine: np.ndarray) -> str:
    codes = "".join(nib.aff2axcodes(affine))
    sizes = "×".join(f"{size:.3g}" for size in voxel_sizes(affine))
    return f"{codes} {sizes} mm at {', '.join(f'{x:.4g}' for x in affine[:3, 3])}"
