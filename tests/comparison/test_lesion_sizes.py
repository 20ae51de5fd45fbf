"""The report's detection by size and FROC curves, also of runs of earlier versions."""

import csv
import json
from dataclasses import replace
from pathlib import Path

import pytest
from helpers.commands import run_command
from helpers.run_folders import HEAVY, LIGHT, case, one_group, run, write_run

from lits_seg.common.tables import DASH
from lits_seg.comparison.lesion_sizes import curve_rows, size_notes, size_table
from lits_seg.metrics.scores import CaseScores


def earlier(scored: CaseScores) -> CaseScores:
    """The same scores, as a version without sizes and FROC recorded them."""
    return replace(scored, by_size=None, froc=None)


def test_recall_and_false_lesions_by_size_as_by_hand() -> None:
    # A lesion of 20 voxels of 6.75 mm³ has the volume of a ball of 6.4 mm. A lesion that misses 12 is not found, but
    # false; so is a voxel elsewhere.
    (variant,) = (group := one_group([run("a", [case("1"), case("2", missed=12, wrong=1)])])).variants
    header, both = size_table(group)
    rows = [row[1:] for row in both if row[2] == "IoU > 0.5"]
    assert len(both) == 2 * len(rows)
    assert header == ("no.", "network", "found if", "diameter", "lesions", "recall [95 %]", "false a patient [95 %]")
    assert [row[2:4] for row in rows] == [("all", "2"), ("< 10 mm", "2"), ("10–20 mm", "0"), ("> 20 mm", "0")]
    assert [row[4].split()[0] for row in rows] == ["0.500", "0.500", DASH, DASH]
    assert [row[5].split()[0] for row in rows] == ["1.000", "1.000", "0.000", "0.000"]
    assert variant.froc == []


def test_runs_with_probabilities_have_curves() -> None:
    light = run("a", [case("1", missed=12, mapped=True), case("2", mapped=True)], LIGHT)
    heavy = run("b", [case("1", mapped=True), case("2", mapped=True)], HEAVY)
    group = one_group([light, heavy])
    header, rows = size_table(group)
    assert header[-4:] == tuple(f"FROC at {rate} [95 %]" for rate in (1, 2, 4, 8))
    assert [row[-1].split()[0] for row in rows if row[2:4] == ("IoU > 0.5", "all")] == ["1.000", "1.000"]
    points = [row for row in curve_rows(group) if (row["overlap"], row["size"]) == ("iou>0.5", "all")]
    recall = {(row["model"], row["threshold"]): row["recall"] for row in points}
    # Up to 0.25, the map also contains the voxels that the mask of the first patient misses.
    assert [recall["dsc_unet", threshold] for threshold in (0.2, 0.3, 0.5, 0.8)] == [1, 0.5, 0.5, 0]
    assert len(size_notes(group)) == 1


def test_one_run_of_an_earlier_version_leaves_no_figure_that_would_mislead() -> None:
    new, old = case("1", mapped=True), earlier(case("2", missed=3))
    group = one_group([run("a", [new]), run("b", [old], fold=1), run("c", [new], LIGHT)])
    rows = [row for row in size_table(group)[1] if row[2] == "IoU > 0.5"]
    whole, *sizes = (row[4:] for row in rows if row[1] == HEAVY)
    assert whole[0] == "2"
    assert whole[1].startswith("1.000")
    assert all(set(row) == {DASH} for row in sizes)
    assert f"No FROC for {HEAVY}: at least one run is of an earlier version" in size_notes(group)[1]


def test_seeds_of_old_and_new_versions_are_averaged_without_sizes() -> None:
    group = one_group([run("a", [case("1", mapped=True)]), run("b", [earlier(case("1"))], seed=1)])
    assert group.variants[0].cases["1"].by_size is None
    assert group.variants[0].froc == []


@pytest.mark.parametrize("old", [False, True])
def test_the_report_shows_curves_or_a_dash(old: bool, tmp_path: Path) -> None:
    for fold in (0, 1):
        write_run(tmp_path / "runs" / f"run{fold}", [case(f"{fold}{i}", 5 * i, mapped=True) for i in (1, 2)], fold=fold)
    if old:
        path = tmp_path / "runs" / "run1" / "result.json"
        plain = json.loads(path.read_text())
        for one in plain["cases"]:
            del one["by_size"], one["froc"]
        path.write_text(json.dumps(plain))
    text = run_command("report", "runs=runs", "output=out", cwd=tmp_path)
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.count("<svg") == (2 if old else 3)
    assert ("No FROC for" in text) == ("No FROC for" in page) == old
    with (tmp_path / "out" / "froc.csv").open() as file:
        assert len(list(csv.DictReader(file))) == (0 if old else 2 * 4 * 15)
    with (tmp_path / "out" / "report.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert (row["detection_iou>0.5_<10mm_recall"] == "nan") == (row["froc_iou>0_all_at_1_false"] == "nan") == old
