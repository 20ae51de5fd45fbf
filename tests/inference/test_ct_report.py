"""The report on a mask: against volumes and places by hand."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.volumes import AFFINES, anatomy

from lits_seg.data.ct import open_ct
from lits_seg.data.grid import to_slices
from lits_seg.inference.ct_report import CtReport, MadeBy, PredictionSettings, ct_report, one_line
from lits_seg.inference.segmenter import ExportedFile, ModelFacts
from lits_seg.postprocess import Rules

VOXEL_ML = 1.5 * 1.5 * 3 / 1000


def made_by(**facts: object) -> MadeBy:
    model = ModelFacts(
        network="UNet",
        decoder="deconv",
        parameters=1,
        classes=3,
        preprocess={"window": [-100, 200]},
        checkpoints=[],
        **facts,
    )
    return MadeBy("0.1.0", None, model, PredictionSettings("none", "32", "cpu", Rules(), None))


def report(folder: Path, labels: np.ndarray, name: str = "LPS", liver_known: bool = True, **facts: object) -> CtReport:
    """``labels``: ``(x, y, z)`` in the order of the file."""
    nib.save(nib.Nifti1Image(anatomy(0)[0], AFFINES[name]), folder / "ct.nii.gz")
    with open_ct(folder / "ct.nii.gz") as ct:
        slices = to_slices(labels, AFFINES[name])
        return ct_report(ct, slices, (-1000.0, 200.0), liver_known, "mask.nii.gz", made_by(**facts))


def two_lesions() -> np.ndarray:
    labels = np.zeros((48, 40, 10), np.uint8)
    labels[10:30, 10:30, 2:8] = 1
    labels[12:16, 12:14, 3] = 2  # 8 voxels, 4 in a row of 1.5 mm
    labels[20, 20, 4:7] = 2
    return labels


@pytest.mark.parametrize("name", ["LPS", "RAS", "flipped"])
def test_lesions_by_hand_whatever_the_order_of_axes(name: str, tmp_path: Path) -> None:
    labels = two_lesions()
    found = report(tmp_path, labels, name)
    assert found.axes == "".join(nib.aff2axcodes(AFFINES[name]))
    assert found.lesion_count == 2
    assert found.lesion_ml == pytest.approx(11 * VOXEL_ML)
    assert found.liver_ml == pytest.approx(20 * 20 * 6 * VOXEL_ML)
    assert found.tumour_burden == pytest.approx(11 / 2400)
    assert [lesion.number for lesion in found.lesions] == [1, 2]
    assert [lesion.volume_ml for lesion in found.lesions] == pytest.approx([8 * VOXEL_ML, 3 * VOXEL_ML])
    middle = AFFINES[name] @ (20, 20, 5, 1)
    assert found.lesions[1].centre_mm == pytest.approx(tuple(middle[:3]))
    upwards = AFFINES[name][2, 2] > 0
    assert found.lesions[1].slices == ((4, 6) if upwards else (3, 5))
    assert found.largest_diameter_mm == max(lesion.diameter_mm for lesion in found.lesions)


def test_an_unknown_liver_has_neither_volume_nor_burden(tmp_path: Path) -> None:
    found = report(tmp_path, two_lesions(), liver_known=False)
    assert (found.liver_ml, found.tumour_burden) == (None, None)
    assert found.lesion_count == 2


def test_an_empty_mask_has_no_diameter_and_no_burden(tmp_path: Path) -> None:
    found = report(tmp_path, np.zeros((48, 40, 10), np.uint8))
    assert (found.lesion_count, found.lesion_ml, found.liver_ml) == (0, 0, 0)
    assert (found.largest_diameter_mm, found.tumour_burden, found.lesions) == (None, None, [])


def test_the_exported_file_is_named_only_if_there_is_one(tmp_path: Path) -> None:
    labels = two_lesions()
    assert "exported" not in report(tmp_path, labels).plain()["model"]
    exported = report(tmp_path, labels, exported=ExportedFile("a.onnx", "0" * 64, "onnx")).plain()["model"]["exported"]
    assert exported == {"path": "a.onnx", "sha256": "0" * 64, "format": "onnx"}


def test_one_line_says_what_is_known(tmp_path: Path) -> None:
    liver = f"liver {2400 * VOXEL_ML:.0f} mL, burden {11 / 2400:.1%}"
    assert one_line("a", report(tmp_path, two_lesions())).startswith("a: 2 lesions, 0.1 mL, largest ")
    assert one_line("a", report(tmp_path, two_lesions())).endswith(liver)
    assert one_line("a", report(tmp_path, two_lesions() * 0, liver_known=False)) == "a: 0 lesions, 0.0 mL"
    (tmp_path / "phantom.json").write_text("{}")
    assert one_line("a", report(tmp_path, two_lesions())).startswith("a (synthetic CT): ")
