"""Processes at the same time: ranks of a job, jobs of a sweep, and runs in one folder."""

import csv
import os
from pathlib import Path

import pytest
from filelock import FileLock
from helpers.commands import run_command, run_process, start_command
from helpers.sweeps import CPU, ONE_EPOCH, job_folders, results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("parallel")


def test_each_job_of_a_sweep_has_two_ranks_and_equals_one_process(folder: Path) -> None:
    # Without batch norm, dropout, augmentation and class weights, two ranks of 2 slices do what one of 4 does.
    same = (*CPU[:1], "model=unet", *CPU[2:], "augment=none", "loss.balance=0", "trainer.max_epochs=2")
    same = (*same, "trainer.accelerator=cpu")
    ranks = ("trainer=ddp", "trainer.devices=2", "data.batch_size=2", "logger=wandb")
    run_process("train", "-m", *same, *ranks, "decoder=deconv,bilinear", "sweep=ranks", cwd=folder)
    for decoder in ("deconv", "bilinear"):
        alone = ("runs=runs/alone", f"decoder={decoder}", f"name=unet_{decoder}_fold0_seed0")
        run_command("train", *same, "data.batch_size=4", *alone, cwd=folder)
    two, one = results(folder / "runs" / "ranks"), results(folder / "runs" / "alone")
    assert list(two) == list(one) == ["unet_bilinear_fold0_seed0", "unet_deconv_fold0_seed0"]
    assert [result["decoder"] for result in two.values()] == ["bilinear", "deconv"]
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
