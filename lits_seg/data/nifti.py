"""Open NIfTI files, for whole volumes and for blocks of slices, with errors that name the file."""

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
    """Open a NIfTI file with a 3-D volume; the caller reads the voxels.

    Args:
        path: the file, ``.nii`` or ``.nii.gz``.
        unpacked: an uncompressed copy to read instead of ``path``.

    Yields:
        The image. Errors that occur inside the ``with`` block, while voxels are read, name ``path``, too.

    Raises:
        InputError: if the file is missing, damaged, not NIfTI, or not a 3-D volume of real numbers.
    """
    with nifti_errors(path, unpacked):
        if path.is_file() and is_dicom(path):
            raise InputError(path, "a NIfTI file, or the folder of a DICOM series", "a single DICOM file")
        image = nib.load(unpacked or path)
        if unpacked is None and path.suffix == ".gz":
            # ISA-L needs half the time of zlib, which nibabel uses.
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
        OSError: if ``plain`` cannot be written.
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
    """Convert errors from reading a missing, damaged or foreign file to an ``InputError`` that names ``path``.

    Args:
        path: the path given by the user.
        unpacked: the file that is read instead; its name is replaced in the message.
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
        # Each decompressor has its own exception types for damaged files.
        if type(error).__module__.split(".")[0] not in ("zlib", "gzip", "isal"):
            raise
        raise InputError(path, "a readable NIfTI volume", f"{type(error).__name__}: {error}") from error
