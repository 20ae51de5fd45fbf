"""CT volumes and their labels: read from disk and verified.

Arrays leave this module as axial slices ``(S, H, W)`` in one orientation (see ``grid``), whatever the file's affine.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
from isal import igzip
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import io_orientation
from nibabel.spatialimages import HeaderDataError

from lits_seg.common.errors import InputError
from lits_seg.data.dicom import read_series
from lits_seg.data.grid import Grid, from_slices, reorientation, same_place, to_slices
from lits_seg.data.layouts import Case

Watch = Callable[[int, np.ndarray], object]

BLOCK = 16
LABELS = {0: "background", 1: "liver", 2: "lesion"}


@dataclass(frozen=True)
class Volume(Grid):
    """Axial slices ``(S, H, W)`` of a file. ``told``: where its own header puts it, if that was not believed."""

    slices: np.ndarray
    told: Grid | None = None


def read_volume(path: str | Path, watch: Watch | None = None) -> Volume:
    """A CT volume in HU, int16 where the file stores such without scaling, else float32.

    ``path`` is a NIfTI file, or a folder with one DICOM series. ``watch`` is called with the number of a block's
    first slice and the block, in any order, while others are still being decompressed.

    Raises ``InputError`` for a file that is no NIfTI, is cut off, is not 3-D, or holds NaN or infinity, and for
    what ``read_series`` refuses.
    """
    volume = _read(Path(path), watch and (lambda first, block: watch(first, _hu(block))))
    return replace(volume, slices=to_hu(path, volume.slices))


def read_labels(path: str | Path) -> Volume:
    """A label volume as uint8: 0 background, 1 liver, 2 lesion. Raises ``InputError`` for other values."""
    volume = _read(Path(path))
    slices = volume.slices
    whole = slices.dtype.kind in "iu"
    if not (slices.min() >= 0 and slices.max() <= max(LABELS) and (whole or (slices == slices.round()).all())):
        values = np.unique(slices)
        shown = ", ".join(f"{value:g}" for value in values[:8]) + (", …" if len(values) > 8 else "")
        raise InputError(path, "labels 0 (background), 1 (liver), 2 (lesion) alone", f"values {shown}")
    return replace(volume, slices=slices.astype(np.uint8, copy=False))


def read_case(case: Case, watch: Watch | None = None) -> tuple[Volume, Volume]:
    """Image and labels of a case as slices on the same grid, verified against each other.

    ``watch``: see ``read_volume``.

    Where both headers tell the same place, each file is oriented by its own. Where they disagree (LiTS has
    such pairs, and their voxels fit), the labels are taken voxel by voxel onto the image's grid, and
    ``verify`` says so. Raises ``InputError`` where the shapes then differ.
    """
    image, label = read_volume(case.image, watch), read_labels(case.label)
    if not same_place(image, label):
        stored = from_slices(label.slices, label.affine)
        label = Volume(image.affine, label.shape, to_slices(stored, image.affine), told=label)
    if image.slices.shape != label.slices.shape:
        raise InputError(case.label, f"the shape of {case.image.name}, {image.shape}", label.shape)
    return image, label


def to_hu(path: str | Path, slices: np.ndarray) -> np.ndarray:
    """Voxels as int16 where they are such, else float32. Raises ``InputError`` for NaN or infinity."""
    hu = _hu(slices)
    if hu.dtype != np.int16 and not np.isfinite(hu).all():
        raise InputError(path, "finite HU values", f"{int((~np.isfinite(hu)).sum())} NaN or infinite")
    return hu


def require_volume(path: Path, shape: tuple[int, ...], dtype: np.dtype, affine: np.ndarray) -> None:
    """Raises ``InputError`` for what is no 3-D volume of numbers, or has an affine that tells no axes."""
    if len(shape) != 3:
        raise InputError(path, "a 3-D volume", f"{len(shape)} dimensions, shape {shape}")
    if not np.isfinite(affine).all() or np.isnan(io_orientation(affine)).any():
        raise InputError(path, "an affine that tells the axes apart", f"{affine.tolist()}")
    if dtype.kind not in "iuf" or 0 in shape:
        raise InputError(path, "voxels with one real number each", f"type {dtype}, shape {shape}")


def _read(path: Path, watch: Watch | None = None) -> Volume:
    watched: list[int] = []

    def note(first: int, block: np.ndarray) -> None:
        if watch is not None:
            watched.append(first)
            watch(first, block)

    array, affine = read_series(path) if path.is_dir() else _read_nifti(path, watch and note)
    require_volume(path, array.shape, array.dtype, affine)
    slices = to_slices(array, affine)
    if not watched:
        note(0, slices)
    return Volume(affine, array.shape, slices)


@contextmanager
def nifti_errors(path: Path, unpacked: Path | None = None) -> Iterator[None]:
    """Whatever reading a missing, damaged or foreign file raises, as an ``InputError`` that names ``path``.

    ``unpacked``: the file that is read in its place.
    """
    try:
        yield
    except FileNotFoundError:
        raise InputError(path, "a NIfTI volume", "no such file") from None
    except (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, OverflowError, MemoryError) as error:
        if isinstance(error, InputError):
            raise
        told = str(error).replace(str(unpacked), str(path))
        raise InputError(path, "a readable NIfTI volume", f"{type(error).__name__}: {told}") from error
    except Exception as error:
        # A damaged gzip stream ends in types of its decompressor.
        if type(error).__module__.split(".")[0] not in ("zlib", "gzip", "isal"):
            raise
        raise InputError(path, "a readable NIfTI volume", f"{type(error).__name__}: {error}") from error


def _read_nifti(path: Path, watch: Watch | None) -> tuple[np.ndarray, np.ndarray]:
    """Voxels as stored where no scaling applies, else scaled, float32; and the affine."""
    with nifti_errors(path):
        image = nib.load(path)
        compressed = path.suffix == ".gz"
        if compressed:
            # nibabel decompresses with zlib; ISA-L gives the same bytes in half the time.
            image = type(image).from_stream(igzip.open(path))
        proxy, affine = image.dataobj, image.affine
        dtype = proxy.dtype if (proxy.slope, proxy.inter) == (1, 0) else np.float32
        if watch is None or not compressed or not _stored_by_slices(proxy, affine):
            return np.asarray(proxy, dtype), affine
        array, depth = np.empty(proxy.shape, dtype, order="F"), proxy.shape[2]
        upwards = reorientation(affine)[2, 1] > 0
        for start in range(0, depth, BLOCK):
            stop = min(start + BLOCK, depth)
            array[..., start:stop] = proxy[..., start:stop]
            watch(start if upwards else depth - stop, to_slices(array[..., start:stop], affine))
        return array, affine


def _stored_by_slices(proxy: nib.arrayproxy.ArrayProxy, affine: np.ndarray) -> bool:
    """Whether the file's last, slowest axis is the patient's: one axial slice lies after the other."""
    plain = len(proxy.shape) == 3 and proxy.dtype.kind in "iuf" and np.isfinite(affine).all()
    return bool(plain and reorientation(affine)[2, 0] == 2)


def _hu(slices: np.ndarray) -> np.ndarray:
    return slices if slices.dtype == np.int16 else slices.astype(np.float32, copy=False)
