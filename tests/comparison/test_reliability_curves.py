"""The report's reliability of calibrated runs."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from helpers.commands import failed_command, run_command
from helpers.run_folders import HEAVY, LIGHT, case, one_group, run, write_run

from lits_seg.common.records import as_plain
from lits_seg.common.tables import json_text
from lits_seg.comparison.reliability_curves import reliability_curve, reliability_figure, reliability_table
from lits_seg.postprocess import Rules
from lits_seg.postprocess.fitting import Bin, Calibration, Trial

BEST = Trial(Rules(largest_liver=True, threshold=0.5), 0.6, 1.5)


def calibration(patient: str, temperature: float, share: float, voxels: int) -> Calibration:
    """Voxels with probability 0.95, of which a share is lesion; after the temperature, the probability is right."""
    before, after = [Bin(0.05, 0.05, 100), Bin(0.95, share, voxels)], [Bin(0.05, 0.05, 100), Bin(share, share, voxels)]
    return Calibration([patient], temperature, before, after, 0.1, 0.0, BEST.rules, 0.5, BEST, [BEST])


def test_runs_are_pooled_by_voxels_as_by_hand() -> None:
    first, second = run("a", [case("1")], LIGHT), run("b", [case("2")], LIGHT, fold=1)
    plain = run("c", [case("1"), case("2")], HEAVY)
    group = one_group(
        [
            replace(first, calibration=calibration("8", 2.0, 0.75, 300)),
            replace(second, calibration=calibration("9", 3.0, 0.55, 100)),
            plain,
        ]
    )
    light = next(variant for variant in group.variants if variant.name == LIGHT)
    curve = reliability_curve(light)
    assert curve is not None
    assert curve.before[0] == Bin(pytest.approx(0.05), pytest.approx(0.05), 200)
    assert curve.before[1] == Bin(pytest.approx(0.95), pytest.approx((0.75 * 300 + 0.55 * 100) / 400), 400)
    assert [part.voxels for part in curve.after] == [200, 100, 300]
    header, (row,) = reliability_table(group) or ((), [()])
    assert dict(zip(header, row, strict=True)) == {
        "no.": row[0],
        "network": LIGHT,
        "calibrated runs": "2 of 2 runs",
        "patients": "2",
        "temperature": "2.50",
        "error before": "0.167",  # 400 of 600 voxels with a distance of 0.25
        "error after": "0.000",
    }
    assert reliability_figure(group).startswith("<svg")


def test_without_a_calibration_there_is_nothing_to_show() -> None:
    assert reliability_table(one_group([run("a", [case("1")])])) is None


def write_calibrated(folder: Path, changes: dict[str, Any] | None = None) -> None:
    write_run(folder / "runs" / "a", [case("1")])
    (folder / "runs" / "a" / "checkpoints").mkdir()
    plain = {**as_plain(calibration("7", 1.5, 0.75, 10)), "lits_seg": "0.2.0", **(changes or {})}
    text = json.dumps(plain) if changes else json_text(plain)
    (folder / "runs" / "a" / "checkpoints" / "best_calibrated.json").write_text(text)


def test_the_page_shows_the_curve_of_a_calibrated_run(tmp_path: Path) -> None:
    write_calibrated(tmp_path)
    run_command("report", "runs=runs", cwd=tmp_path)
    page = (tmp_path / "runs" / "report.html").read_text()
    assert "<h3>Reliability of the probabilities</h3>" in page
    assert "Reliability: share of lesion" in page
    (tmp_path / "runs" / "a" / "checkpoints" / "best_calibrated.json").unlink()
    run_command("report", "runs=runs", cwd=tmp_path)
    assert "Reliability" not in (tmp_path / "runs" / "report.html").read_text()


@pytest.mark.hostile
@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0},
        {"temperature": float("inf")},
        {"before": []},
        {"before": [{"probability": 1.5, "lesion": 0.5, "voxels": 3}]},
        {"after": [{"probability": None, "lesion": 0.5, "voxels": 3}]},
        {"after": [{"probability": 0.5, "lesion": 0.5, "voxels": 0}]},
        {"after": [{"probability": 0.5, "lesion": 0.5, "voxels": 10**400}]},
        {"rules": {"threshold": 7}},
        {"patients": 3},
    ],
)
def test_a_damaged_calibration_is_named(changes: dict[str, Any], tmp_path: Path) -> None:
    write_calibrated(tmp_path, changes)
    told = failed_command("report", "runs=runs", cwd=tmp_path)
    assert "best_calibrated.json: expected a Calibration of this version" in told
    assert next(iter(changes)) in told
