"""How the process handles the memory that it frees."""

import ctypes
import sys

# Parameters of glibc's mallopt (malloc.h).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4


def keep_freed_memory() -> None:
    """Has the C library reuse freed memory instead of handing it back to the system; nothing where it is not glibc.

    A training step on a CPU frees the maps of its layers, gigabytes, and the next asks for as many. Mapped anew,
    each page is cleared by the kernel first, which takes a quarter of the step of a network this light. The price
    is memory: the process keeps a few maps more than it needs, some tenth to quarter of its peak.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(libc, "mallopt"):
        libc.mallopt(_MMAP_MAX, 0)
        libc.mallopt(_TRIM_THRESHOLD, -1)
