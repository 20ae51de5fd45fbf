"""Read whole CT volumes and their labels, and verify them.

All functions return axial slices ``(S, H, W)`` in a common orientation (see ``grid``), regardless of the file's affine.
``ct`` reads the same files a few slices at a time.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np

from lits_seg.common.errors import InputError
from lits_seg.data.dicom import read_series
from lits_seg.data.grid import Grid, from_slices, reorientation, same_place, to_slices
from lits_seg.data.layouts import Case
from lits_seg.data.nifti import is_gzip, open_nifti
from lits_seg.data.nnunet import OURS, label_values

# Receives the index of a block's first slice, the block (B, H, W), and the grid of the whole volume.
Watch = Callable[[int, np.ndarray, Grid], object]

BLOCK = 16  # slices
LABELS = {0: "background", 1: "liver", 2: "lesion"}


@dataclass(frozen=True)
class Volume(Grid):
    """A file's voxels as axial slices.

    Args:
        slices: ``(S, H, W)``.
        header_grid: grid from the header of a label file, if the image's grid is used instead; None: the header's grid
            is used.
    """

    slices: np.ndarray
    header_grid: Grid | None = None


def read_volume(path: str | Path, watch: Watch | None = None) -> Volume:
    """Read a CT volume in HU: int16 if the file stores int16 without scaling, else float32.

    Args:
        path: a NIfTI file, or a folder with one DICOM series.
        watch: called for each block of slices, in any order, while further blocks are decompressed: with the index of
            the block's first slice, its HU ``(B, H, W)``, and the volume's grid.

    Raises:
        InputError: if a file is not NIfTI, is truncated, is not 3-D, or has NaN or infinite voxels. The same error is
            raised if a folder is not a single DICOM series of CT slices (see ``dicom.find_series``).
    """
    volume = _read(Path(path), watch and (lambda first, block, grid: watch(first, _hu(block), grid)))
    return replace(volume, slices=to_hu(path, volume.slices))


def read_labels(path: str | Path) -> Volume:
    """Read a label volume as uint8: 0 background, 1 liver, 2 lesion. Other values of nnU-Net are converted.

    Raises:
        InputError: if the file is unreadable (see ``read_volume``), or if it has other values.
    """
    volume, labels = _read(Path(path)), label_values(Path(path))
    slices = volume.slices
    whole = slices.dtype.kind in "iu"
    if not (slices.min() >= 0 and slices.max() < len(labels) and (whole or (slices == slices.round()).all())):
        values = np.unique(slices)
        shown = ", ".join(f"{value:g}" for value in values[:8]) + (", …" if len(values) > 8 else "")
        known = ", ".join(f"{value} ({LABELS[label]})" for value, label in enumerate(labels))
        raise InputError(path, f"only labels {known}", f"values {shown}")
    slices = slices.astype(np.uint8, copy=False)
    return replace(volume, slices=slices if labels == OURS else np.array(labels, np.uint8)[slices])


def read_case(case: Case, watch: Watch | None = None) -> tuple[Volume, Volume]:
    """Read the image and the labels of a case as slices on the same grid.

    If both headers give the same position, each file is oriented by its own header. If the headers disagree, the
    image's grid is used for the labels, voxel by voxel, and ``checks`` adds a warning. LiTS has pairs with wrong
    headers whose voxels match.

    Args:
        case: the files.
        watch: called for each block of the image, see ``read_volume``.

    Returns:
        Image and labels.

    Raises:
        InputError: if the shapes differ, or if a file is unusable (see ``read_volume`` and ``read_labels``).
    """
    image, label = read_volume(case.image, watch), read_labels(case.label)
    if not same_place(image, label):
        stored = from_slices(label.slices, label.affine)
        label = Volume(image.affine, label.shape, to_slices(stored, image.affine), header_grid=label)
    if image.slices.shape != label.slices.shape:
        raise InputError(case.label, f"the shape of {case.image.name}, {image.shape}", label.shape)
    return image, label


def to_hu(path: str | Path, slices: np.ndarray, first: int = 0) -> np.ndarray:
    """Return voxels unchanged if they are int16, else as float32.

    Args:
        path: the file, which errors name.
        slices: voxels in HU, ``(S, H, W)``.
        first: index of the first of these slices in the CT; 0 is the lowest slice.

    Raises:
        InputError: if a voxel is NaN or infinite.
    """
    hu = _hu(slices)
    if hu.dtype != np.int16 and not np.isfinite(hu).all():
        wrong = np.count_nonzero(~np.isfinite(hu), axis=(1, 2))
        found = f"{wrong.sum()} NaN or infinite, the first in slice {first + int((wrong > 0).argmax())}"
        raise InputError(path, "finite HU values", found)
    return hu


def _read(path: Path, watch: Watch | None = None) -> Volume:
    doubts: tuple[str, ...] = ()
    if os.path.isdir(path):
        array, affine, doubts = read_series(path)
    else:
        # Values that do not fit into float32 become infinite, and are reported.
        with open_nifti(path) as image, np.errstate(over="ignore", invalid="ignore"):
            proxy, affine, doubts = image.dataobj, image.affine, image.extra["doubts"]
            # Without scaling, voxels keep their stored type.
            dtype = proxy.dtype if (proxy.slope, proxy.inter) == (1, 0) else np.dtype(np.float32)
            # Axial slices are available before the end of the file only if they are stacked along its last axis.
            if watch and is_gzip(path) and reorientation(affine)[2, 0] == 2:
                array, watch = _read_by_blocks(proxy, dtype, affine, watch), None
            else:
                array = np.asarray(proxy, dtype)
    slices = to_slices(array, affine)
    if watch:
        watch(0, slices, Grid(affine, array.shape))
    return Volume(affine, array.shape, slices, doubts=doubts)


def _read_by_blocks(proxy: nib.arrayproxy.ArrayProxy, dtype: np.dtype, affine: np.ndarray, watch: Watch) -> np.ndarray:
    """Read the voxels ``(X, Y, Z)``, and call ``watch`` with each block of axial slices as soon as it is read."""
    array, depth = np.empty(proxy.shape, dtype, order="F"), proxy.shape[2]
    upwards, grid = reorientation(affine)[2, 1] > 0, Grid(affine, proxy.shape)
    for start in range(0, depth, BLOCK):
        stop = min(start + BLOCK, depth)
        array[..., start:stop] = proxy[..., start:stop]
        watch(start if upwards else depth - stop, to_slices(array[..., start:stop], affine), grid)
    return array


def _hu(slices: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):  # the infinite values are reported
        return slices if slices.dtype == np.int16 else slices.astype(np.float32, copy=False)
