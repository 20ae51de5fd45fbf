"""Freed memory is used again without new pages from the system."""

import platform
import subprocess
import sys

import pytest

SCRIPT = """
import resource
import torch
from lits_seg.training.malloc import keep_freed_memory

def faults(times):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(times):
        torch.ones(64 << 20, dtype=torch.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

without = faults(4)
keep_freed_memory()
faults(32)  # until the heap has settled
print(without, faults(4))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator alone is told")
def test_freed_memory_is_kept() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    without, kept = map(int, done.stdout.split())
    assert without >= 4 * 32  # pages of 2 MB at most
    assert kept < without / 10
