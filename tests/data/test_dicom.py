from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from helpers.dicom_series import write_series
from helpers.real_data import real_data
from helpers.volumes import anatomy

from lits_seg.common.errors import InputError
from lits_seg.data.ct import open_ct
from lits_seg.data.dicom import read_series
from lits_seg.data.grid import same_place
from lits_seg.data.volumes import read_volume


@pytest.mark.parametrize("turn", [0.0, 0.05])
def test_slices_are_sorted_rescaled_and_placed(turn: float, tmp_path: Path) -> None:
    hu, _ = anatomy(0)
    write_series(tmp_path / "series", hu, turn=turn)
    (tmp_path / "series" / "README.txt").write_text("no DICOM")
    array, affine, doubts = read_series(tmp_path / "series")
    assert array.dtype == np.int16
    assert doubts == ()
    np.testing.assert_array_equal(array, hu)
    # Voxel (2, 1, 3) by the standard's equation C.7.6.2.1-1, its first two axes turned round.
    x = 10 + 2 * 1.5 * np.cos(turn) - 1 * 1.2 * np.sin(turn)
    y = 20 + 2 * 1.5 * np.sin(turn) + 1 * 1.2 * np.cos(turn)
    np.testing.assert_allclose(affine @ (2, 1, 3, 1), (-x, -y, 3 * 3 - 50, 1), atol=1e-6)


def test_a_series_and_the_same_volume_as_nifti_give_the_same_slices(tmp_path: Path) -> None:
    hu, _ = anatomy(1)
    write_series(tmp_path / "series", hu)
    nib.save(nib.Nifti1Image(hu, np.diag([-1.5, -1.2, 3.0, 1.0])), tmp_path / "volume.nii")
    series, nifti = read_volume(tmp_path / "series"), read_volume(tmp_path / "volume.nii")
    np.testing.assert_array_equal(series.slices, nifti.slices)
    assert series.spacing == pytest.approx(nifti.spacing)


def test_fractions_of_hu_are_kept(tmp_path: Path) -> None:
    hu, _ = anatomy(0)

    def halve(i: int, dataset: Any) -> None:
        dataset.RescaleSlope = 0.5

    write_series(tmp_path, hu, halve)
    array, *_ = read_series(tmp_path)
    assert array.dtype == np.float32
    np.testing.assert_allclose(array[..., 0], (hu[..., 0] + 2048) / 2 - 2048)


@pytest.mark.hostile
@pytest.mark.parametrize(("unit", "warned"), [("HU", False), ("hu", False), ("", False), ("US", True), ("Z_EFF", True)])
def test_another_unit_than_hu_is_a_warning_in_every_reader(unit: str, warned: bool, tmp_path: Path) -> None:
    hu, _ = anatomy(0)
    write_series(tmp_path, hu, lambda i, dataset: setattr(dataset, "RescaleType", unit))
    with open_ct(tmp_path) as ct:
        found = [*read_volume(tmp_path).doubts, *ct.doubts]
    told = f"RescaleType {unit} in 10 slices, such as IM"
    assert len(found) == (2 if warned else 0)
    assert all(doubt.startswith(told) and doubt.endswith("the values may not be HU") for doubt in found)


def set_on(index: int, **values: object) -> Callable[[int, Any], None]:
    def change(i: int, dataset: Any) -> None:
        if i == index:
            for name, value in values.items():
                setattr(dataset, name, value)

    return change


def tilt(i: int, dataset: Any) -> None:
    dataset.ImagePositionPatient = [10, 20 + 0.3 * i, 3 * i - 50]


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (set_on(4, SeriesInstanceUID="1.2.4"), "expected one series; found SeriesInstanceUID"),
        (set_on(4, Modality="MR"), "expected CT images; found Modality CT in 9 files, Modality MR in 1"),
        (set_on(4, PixelSpacing=[1, 1]), "one pixel spacing"),
        (set_on(4, ImageOrientationPatient=[0, 1, 0, 1, 0, 0]), "one orientation"),
        (set_on(4, ImagePositionPatient=[10, 20, -41]), "slices at different positions"),
        (
            set_on(2, ImagePositionPatient=[13, 20, -44]),
            "slices on a straight line (ImagePositionPatient); found 3 mm off the line",
        ),
        (set_on(4, ImagePositionPatient=[10, 20, 400]), "slices 3 mm apart, none missing; found 6 mm between"),
        (set_on(4, NumberOfFrames=3), "one slice per file; found 3 frames"),
        (tilt, "a gantry tilt of 5.71 degrees"),
    ],
)
def test_what_is_no_stack_of_ct_slices_is_refused(change: Callable, told: str, tmp_path: Path) -> None:
    write_series(tmp_path / "series", anatomy(0)[0], change)
    with pytest.raises(InputError) as error:
        read_volume(tmp_path / "series")
    assert str(error.value).startswith(str(tmp_path / "series"))
    assert told in str(error.value)


def test_a_slice_without_its_place_is_named(tmp_path: Path) -> None:
    def forget(i: int, dataset: Any) -> None:
        if i == 2:
            del dataset.ImagePositionPatient

    write_series(tmp_path, anatomy(0)[0], forget)
    with pytest.raises(InputError, match=r"IM\d+: expected a CT slice with its position.*no ImagePositionPatient"):
        read_series(tmp_path)


def test_missing_or_damaged_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty: expected a DICOM series; found no DICOM file"):
        read_series(tmp_path / "empty")
    write_series(tmp_path / "series", anatomy(0)[0])
    (tmp_path / "series" / "IM0003").rename(tmp_path / "series" / "IM0003.dcm")
    (tmp_path / "series" / "IM0003.dcm").write_bytes(b"cut" * 100)
    with pytest.raises(InputError, match=r"IM0003.dcm: expected a DICOM file"):
        read_series(tmp_path / "series")


def test_cut_pixels_are_named(tmp_path: Path) -> None:
    write_series(tmp_path, anatomy(0)[0])
    file = tmp_path / "IM0004"
    file.write_bytes(file.read_bytes()[:-500])
    with pytest.raises(InputError, match="IM0004"):
        read_series(tmp_path)


def test_real_series_is_on_the_grid_of_its_labels() -> None:
    real = real_data("dicom_20slices", "dicom_20slices_liver.nii.gz")
    volume = read_volume(real / "dicom_20slices")
    label = read_volume(real / "dicom_20slices_liver.nii.gz")
    assert volume.slices.shape == label.slices.shape == (20, 512, 512)
    assert volume.spacing == pytest.approx((0.977, 0.977, 2), abs=1e-3)
    assert same_place(volume, label), f"{volume}; labels: {label}"
    assert volume.slices[label.slices == 1].mean() == pytest.approx(89, abs=1)
    assert (volume.slices.min(), volume.slices.max()) == (-1024, 1839)
