"""Open NIfTI files: one way for whole volumes and for blocks of slices, with errors that name the file."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import nibabel as nib
from isal import igzip
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from lits_seg.common.errors import InputError
from lits_seg.data.grid import require_volume
from lits_seg.data.layouts import is_dicom

DAMAGED = (ImageFileError, HeaderDataError, OSError, EOFError, ValueError, OverflowError, MemoryError)


@contextmanager
def open_nifti(path: Path, unpacked: Path | None = None) -> Iterator[nib.Nifti1Image]:
    """Open a NIfTI file with one 3-D volume; its voxels are read by whoever uses the image.

    Args:
        path: the file, ``.nii`` or ``.nii.gz``.
        unpacked: an uncompressed copy, read in place of ``path``.

    Yields:
        The image. Errors while reading its voxels inside the ``with`` block name ``path``, too.

    Raises:
        InputError: if the file is missing, damaged, of another kind, or holds no 3-D volume of real numbers.
    """
    with nifti_errors(path, unpacked):
        if path.is_file() and is_dicom(path):
            raise InputError(path, "a NIfTI file, or the folder of a DICOM series", "a single DICOM file")
        image = nib.load(unpacked or path)
        if unpacked is None and path.suffix == ".gz":
            # nibabel decompresses with zlib; ISA-L gives the same bytes in half the time.
            image = type(image).from_stream(igzip.open(path))
        require_volume(path, image.dataobj.shape, image.dataobj.dtype, image.affine)
        yield image


def unpack(path: Path, plain: Path) -> None:
    """Write the uncompressed content of ``path`` to ``plain``.

    Args:
        path: a ``.nii.gz`` file.
        plain: the file to write.

    Raises:
        InputError: if ``path`` is missing or damaged.
        OSError: if ``plain`` cannot be written, which is no fault of ``path``.
    """
    with nifti_errors(path):
        packed = igzip.open(path)
    with packed, plain.open("wb") as file:
        while True:
            with nifti_errors(path):
                part = packed.read(2**22)
            if not part:
                return
            file.write(part)


@contextmanager
def nifti_errors(path: Path, unpacked: Path | None = None) -> Iterator[None]:
    """Turn the errors of reading a missing, damaged or foreign file into an ``InputError`` that names ``path``.

    Args:
        path: the file that the user named.
        unpacked: the file that is read in its place; the message names ``path`` instead.
    """
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(path, "a NIfTI volume", "no such file") from None
    except DAMAGED as error:
        message = str(error).replace(str(unpacked), str(path))
        raise InputError(path, "a readable NIfTI volume", f"{type(error).__name__}: {message}") from error
    except Exception as error:
        # The decompressors report damage by exceptions of their own.
        if type(error).__module__.split(".")[0] not in ("zlib", "gzip", "isal"):
            raise
        raise InputError(path, "a readable NIfTI volume", f"{type(error).__name__}: {error}") from error
