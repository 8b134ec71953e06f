"""How this process gets memory from the system."""

from __future__ import annotations

import ctypes

#: Parameters of glibc's mallopt(3).
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
#: A batch is often more than a megabyte, in several forms. Smaller blocks are kept for the next …
_LARGEST_KEPT_BYTES = 64 * 2**20
#: … up to this much of it.
_KEPT_BYTES = 256 * 2**20


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks of the size of a batch.

    By default it returns them to the system at once, and getting each back costs a page fault for
    every 4 kB: about a third of the time of producer and worker. Elsewhere this does nothing.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, _LARGEST_KEPT_BYTES)
    mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)
