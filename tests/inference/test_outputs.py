from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from helpers.dicom_series import write_series
from helpers.volumes import AFFINES, ORDERS, anatomy
from nibabel.orientations import apply_orientation, inv_ornt_aff
from scipy.spatial import KDTree

from lits_seg.common.errors import InputError
from lits_seg.data.ct import open_ct
from lits_seg.inference.outputs import write_dicom_seg, write_nifti

HU, LABELS = anatomy(0)


def header_of(path: Path, mask: np.ndarray, out: Path, slope: float = 1.0) -> nib.Nifti1Image:
    with open_ct(path) as ct:
        write_nifti(out, mask, ct, slope)
    return nib.load(out)


@pytest.mark.parametrize("order", ORDERS, ids=str)
def test_shape_and_affine_are_the_cts_bit_by_bit(order: np.ndarray, tmp_path: Path) -> None:
    affine = AFFINES["oblique"] @ inv_ornt_aff(order, HU.shape)
    image = nib.Nifti1Image(apply_orientation(HU, order), affine)
    nib.save(image, tmp_path / "ct.nii.gz")
    mask = header_of(tmp_path / "ct.nii.gz", apply_orientation(LABELS, order), tmp_path / "mask.nii.gz")
    assert mask.affine.tobytes() == nib.load(tmp_path / "ct.nii.gz").affine.tobytes()
    assert mask.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), apply_orientation(LABELS, order))


@pytest.mark.parametrize("kind", ["qform", "scaled", "NIfTI-2", "4-D"])
def test_other_headers(kind: str, tmp_path: Path) -> None:
    image = (nib.Nifti2Image if kind == "NIfTI-2" else nib.Nifti1Image)(
        HU[..., None] if kind == "4-D" else HU, AFFINES["RAS"]
    )
    if kind == "qform":
        turn = np.eye(4)
        turn[:3, :3] = nib.eulerangles.euler2mat(0.1, 0.2, 0.3) @ np.diag([0.7, 0.7, 2.5])
        image.set_sform(None, 0)
        image.set_qform(turn, 1)
    if kind == "scaled":
        image.header.set_slope_inter(2, -1024)
    nib.save(image, tmp_path / "ct.nii")
    mask = header_of(tmp_path / "ct.nii", LABELS, tmp_path / "mask.nii.gz")
    assert mask.affine.tobytes() == nib.load(tmp_path / "ct.nii").affine.tobytes()
    assert type(mask) is type(nib.load(tmp_path / "ct.nii"))
    np.testing.assert_array_equal(np.asanyarray(mask.dataobj), LABELS)
    assert b"research use only" in bytes(mask.header["descrip"])


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_a_mask_has_no_text_of_the_cts_header(kind: type[nib.Nifti1Image], tmp_path: Path) -> None:
    image = kind(HU, AFFINES["RAS"])
    for name in {"data_type", "db_name", "aux_file", "intent_name", "descrip"} & set(image.header):
        image.header[name] = b"DOE^JOHN"
    nib.save(image, tmp_path / "ct.nii")
    mask = header_of(tmp_path / "ct.nii", LABELS, tmp_path / "mask.nii.gz")
    assert b"DOE" in nib.load(tmp_path / "ct.nii").header.binaryblock
    assert b"DOE" not in mask.header.binaryblock


def test_a_map_is_scaled(tmp_path: Path) -> None:
    nib.save(nib.Nifti1Image(HU, AFFINES["RAS"]), tmp_path / "ct.nii")
    values = np.random.default_rng(0).integers(0, 256, HU.shape).astype(np.uint8)
    image = header_of(tmp_path / "ct.nii", values, tmp_path / "map.nii.gz", 1 / 255)
    assert image.get_data_dtype() == np.uint8
    np.testing.assert_allclose(image.get_fdata(), values / 255, atol=1e-7)


def forget(*names: str) -> Any:
    def change(i: int, dataset: Any) -> None:
        for name in names:
            setattr(dataset, name, "")

    return change


