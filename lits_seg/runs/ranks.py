"""Let the ranks that Slurm or torchrun starts at the same time do what the first one decides: train, or end.

Only the first rank waits for another process that works on the same run, and compares the run's configuration. Without
this, the other ranks would meanwhile start to train, and wait for the first one. Ranks that Lightning starts follow the
first one anyway.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from lits_seg.common.files import write_text
from lits_seg.runs.folder import DECISION, finished

TRAIN, END = "train", "end"


def can_wait() -> bool:
    """Return whether the first rank may wait for another process: not with torchrun, whose jobs have no own names."""
    return "TORCHELASTIC_RUN_ID" not in os.environ or os.environ.get("WORLD_SIZE", "1") == "1"


@contextmanager
def followed(folder: Path) -> Iterator[Callable[[], None]]:
    """Let the other ranks of this Slurm job wait until the first one has decided. On other ranks, do nothing.

    Args:
        folder: the run's folder.

    Yields:
        A function that lets the others train. At the end of the block, those that have not begun end, too.
    """
    job = _slurm_job()

    def decide(what: str) -> None:
        if job is not None and os.environ.get("SLURM_PROCID", "0") == "0":
            folder.mkdir(parents=True, exist_ok=True)
            write_text(folder / DECISION, f"{job} {what}\n")

    try:
        yield lambda: decide(TRAIN)
    finally:
        decide(END)


def first_rank_trains(folder: Path) -> bool:
    """Return whether this rank, another than the first, shall train; in a Slurm job, wait for the first one's decision.

    Args:
        folder: the run's folder.
    """
    job = _slurm_job()
    if job is None:
        return not finished(folder)
    while True:
        # An earlier job may have left its decision.
        if (folder / DECISION).exists():
            decided, what = (folder / DECISION).read_text().split()
            if decided == job:
                return what == TRAIN
        time.sleep(0.5)


def _slurm_job() -> str | None:
    """Return the name of this start of the job step, which no other has; None without Slurm, or with one rank."""
    if os.environ.get("SLURM_NTASKS", "1") == "1" or "SLURM_STEP_ID" not in os.environ:
        return None
    return "-".join(os.environ.get(f"SLURM_{key}", "0") for key in ("JOB_ID", "STEP_ID", "RESTART_COUNT"))
