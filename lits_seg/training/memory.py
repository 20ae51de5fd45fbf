"""Memory: let the process keep what it frees."""

import ctypes
import sys

# Parameters of glibc's mallopt (malloc.h), and the values that glibc itself settles on for large tensors.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}


def keep_freed_memory(keep: bool = True) -> None:
    """Let glibc reuse freed memory instead of returning it to the system; do nothing with another C library.

    A training step on a CPU frees gigabytes of feature maps, and the next step allocates as many. The kernel clears
    each newly mapped page, which takes a quarter of the step of a network this light. The price is memory: the process
    keeps more than it needs, a tenth to a quarter of its peak.

    Args:
        keep: whether freed memory is kept; False restores glibc's usual values.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for parameter, value in (_KEEPING if keep else _USUAL).items():
            library.mallopt(parameter, value)
