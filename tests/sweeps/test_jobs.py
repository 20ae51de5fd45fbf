"""Sweeps as a user runs them: real processes, tiny synthetic volumes."""

import csv
import json
import os
import re
import signal
import time
from pathlib import Path

import pytest
from filelock import FileLock
from helpers.commands import SMOKE, run_process, start_command

# Names of folders tell what differs from the configs: here what SMOKE sets, too.
CPU = tuple(override for override in SMOKE if not override.startswith("trainer"))
ONE_EPOCH = (*CPU, "trainer=cpu", "trainer.max_epochs=1")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweeps")


def results(sweep: Path) -> dict[str, dict]:
    """The results of a sweep's jobs, by the folder's beginning."""
    found = {path.parent.name: json.loads(path.read_text()) for path in sorted(sweep.glob("*/result.json"))}
    return {re.match(r".*?_seed\d+", name)[0]: result for name, result in found.items()}


def job_folders(sweep: Path) -> list[Path]:
    return sorted(path for path in sweep.iterdir() if path.is_dir() and not path.name.startswith("."))


def test_a_job_has_a_folder_and_a_wandb_run_of_its_own(folder: Path) -> None:
    run_process("train", "-m", *ONE_EPOCH, "sweep=plain", "logger=wandb", "decoder=subpixel,deconv", cwd=folder)
    found = results(folder / "runs" / "plain")
    assert list(found) == ["dsc_unet_deconv_fold0_seed0", "dsc_unet_subpixel_fold0_seed0"]
    assert [result["decoder"] for result in found.values()] == ["deconv", "subpixel"]
    for job in job_folders(folder / "runs" / "plain"):
        assert len(list(job.glob("wandb/offline-run-*"))) == 1
        assert "epoch 1/1" in (job / "log.txt").read_text()


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
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


def test_each_job_of_a_sweep_has_two_ranks_and_equals_one_process(folder: Path) -> None:
    # Without batch norm, dropout, augmentation and class weights, two ranks of 2 slices do what one of 4 does.
    same = (*CPU[:1], "model=unet", *CPU[2:], "augment=none", "loss.balance=0", "trainer.max_epochs=2")
    same = (*same, "trainer.accelerator=cpu", "decoder=deconv,bilinear")
    ranks = ("trainer=ddp", "trainer.devices=2", "data.batch_size=2", "logger=wandb")
    run_process("train", "-m", *same, *ranks, "sweep=ranks", cwd=folder)
    run_process("train", "-m", *same, "data.batch_size=4", "sweep=alone", cwd=folder)
    two, one = results(folder / "runs" / "ranks"), results(folder / "runs" / "alone")
    assert list(two) == list(one) == ["unet_bilinear_fold0_seed0", "unet_deconv_fold0_seed0"]
    assert len(job_folders(folder / "runs" / "ranks")) == 2
    for job in job_folders(folder / "runs" / "ranks"):
        assert len(list(job.glob("wandb/offline-run-*"))) == 1
        log = (job / "log.txt").read_text()
        assert [log.count(f"GLOBAL_RANK: {rank}, MEMBER: {rank + 1}/2") for rank in (0, 1)] == [1, 1]
        assert log.count("epoch 2/2") == 1
    assert all(result["device"] == "2 x cpu" for result in two.values())
    for name in two:
        assert losses(folder / "runs" / "ranks", name) == pytest.approx(
            losses(folder / "runs" / "alone", name), rel=1e-3
        )
        assert two[name]["steps"] == one[name]["steps"]


def losses(sweep: Path, name: str) -> list[float]:
    (history,) = sweep.glob(f"{name}*/metrics/version_0/metrics.csv")
    return [float(row["val/loss"]) for row in csv.DictReader(history.open()) if row["val/loss"]]


def test_jobs_side_by_side_have_their_own_gpus_and_their_part_of_the_cores(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # There need be no GPU: the trainer is told to use the CPU, after the devices were dealt.
    (folder / "sitecustomize.py").write_text(
        "import os, pathlib, sys\n"
        "if 'hydra.run.dir' in ' '.join(sys.orig_argv):\n"
        "    place = [os.environ.get(name) for name in ('CUDA_VISIBLE_DEVICES', 'OMP_NUM_THREADS')]\n"
        "    with pathlib.Path(os.environ['PLACES']).open('a') as file: print(*place, file=file)\n"
    )
    monkeypatch.setattr(
        "helpers.commands.ENVIRONMENT",
        {
            **{key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"},
            "CUDA_VISIBLE_DEVICES": "4,5,6,7",
            "PLACES": str(folder / "places"),
            "PYTHONPATH": os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", ""))),
        },
    )
    arguments = (*CPU, "trainer.max_epochs=1", "sweep=parallel", "decoder=subpixel,deconv,bilinear")
    run_process("train", "-m", *arguments, "hydra/launcher=parallel", "hydra.launcher.n_jobs=2", cwd=folder)
    assert len(results(folder / "runs" / "parallel")) == 3
    places = [line.split() for line in (folder / "places").read_text().splitlines()]
    assert len(places) == 3
    assert {gpus for gpus, _ in places[:2]} == {"4", "5"}
    assert places[2][0] in ("4", "5")
    assert {threads for _, threads in places} == {str(max(1, len(os.sched_getaffinity(0)) // 2))}


def test_a_run_waits_for_another_process_that_works_on_it(folder: Path) -> None:
    run = folder / "runs" / "held"
    run.mkdir(parents=True)
    with FileLock(run / ".lock"):
        process = start_command("train", *ONE_EPOCH, "name=held", cwd=folder)
        assert process.stdout is not None
        assert "another process works on this run" in process.stdout.readline()
        assert not (run / "config.yaml").exists()
    process.communicate(timeout=300)
    assert process.returncode == 0
    assert (run / "result.json").exists()
