import resource
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.dicom_series import write_series
from helpers.volumes import AFFINES, ORDERS, anatomy
from nibabel.orientations import apply_orientation, inv_ornt_aff

from lits_seg.cli import explain
from lits_seg.common.errors import InputError
from lits_seg.data.ct import open_ct
from lits_seg.data.volumes import read_volume

HU = anatomy(0)[0]


def blocks(path: Path, size: int = 3) -> np.ndarray:
    with open_ct(path) as ct:
        return np.concatenate([ct.slices(i, i + size) for i in range(0, len(ct), size)])


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_blocks_are_the_whole_volume(order: np.ndarray, tmp_path: Path) -> None:
    affine = AFFINES["oblique"] @ inv_ornt_aff(order, HU.shape)
    nib.save(nib.Nifti1Image(apply_orientation(HU, order), affine), tmp_path / "ct.nii.gz")
    found, expected = blocks(tmp_path / "ct.nii.gz"), read_volume(tmp_path / "ct.nii.gz").slices
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype == np.int16


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("kind", [np.int16, ">i2", np.uint16, np.float32, np.float64, "scaled"])
def test_storage_does_not_matter(kind: object, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"ct{suffix}"
    if kind == "scaled":
        image = nib.Nifti1Image(((HU + 1024) // 2).astype(np.int16), AFFINES["RAS"])
        image.header.set_slope_inter(2, -1024)
    elif kind == ">i2":
        image = nib.Nifti1Image(HU, AFFINES["RAS"], nib.Nifti1Header(endianness=">"))
    else:
        image = nib.Nifti1Image(np.clip(HU, 0, None).astype(kind), AFFINES["RAS"])
    nib.save(image, path)
    np.testing.assert_array_equal(blocks(path), read_volume(path).slices)


def test_nifti_2_and_series(tmp_path: Path) -> None:
    nib.save(nib.Nifti2Image(HU, AFFINES["RAS"]), tmp_path / "ct.nii")
    np.testing.assert_array_equal(blocks(tmp_path / "ct.nii"), read_volume(tmp_path / "ct.nii").slices)
    write_series(tmp_path / "series", HU)
    np.testing.assert_array_equal(blocks(tmp_path / "series"), read_volume(tmp_path / "series").slices)
    with open_ct(tmp_path / "series") as ct:
        assert len(ct.series) == len(ct) == HU.shape[2]
        assert ct.spacing == pytest.approx((1.5, 1.2, 3))


@pytest.mark.parametrize("what", ["missing", "cut", "text", "4-D", "nan", "cut gz"])
def test_bad_files_are_named(what: str, tmp_path: Path) -> None:
    path = tmp_path / ("ct.nii.gz" if what == "cut gz" else "ct.nii")
    hu = np.where(HU.max() == HU, np.nan, HU).astype(np.float32) if what == "nan" else HU
    image = nib.Nifti1Image(np.stack([hu, hu], axis=3) if what == "4-D" else hu, AFFINES["LPS"])
    if what == "text":
        path.write_bytes(b"no " * 500)
    elif what != "missing":
        nib.save(image, path)
    if what.startswith("cut"):
        path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(InputError) as error:
        blocks(path)
    assert str(error.value).startswith(f"{path}: expected ")


@pytest.mark.hostile
@pytest.mark.parametrize("order", ORDERS[::11], ids=str)
def test_the_slice_with_the_first_value_that_is_not_finite_is_named(order: np.ndarray, tmp_path: Path) -> None:
    hu = HU.astype(np.float32)
    hu[3, 4, 5] = np.nan
    hu[3, 5, 6] = np.inf
    affine = AFFINES["LPS"] @ inv_ornt_aff(order, HU.shape)
    nib.save(nib.Nifti1Image(apply_orientation(hu, order), affine), tmp_path / "ct.nii")
    for read in (blocks, read_volume):
        with pytest.raises(
            InputError, match=r"expected finite HU values; found \d NaN or infinite, the first in slice 5"
        ):
            read(tmp_path / "ct.nii")


def test_nothing_unpacked_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    nib.save(nib.Nifti1Image(HU, AFFINES["LPS"]), tmp_path / "ct.nii.gz")
    blocks(tmp_path / "ct.nii.gz")
    (tmp_path / "ct.nii.gz").write_bytes(b"\x1f\x8b cut")
    with pytest.raises(InputError):
        blocks(tmp_path / "ct.nii.gz")
    assert not list((tmp_path / "scratch").iterdir())


def test_a_single_dicom_file_is_told_of_its_folder(tmp_path: Path) -> None:
    write_series(tmp_path, HU[:, :, :2])
    with pytest.raises(InputError, match="IM0000: expected a NIfTI file, or the folder of a DICOM series"):
        blocks(tmp_path / "IM0000")


def test_a_full_disk_is_not_the_cts_fault(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(HU, AFFINES["LPS"]), tmp_path / "ct.nii.gz")
    (tmp_path / "scratch").mkdir()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with (
            pytest.raises(OSError, match="File too large") as error,
            open_ct(tmp_path / "ct.nii.gz", tmp_path / "scratch"),
        ):
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert not isinstance(error.value, InputError)
    assert explain(error.value) == "output: expected free space to write; found: File too large"
    assert not list((tmp_path / "scratch").iterdir())
