"""Sweeps as a user runs them: real processes, tiny synthetic volumes."""

import os
import signal
import time
from pathlib import Path

import pytest
from filelock import FileLock
from helpers.commands import SMOKE, failed_command, run_command, run_process, start_command
from helpers.interrupted import interrupted_run
from helpers.sweeps import CPU, ONE_EPOCH, job_folders, results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweeps")


@pytest.mark.slow  # in an ordinary run, test_parallel proves the same with two ranks
def test_a_job_has_a_folder_and_a_wandb_run_of_its_own(folder: Path) -> None:
    run_process("train", "-m", *ONE_EPOCH, "sweep=plain", "logger=wandb", "decoder=subpixel,deconv", cwd=folder)
    found = results(folder / "runs" / "plain")
    assert list(found) == ["dsc_unet_deconv_fold0_seed0", "dsc_unet_subpixel_fold0_seed0"]
    assert [result["decoder"] for result in found.values()] == ["deconv", "subpixel"]
    for job in job_folders(folder / "runs" / "plain"):
        assert len(list(job.glob("wandb/offline-run-*"))) == 1
        assert "epoch 1/1" in (job / "log.txt").read_text()


@pytest.mark.slow
def test_failed_jobs_are_named_at_the_end_and_the_others_finish(folder: Path) -> None:
    process = start_command("train", "-m", *ONE_EPOCH, "sweep=failing", "data.fold=9,0,8", cwd=folder)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    assert list(results(folder / "runs" / "failing")) == ["dsc_unet_subpixel_fold0_seed0"]
    told = err[err.index("error: ") :]
    assert "expected no failed job; found 2:" in told
    for fold in (8, 9):
        assert f"dsc_unet_subpixel_fold{fold}_seed0" in told
        assert f"data.fold: expected one of 0 to 3 (data.folds=4); found {fold}" in told
    assert "Traceback" not in err
    out = run_process("train", "-m", *ONE_EPOCH, "sweep=failing", "data.fold=0,1", cwd=folder)  # mended
    assert "#0 was finished before" in out
    assert "#1 finished" in out


@pytest.mark.slow
def test_a_job_that_trains_on_all_patients_says_that_it_scored_none(folder: Path) -> None:
    command = ("train", "-m", *ONE_EPOCH, "sweep=all", "data.split=all", "callbacks=[default,last_weights]")
    out = run_process(*command, cwd=folder)
    assert "#0 finished: no patient was scored (" in out
    assert "runs/all: 1 finished run" in out
    assert "#0 was finished before: no patient was scored (" in run_process(*command, cwd=folder)
    (job,) = job_folders(folder / "runs" / "all")
    assert (job / "checkpoints" / "last.ckpt").exists()


@pytest.mark.slow
def test_experiments_of_a_sweep_share_its_folder_and_its_end(folder: Path) -> None:
    several = "experiment=bellver_baseline,bellver_liver"  # one network: only the recipe tells the jobs apart
    told = failed_command("train", "-m", several, "data=smoke", "data.fold=9", cwd=folder)
    assert "expected no failed job; found 2:" in told
    ends = {job.name.partition("_experiment-")[2] for job in job_folders(folder / "runs" / "sweep")}
    assert ends == {"bellver_baseline", "bellver_liver"}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "ends"),
    [
        (("data.root=data/one,data/two",), ["seed0_rootdata-one", "seed0_rootdata-two"]),
        (("data.root=data/one", "seed=0,1"), ["seed0", "seed1"]),
    ],
)
def test_data_sets_are_in_the_names_of_jobs_if_they_differ(
    arguments: tuple[str, ...], ends: list[str], folder: Path
) -> None:
    wrong = ("data=smoke", "data.fold=9", "trainer.accelerator=cpu", f"sweep=roots{len(arguments)}")
    told = failed_command("train", "-m", *wrong, *arguments, cwd=folder)
    assert "expected no failed job; found 2:" in told
    jobs = job_folders(folder / "runs" / wrong[-1].partition("=")[2])
    assert [job.name for job in jobs] == [f"dsc_unet_subpixel_fold9_{end}_data-smoke_acceleratorcpu" for end in ends]


@pytest.mark.slow
def test_an_interrupted_job_with_a_checkpoint_of_its_own_resumes_from_that(folder: Path) -> None:
    start = "ckpt_path=runs/start/checkpoints/last.ckpt"
    run_command("train", *SMOKE, "trainer.max_epochs=1", "name=start", cwd=folder)
    interrupted_run(folder, "trainer.max_epochs=3", start, "name=on/job")
    run_process("train", "-m", *SMOKE, "trainer.max_epochs=3", start, "sweep=on", "hydra.sweep.subdir=job", cwd=folder)
    log = (folder / "runs" / "on" / "job" / "log.txt").read_text()
    assert "epoch 3/3" in log
    assert "epoch 2/3" not in log


@pytest.mark.kill
def test_a_sweep_that_was_killed_skips_what_is_finished_and_resumes_the_rest(folder: Path) -> None:
    command = ("train", "-m", *CPU, "trainer=cpu", "trainer.max_epochs=4", "sweep=killed", "decoder=bilinear,nearest")
    process = start_command(*command, cwd=folder)
    sweep = folder / "runs" / "killed"
    deadline = time.monotonic() + 200
    while not any("epoch 2/4" in path.read_text() for path in sweep.glob("dsc_unet_nearest*/log.txt")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    (first,) = sweep.glob("dsc_unet_bilinear*/result.json")
    before = first.stat().st_mtime_ns
    (second,) = sweep.glob("dsc_unet_nearest*")
    assert not (second / "result.json").exists()
    out = run_process(*command, cwd=folder)
    assert "#0 was finished before" in out
    assert "#1 finished" in out
    assert first.stat().st_mtime_ns == before
    assert (second / "result.json").exists()
    assert "epoch 1/4" not in (second / "log.txt").read_text().split("epoch 2/4", 1)[1]  # not begun again
    assert len(list(second.glob("metrics/version_*"))) == 2
    assert len(job_folders(sweep)) == 2


# Slurm and kill send the other signal, which test_train sends in an ordinary run.
@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_sweep_that_is_told_to_end_ends_with_its_job(number: signal.Signals, folder: Path) -> None:
    sweep = f"told{number}"
    process = start_command("train", "-m", *CPU, "trainer=cpu", "trainer.max_epochs=90", f"sweep={sweep}", cwd=folder)
    deadline = time.monotonic() + 200
    while not any("epoch 1/90" in path.read_text() for path in (folder / "runs").glob(f"{sweep}/*/log.txt")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "Traceback" not in err
    (job,) = job_folders(folder / "runs" / sweep)
    with FileLock(job / ".lock", timeout=0):  # nobody works on it any more
        assert not (job / "result.json").exists()
