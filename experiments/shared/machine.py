"""Measure the machine's limit, and the time and memory of separate processes."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from lits_seg.common.timing import fastest


def device() -> torch.device:
    """Return the device that training uses."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def matmul_rate(dtype: torch.dtype) -> float:
    """Measure the floating-point operations per second of a large matrix product."""
    side = 8192 if torch.cuda.is_available() else 2048
    matrix = torch.randn(side, side, dtype=dtype, device=device())

    def multiply() -> None:
        torch.mm(matrix, matrix)
        wait()

    return 2 * side**3 / fastest(multiply, passes=4)


def wait() -> None:
    """Wait until the GPU, if there is one, has finished all work."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def out_of_memory(error: RuntimeError) -> bool:
    """Return whether PyTorch raised an error because it got no memory; on a CPU, the error has no class of its own."""
    return isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error)


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Let PyTorch use ``count`` threads within the context."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def peak_memory(prepare: str, task: str, *arguments: str) -> int:
    """Measure the peak memory of a task in a fresh Python process, in bytes beyond the memory before the task (Linux).

    Args:
        prepare: Python statements on one line that run before the task, such as imports.
        task: Python statements on one line.
        arguments: ``sys.argv[1:]`` of the process.
    """
    code = (
        f"import sys; from pathlib import Path; {prepare};"
        "status = lambda key: int(Path('/proc/self/status').read_text().split(key + ':')[1].split()[0]);"
        f"before = status('VmRSS'); {task}; print(status('VmHWM') - before)"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=True, capture_output=True, text=True)
    return int(done.stdout.split()[-1]) * 1024


def command_cost(name: str, *arguments: str) -> tuple[float, int]:
    """Run ``python -m lits_seg.<name>`` and measure time and peak memory (Linux).

    Args:
        name: name of the command.
        arguments: arguments of the command.

    Returns:
        Seconds, and peak memory in bytes.
    """
    code = (
        "import resource, subprocess, sys; subprocess.run([sys.executable, '-m', *sys.argv[1:]], check=True,"
        "stdout=subprocess.DEVNULL); print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    start = time.perf_counter()
    command = [sys.executable, "-c", code, f"lits_seg.{name}", *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return time.perf_counter() - start, int(done.stdout) * 1024
