"""How the process handles the memory that it frees."""

import ctypes
import sys

# Parameters of glibc's mallopt (malloc.h), and what it does of itself while large tensors come and go.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 << 20, _TRIM_THRESHOLD: 64 << 20}
_KEEPING = {_MMAP_MAX: 0, _TRIM_THRESHOLD: -1}


def keep_freed_memory(keep: bool = True) -> None:
    """Has the C library reuse freed memory instead of handing it back to the system; nothing where it is not glibc.

    A training step on a CPU frees the maps of its layers, gigabytes, and the next asks for as many. Mapped anew,
    each page is cleared by the kernel first, which takes a quarter of the step of a network this light. The price
    is memory: the process keeps a few maps more than it needs, some tenth to quarter of its peak.
    """
    if sys.platform != "linux":
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "mallopt"):
        for parameter, value in (_KEEPING if keep else _USUAL).items():
            library.mallopt(parameter, value)
