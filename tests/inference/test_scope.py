"""Warnings about CTs that are unlike those for which the networks are trained."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from helpers.checkpoints import save_checkpoint, with_model
from helpers.commands import run_command
from helpers.real_data import real_data

from lits_seg.data.ct import open_ct
from lits_seg.data.volumes import read_labels
from lits_seg.inference.scope import scope_warnings


@dataclass(frozen=True)
class Body:
    """An ellipse of soft tissue in air, with an ellipsoid of liver; sizes in mm."""

    half: tuple[float, float] = (160.0, 110.0)
    liver: float = 70.0  # radius
    place: float = 0.0  # of the liver's centre above the middle slice
    liver_hu: float = 105.0
    spacing: tuple[float, float, float] = (2.5, 2.5, 5.0)
    slices: int = 40

    def warnings(self, folder: Path, scale: float = 1.0, offset: float = 0.0) -> list[str]:
        shape = (160, 120, self.slices)
        x, y, z = np.meshgrid(
            *((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape, self.spacing, strict=True)), indexing="ij"
        )
        hu = np.where((x / self.half[0]) ** 2 + (y / self.half[1]) ** 2 < 1, 40.0, -1000.0)
        labels = ((x + 50) ** 2 + y**2 + (z - self.place) ** 2 < self.liver**2).astype(np.uint8)
        hu[labels == 1] = self.liver_hu
        hu = (hu * scale + offset).astype(np.int16)
        nib.save(
            nib.Nifti1Image(hu, np.diag([-self.spacing[0], -self.spacing[1], self.spacing[2], 1])), folder / "a.nii"
        )
        with open_ct(folder / "a.nii") as ct:
            slices = np.ascontiguousarray(labels.transpose(2, 1, 0))  # LPS has the same directions as slices
            texts = scope_warnings(ct, slices, float(labels.sum()) * ct.voxel_ml, float(hu.min()))
        assert all(text.startswith(f"{folder / 'a.nii'}: ") for text in texts)
        return [text.removeprefix(f"{folder / 'a.nii'}: ") for text in texts]


def test_an_abdomen_has_no_warnings(tmp_path: Path) -> None:
    assert Body().warnings(tmp_path) == []


@pytest.mark.hostile
@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"liver": 0.0}, ["no liver was found"]),
        ({"liver": 30.0}, ["only 115 mL of liver"]),
        ({"place": 90.0}, ["large in the highest slice"]),
        ({"place": -90.0}, ["large in the lowest slice"]),
        ({"slices": 21, "liver": 300.0}, ["lowest and highest slice", "expected at most 6000"]),
        ({"slices": 15}, ["15 slices, together 75 mm high"]),
        ({"slices": 1}, ["1 slice, 5 mm high"]),
        (
            {"liver_hu": 46.0},
            [
                "median of the liver 46 HU",
            ],
        ),
        ({"liver_hu": 230.0}, ["not a CT in HU"]),
        ({"spacing": (2.5, 2.5, 8.5), "slices": 24}, ["slices of 8.5 mm; expected at most 8 mm"]),
        ({"spacing": (2.6, 2.6, 5.0)}, ["pixels of 2.6 mm; expected at most 2.5 mm"]),
        ({"half": (95.0, 75.0), "liver": 0.0}, ["cross-section of the body 2", "no liver"]),  # head
        ({"half": (50.0, 45.0), "liver": 20.0}, ["cross-section of the body 7", "mL of liver"]),  # leg
    ],
)
def test_each_reason_is_told(change: dict, told: list[str], tmp_path: Path) -> None:
    warnings = replace(Body(), **change).warnings(tmp_path)
    assert len(warnings) == len(told), warnings
    assert all(part in text for part, text in zip(told, warnings, strict=True)), warnings


@pytest.mark.hostile
def test_values_of_another_modality_are_told(tmp_path: Path) -> None:
    # Background 0, tissue 300 to 800, and a few negative values by an interpolation.
    warnings = Body(liver_hu=600.0).warnings(tmp_path, scale=0.8, offset=480.0 - 680.0 + 520.0)
    assert any("not a CT in HU" in text for text in warnings)


@pytest.mark.hostile
def test_predict_tells_the_reason_in_all_places(tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "net.ckpt", settings=with_model(out_channels=3))
    Body(half=(50.0, 45.0), liver=0.0).warnings(tmp_path)
    out = run_command("predict", "ckpt=net.ckpt", "input=a.nii", "output=out", "device=cpu", cwd=tmp_path)
    reason = "median cross-section of the body 7"
    assert f"warning: a.nii: {reason}" in out
    assert any(reason in text for text in json.loads((tmp_path / "out" / "a.json").read_text())["warnings"])
    assert reason in (tmp_path / "out" / "a.html").read_text()


@pytest.mark.parametrize(
    ("ct", "liver", "told"),
    [
        ("lits21/volume-0.nii.gz", "lits21/segmentation-0.nii.gz", []),
        ("chaos03/volume-3.nii.gz", "chaos03/segmentation-3.nii.gz", []),
        ("volume-0.nii.gz", "segmentation-0.nii.gz", ["pixels of 3 mm", "together 90 mm", "no contrast medium"]),
        ("dicom_20slices", "dicom_20slices_liver.nii.gz", ["together 40 mm"]),
    ],
)
def test_real_cts(ct: str, liver: str, told: list[str]) -> None:
    folder = real_data(ct, liver)
    with open_ct(folder / ct) as scan:
        labels = read_labels(folder / liver).slices
        lowest = float(scan.slices(0, 1).min())
        warnings = scope_warnings(scan, labels, float((labels > 0).sum()) * scan.voxel_ml, lowest)
    assert len(warnings) == len(told), warnings
    assert all(part in text for part, text in zip(told, warnings, strict=True))
