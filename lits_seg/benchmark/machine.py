"""The machine that a benchmark runs on: its limit, and the time and memory of a process of its own."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def matmul_rate(dtype: torch.dtype) -> float:
    """Floating-point operations a second of a large product of matrices, the best of several."""
    side = 8192 if torch.cuda.is_available() else 2048
    matrix = torch.randn(side, side, dtype=dtype, device="cuda" if torch.cuda.is_available() else "cpu")
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        wait()
        seconds.append(time.perf_counter() - start)
    return 2 * side**3 / min(seconds)


def wait() -> None:
    """Returns when the GPU, where there is one, has done what it was told."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """PyTorch computes with so many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_memory(prepare: str, task: str, *arguments: str) -> int:
    """Bytes that a fresh Python process needs at most for ``task``, beyond what it has after ``prepare`` (Linux).

    Both are Python statements on one line, with ``sys.argv[1:]`` as ``arguments``.
    """
    code = (
        f"import sys; from pathlib import Path; {prepare};"
        "status = lambda key: int(Path('/proc/self/status').read_text().split(key + ':')[1].split()[0]);"
        f"before = status('VmRSS'); {task}; print(status('VmHWM') - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) * 1024


def command_cost(name: str, *arguments: str) -> tuple[float, int]:
    """Seconds, and bytes of memory at most, that ``python -m lits_seg.<name>`` takes (Linux)."""
    code = (
        "import resource, subprocess, sys; subprocess.run([sys.executable, '-m', *sys.argv[1:]], check=True,"
        "stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    start = time.perf_counter()
    command = [sys.executable, "-c", code, f"lits_seg.{name}", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, int(done.stdout) * 1024
