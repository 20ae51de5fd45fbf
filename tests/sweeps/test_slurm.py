"""Sweeps through a real Slurm of one node, and what its launcher says where there is none."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filelock import FileLock
from helpers.commands import ENVIRONMENT, SMOKE, start_command
from helpers.slurm import one_node_slurm

from lits_seg.common.dependencies import install

CPU = (*(override for override in SMOKE if not override.startswith("trainer")), "trainer.accelerator=cpu")
SLURM = (
    "hydra/launcher=slurm",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem_gb=1",
    "hydra.launcher.timeout_min=15",
)


@pytest.fixture
def slurm(tmp_path: Path) -> Iterator[dict[str, str]]:
    """The environment of commands that use it."""
    with one_node_slurm(tmp_path / "slurm"):
        yield {**os.environ, **ENVIRONMENT, "SLURM_CONF": os.environ["SLURM_CONF"]}


def output(command: str, environment: dict[str, str]) -> list[str]:
    return subprocess.run(command.split(), env=environment, capture_output=True, text=True, check=True).stdout.split()


def wait_for(condition: Callable[[], bool], process: subprocess.Popen) -> None:
    end = time.monotonic() + 300
    while not condition():
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.slow
def test_jobs_of_two_ranks_and_one_that_is_requeued_goes_on(tmp_path: Path, slurm: dict[str, str]) -> None:
    assert len(output("srun -n2 hostname", slurm)) == 2
    arguments = (*CPU, "trainer=ddp", "trainer.devices=2", "trainer.max_epochs=20", "decoder=subpixel,deconv")
    process = start_command("train", "-m", *arguments, *SLURM, "sweep=slurm", cwd=tmp_path, env=slurm)
    sweep = tmp_path / "runs" / "slurm"
    wait_for(lambda: any(sweep.glob("*_subpixel_*/checkpoints/last.ckpt")), process)
    (first,) = (job for job in output("squeue --noheader --array --format=%i", slurm) if job.endswith("_0"))
    output(f"scontrol requeue {first}", slurm)
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err[-3000:]
    assert "runs/slurm: 2 finished runs" in out
    jobs = sorted(path for path in sweep.iterdir() if path.is_dir() and path.name != ".submitit")
    assert [path.name.split("_fold")[0] for path in jobs] == ["dsc_unet_deconv", "dsc_unet_subpixel"]
    for job, starts in zip(jobs, (1, 2), strict=True):
        result, log = json.loads((job / "result.json").read_text()), (job / "log.txt").read_text()
        assert result["device"] == "2 x cpu"
        assert len(list(job.glob("metrics/version_*"))) == starts
        assert [log.count(f"GLOBAL_RANK: {rank}, MEMBER: {rank + 1}/2") for rank in (0, 1)] == [starts, starts]
        assert [log.count(f"epoch {epoch}/20 ") for epoch in (1, 20)] == [1, 1]
        assert not (job / "failed.txt").exists()


@pytest.mark.slow
def test_what_slurm_refuses_is_told_in_one_error(tmp_path: Path, slurm: dict[str, str]) -> None:
    arguments = (*CPU, *SLURM, "hydra.launcher.partition=nope", "seed=0,1")
    process = start_command("train", "-m", *arguments, cwd=tmp_path, env=slurm)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "error: hydra/launcher: sbatch: error: invalid partition specified: nope" in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_all_ranks_of_a_job_end_with_the_first_one(tmp_path: Path, slurm: dict[str, str]) -> None:
    arguments = (*CPU, "trainer=ddp", "trainer.devices=2", "trainer.max_epochs=1", "name=x")
    command = ["srun", "-n2", "--ntasks-per-node=2", "--mem=3G", sys.executable, "-m", "lits_seg.train", *arguments]

    def start(*more: str) -> subprocess.Popen[str]:
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*command, *more], env=slurm, cwd=tmp_path, text=True, **pipes)

    first = start()
    assert (first.wait(200), (tmp_path / "runs/x/result.json").exists()) == (0, True)
    with FileLock(tmp_path / "runs/x/.lock"):
        again = start()
        assert again.stdout is not None
        assert "another process works on this run" in again.stdout.readline()
    out, _ = again.communicate(timeout=60)
    assert (again.returncode, out.count("this run is finished")) == (0, 1)
    other = start("seed=5")
    _, err = other.communicate(timeout=60)
    assert other.returncode == 1
    assert err.count("error: ") == 2  # of the first rank, and of srun


HIDE_SUBMITIT = """
import pkgutil
every = pkgutil.walk_packages
pkgutil.walk_packages = lambda *args, **kwargs: (m for m in every(*args, **kwargs) if "submitit" not in m.name)
"""


@pytest.mark.parametrize(
    ("hidden", "told"),
    [
        ("srun", 'error: hydra/launcher: Could not detect "srun"'),
        pytest.param(
            "submitit",
            f"error: hydra/launcher/submitit_slurm: expected Hydra's plugin ({install('sweep')})",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_without_slurm_or_its_launcher(hidden: str, told: str, tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "PATH": str(Path(sys.executable).parent)}
    if hidden == "submitit":
        (tmp_path / "sitecustomize.py").write_text(HIDE_SUBMITIT)
        environment["PYTHONPATH"] = os.pathsep.join((str(tmp_path), os.environ.get("PYTHONPATH", "")))
    process = start_command("train", "-m", "hydra/launcher=slurm", "seed=0,1", cwd=tmp_path, env=environment)
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1
    assert told in err
    assert "Traceback" not in err
