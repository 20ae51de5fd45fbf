"""Read the pixels of a DICOM file in HU."""

import struct
from pathlib import Path
from typing import Any

import numpy as np

from lits_seg.common.errors import InputError
from lits_seg.data.dicom_values import check_deflated, empty, import_pydicom, numbers, readable, text, whole_number


def read_slice(path: Path) -> np.ndarray:
    """Read one slice ``(H, W)`` in HU, rescaled by its own slope and intercept (DICOM PS3.3 C.11.1).

    Raises:
        InputError: if pixels cannot be decoded, or if an attribute that describes the pixels is missing or wrong.
    """
    pydicom = import_pydicom(path)
    syntax = "unknown"
    try:
        check_deflated(path)
        dataset = pydicom.dcmread(path)
        syntax = dataset.file_meta.get("TransferSyntaxUID", syntax)
        shape, used = _described(path, dataset)
        stored = dataset.pixel_array
    except InputError:
        raise
    except Exception as error:
        # Each decoder has its own exception types. If no decoder fits, pydicom's message names the package to install.
        expected = f"pixels that can be decoded (TransferSyntaxUID {getattr(syntax, 'name', syntax)})"
        raise InputError(path, expected, f"{type(error).__name__}: {error}") from error
    if stored.shape != shape or stored.dtype.kind not in "iu":
        expected = f"a whole number for each of Rows×Columns {shape[0]}×{shape[1]} pixels"
        raise InputError(path, expected, f"shape {stored.shape}, type {stored.dtype}")
    # Bits above BitsStored may hold overlays (PS3.5, 8.1.1). The shift to the right repeats the sign.
    unused = stored.dtype.itemsize * 8 - used
    slope, intercept = _rescale(path, dataset)
    hu = ((stored << unused) >> unused).astype(np.float32) * slope + intercept
    whole = slope.is_integer() and intercept.is_integer() and np.abs(hu).max() < 2**15
    return hu.astype(np.int16) if whole else hu


def _described(path: Path, dataset: Any) -> tuple[tuple[int, int], int]:
    """Check the attributes that describe the pixels; return the shape and the number of bits that hold values."""
    for name in ("PixelData", "PixelRepresentation"):
        if empty(dataset, name):
            raise InputError(path, f"an image with {name}", f"no {name}")
    photometric, samples = text(dataset, "PhotometricInterpretation"), text(dataset, "SamplesPerPixel")
    if photometric not in ("MONOCHROME1", "MONOCHROME2") or whole_number(path, dataset, "SamplesPerPixel") != 1:
        found = f"PhotometricInterpretation {readable(photometric) or 'empty'}, SamplesPerPixel {samples or 'empty'}"
        raise InputError(path, "PhotometricInterpretation MONOCHROME2, SamplesPerPixel 1", found)
    named = ("Rows", "Columns", "BitsAllocated", "BitsStored")
    rows, columns, allocated, used = (whole_number(path, dataset, name) for name in named)
    high = used - 1 if empty(dataset, "HighBit") else whole_number(path, dataset, "HighBit")
    if not 1 <= used <= allocated or high != used - 1:
        found = f"BitsStored {used}, BitsAllocated {allocated}, HighBit {high}"
        raise InputError(path, "BitsStored up to BitsAllocated, and HighBit one less", found)
    if dataset.file_meta.TransferSyntaxUID.is_encapsulated:
        _check_codestream(path, dataset.PixelData, (rows, columns))
    elif len(dataset.PixelData) * 8 < rows * columns * allocated:
        expected = f"PixelData with {rows * columns * allocated // 8} bytes"
        raise InputError(path, expected, f"{len(dataset.PixelData)}: the file is truncated")
    return (rows, columns), used


def _check_codestream(path: Path, pixels: bytes, shape: tuple[int, int]) -> None:
    """Compare the size in a JPEG 2000 codestream with the header's before memory is allocated for the size."""
    start = pixels.find(b"\xff\x4f\xff\x51", 0, 4096)
    if start < 0:
        return
    width, height, left, top = struct.unpack_from(">4I", pixels, start + 8)
    if (height - top, width - left) != shape:
        found = f"{height - top}×{width - left} in the compressed pixels"
        raise InputError(path, f"Rows×Columns {shape[0]}×{shape[1]}", found)


def _rescale(path: Path, dataset: Any) -> tuple[float, float]:
    if "ModalityLUTSequence" in dataset:
        raise InputError(path, "RescaleSlope and RescaleIntercept", "a ModalityLUTSequence; convert the series to HU")
    values = []
    for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0)):
        values.append(float(numbers(path, dataset, name, 1)[0]) if name in dataset else default)
    if values[0] <= 0:  # a negative slope would make air brighter than bone
        raise InputError(path, "RescaleSlope above 0", f"{values[0]:g}")
    return values[0], values[1]
