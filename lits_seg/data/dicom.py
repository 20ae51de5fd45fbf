"""Read a folder with one DICOM series of CT slices as a volume in HU."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lits_seg.common.errors import InputError
from lits_seg.data.grid import Grid, require_volume

TILT_DEGREES = 0.5  # larger angles between stacking direction and normal are a tilted gantry
GAP_SHARE = 0.1  # gaps may differ from the median gap by this share


@dataclass(frozen=True)
class Series(Grid):
    """A DICOM series of CT slices. ``paths``: its files in the order of the last axis."""

    paths: tuple[Path, ...]

    def slices(self) -> Iterator[np.ndarray]:
        """Read the slices one by one, ``(Y, X)`` in HU; raise ``InputError`` if pixels cannot be decoded."""
        return map(read_slice, self.paths)


def read_series(folder: str | Path) -> tuple[np.ndarray, np.ndarray]:
    """Read a series.

    Returns:
        HU ``(X, Y, Z)``, int16 if all HU are whole numbers, else float32; and the NIfTI affine (RAS+, mm).

    Raises:
        InputError: if pixels cannot be decoded, or if the folder is no single series (see ``find_series``).
    """
    series = find_series(folder)
    slices = np.stack(list(series.slices()), axis=-1)
    return slices.transpose(1, 0, 2), series.affine


def find_series(folder: str | Path) -> Series:
    """Find the single series in a folder, without reading pixels.

    Slices are sorted by their position along the normal (DICOM PS3.3 C.7.6.2), not by file name.

    Raises:
        InputError: if the files are not a single stack of CT slices: several series or shapes, a missing or repeated
            slice, a tilted gantry, or several frames in a file.
    """
    folder = Path(folder)
    headers = _headers(folder)
    for name, expected in (
        ("Modality", "CT images"),
        ("SeriesInstanceUID", "one series"),
        ("Rows", "slices of one shape"),
        ("Columns", "slices of one shape"),
        ("PixelSpacing", "one pixel spacing"),
        ("ImageOrientationPatient", "slices with one orientation"),
    ):
        values = Counter(str(header.get(name, "")) for header in headers.values())
        if len(values) > 1 or (name == "Modality" and "CT" not in values):
            found = ", ".join(f"{name} {value or 'empty'} in {count} files" for value, count in values.items())
            raise InputError(folder, expected, found)
    paths, affine = _stack(folder, headers)
    first = headers[paths[0]]
    shape = (int(first.Columns), int(first.Rows), len(paths))
    require_volume(folder, shape, np.dtype(np.float32), affine)
    return Series(affine, shape, tuple(paths))


def _headers(folder: Path) -> dict[Path, Any]:
    try:
        import pydicom
    except ImportError as error:
        raise InputError(folder, "pydicom to read DICOM (pip install 'lits_seg[dicom]')", "not installed") from error
    headers = {}
    for path in sorted(folder.iterdir()):
        if not path.is_file() or path.name.startswith(".") or path.name == "DICOMDIR":
            continue
        try:
            headers[path] = pydicom.dcmread(path, stop_before_pixels=True)
        except (pydicom.errors.InvalidDicomError, EOFError) as error:
            if path.suffix.lower() in (".dcm", ".ima"):
                raise InputError(path, "a DICOM file", str(error)) from error
    if not headers:
        raise InputError(folder, "a DICOM series", "no DICOM file")
    for path, header in headers.items():
        for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"):
            if header.get(name) is None:
                raise InputError(path, "a CT slice with its position in the patient", f"no {name}")
        if int(header.get("NumberOfFrames") or 1) > 1:
            raise InputError(path, "one slice per file", f"{header.NumberOfFrames} frames")
    return headers


def _stack(folder: Path, headers: dict[Path, Any]) -> tuple[list[Path], np.ndarray]:
    """Return paths in the order of their positions, and the NIfTI affine of ``(column, row, slice)``."""
    first = next(iter(headers.values()))
    along_row, along_column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(along_row, along_column)
    positions = {path: np.array(header.ImagePositionPatient, float) for path, header in headers.items()}
    paths = sorted(positions, key=lambda path: float(positions[path] @ normal))
    if len(paths) < 2:
        raise InputError(folder, "at least two slices", len(paths))
    steps = np.diff([positions[path] for path in paths], axis=0)
    gaps = steps @ normal
    usual = float(np.median(gaps))
    for gap, path, following in zip(gaps, paths, paths[1:], strict=False):
        if gap <= 1e-3:
            raise InputError(following, "slices at different positions", f"the position of {path.name}")
        if abs(gap - usual) > GAP_SHARE * usual:
            raise InputError(
                folder,
                f"slices {usual:.4g} mm apart, none missing",
                f"{gap:.4g} mm between {path.name} and {following.name}",
            )
    direction = positions[paths[-1]] - positions[paths[0]]
    tilt = float(np.degrees(np.arccos(np.clip(direction @ normal / np.linalg.norm(direction), -1, 1))))
    if tilt > TILT_DEGREES:
        raise InputError(folder, "slices stacked along their normal", f"a gantry tilt of {tilt:.3g} degrees")
    row_spacing, column_spacing = (float(spacing) for spacing in first.PixelSpacing)
    affine = np.eye(4)
    affine[:3, 0] = along_row * column_spacing
    affine[:3, 1] = along_column * row_spacing
    affine[:3, 2] = direction / (len(paths) - 1)
    affine[:3, 3] = positions[paths[0]]
    # DICOM's first two axes point to the patient's left and back, NIfTI's to the right and front.
    return paths, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine


def read_slice(path: Path) -> np.ndarray:
    """Read one slice ``(H, W)`` in HU, rescaled by its own slope and intercept (DICOM PS3.3 C.11.1)."""
    import pydicom

    dataset = pydicom.dcmread(path)
    try:
        stored = dataset.pixel_array
    except Exception as error:
        # Each decoder has its own exception types. If no decoder fits, pydicom's message names the package to install.
        raise InputError(path, "pixels that can be decoded", f"{type(error).__name__}: {error}") from error
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    hu = stored.astype(np.float32) * slope + intercept
    whole = slope.is_integer() and intercept.is_integer() and np.abs(hu).max() < 2**15
    return hu.astype(np.int16) if whole else hu
