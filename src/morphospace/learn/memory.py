"""How the C library hands memory back: a setting that decides a third of a training step."""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD, _M_ARENA_MAX = -1, -2, -3, -8


def keep_freed_memory() -> None:
    """Let glibc keep freed pages for the next step, for the life of the process.

    Each step frees and asks anew for hundreds of megabytes; by default glibc returns them to the system, which then
    clears each page again (27 to 75 % of a step, measured). Threads share the memory of the first, since what one of
    their own keeps ends at 64 MiB a block; but pyarrow, once imported, has one of its own that later threads get in
    turn with the first: so the command line calls this before all imports. Elsewhere than on Linux with glibc nothing
    happens.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_THRESHOLD, 1 << 30)
    mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)
    mallopt(_M_TOP_PAD, 1 << 26)
    mallopt(_M_ARENA_MAX, 1)
