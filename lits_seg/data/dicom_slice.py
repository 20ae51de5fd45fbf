"""Read the header of a DICOM file: what the file is, and the place of a CT slice."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lits_seg.common.errors import InputError
from lits_seg.data.dicom_values import (
    check_deflated,
    empty,
    import_pydicom,
    numbers,
    readable,
    shown,
    text,
    whole_number,
)

# Objects that refer to images, by Modality. They may be in the folder of a series.
NOT_IMAGES = {
    "SR": "a structured report (SR), such as a dose report",
    "SEG": "a segmentation (SEG)",
    "PR": "a presentation state (PR)",
    "KO": "a key object selection (KO)",
    "REG": "a registration (REG)",
    "RTSTRUCT": "a structure set (RTSTRUCT)",
    "RTPLAN": "a treatment plan (RTPLAN)",
    "RTDOSE": "a dose distribution (RTDOSE)",
    "DOC": "a document (DOC)",
}
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
CT_IMAGE = "1.2.840.10008.5.1.4.1.1.2"
HIGHEST_SIDE = 8192  # pixels
HEADER = (
    *("Modality", "SeriesInstanceUID", "SOPClassUID", "ImageType", "NumberOfFrames", "Rows", "Columns"),
    *("PixelSpacing", "ImageOrientationPatient", "ImagePositionPatient", "SharedFunctionalGroupsSequence"),
    "RescaleType",
)


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """The place of a slice.

    Args:
        series: identifier of the series.
        shape: rows and columns.
        spacing: distance of the rows and of the columns in mm, ``(2,)``.
        orientation: direction along a row and along a column, unit vectors ``(2, 3)``.
        position: centre of the first pixel in mm, ``(3,)``.
        unit: unit of the rescaled pixels, such as ``HU``; empty if it is not stated.
    """

    series: str
    shape: np.ndarray
    spacing: np.ndarray
    orientation: np.ndarray
    position: np.ndarray
    unit: str


def read_dataset(path: Path) -> Any | None:
    """Read a file's attributes that place a slice, without pixels; None if the file is not DICOM.

    Raises:
        InputError: if the file is damaged or unreadable, or if pydicom is not installed.
    """
    pydicom = import_pydicom(path)
    named = path.suffix.lower() in (".dcm", ".ima")
    try:
        with path.open("rb") as file:
            start = file.read(132)
        if not start and not path.suffix:
            raise InputError(path, "a DICOM file", "an empty file")
        if start[128:] != b"DICM":
            if named:
                raise InputError(path, "a DICOM file", "no mark DICM at byte 128")
            return None
        check_deflated(path)
        return pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(HEADER))
    except InputError:
        raise
    except OSError as error:
        raise InputError(path, "a readable file", error.strerror or error) from error
    except Exception as error:
        # pydicom raises exceptions of many types for damaged content.
        raise InputError(path, "a DICOM file", f"{type(error).__name__}: {error}") from error


def other_object(dataset: Any) -> str | None:
    """Describe an object that is not an image, such as a report; None for an image."""
    return NOT_IMAGES.get(text(dataset, "Modality"))


def slice_header(path: Path, dataset: Any) -> SliceHeader:
    """Read the place of a CT slice.

    Args:
        path: the file, which errors name.
        dataset: its attributes.

    Raises:
        InputError: if the file is not a single CT slice, or if a value is missing or no sound number.
    """
    _require_single_slice(path, dataset)
    rows, columns = (whole_number(path, dataset, name) for name in ("Rows", "Columns"))
    for name, value in (("Rows", rows), ("Columns", columns)):
        if not 1 <= value <= HIGHEST_SIDE:
            raise InputError(path, f"{name} from 1 to {HIGHEST_SIDE}", value)
    spacing = numbers(path, dataset, "PixelSpacing", 2)
    if not (spacing > 0).all():
        raise InputError(path, "PixelSpacing with 2 positive numbers", shown(dataset, "PixelSpacing"))
    orientation = numbers(path, dataset, "ImageOrientationPatient", 6).reshape(2, 3)
    if not np.allclose(orientation @ orientation.T, np.eye(2), rtol=0, atol=0.01):
        expected = "ImageOrientationPatient with two perpendicular unit vectors"
        raise InputError(path, expected, shown(dataset, "ImageOrientationPatient"))
    position = numbers(path, dataset, "ImagePositionPatient", 3)
    shape = np.array([rows, columns])
    series, unit = text(dataset, "SeriesInstanceUID"), text(dataset, "RescaleType")
    return SliceHeader(series, shape, spacing, orientation, position, unit)


def _require_single_slice(path: Path, dataset: Any) -> None:
    frames = 1 if empty(dataset, "NumberOfFrames") else whole_number(path, dataset, "NumberOfFrames")
    sop_class = text(dataset, "SOPClassUID")
    if frames > 1 or sop_class == ENHANCED_CT or "SharedFunctionalGroupsSequence" in dataset:
        found = f"{frames} frames" + (", an Enhanced CT" if sop_class == ENHANCED_CT else "")
        raise InputError(path, "one slice per file", f"{found}; convert it to NIfTI, for example with dcm2niix")
    image_type = text(dataset, "ImageType")
    if "LOCALIZER" in image_type.upper():
        found = f"a localizer (ImageType {readable(image_type)}); keep it in another folder"
        raise InputError(path, "a CT slice", found)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows", "Columns"):
        if empty(dataset, name):
            other = f" ({import_pydicom(path).uid.UID(sop_class).name})" if sop_class not in ("", CT_IMAGE) else ""
            raise InputError(path, "a CT slice with its position in the patient", f"no {name}{other}")