@pytest.mark.parametrize("change", [forget(), forget("SOPClassUID", "SOPInstanceUID")], ids=["plain", "emptied"])
def test_dicom_seg_is_the_mask(change: Any, tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    write_series(tmp_path / "series", HU, change, turn=0.05)
    with open_ct(tmp_path / "series") as ct:
        write_dicom_seg(tmp_path / "mask.dcm", LABELS, ct)
        affine = ct.affine
    found = highdicom.seg.segread(tmp_path / "mask.dcm")
    assert [found.get_segment_description(i).segment_label for i in found.segment_numbers] == ["Liver", "Lesion"]
    assert "research use only" in found.SeriesDescription
    volume = found.get_volume(combine_segments=True)  # of the slices that hold something
    left_posterior = np.diag([-1.0, -1, 1, 1])
    for value in (1, 2):
        there = nib.affines.apply_affine(left_posterior @ volume.affine, np.argwhere(volume.array == value))
        here = nib.affines.apply_affine(affine, np.argwhere(value == LABELS))
        assert len(there) == len(here)
        distance, _ = KDTree(here).query(there)
        assert distance.max() < 1e-3


@pytest.mark.parametrize(("labels", "segments"), [(LABELS // 2 * 2, ["Lesion"]), (LABELS * 0, ["Lesion"])])
def test_dicom_seg_without_liver_or_without_anything(labels: np.ndarray, segments: list[str], tmp_path: Path) -> None:
    highdicom = pytest.importorskip("highdicom")
    write_series(tmp_path / "series", HU)
    with open_ct(tmp_path / "series") as ct:
        write_dicom_seg(tmp_path / "mask.dcm", labels, ct)
    found = highdicom.seg.segread(tmp_path / "mask.dcm")
    assert [found.get_segment_description(i).segment_label for i in found.segment_numbers] == segments
    assert found.pixel_array.sum() == (labels == 2).sum()


DICOM = {
    "PatientID": "1",
    "PatientName": "A^B",
    "PatientBirthDate": "19700101",
    "PatientSex": "F",
    "StudyDate": "20200101",
    "StudyTime": "120000",
}


@pytest.mark.hostile
@pytest.mark.filterwarnings("ignore::UserWarning")  # pydicom warns of each value
@pytest.mark.parametrize(
    ("values", "left_out"),
    [
        ({"PatientSex": "Male"}, "PatientSex"),
        ({"PatientSex": ["M", "F"]}, "PatientSex"),
        ({"PatientBirthDate": "1970-01-01"}, "PatientBirthDate"),
        ({"StudyTime": "12:00:00"}, "StudyTime"),
        ({"StudyDate": "today"}, "StudyDate"),
        ({"PatientID": "x" * 80}, "PatientID"),
        ({"PatientAge": "45"}, "PatientAge"),
        ({"SliceThickness": ""}, None),
        ({"SliceThickness": "-3"}, None),
        ({"SpecificCharacterSet": ["", "ISO 2022 IR 87"], "PatientName": "Yamada^Tarou=山田^太郎"}, None),
        ({"SpecificCharacterSet": "ISO_IR 100", "PatientName": "Müller^Änne"}, None),
        ({"SpecificCharacterSet": "LATIN1"}, None),
    ],
    ids=str,
)
def test_invalid_values_are_left_out_of_the_dicom_seg(
    values: dict[str, Any], left_out: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("highdicom")
    pydicom = pytest.importorskip("pydicom")

    def change(i: int, dataset: Any) -> None:
        for name, value in {**DICOM, **values}.items():
            setattr(dataset, name, value)

    monkeypatch.setattr(pydicom.config.settings, "writing_validation_mode", pydicom.config.IGNORE)
    write_series(tmp_path / "series", HU, change)
    with open_ct(tmp_path / "series") as ct:
        warnings = write_dicom_seg(tmp_path / "mask.dcm", LABELS, ct)
    expected = [f"mask.dcm: values that are not valid DICOM were left out: {left_out}"] if left_out else []
    assert warnings == expected
    found = pydicom.dcmread(tmp_path / "mask.dcm")
    assert 0 < float(found.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].SliceThickness) <= 3
    for name, value in {**DICOM, **values}.items():
        if name in DICOM:
            assert str(found.get(name)) == ("" if name == left_out else value)


def test_the_name_of_the_patient_is_not_shown(tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    pytest.importorskip("highdicom")
    write_series(tmp_path / "series", HU, lambda i, dataset: setattr(dataset, "PatientName", "DOE"))
    with open_ct(tmp_path / "series") as ct:
        assert write_dicom_seg(tmp_path / "mask.dcm", LABELS, ct) == []
    assert [str(warning.message) for warning in recwarn if "DOE" in str(warning.message)] == []


def test_a_series_that_nothing_can_refer_to_is_named(tmp_path: Path) -> None:
    pytest.importorskip("highdicom")
    pydicom = pytest.importorskip("pydicom")

    write_series(tmp_path / "series", HU)
    slice_file = next((tmp_path / "series").iterdir())
    dataset = pydicom.dcmread(slice_file)
    dataset.SOPInstanceUID = dataset.file_meta.MediaStorageSOPInstanceUID = ""
    dataset.save_as(slice_file)
    with open_ct(tmp_path / "series") as ct, pytest.raises(InputError, match=r"series.*expected a SOPInstanceUID"):
        write_dicom_seg(tmp_path / "mask.dcm", LABELS, ct)
    assert not (tmp_path / "mask.dcm").exists()
