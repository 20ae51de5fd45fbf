"""NIfTI files: packed ones are unpacked to the byte, and errors name the file that the user gave."""

import gzip
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.volumes import AFFINES, anatomy

from lits_seg.common.errors import InputError
from lits_seg.data.nifti import open_nifti, unpack

HU = anatomy(0)[0]


@pytest.fixture
def packed(tmp_path: Path) -> Path:
    nib.save(nib.Nifti1Image(HU, AFFINES["RAS"]), tmp_path / "ct.nii.gz")
    return tmp_path / "ct.nii.gz"


def test_the_unpacked_copy_is_the_file_to_the_byte(packed: Path, tmp_path: Path) -> None:
    unpack(packed, tmp_path / "plain.nii")
    assert (tmp_path / "plain.nii").read_bytes() == gzip.decompress(packed.read_bytes())
    with open_nifti(packed, tmp_path / "plain.nii") as copy, open_nifti(packed) as image:
        np.testing.assert_array_equal(np.asanyarray(copy.dataobj), HU)
        np.testing.assert_array_equal(np.asanyarray(image.dataobj), HU)


def test_damage_that_is_met_late_names_the_users_file(packed: Path, tmp_path: Path) -> None:
    unpack(packed, tmp_path / "plain.nii")
    content = (tmp_path / "plain.nii").read_bytes()
    (tmp_path / "plain.nii").write_bytes(content[:5000])
    with pytest.raises(InputError) as error, open_nifti(packed, tmp_path / "plain.nii") as image:
        np.asanyarray(image.dataobj)
    assert str(error.value).startswith(f"{packed}: expected ")
    assert "plain.nii" not in str(error.value)


def test_a_truncated_file_is_named_and_a_full_disk_is_not_its_fault(packed: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        unpack(packed, tmp_path / "nowhere" / "plain.nii")
    packed.write_bytes(packed.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"ct\.nii\.gz: expected"):
        unpack(packed, tmp_path / "plain.nii")


def test_errors_of_the_reader_stay_as_they_are(packed: Path) -> None:
    with pytest.raises(ZeroDivisionError), open_nifti(packed):
        raise ZeroDivisionError
