"""Read a folder with one DICOM series of CT slices as a volume in HU."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lits_seg.common.errors import InputError
from lits_seg.data.dicom_pixels import read_slice
from lits_seg.data.dicom_slice import SliceHeader, other_object, read_dataset, slice_header
from lits_seg.data.dicom_values import readable, text
from lits_seg.data.grid import Grid, require_volume

TILT_DEGREES = 0.5  # larger angles between stacking direction and normal are a tilted gantry
GAP_SHARE = 0.1  # gaps may differ from the median gap by this share
ROUNDING = 5e-5  # numbers may differ by this, relative and absolute: less than a tenth of a pixel at the 512th pixel


@dataclass(frozen=True)
class Series(Grid):
    """A DICOM series of CT slices. ``paths``: its files in the order of the last axis."""

    paths: tuple[Path, ...]

    def slices(self) -> Iterator[np.ndarray]:
        """Read the slices one by one, ``(Y, X)`` in HU; raise ``InputError`` if pixels cannot be decoded."""
        return map(read_slice, self.paths)


def read_series(folder: str | Path) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Read a series.

    Returns:
        HU ``(X, Y, Z)``, int16 if all HU are whole numbers, else float32; the NIfTI affine (RAS+, mm); and the
        doubts, see ``Grid``.

    Raises:
        InputError: if pixels cannot be decoded, or if the folder is no single series (see ``find_series``).
    """
    series = find_series(folder)
    slices = np.stack(list(series.slices()), axis=-1)
    return slices.transpose(1, 0, 2), series.affine, series.doubts


def find_series(folder: str | Path) -> Series:
    """Find the single series in a folder, without reading pixels.

    Slices are sorted by their position along the normal (DICOM PS3.3 C.7.6.2), not by file name.

    Raises:
        InputError: if the files are not a single stack of CT slices: several series or shapes, a missing or repeated
            slice, a tilted gantry, or several frames in a file.
    """
    folder = Path(folder)
    datasets = _datasets(folder)
    _require_one(folder, "CT images", "Modality", datasets, must="CT")
    headers = {path: slice_header(path, dataset) for path, dataset in datasets.items()}
    _require_one(folder, "one series", "SeriesInstanceUID", datasets)
    first = next(iter(headers.values()))
    for name, field, expected in (
        ("Rows and Columns", "shape", "slices of one shape"),
        ("PixelSpacing", "spacing", "one pixel spacing"),
        ("ImageOrientationPatient", "orientation", "slices with one orientation"),
    ):
        usual = getattr(first, field)
        for path, header in headers.items():
            value = getattr(header, field)
            if not np.allclose(value, usual, rtol=ROUNDING, atol=ROUNDING):
                found = f"{name} {_values(usual)} in {next(iter(headers)).name}, {_values(value)} in {path.name}"
                raise InputError(folder, expected, found)
    paths, affine = _stack(folder, headers)
    rows, columns = first.shape.tolist()
    shape = (columns, rows, len(paths))
    require_volume(folder, shape, np.dtype(np.float32), affine)
    return Series(affine, shape, tuple(paths), doubts=_doubts(headers))


def _doubts(headers: dict[Path, SliceHeader]) -> tuple[str, ...]:
    """Return why the values may not be HU; ``US`` means that the unit is not specified."""
    other = {path: header.unit for path, header in headers.items() if header.unit.upper() not in ("", "HU")}
    if not other:
        return ()
    path, unit = next(iter(other.items()))
    return (f"RescaleType {unit} in {len(other)} slices, such as {path.name}: the values may not be HU",)


def holds_images(folder: Path) -> bool:
    """Return whether a folder has a DICOM file that may be an image, not only reports, segmentations and the like."""
    for path in _files(folder):
        try:
            dataset = read_dataset(path)
            if dataset is not None and other_object(dataset) is None:
                return True
        except InputError:
            return True  # the error is raised again when the folder is read as a series
    return False


def _files(folder: Path) -> list[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise InputError(folder, "a readable folder", error.strerror) from error
    return [path for path in paths if path.name != "DICOMDIR" and path.name[0] != "." and os.path.isfile(path)]


def _datasets(folder: Path) -> dict[Path, Any]:
    """Read the attributes of all images in a folder; objects that refer to images are left out."""
    found = {path: dataset for path in _files(folder) if (dataset := read_dataset(path)) is not None}
    if not found:
        raise InputError(folder, "a DICOM series", "no DICOM file")
    others = {path: other for path, dataset in found.items() if (other := other_object(dataset))}
    if len(others) == len(found):
        raise InputError(folder, "a DICOM series of CT slices", ", ".join(sorted(set(others.values()))))
    return {path: dataset for path, dataset in found.items() if path not in others}


def _require_one(folder: Path, expected: str, name: str, datasets: dict[Path, Any], must: str | None = None) -> None:
    values: dict[str, list[str]] = {}
    for path, dataset in datasets.items():
        values.setdefault(text(dataset, name), []).append(path.name)
    if len(values) > 1 or (must is not None and must not in values):
        found = ", ".join(
            f"{name} {readable(value) or 'empty'} in {len(files)} files{'' if files[1:] else f' ({files[0]})'}"
            for value, files in values.items()
        )
        raise InputError(folder, expected, found)


def _values(array: np.ndarray) -> str:
    return "\\".join(f"{value:.10g}" for value in array.ravel())


def _stack(folder: Path, headers: dict[Path, SliceHeader]) -> tuple[list[Path], np.ndarray]:
    """Return paths in the order of their positions, and the NIfTI affine of ``(column, row, slice)``."""
    first = next(iter(headers.values()))
    along_row, along_column = first.orientation
    normal = np.cross(along_row, along_column)
    positions = {path: header.position for path, header in headers.items()}
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
    row_spacing, column_spacing = first.spacing
    for path in paths:
        from_first = positions[path] - positions[paths[0]]
        aside = float(np.linalg.norm(from_first - direction * (from_first @ normal) / (direction @ normal)))
        if aside > min(first.spacing) / 2:
            raise InputError(path, "slices on a straight line (ImagePositionPatient)", f"{aside:.3g} mm off the line")
    affine = np.eye(4)
    affine[:3, 0] = along_row * column_spacing
    affine[:3, 1] = along_column * row_spacing
    affine[:3, 2] = direction / (len(paths) - 1)
    affine[:3, 3] = positions[paths[0]]
    # DICOM's first two axes point to the patient's left and back, NIfTI's to the right and front.
    return paths, np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
