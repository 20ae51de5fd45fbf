from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.volumes import AFFINES, anatomy, write_case
from nibabel.orientations import apply_orientation, inv_ornt_aff

from lits_seg.data.checks import CaseCheck, check_case
from lits_seg.data.layouts import find_cases
from lits_seg.data.volumes import read_case


def check(root: Path, hu: np.ndarray, labels: np.ndarray, affine: np.ndarray | None = None) -> CaseCheck:
    write_case(root, "0", hu, labels, affine)
    return check_again(root)


def check_again(root: Path) -> CaseCheck:
    case = find_cases(root)[0]
    return check_case(case, *read_case(case))


@pytest.mark.parametrize("name", AFFINES)
def test_a_sound_case_has_no_warnings_in_any_orientation(name: str, tmp_path: Path) -> None:
    hu, labels = anatomy(0)
    found = check(tmp_path, hu, labels, AFFINES[name])
    assert found.warnings == []
    assert found.orientation == "".join(nib.aff2axcodes(AFFINES[name]))
    assert found.hu == [hu.min(), hu.max()]
    assert found.voxels == np.bincount(labels.ravel()).tolist()
    assert found.liver_hu == pytest.approx(110, abs=3)
    assert found.lesion_outside == 0


def test_headers_that_disagree_are_told_and_voxels_are_kept_together(tmp_path: Path) -> None:
    write_case(tmp_path, "0", *anatomy(2))
    nib.save(nib.Nifti1Image(anatomy(2)[1], np.eye(4)), tmp_path / "segmentation-0.nii.gz")
    image, label = read_case(find_cases(tmp_path)[0])
    assert image.slices[label.slices == 2].mean() == pytest.approx(60, abs=3)
    assert image.spacing == label.spacing == (1.5, 1.5, 3.0)
    (warning,) = check_again(tmp_path).warnings
    assert warning.startswith(str(tmp_path / "segmentation-0.nii.gz"))
    assert "1.5×1.5×3" in warning
    assert "RAS 1×1×1" in warning


def test_another_order_of_axes_for_the_same_place_is_no_disagreement(tmp_path: Path) -> None:
    hu, labels = anatomy(1)
    write_case(tmp_path, "0", hu, labels)
    order = np.array([[1, -1], [0, 1], [2, -1.0]])
    turned = nib.Nifti1Image(apply_orientation(labels, order), AFFINES["LPS"] @ inv_ornt_aff(order, labels.shape))
    nib.save(turned, tmp_path / "segmentation-0.nii.gz")
    assert check_again(tmp_path).warnings == []


@pytest.mark.parametrize(
    ("affine", "told"),
    [
        (np.eye(4), "identity affine"),
        (np.diag([-1.0, -1.0, 1.0, 1.0]), "spacing 1×1×1 mm"),
        (np.diag([0.01, 0.01, 5.0, 1.0]), "spacing 0.01×0.01×5 mm; expected 0.3 to 10"),
    ],
)
def test_spacing_that_means_nothing_is_told(affine: np.ndarray, told: str, tmp_path: Path) -> None:
    (warning,) = check(tmp_path, *anatomy(0), affine).warnings
    assert warning.startswith(f"{tmp_path / 'volume-0.nii.gz'}: ")
    assert told in warning


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda hu: hu + 1100, ["offset of 1024", "median of the liver 12"]),
        (lambda hu: hu.clip(-100, 200), ["no air"]),
        (lambda hu: hu - 400, ["median of the liver -2"]),
        (lambda hu: -hu, ["no air", "median of the liver -1"]),
    ],
)
def test_numbers_that_are_no_hu_are_told(change: object, told: list[str], tmp_path: Path) -> None:
    hu, labels = anatomy(0)
    warnings = check(tmp_path, change(hu), labels).warnings
    assert len(warnings) == len(told)
    assert all(part in warning for part, warning in zip(told, warnings, strict=True))


def test_lesion_apart_from_the_liver_is_told_with_its_share(tmp_path: Path) -> None:
    hu, labels = anatomy(0)
    inside = int((labels == 2).sum())
    labels[2:5, 2:5, 4] = 2
    found = check(tmp_path, hu, labels)
    assert found.lesion_outside == pytest.approx(9 / (inside + 9))
    (warning,) = found.warnings
    assert "are not connected to the liver" in warning


def test_no_liver_is_told_and_a_liver_without_lesion_is_not(tmp_path: Path) -> None:
    hu, labels = anatomy(0, lesion=False)
    assert check(tmp_path / "without lesion", hu, labels).warnings == []
    (warning,) = check(tmp_path / "without liver", hu, labels * 0).warnings
    assert warning.endswith("segmentation-0.nii.gz: no liver")


def test_doubts_about_either_header_are_warnings_that_name_the_file(tmp_path: Path) -> None:
    write_case(tmp_path, "0", *anatomy(0))
    for kind in ("volume", "segmentation"):
        path = tmp_path / f"{kind}-0.nii.gz"
        image = nib.load(path)
        image = nib.Nifti1Image(np.asarray(image.dataobj), image.affine)
        image.set_qform(AFFINES["RAS"], 1)
        nib.save(image, path)
    warnings = check_again(tmp_path).warnings
    assert [warning.split(": ")[0] for warning in warnings] == [
        str(tmp_path / "volume-0.nii.gz"),
        str(tmp_path / "segmentation-0.nii.gz"),
    ]
    assert all("sform says LPS" in warning and "qform says RAS" in warning for warning in warnings)


def test_a_doubt_about_labels_that_are_moved_to_the_images_grid_is_a_warning(tmp_path: Path) -> None:
    hu, labels = anatomy(0)
    write_case(tmp_path, "0", hu, labels)
    image = nib.Nifti1Image(labels, AFFINES["LPS"])
    image.set_sform(AFFINES["LPS"], 0)
    image.set_qform(AFFINES["LPS"], 0)
    nib.save(image, tmp_path / "segmentation-0.nii.gz")
    unknown, differs = check_again(tmp_path).warnings
    assert "orientation and position are unknown" in unknown
    assert "affine differs" in differs


def test_hu_above_those_of_bone_are_a_warning(tmp_path: Path) -> None:
    hu, labels = anatomy(0)
    hu[0, 0, 0] = 4000
    assert check(tmp_path, hu, labels).warnings == []
    hu[0, 0, 0] = 4232
    (warning,) = check(tmp_path, hu, labels).warnings
    assert "highest HU is 4232; expected at most 4000" in warning
