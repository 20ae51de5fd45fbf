"""Small DICOM series as a scanner writes them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom


def write_series(
    folder: Path, hu: np.ndarray, change: Callable[[int, Any], None] = lambda i, dataset: None, turn: float = 0.0
) -> None:
    """HU ``(x, y, z)`` on the patient's axes (left, posterior, superior), 1.5 x 1.2 x 3 mm; files in random order."""
    folder.mkdir(parents=True, exist_ok=True)
    cos, sin = float(np.cos(turn)), float(np.sin(turn))
    names = np.random.default_rng(0).permutation(hu.shape[2])
    for i in range(hu.shape[2]):
        meta = pydicom.dataset.FileMetaDataset()
        meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
        meta.MediaStorageSOPInstanceUID = f"1.2.3.{i + 1}"
        meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
        dataset = pydicom.Dataset()
        dataset.file_meta = meta
        dataset.SOPClassUID, dataset.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
        dataset.Modality, dataset.SeriesInstanceUID = "CT", "1.2.3"
        dataset.ImageOrientationPatient = [cos, sin, 0, -sin, cos, 0]
        dataset.ImagePositionPatient = [10, 20, 3 * i - 50]
        dataset.PixelSpacing = [1.2, 1.5]  # rows, columns
        dataset.Rows, dataset.Columns = hu.shape[1], hu.shape[0]
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation, dataset.PixelRepresentation = 1, "MONOCHROME2", 0
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -2048 - i  # each slice by its own
        dataset.PixelData = (hu[:, :, i].T.astype(int) + 2048 + i).astype("<u2").tobytes()
        change(i, dataset)
        dataset.save_as(folder / f"IM{names[i]:04d}", enforce_file_format=True)


def set_raw(dataset: Any, keyword: str, value: bytes) -> None:
    """Set an attribute to bytes that need not be valid, as an anonymiser writes them."""
    tag = pydicom.tag.Tag(pydicom.datadict.tag_for_keyword(keyword))
    kind = pydicom.datadict.dictionary_VR(tag).split(" ")[0]
    dataset._dict[tag] = pydicom.dataelem.RawDataElement(tag, kind, len(value), value, 0, False, True)
