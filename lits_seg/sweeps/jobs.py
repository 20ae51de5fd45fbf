"""Run each job of a sweep (``-m``) in a separate process, as the command that a user would type for the job.

Under every launcher, a job can therefore start DDP ranks without starting the sweep again. Each job has a separate W&B
run and GPU context, and may crash or be killed without ending other jobs. The settings of a job determine the name of
its folder. A sweep that is started again therefore skips finished jobs and resumes interrupted ones.
"""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.utilities import rank_zero_only

from lits_seg.common.errors import InputError
from lits_seg.common.files import write_text
from lits_seg.runs.folder import CONTINUED, FAILED, LAST, RESULT, finished, require_same_run
from lits_seg.runs.ranks import followed
from lits_seg.runs.result import read_result

LOG = "log.txt"
SLOTS = ".slots"


def run_job(cfg: DictConfig) -> float | None:
    """Run the job that Hydra has composed, as a separate command.

    The command's output goes to ``log.txt`` in the job's folder, and the reason for a failure to ``failed.txt``.

    Args:
        cfg: configuration of the job.

    Returns:
        The validation Dice of the best checkpoint; None if the job failed.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    say = print if rank_zero_only.rank == 0 else lambda *_, **__: None
    (folder / FAILED).unlink(missing_ok=True)
    before = finished(folder)
    ended = "was finished before" if before else "finished"
    try:
        if before:
            with followed(folder):  # another rank may have looked before the run was finished
                require_same_run(folder, cfg)
        else:
            say(f"#{hydra.job.num} started: {_short(folder / LOG)}", flush=True)
            with _place(cfg, Path(hydra.sweep.dir)) as environment, (folder / LOG).open("a") as log:
                _run(_command(folder, Path(hydra.sweep.dir).name), log, {**os.environ, **environment})
        if not (folder / RESULT).exists():  # of a fast_dev_run, or of a training on all patients
            say(f"#{hydra.job.num} {ended}: no patient was scored ({_short(folder / LOG)})", flush=True)
            return None
        result = read_result(folder / RESULT)
    except InputError as error:
        if rank_zero_only.rank == 0:
            write_text(folder / FAILED, f"{error}\n")
        say(f"#{hydra.job.num} failed: {error}", flush=True)
        return None
    say(f"#{hydra.job.num} {ended}: Dice {result.scores.dice:.3f}", flush=True)
    return result.val_dice


def _command(folder: Path, sweep: str) -> list[str]:
    overrides = list(HydraConfig.get().overrides.task)
    given = [override for override in overrides if override.startswith(f"{CONTINUED}=")]
    # A job that started from a given checkpoint resumes from its own.
    if not given or (given[-1] != f"{CONTINUED}=null" and (folder / LAST).exists()):
        overrides.append(f"{CONTINUED}=last")
    overrides += [f"name={sweep}/{folder.name}", f"sweep={sweep}", f'hydra.run.dir="{folder}"']
    if rank_zero_only.rank > 0:
        overrides.append("hydra.output_subdir=null")  # the first rank writes this folder
    return [sys.executable, "-m", "lits_seg.train", *overrides]


def _run(command: list[str], log: Any, environment: dict[str, str]) -> None:
    """Run a command to its end; raise ``InputError`` with the last error in the log if the command fails."""
    in_slurm = os.environ.get("SUBMITIT_EXECUTOR") == "slurm"
    received = []

    def on_sigterm(number: int, _: Any) -> None:
        received.append(number)
        if not in_slurm:
            sys.exit(128 + number)  # raises an exception, which ends the command, too

    signal.signal(signal.SIGTERM, on_sigterm)
    before = log.tell()  # an earlier start may have written lines
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        status = process.wait()
        if in_slurm and status and (received or status == -signal.SIGUSR2):  # the command has received the signal, too
            _stay(Path(log.name).with_name(FAILED))
    except BaseException as error:
        process.terminate()
        process.wait()
        if isinstance(error, RuntimeError):  # submitit raises this if a job has timed out too often
            raise InputError(_short(log.name), "a training that ends without an error", error) from error
        raise
    if status:
        printed = Path(log.name).read_bytes()[before:].decode(errors="replace")
        lines = [line for line in printed.splitlines() if line.strip()]
        last = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "nothing")
        raise InputError(_short(log.name), "a training that ends without an error", f"exit status {status}: {last}")


def _stay(failed: Path) -> None:
    """Wait until Slurm ends and requeues this job, because a job that ends by itself counts as failed.

    Shortly before the time limit, submitit sends SIGUSR2, and the first rank asks for a requeue. If that rank gives up
    and writes ``failed.txt``, all ranks stop waiting.
    """
    while not failed.exists():
        time.sleep(1)


@contextmanager
def _place(cfg: DictConfig, sweep_dir: Path) -> Iterator[dict[str, str]]:
    """Hold a slot, and yield environment variables with the job's share of this machine's GPUs and cores.

    Only launchers that run ``n_jobs`` at the same time need slots. For other launchers, the variables are empty.

    Args:
        cfg: configuration of the job, with the number of devices that the job needs.
        sweep_dir: folder of the sweep, which holds the slots.

    Raises:
        InputError: if ``trainer.devices`` is not a number of devices.
    """
    jobs = HydraConfig.get().launcher.get("n_jobs", 1)
    if jobs == 1:
        yield {}
        return
    from joblib import cpu_count  # installed with the only launcher that has n_jobs

    cores = cpu_count()
    jobs = cores if jobs < 0 else jobs
    devices = cfg.trainer.devices
    if not isinstance(devices, int) or devices < 1:
        raise InputError("trainer.devices", "a number of devices for each job, at least 1", devices)
    on_cpu = cfg.trainer.accelerator == "cpu"
    lock, slot = _take_slot(sweep_dir / SLOTS, jobs)
    try:
        gpus = [] if on_cpu else _visible_gpus()
        own = [gpus[(slot * devices + i) % len(gpus)] for i in range(devices)] if gpus else []
        threads = max(1, cores // jobs // (devices if on_cpu else 1))
        yield {"OMP_NUM_THREADS": str(threads), **({"CUDA_VISIBLE_DEVICES": ",".join(own)} if own else {})}
    finally:
        lock.release()


def _take_slot(folder: Path, slots: int) -> tuple[FileLock, int]:
    """Lock one of ``slots`` files and return the lock and its number; wait if all are taken.

    The slots are files because the processes of the jobs have no other contact.
    """
    folder.mkdir(parents=True, exist_ok=True)
    while True:
        for slot in range(slots):
            lock = FileLock(folder / str(slot))
            try:
                lock.acquire(timeout=0)
            except Timeout:
                continue
            return lock, slot
        time.sleep(0.5)


def _visible_gpus() -> list[str]:
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [gpu for gpu in given.split(",") if gpu]
    return [str(number) for number in range(torch.cuda.device_count())]


class Outcome(Callback):
    """Print the sweep's folder and its failed jobs at the end; exit with status 1 if a job failed."""

    def __init__(self) -> None:
        self.start = 0.0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Store the start time, because failures of earlier starts do not count."""
        self.start = time.time()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """Count results and failures in the jobs' folders, which also works for jobs on other machines."""
        folder = Path(str(OmegaConf.select(config, "hydra.sweep.dir")))
        failed = [path for path in sorted(folder.glob(f"*/{FAILED}")) if path.stat().st_mtime >= self.start]
        ended = sum(finished(job) for job in folder.glob("*"))
        runs = "1 finished run" if ended == 1 else f"{ended} finished runs"
        compared = len(list(folder.glob(f"*/{RESULT}"))) > 1
        hint = f"; lits-seg report {shlex.quote(_argument('runs', folder))} compares them" if compared else ""
        print(f"{folder}: {runs}{hint}")
        if failed:
            reasons = "".join(f"\n  {path.read_text().strip()}" for path in failed)
            sys.exit(f"error: {folder}: expected no failed job; found {len(failed)}:{reasons}")


def _argument(key: str, path: Path) -> str:
    """Return a Hydra override, with quotes around a path that has special characters."""
    return f"{key}={path}" if re.fullmatch(r"[\w./-]+", str(path)) else f'{key}="{path}"'


def _short(path: str | Path) -> Path:
    path = Path(path)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
