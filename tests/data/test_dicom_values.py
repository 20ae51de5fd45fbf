"""Values of DICOM attributes in messages: numbers as numbers, text as text, and odd bytes readably."""

import pydicom
import pytest
from helpers.dicom_series import set_raw

from lits_seg.data.dicom_values import shown, text


@pytest.mark.hostile
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom's, which the readers of files silence
@pytest.mark.parametrize(
    ("keyword", "value", "told"),
    [
        ("PixelSpacing", b"1,2\\1,5 ", r"1,2\1,5"),
        ("PixelSpacing", b"\xff\xfe\x00\x1b[31m\n", r"\xff\xfe\x00\x1b[31m\x0a"),
        ("PixelSpacing", b"\xff" * 500, r"\xff" * 20 + "…"),
        ("PixelSpacing", b"\0\0", "empty"),
        ("PixelSpacing", b"", "empty"),
        ("ImageType", "ORIGINAL\\Präfix".encode("latin-1"), r"ORIGINAL\Pr\xe4fix"),
        ("Rows", b"\x28\x00\x29\x00", r"40\41"),
        ("Rows", b"\x28\x00\x29", r"(\x00)"),
        ("Modality", None, "no Modality"),
    ],
)
def test_odd_values_are_shown_readably_and_shortened(keyword: str, value: bytes | None, told: str) -> None:
    dataset = pydicom.Dataset()
    if value is not None:
        set_raw(dataset, keyword, value)
    assert shown(dataset, keyword) == told
    assert len(text(dataset, keyword)) <= 80
