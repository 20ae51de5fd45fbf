"""Processes at the same time: ranks of a job, and runs in one folder."""

import csv
from pathlib import Path

import pytest
from filelock import FileLock
from helpers.commands import run_command, run_process, start_command
from helpers.sweeps import CPU, ONE_EPOCH, job_folders, results


@pytest.mark.parametrize("decoders", [["deconv"], pytest.param(["bilinear", "deconv"], marks=pytest.mark.slow)])
def test_each_job_of_a_sweep_has_two_ranks_and_equals_one_process(decoders: list[str], tmp_path: Path) -> None:
    # Without batch norm, dropout, augmentation and class weights, two ranks of 2 slices do what one of 4 does.
    same = (*CPU[:1], "model=unet", *CPU[2:], "augment=none", "loss.balance=0", "trainer.max_epochs=2")
    same = (*same, "trainer.accelerator=cpu")
    ranks = ("trainer=ddp", "trainer.devices=2", "data.batch_size=2", "logger=wandb")
    run_process("train", "-m", *same, *ranks, f"decoder={','.join(decoders)}", "sweep=ranks", cwd=tmp_path)
    for decoder in decoders:
        alone = ("runs=runs/alone", f"decoder={decoder}", f"name=unet_{decoder}_fold0_seed0")
        run_command("train", *same, "data.batch_size=4", *alone, cwd=tmp_path)
    two, one = results(tmp_path / "runs" / "ranks"), results(tmp_path / "runs" / "alone")
    assert list(two) == list(one) == [f"unet_{decoder}_fold0_seed0" for decoder in decoders]
    assert [result["decoder"] for result in two.values()] == decoders
    assert len(job_folders(tmp_path / "runs" / "ranks")) == len(decoders)
    for job in job_folders(tmp_path / "runs" / "ranks"):
        assert len(list(job.glob("wandb/offline-run-*"))) == 1
        log = (job / "log.txt").read_text()
        assert [log.count(f"GLOBAL_RANK: {rank}, MEMBER: {rank + 1}/2") for rank in (0, 1)] == [1, 1]
        assert log.count("epoch 2/2") == 1
    assert all(result["device"] == "2 x cpu" for result in two.values())
    for name in two:
        assert losses(tmp_path / "runs" / "ranks", name) == pytest.approx(
            losses(tmp_path / "runs" / "alone", name), rel=1e-3
        )
        assert two[name]["steps"] == one[name]["steps"]


def losses(sweep: Path, name: str) -> list[float]:
    (history,) = sweep.glob(f"{name}*/metrics/version_0/metrics.csv")
    return [float(row["val/loss"]) for row in csv.DictReader(history.open()) if row["val/loss"]]


def test_a_run_waits_for_another_process_that_works_on_it(tmp_path: Path) -> None:
    run = tmp_path / "runs" / "held"
    run.mkdir(parents=True)
    with FileLock(run / ".lock"):
        process = start_command("train", *ONE_EPOCH, "name=held", cwd=tmp_path)
        assert process.stdout is not None
        assert "another process works on this run" in process.stdout.readline()
        assert not (run / "config.yaml").exists()
    process.communicate(timeout=300)
    assert process.returncode == 0
    assert (run / "result.json").exists()
