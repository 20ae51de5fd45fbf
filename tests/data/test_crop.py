"""Warnings about what images with a fixed pixel size do not show."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.volumes import anatomy, write_case

from lits_seg.data.crop import Crop, cut_cases, shown
from lits_seg.data.layouts import find_cases
from lits_seg.data.preprocess import Preprocess
from lits_seg.data.store import store_cases


@pytest.mark.parametrize(("side", "mm", "size", "spacing"), [(40, 1, 32, 1), (41, 1.3, 33, 0.7), (20, 0.5, 64, 1)])
def test_what_is_shown_is_what_logits_are_restored_for(side: int, mm: float, size: int, spacing: float) -> None:
    preprocess = Preprocess(size=size, spacing=spacing)
    mask = np.zeros((side, side), bool)
    mask[shown(side, mm, size, spacing), shown(side, mm, size, spacing)] = True
    logits = torch.ones(1, 2, size, size) * torch.tensor([0.0, 9.0])[:, None, None]
    np.testing.assert_array_equal(preprocess.restore(logits, side, side, (mm, mm)).argmax(dim=1)[0].numpy(), mask)


def test_a_cut_body_is_named_with_its_shares(tmp_path: Path) -> None:
    for number in range(2):
        write_case(tmp_path, str(number), *anatomy(number))  # 48 x 40 pixels of 1.5 mm
    cases = find_cases(tmp_path)
    whole = store_cases(cases, Preprocess(size=64, spacing=1.5), tmp_path / "store")
    assert all("outside" not in warning for case in whole for warning in case.check.warnings)
    assert cut_cases(whole) == []
    cut = store_cases(cases, Preprocess(size=16, spacing=1.5), tmp_path / "store")
    (warning,) = (warning for warning in cut[0].check.warnings if "outside" in warning)
    hu, labels = anatomy(0)
    inside = np.zeros(hu.shape, bool)
    inside[16:32, 12:28] = True
    body, liver = ((mask & ~inside).sum() / mask.sum() for mask in (hu > -300, labels > 0))
    assert f"{body:.1%} of the body and {liver:.1%} of the liver is outside the 24 × 24 mm" in warning
    assert "data.preprocess.size=16, data.preprocess.spacing=1.5" in warning
    (summary,) = cut_cases([*whole, *cut])
    assert summary.startswith("2 of 4 CTs are cropped by data.preprocess.size and data.preprocess.spacing")


def test_a_little_of_the_body_may_be_cut_but_no_liver() -> None:
    crop = Crop(16, 1.0, (1.0, 1.0))
    assert crop.warnings(Path("ct.nii")) == []  # nothing counted
    body = np.full((1, 100, 100), -1000)
    body[0, 45:55, 45:55] = 0
    body[0, 0, 0] = 0
    crop.add(body)
    assert crop.lost == pytest.approx(1 / 101)
    assert crop.warnings(Path("ct.nii")) == []
    assert crop.warnings(Path("ct.nii"), (10, 9)) != []
