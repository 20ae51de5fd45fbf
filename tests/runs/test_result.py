import json
import math
from pathlib import Path

import pytest
from helpers.run_folders import case, result

from lits_seg.common.errors import InputError
from lits_seg.common.records import as_plain
from lits_seg.common.tables import json_text
from lits_seg.runs.result import Baseline, NetworkResult, mean_scores, read_result, table

COUNTS = [(50, 100, 100), (10, 20, 80), (0, 0, 0)]
LIGHT = {
    "model": "dsc_unet",
    "decoder": "subpixel",
    "folds": 4,
    "parameters": 2_246_365,
    "scores": mean_scores(COUNTS),
}


def test_table_names_what_was_tested_and_how() -> None:
    baseline = Baseline("threshold in the true liver", "30 HU below", mean_scores(COUNTS))
    heavy = result([], **{**LIGHT, "model": "unet", "parameters": 31_030_658})
    text = table([heavy, result([], **LIGHT, baseline=baseline)])
    assert "3 test patients of phantom (synthetic CT), fold 0 of 4, 128 px" in text
    assert "Research use only" in text
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert len({len(row) for row in rows}) == 1
    assert len({row.count("|") for row in rows}) == 1
    assert [row.split("|")[1].strip() for row in rows[2:]] == [
        "dsc_unet, subpixel",
        "unet, subpixel",
        "threshold in the true liver",
    ]
    assert "| 0.567 [0.200, 1.000] |" in rows[2]  # (0.5 + 0.2 + 1) / 3


def test_table_of_a_network_without_its_run() -> None:
    facts = {"model": "UNet", "decoder": "deconv", "parameters": 31_030_658, "macs": 10**9, "data": "lits", "size": 256}
    alone = NetworkResult(**facts, selected_on_test=False, synthetic=None, scores=mean_scores(COUNTS))
    text = table([alone])
    assert "3 test patients of lits, 256 px:" in text
    assert text.splitlines()[4].endswith("| –        |")


def test_one_patient_has_no_interval() -> None:
    text = table([result([], **{**LIGHT, "scores": mean_scores(COUNTS[:1])})])
    assert "| 0.500 (one patient) " in text
    assert "1 test patient of" in text


def test_runs_on_other_patients_are_not_in_one_table() -> None:
    text = table([result([], **LIGHT), result([], **LIGHT, fold=1), result([], **LIGHT, selected_on_test=True)])
    assert text.count("Lesions, ") == 3
    assert "optimistic" in text


def test_a_result_is_read_as_it_was_written(tmp_path: Path) -> None:
    written = result([case("1", missed=3), case("2", wrong=4)], **LIGHT)
    (tmp_path / "result.json").write_text(json_text(as_plain(written)))
    assert read_result(tmp_path / "result.json") == written


def test_undefined_scores_are_null_in_the_file_and_nan_when_read(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json_text(as_plain(result([case("1", missed=20)]))))
    plain = json.loads((tmp_path / "result.json").read_text())
    assert plain["cases"][0]["lesions"][0]["dice"] is None
    assert plain["cases"][0]["detection"]["iou>0.5"] == {"tp": 0, "fp": 0, "fn": 1}
    assert plain["latency"]["gpu_ms"] is None
    read = read_result(tmp_path / "result.json")
    assert math.isnan(read.cases[0].lesions[0].dice)
    assert read.latency.gpu_ms is None


def test_result_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    plain = as_plain(result([case("1")]))
    for added_since in ("network", "baseline"):
        del plain[added_since]
    del plain["cases"][0]["voxel_ml"]
    (tmp_path / "result.json").write_text(json_text({**plain, "of_another_version": 1}))
    read = read_result(tmp_path / "result.json")
    assert read.network is None
    assert read.cases[0].voxel_ml == pytest.approx(1.5 * 1.5 * 3.0 / 1000)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"latency": None}, r"latency: "),
        ({"steps": "many"}, r"steps: "),
        ({"cases": [{"case": "1", "spacing": [1, 1, 1]}]}, r"cases\.0\.voxels: Field required"),
    ],
)
def test_fields_that_a_result_lacks_are_named(change: dict, told: str, tmp_path: Path) -> None:
    plain = {**as_plain(result([case("1")])), **change}
    (tmp_path / "result.json").write_text(json_text(plain))
    with pytest.raises(InputError, match=rf"result.json: expected a run's result of this version; found {told}"):
        read_result(tmp_path / "result.json")


def test_result_without_patients_is_refused(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json_text(as_plain(result([]))))
    with pytest.raises(InputError, match=r"expected all scores of each test patient \(cases\)"):
        read_result(tmp_path / "result.json")


@pytest.mark.parametrize("content", ['{"model": "unet"', "[]", ""])
def test_damaged_result_is_named(content: str, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(content)
    with pytest.raises(InputError, match=r"result.json: expected a run's result"):
        read_result(tmp_path / "result.json")
