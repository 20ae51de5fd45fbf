"""Read the pixels of a DICOM file in HU."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from lits_seg.common.errors import InputError
from lits_seg.data.dicom_values import check_deflated, empty, import_pydicom, numbers


def read_slice(path: Path) -> np.ndarray:
    """Read one slice ``(H, W)`` in HU, rescaled by its own slope and intercept (DICOM PS3.3 C.11.1)."""
    pydicom = import_pydicom(path)
    try:
        check_deflated(path)
        dataset = pydicom.dcmread(path)
        stored = _used_bits(path, dataset)
    except InputError:
        raise
    except Exception as error:
        # Each decoder has its own exception types. If no decoder fits, pydicom's message names the package to install.
        raise InputError(path, "pixels that can be decoded", f"{type(error).__name__}: {error}") from error
    slope, intercept = _rescale(path, dataset)
    hu = stored.astype(np.float32) * slope + intercept
    whole = slope.is_integer() and intercept.is_integer() and np.abs(hu).max() < 2**15
    return hu.astype(np.int16) if whole else hu


def _used_bits(path: Path, dataset: Any) -> np.ndarray:
    """Decode the pixels, and keep only the bits that hold values: the others may hold overlays (PS3.5, 8.1.1)."""
    used = int(numbers(path, dataset, "BitsStored", 1)[0])
    allocated = int(numbers(path, dataset, "BitsAllocated", 1)[0])
    high = used - 1 if empty(dataset, "HighBit") else int(numbers(path, dataset, "HighBit", 1)[0])
    if not 1 <= used <= allocated or high != used - 1:
        found = f"BitsStored {used}, BitsAllocated {allocated}, HighBit {high}"
        raise InputError(path, "BitsStored up to BitsAllocated, and HighBit one less", found)
    rows, columns = (int(numbers(path, dataset, name, 1)[0]) for name in ("Rows", "Columns"))
    _check_codestream(path, dataset, (rows, columns))
    stored = dataset.pixel_array
    if stored.shape != (rows, columns) or stored.dtype.kind not in "iu":
        expected = f"one whole number for each of {rows}×{columns} pixels"
        raise InputError(path, expected, f"shape {stored.shape}, type {stored.dtype}")
    unused = stored.dtype.itemsize * 8 - used
    return (stored << unused) >> unused  # the shift to the right repeats the sign


def _check_codestream(path: Path, dataset: Any, shape: tuple[int, int]) -> None:
    """Compare the size in a JPEG 2000 codestream with the header's before memory is allocated for the size."""
    start = dataset.PixelData.find(b"\xff\x4f\xff\x51", 0, 4096) if "PixelData" in dataset else -1
    if start < 0 or not dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        return
    width, height, left, top = struct.unpack_from(">4I", dataset.PixelData, start + 8)
    if (height - top, width - left) != shape:
        found = f"{height - top}×{width - left} in the compressed pixels"
        raise InputError(path, f"Rows×Columns {shape[0]}×{shape[1]}", found)


def _rescale(path: Path, dataset: Any) -> tuple[float, float]:
    if "ModalityLUTSequence" in dataset:
        raise InputError(path, "RescaleSlope and RescaleIntercept", "a ModalityLUTSequence; convert the series to HU")
    values = []
    for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        values.append(float(numbers(path, dataset, name, 1)[0]) if name in dataset else default)
    if values[0] == 0:
        raise InputError(path, "RescaleSlope other than 0", "0")
    return values[0], values[1]
