"""Sweeps (``-m``): each job is the command that one would type for it, in a process of its own.

So, under every launcher, a job can start ranks of its own (DDP) without starting the sweep again, has a W&B run and a
GPU context of its own, and may crash or be killed without taking the others along. Its folder is named by what it is:
the same sweep, started again, skips what is finished and goes on with what was cut off.
"""

import json
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
from lits_seg.runs.folder import FAILED, RESULT, require_same_run

LOG, SLOTS = "log.txt", ".slots"


def run_job(cfg: DictConfig) -> float | None:
    """Runs the job that Hydra has composed as a command of its own; the validation Dice of its best checkpoint.

    What the command prints goes to ``log.txt`` in the job's folder. None where it failed, which ``failed.txt`` tells.
    """
    hydra = HydraConfig.get()
    folder = Path(hydra.runtime.output_dir)
    tell = print if rank_zero_only.rank == 0 else lambda *_, **__: None
    (folder / FAILED).unlink(missing_ok=True)
    finished = (folder / RESULT).exists()
    try:
        if finished:
            require_same_run(folder, cfg)
        else:
            tell(f"#{hydra.job.num} started: {_short(folder / LOG)}", flush=True)
            with _place(cfg, Path(hydra.sweep.dir)) as environment, (folder / LOG).open("a") as log:
                _run(_command(folder, Path(hydra.sweep.dir).name), log, {**os.environ, **environment})
    except InputError as error:
        if rank_zero_only.rank == 0:
            write_text(folder / FAILED, f"{error}\n")
        tell(f"#{hydra.job.num} failed: {error}", flush=True)
        return None
    if not (folder / RESULT).exists():  # fast_dev_run keeps nothing
        return None
    result = json.loads((folder / RESULT).read_text())
    told = "was finished before" if finished else "finished"
    tell(f"#{hydra.job.num} {told}: Dice {result['scores']['dice']:.3f}", flush=True)
    return result["val_dice"]


def _command(folder: Path, sweep: str) -> list[str]:
    overrides = list(HydraConfig.get().overrides.task)
    if not any(override.startswith("ckpt_path=") for override in overrides):
        overrides.append("ckpt_path=last")
    overrides += [f"name={sweep}/{folder.name}", f"sweep={sweep}", f'hydra.run.dir="{folder}"']
    if rank_zero_only.rank > 0:
        overrides.append("hydra.output_subdir=null")  # one rank writes it
    return [sys.executable, "-m", "lits_seg.train", *overrides]


def _run(command: list[str], log: Any, environment: dict[str, str]) -> None:
    in_slurm, told = os.environ.get("SUBMITIT_EXECUTOR") == "slurm", []

    def on_sigterm(number: int, _: Any) -> None:
        told.append(number)
        if not in_slurm:
            sys.exit(128 + number)  # an exception, so that the command ends, too

    signal.signal(signal.SIGTERM, on_sigterm)
    before = log.tell()  # an earlier start's lines
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT)
    try:
        status = process.wait()
        if in_slurm and status and (told or status == -signal.SIGUSR2):  # which the command gets, too
            _stay(Path(log.name).with_name(FAILED))
    except BaseException as error:
        process.terminate()
        process.wait()
        if isinstance(error, RuntimeError):  # submitit's: out of time too often
            raise InputError(_short(log.name), "a training to its end", error) from error
        raise
    if status:
        printed = Path(log.name).read_bytes()[before:].decode(errors="replace")
        lines = [line for line in printed.splitlines() if line.strip()]
        last = next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "nothing")
        raise InputError(_short(log.name), "a training to its end", f"exit status {status}: {last}")


def _stay(failed: Path) -> None:
    """Waits until Slurm ends this job to start it again later: one that ends before has failed.

    Shortly before the time is over, on submitit's SIGUSR2, the first rank asks for more; where it gives up, so do all.
    """
    while not failed.exists():
        time.sleep(1)


@contextmanager
def _place(cfg: DictConfig, sweep_dir: Path) -> Iterator[dict[str, str]]:
    """Environment variables that give a job its share of this machine's GPUs and cores, while it holds a slot.

    Of a launcher that runs ``n_jobs`` side by side; nothing for any other.
    """
    jobs = HydraConfig.get().launcher.get("n_jobs", 1)
    if jobs == 1:
        yield {}
        return
    from joblib import cpu_count  # with the one launcher that has n_jobs

    cores = cpu_count()
    jobs = cores if jobs < 0 else jobs
    devices = cfg.trainer.devices
    if not isinstance(devices, int) or devices < 1:
        raise InputError("trainer.devices", "a number for each of the jobs side by side, 1 or more", devices)
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
    """Locks one of ``slots`` files: by files, since the jobs' processes know nothing of each other."""
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
    """Tells at the end of a sweep where its runs are, and which jobs failed; exit status 1 if any did."""

    def __init__(self) -> None:
        self.start = 0.0

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Earlier failures do not count."""
        self.start = time.time()

    def on_multirun_end(self, config: DictConfig, **_: Any) -> None:
        """By what the jobs left in their folders, wherever they ran."""
        folder = Path(str(OmegaConf.select(config, "hydra.sweep.dir")))
        failed = [path for path in sorted(folder.glob(f"*/{FAILED}")) if path.stat().st_mtime >= self.start]
        finished = len(list(folder.glob(f"*/{RESULT}")))
        hint = f"; python -m lits_seg.report {shlex.quote(_argument('runs', folder))} compares them" * (finished > 1)
        print(f"{folder}: {finished} finished run{'s' * (finished != 1)}{hint}")
        if failed:
            told = "".join(f"\n  {path.read_text().strip()}" for path in failed)
            sys.exit(f"error: {folder}: expected no job to fail; found {len(failed)} that did:{told}")


def _argument(key: str, path: Path) -> str:
    """As Hydra takes it: a path with anything but plain characters in quotes of its own."""
    return f"{key}={path}" if re.fullmatch(r"[\w./-]+", str(path)) else f'{key}="{path}"'


def _short(path: str | Path) -> Path:
    path = Path(path)
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
