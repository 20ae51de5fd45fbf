"""Pixels of DICOM files: only BitsStored bits are values, and sizes are checked before memory is taken."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from helpers.dicom_series import set_raw, write_series
from helpers.volumes import anatomy

from lits_seg.common.errors import InputError
from lits_seg.data.ct import open_ct
from lits_seg.data.dicom import read_series

HU = anatomy(0)[0][:, :, :4]


def error_of(folder: Path, change: Callable[[int, Any], None]) -> str:
    """The error for a series whose slice 2 is changed; both readers must give the same."""
    write_series(folder, HU, lambda i, dataset: change(i, dataset) if i == 2 else None)
    with pytest.raises(InputError) as whole:
        read_series(folder)
    with pytest.raises(InputError) as by_slices, open_ct(folder):
        pass
    assert str(by_slices.value) == str(whole.value)
    return str(whole.value)


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("signed", [False, True])
def test_bits_above_the_stored_ones_are_no_values(signed: bool, compressed: bool, tmp_path: Path) -> None:
    def overlay(i: int, dataset: Any) -> None:
        offset = 0 if signed else 1100
        values = (HU[:, :, i].T.astype(int) + offset).astype("<u2") & 0xFFF
        values[::3] |= 0x3000  # planes of an overlay
        values[1::5] |= 0x8000
        dataset.RescaleIntercept = -offset
        dataset.PixelData = values.tobytes()
        if compressed:
            dataset.compress(pydicom.uid.JPEG2000Lossless)
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 11, int(signed)

    write_series(tmp_path, HU, overlay)
    np.testing.assert_array_equal(read_series(tmp_path)[0], HU)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("keyword", "value"),
    [
        ("RescaleIntercept", b""),
        ("RescaleIntercept", b"-1024,0 "),
        ("RescaleSlope", b""),
        ("RescaleSlope", b"0 "),
        ("RescaleSlope", b"-1"),
        ("RescaleSlope", b"1\\1 "),
        ("RescaleSlope", b"inf "),
        ("BitsStored", b"\x11\x00"),
        ("BitsStored", b"\x00\x00"),
        ("HighBit", b"\x0b\x00"),
        ("BitsAllocated", b"\x08\x00"),
        ("PhotometricInterpretation", b""),
        ("PhotometricInterpretation", b"RGB "),
        ("SamplesPerPixel", b"\x03\x00"),
        ("PixelRepresentation", b""),
        ("PixelRepresentation", b"\x07\x00"),
        ("PixelData", b""),
        ("PixelData", bytes(100)),
    ],
)
def test_attributes_of_the_pixels_are_named(keyword: str, value: bytes, tmp_path: Path) -> None:
    told = error_of(tmp_path, lambda i, dataset: set_raw(dataset, keyword, value))
    words = {"PixelRepresentation": "Pixel Representation"} if value == b"\x07\x00" else {}
    assert words.get(keyword, keyword) in told
    assert told.startswith(f"{tmp_path}/IM")
    assert ": expected " in told


@pytest.mark.hostile
@pytest.mark.parametrize("keyword", ["PhotometricInterpretation", "SamplesPerPixel", "PixelData", "BitsStored"])
def test_missing_attributes_of_the_pixels_are_named(keyword: str, tmp_path: Path) -> None:
    assert keyword in error_of(tmp_path, lambda i, dataset: delattr(dataset, keyword))


@pytest.mark.hostile
def test_a_modality_lut_is_named(tmp_path: Path) -> None:
    def change(i: int, dataset: Any) -> None:
        del dataset.RescaleSlope, dataset.RescaleIntercept
        table = pydicom.Dataset()
        table.LUTDescriptor, table.ModalityLUTType, table.LUTData = [4096, 0, 16], "HU", bytes(8192)
        table["LUTData"].VR = "OW"
        dataset.ModalityLUTSequence = [table]

    assert "found a ModalityLUTSequence" in error_of(tmp_path, change)


@pytest.mark.hostile
@pytest.mark.parametrize(
    "syntax", ["1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90", "1.2.3.4.10008.1.2.5"]
)
def test_a_transfer_syntax_that_cannot_be_decoded_is_named(syntax: str, tmp_path: Path) -> None:
    def change(i: int, dataset: Any) -> None:
        dataset.PixelData = pydicom.encaps.encapsulate([b"no pixels "])
        dataset["PixelData"].VR = "OB"
        dataset.file_meta.TransferSyntaxUID = syntax.replace("1.2.3.4.", "1.2.840.")

    write_series(tmp_path, HU[:, :, :2], change)
    if syntax.startswith("1.2.3.4."):  # pydicom does not write private syntaxes
        for file in tmp_path.iterdir():
            file.write_bytes(file.read_bytes().replace(b"1.2.840.10008.1.2.5", syntax.encode()))
    with pytest.raises(InputError, match=r"IM\d+: expected .*(TransferSyntaxUID|PixelData)"):
        read_series(tmp_path)


@pytest.mark.hostile
def test_a_codestream_that_claims_another_size_is_not_decoded(tmp_path: Path) -> None:
    def change(i: int, dataset: Any) -> None:
        dataset.compress(pydicom.uid.JPEG2000Lossless)
        size = dataset.PixelData.index(b"\xff\x4f\xff\x51") + 8
        claimed = (60000).to_bytes(4, "big") * 2
        dataset.PixelData = dataset.PixelData[:size] + claimed + dataset.PixelData[size + 8 :]

    assert "found 60000×60000 in the compressed pixels" in error_of(tmp_path, change)


@pytest.mark.hostile
def test_a_deflated_file_that_unpacks_to_more_than_a_slice_is_not_unpacked(tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    file = pydicom.dcmread(tmp_path / "IM0001")
    file.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    file.save_as(tmp_path / "IM0001")
    np.testing.assert_array_equal(read_series(tmp_path)[0], HU)
    file.add_new((0x0011, 0x1001), "OB", bytes(2**26))
    file.add_new((0x0011, 0x0010), "LO", "bomb")
    file.save_as(tmp_path / "IM0001")
    with pytest.raises(InputError, match=r"IM0001: expected a slice of at most \d+ bytes"):
        read_series(tmp_path)
