"""The patients that a report shows: best, median and worst, each with the picture of its run."""

import base64
import io
from pathlib import Path

import pytest
from helpers.run_folders import HEAVY, case, one_group, write_run
from PIL import Image

from lits_seg.comparison.finished_runs import find_runs
from lits_seg.comparison.overlays import overlays


@pytest.mark.parametrize(
    ("missed", "shown"),
    [
        ((8, 0, 4, 12, 2), [("best", "1"), ("median", "2"), ("worst", "3")]),
        ((8, 2), [("best and median", "1"), ("worst", "0")]),
        ((5,), [("best and median and worst", "0")]),
    ],
)
def test_best_median_and_worst(missed: tuple[int, ...], shown: list[tuple[str, str]], tmp_path: Path) -> None:
    write_run(tmp_path / "a", [case(str(number), missed=voxels) for number, voxels in enumerate(missed)])
    (variant,) = one_group(find_runs(tmp_path).finished, HEAVY).variants
    found = overlays(variant)
    assert [overlay.caption.split(", Dice")[0] for overlay in found] == [
        f"{name}: {patient}" for name, patient in shown
    ]
    for overlay in found:
        with Image.open(io.BytesIO(base64.b64decode(overlay.jpeg))) as picture:
            assert picture.size == (60, 20)


def test_a_missing_or_damaged_picture_is_none(tmp_path: Path) -> None:
    write_run(tmp_path / "a", [case("0"), case("1", missed=5)])
    (tmp_path / "a" / "overlays" / "0.png").unlink()
    (tmp_path / "a" / "overlays" / "1.png").write_text("no picture")
    (variant,) = one_group(find_runs(tmp_path).finished, HEAVY).variants
    assert [overlay.jpeg for overlay in overlays(variant)] == [None, None]
