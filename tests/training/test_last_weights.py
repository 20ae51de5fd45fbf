"""A training without validation: all patients except the test's train, and the last weights are kept."""

import json
from pathlib import Path

import pytest
import torch
from helpers.commands import SMOKE, failed_command, run_command

LAST = (*SMOKE, "callbacks=[default,last_weights]")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a run of one epoch."""
    folder = tmp_path_factory.mktemp("last_weights")
    run_command("train", *LAST, "trainer.max_epochs=1", "name=first", cwd=folder)
    return folder


def test_everybody_but_the_test_patients_trains_and_the_last_weights_are_tested(place: Path) -> None:
    run = place / "runs" / "first"
    split = json.loads((run / "split.json").read_text())
    assert split["val"] == []
    assert len(split["train"]) == 6
    assert len(split["test"]) == 2
    result = json.loads((run / "result.json").read_text())
    assert result["val_dice"] is None
    assert not result["selected_on_test"]
    assert result["scores"]["patients"] == 2
    kept, last = (torch.load(run / "checkpoints" / f"{name}.ckpt", weights_only=True) for name in ("best", "last"))
    assert kept["global_step"] == last["global_step"] == result["steps"]
    assert all(torch.equal(values, last["state_dict"][name]) for name, values in kept["state_dict"].items())
    assert (run / "curves.png").exists()


@pytest.mark.hostile
def test_such_a_run_is_resumed_evaluated_and_reported(place: Path) -> None:
    last = "ckpt_path=runs/first/checkpoints/last.ckpt"
    run_command("train", *LAST, "trainer.max_epochs=2", last, "name=second", cwd=place)
    run_command("evaluate", "ckpt=runs/second/checkpoints/best.ckpt", "output=again", "accelerator=cpu", cwd=place)
    again = json.loads((place / "again" / "evaluation.json").read_text())
    result = json.loads((place / "runs" / "second" / "result.json").read_text())
    assert again["scores"] == result["scores"]
    assert "smoke (synthetic CT" in run_command("report", "runs=runs", "output=report", cwd=place)
    assert "finished" in run_command("train", *LAST, "trainer.max_epochs=2", "name=second", cwd=place)


@pytest.mark.hostile
def test_patients_for_validation_and_a_monitor_belong_together(place: Path) -> None:
    names = [str(number) for number in range(8)]
    (place / "split.json").write_text(json.dumps({"train": names[:6], "val": [], "test": names[6:]}))
    for settings in (["data.split=split.json"], ["data.val_share=null"]):
        error = failed_command("train", *SMOKE, *settings, "name=wrong", cwd=place)
        assert "expected patients for validation (val/dice chooses the checkpoint)" in error
        assert "callbacks=[default,last_weights]" in error
    run_command("train", *LAST, "data.split=split.json", "trainer.max_epochs=1", "name=wrong", cwd=place)
    assert json.loads((place / "runs" / "wrong" / "result.json").read_text())["val_dice"] is None
    for part in ("train", "test"):
        lacking = {"train": names[:6], "val": [], "test": names[6:], part: []}
        (place / "split.json").write_text(json.dumps(lacking))
        error = failed_command("train", *LAST, "data.split=split.json", "name=lacking", cwd=place)
        assert error.startswith("error: split.json: expected at least one patient each for train and test")


@pytest.mark.hostile
def test_everybody_trains_and_nobody_is_tested(place: Path) -> None:
    everybody = (*LAST, "data.split=all", "trainer.max_epochs=1", "name=all")
    assert "not tested, since every patient trains" in run_command("train", *everybody, cwd=place)
    run = place / "runs" / "all"
    split = json.loads((run / "split.json").read_text())
    assert (len(split["train"]), split["val"], split["test"]) == (8, [], [])
    assert not (run / "result.json").exists()
    best = run / "checkpoints" / "best.ckpt"
    before = best.stat().st_mtime_ns
    assert "this run is finished; training is not repeated" in run_command("train", *everybody, cwd=place)
    assert best.stat().st_mtime_ns == before
    assert "runs: expected an interrupted run" in failed_command("train", *LAST, "ckpt_path=last", cwd=place)
    assert "1 without test patients" in failed_command("report", "runs=runs/all", cwd=place)
    run_command("predict", "ckpt=runs/all/checkpoints/best.ckpt", "input=data/smoke/volume-0.nii.gz", cwd=place)
    error = failed_command("evaluate", "ckpt=runs/all/checkpoints/best.ckpt", "output=none", cwd=place)
    assert "expected patients for the test (or references=FOLDER); found none" in error
    error = failed_command("train", *SMOKE, "data.split=all", "name=monitored", cwd=place)
    assert "callbacks=[default,last_weights]" in error


@pytest.mark.hostile
def test_patients_for_validation_may_only_draw_curves(place: Path) -> None:
    run_command("train", *LAST, "data.val_share=0.15", "trainer.max_epochs=1", "name=curves", cwd=place)
    run = place / "runs" / "curves"
    assert len(json.loads((run / "split.json").read_text())["val"]) == 1
    assert json.loads((run / "result.json").read_text())["val_dice"] is None
    assert "val/dice" in (run / "metrics" / "version_0" / "metrics.csv").read_text()
