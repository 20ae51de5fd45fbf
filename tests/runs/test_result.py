import json
from pathlib import Path

import pytest
import torch

from lits_seg.common.errors import InputError
from lits_seg.runs.result import read_result, summary, table

COUNTS = torch.tensor([[50, 100, 100], [10, 20, 80], [0, 0, 0]])


def result(**changes: object) -> dict:
    return {
        "model": "dsc_unet",
        "decoder": "subpixel",
        "data": "phantom",
        "synthetic": True,
        "fold": 0,
        "folds": 4,
        "selected_on_test": False,
        "size": 128,
        "parameters": 2_246_365,
        "macs": 1_170_000_000,
        "steps": 100,
        "train_seconds": 90.0,
        "scores": summary(COUNTS),
        **changes,
    }


def test_table_names_what_was_tested_and_how() -> None:
    baseline = {"name": "threshold in the true liver", "scores": summary(COUNTS)}
    text = table([result(model="unet", parameters=31_030_658), result(baseline=baseline)])
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


def test_one_patient_has_no_interval() -> None:
    assert "| 0.500 (one patient) " in table([result(scores=summary(COUNTS[:1]))])


def test_runs_on_other_patients_are_not_in_one_table() -> None:
    text = table([result(), result(fold=1), result(selected_on_test=True)])
    assert text.count("Lesions, ") == 3
    assert "optimistic" in text


def test_result_of_an_earlier_version_tells_what_it_lacks(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text(json.dumps({**result(), "cases": []}))
    with pytest.raises(InputError, match=r"result.json: expected a result of this version; found no .*latency"):
        read_result(tmp_path / "result.json")


def test_damaged_result_is_named(tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text('{"model": "unet"')
    with pytest.raises(InputError, match=r"result.json: expected a run's result"):
        read_result(tmp_path / "result.json")
