"""Recognise the files that lits_seg wrote, by their content, so that no command overwrites a file of other origin."""

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from isal import igzip, isal_zlib
from PIL.PngImagePlugin import PngInfo

from lits_seg.common.errors import InputError

MARK = {"Software": "lits_seg"}  # metadata of PNG files
USE = "lits_seg; research use only"  # start of a NIfTI header's description
# Offset of the description (80 bytes), and of the voxels if the header has no extension.
_NIFTI_1, _NIFTI_2 = (148, 352), (240, 544)
_DAMAGED: Any = (EOFError, zlib.error, igzip.BadGzipFile, isal_zlib.IsalError)


@dataclass(frozen=True)
class Kind:
    """A kind of output file.

    Args:
        noun: what errors call the file.
        wrote: function that returns whether lits_seg wrote a file's content as this kind.
    """

    noun: str
    wrote: Callable[[Path], bool]


def json_file(noun: str, *keys: str) -> Kind:
    """Return the kind of JSON files with certain keys.

    Args:
        noun: what errors call the file.
        keys: keys that every file of the kind has, and no file of another program.
    """

    def wrote(path: Path) -> bool:
        try:
            plain = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            return False
        return isinstance(plain, dict) and plain.keys() >= set(keys)

    return Kind(noun, wrote)


def table_file(*headers: str) -> Kind:
    """Return the kind of CSV files whose header starts with one of the given texts."""
    return Kind("table", lambda path: _head(path, 4096).startswith(tuple(text.encode() for text in headers)))


def text_file(noun: str, *marks: str) -> Kind:
    """Return the kind of text files that contain one of the given marks.

    Args:
        noun: what errors call the file.
        marks: the mark of this version, and those of earlier versions.
    """
    return Kind(noun, lambda path: any(mark.encode() in path.read_bytes() for mark in marks))


def description(checksum: int) -> bytes:
    """Return the description in a NIfTI header, from the CRC-32 of the voxels in the order of the file."""
    return f"{USE}; crc32 {checksum:08x}".encode()


def png_mark() -> PngInfo:
    """Return the mark of a PNG file, as Pillow expects."""
    info = PngInfo()
    for key, value in MARK.items():
        info.add_text(key, value)
    return info


def is_marked(path: Path) -> bool:
    """Return whether a NIfTI or DICOM file has the mark of lits_seg, even if its voxels were edited afterwards."""
    if not os.path.isfile(path):
        return False
    if path.name.endswith((".nii", ".nii.gz")):
        return _nifti(path)[0].startswith(USE.encode())
    # Manufacturer, explicit VR, little endian. Only few, short elements precede it.
    return b"\x08\x00\x70\x00LO\x08\x00lits_seg" in _head(path, 16384)


def _wrote_mask(path: Path) -> bool:
    """Return whether lits_seg wrote a NIfTI file. A mask edited by hand often keeps the mark, but not the checksum."""
    found, checksum = _nifti(path, checksum=True)
    return found in (description(checksum), USE.encode())  # version 0.1.0 wrote no checksum


def _wrote_model(path: Path) -> bool:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as file:
            return "lits_seg.json" in file.namelist()
    return b'"research_use_only": "Research use only' in path.read_bytes()


MASK = Kind("mask", _wrote_mask)
DICOM_SEG = Kind("DICOM-SEG", is_marked)
PICTURE = Kind("picture", lambda path: b"tEXtSoftware\0lits_seg" in _head(path, 4096))
EXPORTED = Kind("exported model", _wrote_model)
OTHER = Kind("mask", lambda path: False)  # a name under which lits_seg writes no file


def require_free(outputs: Mapping[Path, Kind]) -> None:
    """Require that each output does not exist, or was written by lits_seg as an output of its kind.

    Args:
        outputs: kind of each file to write.

    Raises:
        InputError: if an output would replace another file, or if its folder cannot be written.
    """
    for folder in {path.parent for path in outputs}:
        _require_folder(folder)
    for path, kind in outputs.items():
        if os.path.lexists(path) and not (path.is_file() and kind.wrote(path)):
            found = (
                "a file that this command did not write" if path.is_file() else "a folder, a broken link or the like"
            )
            raise InputError(path, f"an unused name for the {kind.noun} (output=…)", found)


def require_not_inputs(outputs: Iterable[Path], inputs: Iterable[Path]) -> None:
    """Require that no output is an input, even by another name: a link, another spelling.

    Args:
        outputs: files or folders to write.
        inputs: files or folders to read.

    Raises:
        InputError: if an output is an input.
    """
    read = {_identity(path): path for path in inputs if path.exists()}
    for path in outputs:
        if path.exists() and (same := read.get(_identity(path))):
            expected = "an unused name for the output (output=…)"
            raise InputError(path, expected, f"an input of this command, {same}")


def _require_folder(folder: Path) -> None:
    existing = next(path for path in (folder, *folder.parents) if os.path.lexists(path))
    if not existing.is_dir():
        raise InputError(folder, "a folder to write into (output=…)", f"a file or a broken link, {existing}")
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(folder, "a folder to write into (output=…)", f"no permission to write into {existing}")


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _head(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        return file.read(size)


def _nifti(path: Path, checksum: bool = False) -> tuple[bytes, int]:
    """Return the description in a NIfTI header, empty for other files, and the voxels' CRC-32 if requested."""
    found = 0
    try:
        with igzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            head = file.read(_NIFTI_1[1])
            start, voxels = _NIFTI_2 if head[4:7] == b"n+2" else _NIFTI_1
            head += file.read(voxels - len(head))
            while checksum and (part := file.read(2**22)):
                found = zlib.crc32(part, found)
    except _DAMAGED:
        return b"", 0
    return head[start : start + 80].rstrip(b"\0"), found
