"""Headers of DICOM files: the message names the attribute, and what a file is if it is no CT slice."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers.dicom_series import set_raw, write_series
from helpers.volumes import anatomy

from lits_seg.common.errors import InputError
from lits_seg.data.ct import open_ct
from lits_seg.data.dicom import read_series

HU = anatomy(0)[0][:, :, :4]


def written(folder: Path, change: Callable[[Any], object]) -> Path:
    """A series whose slice 2 is changed."""
    write_series(folder, HU, lambda i, dataset: change(dataset) if i == 2 else None)
    return folder


def set_on(**values: object) -> Callable[[Any], None]:
    def change(dataset: Any) -> None:
        for name, value in values.items():
            setattr(dataset, name, value)

    return change


@pytest.mark.parametrize(
    "change",
    [
        lambda dataset: set_raw(dataset, "PixelSpacing", b"1.200000\\1.500000"),
        lambda dataset: set_raw(dataset, "PixelSpacing", b"1.2000\\15.0E-1 "),
        set_on(ImageOrientationPatient=[1, 1e-7, 0, -1e-7, 1, 0]),
        lambda dataset: set_raw(dataset, "ImageOrientationPatient", b"1.000000\\0.00\\-0\\0\\1.0\\-0.0"),
        lambda dataset: set_raw(dataset, "RescaleSlope", b"1.000000"),
        lambda dataset: set_raw(dataset, "NumberOfFrames", b"1 "),
        lambda dataset: set_raw(dataset, "NumberOfFrames", b""),
        lambda dataset: set_raw(dataset, "SeriesInstanceUID", b"1.2.3\0"),
    ],
)
def test_values_are_compared_as_numbers(change: Callable[[Any], object], tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_series(written(tmp_path, change))[0], HU)


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("keyword", "values"),
    [
        (
            "PixelSpacing",
            [b"1.2 ", b"1,2\\1,5 ", b"0\\0 ", b"-1.2\\1.5 ", b"nan\\1.5 ", b"1.2\\1.5\\3 ", b"\\", b"abc "],
        ),
        (
            "ImageOrientationPatient",
            [
                b"1\\0\\0\\0\\1 ",
                b"0\\0\\0\\0\\0\\0 ",
                b"1\\0\\0\\1\\0\\0 ",
                b"2\\0\\0\\0\\1\\0 ",
                b"1\\0\\0\\0\\inf\\0",
            ],
        ),
        ("ImagePositionPatient", [b"1\\2 ", b"1\\2\\1e400 ", b"1,0\\2\\3 ", b"\xff\xfe"]),
        ("Rows", [b"\x00\x00", b"\xff\xff", b"\x28\x00\x28\x00"]),
        ("Columns", [b"\x00\x00", b"\xff\xff"]),
        ("NumberOfFrames", [b"many", b"1.5 ", b"-\xff"]),
    ],
)
def test_wrong_numbers_are_one_error_that_names_the_attribute(
    keyword: str, values: list[bytes], tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    for number, value in enumerate(values):
        folder = written(tmp_path / str(number), lambda dataset, value=value: set_raw(dataset, keyword, value))
        recwarn.clear()  # of writing
        with pytest.raises(InputError, match=rf"IM\d+: expected .*{keyword}.*; found ") as error, open_ct(folder):
            pass
        assert "\n" not in str(error.value)
    assert not recwarn.list, "pydicom's warnings are not printed"


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "told"),
    [
        (set_on(SOPClassUID="1.2.840.10008.5.1.4.1.1.2.1"), "one slice per file; found 1 frames, an Enhanced CT"),
        (set_on(NumberOfFrames=10), "one slice per file; found 10 frames; convert it to NIfTI"),
        (set_on(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]), r"a localizer (ImageType ORIGINAL\PRIMARY\LOCALIZER)"),
        (
            lambda dataset: (
                set_on(SOPClassUID="1.2.840.10008.5.1.4.1.1.7")(dataset),
                delattr(dataset, "PixelSpacing"),
            ),
            "no PixelSpacing (Secondary Capture Image Storage)",
        ),
    ],
)
def test_a_file_that_is_no_slice_is_described(change: Callable[[Any], object], told: str, tmp_path: Path) -> None:
    def without_place(dataset: Any) -> None:
        del dataset.ImagePositionPatient
        change(dataset)

    for number, one in enumerate((change, without_place)):
        with pytest.raises(InputError) as error:
            read_series(written(tmp_path / str(number), one))
        if number == 0 or "PixelSpacing" not in told:
            assert told in str(error.value)


@pytest.mark.parametrize("modality", ["SR", "SEG", "PR"])
def test_objects_that_refer_to_images_are_no_slices(modality: str, tmp_path: Path) -> None:
    def other(i: int, dataset: Any) -> None:
        if i in (0, 3):
            dataset.Modality, dataset.SeriesInstanceUID, dataset.NumberOfFrames = modality, "1.2.9", 20
            del dataset.ImagePositionPatient, dataset.PixelData

    write_series(tmp_path / "series", HU, other)
    np.testing.assert_array_equal(read_series(tmp_path / "series")[0], HU[:, :, 1:3])
    write_series(tmp_path / "alone", HU[:, :, :1], other)
    with pytest.raises(InputError, match=rf"alone: expected a DICOM series of CT slices; found .*\({modality}\)"):
        read_series(tmp_path / "alone")


def test_an_empty_file_is_no_slice_that_may_be_left_out(tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    (tmp_path / "empty.txt").touch()
    np.testing.assert_array_equal(read_series(tmp_path)[0], HU)
    (tmp_path / "IM0009").touch()
    with pytest.raises(InputError, match="IM0009: expected a DICOM file; found an empty file"):
        read_series(tmp_path)


@pytest.mark.hostile
def test_files_cut_or_damaged_at_any_byte_are_named(tmp_path: Path) -> None:
    write_series(tmp_path, HU)
    file = tmp_path / "IM0002"
    content = file.read_bytes()
    random = np.random.default_rng(0)
    for _ in range(70):
        damaged = bytearray(content)
        damaged[int(random.integers(0, 1100))] = random.integers(0, 256)
        file.write_bytes(damaged[: int(random.integers(200, len(content)))] if random.random() < 0.3 else damaged)
        with contextlib.suppress(InputError), open_ct(tmp_path) as ct:  # any other exception fails
            assert ct.slices(0, len(ct)).shape[0] >= 3
