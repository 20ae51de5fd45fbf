"""Read attributes of a DICOM file as numbers and text, whatever an anonymiser has left of them."""

import re
import warnings
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from lits_seg.common.dependencies import install
from lits_seg.common.errors import InputError

DEFLATED = b"1.2.840.10008.1.2.1.99"
HIGHEST_UNPACKED = 2**26  # bytes of a deflated file
LONGEST = 80  # characters of a value


def numbers(path: Path, dataset: Any, name: str, count: int) -> np.ndarray:
    """Return an attribute as finite numbers, ``(count,)``.

    Args:
        path: the file, which errors name.
        dataset: its attributes.
        name: keyword of the attribute.
        count: how many numbers the attribute must have.

    Raises:
        InputError: if the attribute is missing, or has other values.
    """
    try:
        values = np.array(dataset.get(name), float).reshape(-1)
    except Exception:
        # pydicom converts a value on first access, and raises exceptions of many types if it cannot.
        values = np.empty(0)
    if len(values) != count or not np.isfinite(values).all():
        expected = f"{name} with {count} finite numbers" if count > 1 else f"{name} with a finite number"
        raise InputError(path, expected, shown(dataset, name))
    return values


def whole_number(path: Path, dataset: Any, name: str) -> int:
    """Return an attribute as a whole number; raise ``InputError`` that names ``path`` if it has another value."""
    value = float(numbers(path, dataset, name, 1)[0])
    if not value.is_integer():
        raise InputError(path, f"{name} with a whole number", shown(dataset, name))
    return int(value)


def text(dataset: Any, name: str) -> str:
    """Return an attribute as text, several values separated by backslashes; empty if it is missing."""
    return "" if empty(dataset, name) else _stored(dataset, name)


def empty(dataset: Any, name: str) -> bool:
    """Return whether an attribute is missing, or has no value except spaces."""
    value = dataset.get_item(name).value if name in dataset else None
    return (
        value is None
        or (hasattr(value, "__len__") and len(value) == 0)
        or (isinstance(value, bytes) and not value.strip(b" "))
    )


def shown(dataset: Any, name: str) -> str:
    """Return the value of an attribute for a message, even if pydicom cannot convert the value."""
    return readable(_stored(dataset, name)) or "empty" if name in dataset else f"no {name}"


def readable(value: str) -> str:
    """Return a value for a message: characters outside ASCII and unprintable ones as ``\\x`` with their number."""
    found = re.sub(r"[^ -~]", lambda character: f"\\x{ord(character[0]):02x}", value)
    return found if len(found) <= LONGEST else f"{found[:LONGEST]}…"


def _stored(dataset: Any, name: str) -> str:
    """Return the first characters of a value as text; bytes of a value that pydicom cannot convert, as Latin-1."""
    with suppress(Exception):  # pydicom raises exceptions of many types; the bytes as stored are left
        dataset.get(name)
    value = dataset.get_item(name).value
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    elif not isinstance(value, str) and hasattr(value, "__iter__"):
        value = "\\".join(str(part) for part in value)
    return str("" if value is None else value).strip(" \0")[:LONGEST]


def check_deflated(path: Path) -> None:
    """Check the unpacked size of a deflated file, which pydicom unpacks as a whole."""
    with path.open("rb") as file:
        if DEFLATED not in file.read(1024):
            return
        start = 144 + import_pydicom(path).filereader.read_file_meta_info(path).FileMetaInformationGroupLength
        file.seek(start)
        unpacked = zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), HIGHEST_UNPACKED + 1)
    if len(unpacked) > HIGHEST_UNPACKED:
        raise InputError(path, f"a slice of at most {HIGHEST_UNPACKED} bytes", "a deflated file that unpacks to more")


def import_pydicom(path: Path) -> Any:
    """Import pydicom, whose warnings about damaged values are left to the checks in this module."""
    try:
        import pydicom
    except ImportError as error:
        raise InputError(path, f"pydicom to read DICOM ({install('dicom')})", "not installed") from error
    warnings.filterwarnings("ignore", module="pydicom")
    return pydicom
