"""Open NIfTI files, for whole volumes and for blocks of slices, with errors that name the file.

A file is recognised by its content, never by its name. The header states how many bytes follow; no more are read.
"""

import gzip
import math
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import nibabel as nib
import numpy as np
from isal import igzip
from isal.igzip_lib import IsalError
from nibabel import imageglobals
from nibabel.filebasedimages import ImageFileError
from nibabel.spatialimages import HeaderDataError

from lits_seg.common.errors import InputError
from lits_seg.data.grid import place_corners, require_volume, short_affine
from lits_seg.data.layouts import is_dicom
from lits_seg.data.walk import missing

DAMAGED = (
    *(ImageFileError, HeaderDataError, OSError, EOFError, ValueError, OverflowError, MemoryError),
    *(IsalError, zlib.error),
)
KINDS = {348: nib.Nifti1Image, 540: nib.Nifti2Image}  # by the size of the header, its first number
DEFLATE_RATIO = 1032  # highest ratio that gzip can reach
HIGHEST_OFFSET = 2**26  # bytes of header and extensions
PADDING = 4096  # bytes that may follow the voxels: some programs fill the last block of a disk
PAIR = "an Analyze or NIfTI pair (.hdr with .img)"
OTHER_FORMATS = {
    ".hdr": PAIR,
    ".img": PAIR,
    ".mgz": "a FreeSurfer volume",
    ".mgh": "a FreeSurfer volume",
    ".nrrd": "an NRRD file",
    ".nhdr": "an NRRD file",
    ".mha": "a MetaImage",
    ".mhd": "a MetaImage",
    ".zip": "a ZIP archive",
}

# Problems that nibabel corrects are warnings of lits_seg (``Grid.doubts``), not lines without a file name on stderr.
imageglobals.logger.setLevel("CRITICAL")


@contextmanager
def open_nifti(path: Path, unpacked: Path | None = None) -> Iterator[nib.Nifti1Image]:
    """Open a NIfTI file with a 3-D volume; the caller reads the voxels.

    Further axes are left out if they hold this one volume: some programs write the shape ``(X, Y, Z, 1)``.

    Args:
        path: the file, ``.nii`` or ``.nii.gz``.
        unpacked: an uncompressed copy to read instead of ``path``.

    Yields:
        The image; its ``extra["doubts"]`` are the reasons why its affine may be wrong. Errors that occur inside the
        ``with`` block, while voxels are read, name ``path``, too.

    Raises:
        InputError: if the file is missing, damaged, not NIfTI, or not a 3-D volume of real numbers. The same error is
            raised if the file is shorter or longer than its header states.
    """
    source = unpacked or path
    with nifti_errors(path, unpacked), _content(source) as file:
        header = _read_header(path, file)
        _require_length(path, voxels_end(header), source)
        file.seek(0)
        with np.errstate(over="ignore", invalid="ignore"):  # transforms that are not finite are reported
            image = KINDS[int(header["sizeof_hdr"])].from_stream(file)
            shape = image.shape[:3] if set(image.shape[3:]) == {1} else image.shape
            require_volume(path, shape, image.dataobj.dtype, image.affine)
            if shape != image.shape:
                image = type(image)(image.dataobj.reshape(shape), image.affine, image.header)
            image.extra["doubts"] = _doubts(header, image.affine)
        yield image
        file.seek(voxels_end(header))
        _require_end(path, len(file.read(PADDING + 1)))  # gzip's checksum is verified, too


def unpack(path: Path, plain: Path) -> None:
    """Write the uncompressed content of ``path`` to ``plain``, up to the end that its header states.

    Args:
        path: a ``.nii.gz`` file.
        plain: the file to write.

    Raises:
        InputError: if ``path`` is missing or damaged, or longer than its header states.
        OSError: if ``plain`` cannot be written.
    """
    with nifti_errors(path), _content(path) as packed:
        end = voxels_end(_read_header(path, packed))
        _require_length(path, end, path)
    with nifti_errors(path):
        packed = igzip.open(path)
    with packed, plain.open("wb") as file:
        while True:
            with nifti_errors(path):
                part = packed.read(2**22)
                _require_end(path, file.tell() + len(part) - end)
            if not part:
                return
            file.write(part)


def is_gzip(path: Path) -> bool:
    """Return whether a file is compressed by gzip, by its first bytes."""
    with path.open("rb") as file:
        return file.read(2) == b"\x1f\x8b"


def count_axes(path: Path) -> int:
    """Return the number of axes that a file's header states, with those that ``open_nifti`` leaves out.

    Raises:
        InputError: if the file is missing, damaged or not NIfTI.
    """
    with nifti_errors(path), _content(path) as file:
        return len(_read_header(path, file).get_data_shape())


def voxels_end(header: nib.Nifti1Header) -> int:
    """Return the number of bytes up to the end of the voxels, as the header states it."""
    count = math.prod(int(size) for size in header.get_data_shape())
    return int(header.get_data_offset()) + count * header.get_data_dtype().itemsize


@contextmanager
def _content(path: Path) -> Iterator[IO[bytes]]:
    """Open a file's content, uncompressed; ISA-L needs half the time of zlib, which nibabel uses."""
    if path.exists() and not path.is_file():
        raise InputError(path, "a file", "a folder" if path.is_dir() else "a pipe, a device or a socket")
    with igzip.open(path) if is_gzip(path) else path.open("rb") as file:
        yield file


def _read_header(path: Path, file: IO[bytes]) -> nib.Nifti1Header:
    """Read the header and nothing else; raise ``InputError`` if the file is in another format."""
    if is_dicom(path):
        raise InputError(path, "a NIfTI file, or the folder of a DICOM series", "a single DICOM file")
    block, other = file.read(540), OTHER_FORMATS.get(path.suffix.lower())
    for size, kind in KINDS.items():
        if block[:4] in (size.to_bytes(4, "little"), size.to_bytes(4, "big")) and len(block) >= size:
            header = kind.header_class(block[:size], check=False)
            other = PAIR if header["magic"].item().startswith(b"ni") else other
            if header["magic"].item().startswith(b"n+"):
                kind.header_class(block[:size])  # raises an error if a value cannot be corrected
                if not size < header.get_data_offset() <= HIGHEST_OFFSET:  # 0 would read the header as voxels
                    expected = f"voxels that start after the header, before byte {HIGHEST_OFFSET} (vox_offset)"
                    raise InputError(path, expected, header["vox_offset"])
                return header
    found = f"{other}; convert it to .nii.gz" if other else "other content, or a damaged header"
    raise InputError(path, "a readable NIfTI volume", found if block else "an empty file")


def _require_length(path: Path, end: int, source: Path) -> None:
    """Check the size of a file before its voxels are read and memory is allocated."""
    size = os.stat(source).st_size
    if is_gzip(source):
        size = size * DEFLATE_RATIO if size * DEFLATE_RATIO < end else end
    if size < end:
        found = f"at most {size} of the {end} bytes that its header states: the file is truncated"
        raise InputError(path, "a readable NIfTI volume", found)
    _require_end(path, size - end)


def _require_end(path: Path, surplus: int) -> None:
    if surplus > PADDING:
        found = "more bytes than its header states: the header is damaged"
        raise InputError(path, "a readable NIfTI volume", found)


def _doubts(header: nib.Nifti1Header, affine: np.ndarray) -> tuple[str, ...]:
    """Return the reasons why the affine may be wrong: no transform in the header, a damaged one, or two that differ.

    Args:
        header: the header as stored.
        affine: the affine that is used, ``(4, 4)``.
    """
    shape, sizes = header.get_data_shape()[:3], header["pixdim"][1:4]
    stated = f"{'×'.join(f'{size:.3g}' for size in sizes)} mm"
    found = []
    sform = header.get_sform(coded=True)[0]
    try:
        qform = header.get_qform(coded=True)[0]
        if qform is not None and not np.isfinite(qform).all():
            raise ValueError("a value is not finite")
    except (HeaderDataError, ValueError) as error:
        used = short_affine(affine) if sform is None else "the sform"
        return (f"the qform is unreadable ({error}); {used} is used",)
    if sform is None and not (sizes > 0).all():
        found.append(f"pixdim says {stated}; voxel sizes must be positive (do not use mm and mL)")
    if sform is None and qform is None:
        assumed = f"{short_affine(affine)} is assumed"
        found.append(f"orientation and position are unknown (the codes of sform and qform are 0); {assumed}")
    elif sform is not None and qform is not None:
        tolerance = 0.1 * np.linalg.norm(sform[:3, :3], axis=0).min()
        if not np.allclose(place_corners(sform, shape), place_corners(qform, shape), rtol=0, atol=tolerance):
            found.append(f"sform says {short_affine(sform)}, qform says {short_affine(qform)}; the sform is used")
    elif sform is not None and not np.allclose(np.linalg.norm(sform[:3, :3], axis=0), sizes, rtol=0.01, atol=0):
        found.append(f"sform says {short_affine(sform)}, pixdim says {stated}; the sform is used")
    return tuple(found)


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
        raise InputError(path, "a NIfTI volume", missing(path)) from None
    except (PermissionError, NotADirectoryError) as error:
        raise InputError(path, "a readable file", error.strerror) from error
    except DAMAGED as error:  # type: ignore[misc]  # isal annotates its exception as an instance
        found = f"{type(error).__name__}: {str(error).replace(str(unpacked), str(path))}"
        if isinstance(error, EOFError):
            found = f"{found} (a truncated file, or a few other bytes behind the compressed volume)"
        elif isinstance(error, gzip.BadGzipFile) and "Not a gzipped file" in found:  # the file's start is gzip
            found = "other bytes behind the compressed volume: the file is damaged, or something was appended"
        raise InputError(path, "a readable NIfTI volume", found) from error
