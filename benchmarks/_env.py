"""What the benchmark scripts share: the machine in words, fair timing, and the report."""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from threadpoolctl import threadpool_info, threadpool_limits


class Paired(NamedTuple):
    """Median seconds of two things timed in turn, and the median of their ratios, other over ours: above 1 we win."""

    ours: float
    other: float
    ratio: float


def arguments(description: str) -> argparse.ArgumentParser:
    """Begin a script's options: those that every benchmark has."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, in seconds: to see that it runs")
    parser.add_argument("--json", action="store_true", help="print one last line of JSON")
    parser.add_argument("--seed", type=int, default=0, help="seed of the data")
    parser.add_argument("--threads", type=int, default=0, help="threads of numpy and torch; 0: as they come")
    return parser


def set_threads(n: int) -> None:
    """Limit the threads of BLAS and OpenMP, and those of torch if it is imported; 0 changes nothing."""
    if n < 1:
        return
    threadpool_limits(n)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n)


def environment() -> dict[str, Any]:
    """Describe machine and software: what a figure depends on, and no date."""
    versions = {}
    for name in ("numpy", "torch", "pyarrow", "morphospace"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    flags = _cpuinfo("flags").split()
    threads = {f"{pool['internal_api']}": pool["num_threads"] for pool in threadpool_info()}
    if "torch" in sys.modules:
        threads["torch"] = sys.modules["torch"].get_num_threads()
    return {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "simd": [flag for flag in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if flag in flags],
        "memory_gib": _memory_gib(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        **versions,
        "threads": threads,
    }


def print_environment(**more: object) -> None:
    """Print the environment and the options of the run, a line each."""
    for name, value in {**environment(), **more}.items():
        print(f"{name:>12}: {value}")
    print(flush=True)


def median_of(n: int, fn: Callable[[], object]) -> float:
    """Run fn once to warm up and n times for the clock; give the median in seconds."""
    fn()
    return statistics.median(_seconds(fn) for _ in range(n))


def paired(n: int, ours: Callable[[], object], other: Callable[[], object]) -> Paired:
    """Time two things in turn, n times after a warm-up, so that a noisy machine hits both alike."""
    ours(), other()
    times = [(_seconds(ours), _seconds(other)) for _ in range(n)]
    mine, theirs = (statistics.median(column) for column in zip(*times, strict=True))
    return Paired(mine, theirs, statistics.median(b / a for a, b in times))


def report(rows: Sequence[dict[str, Any]], json_flag: bool, **keys: object) -> None:
    """Print rows as a table and the named figures; with ``--json`` also one last line that holds everything."""
    if rows:
        names = list(dict.fromkeys(name for row in rows for name in row))
        cells = [names, *([_cell(row.get(name)) for name in names] for row in rows)]
        widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
        for line in cells:
            left, *right = (cell.rjust(width) for cell, width in zip(line, widths, strict=True))
            print("  ".join([left.strip().ljust(widths[0]), *right]))
        print()
    for name, value in keys.items():
        print(f"{name} = {_cell(value)}")
    if json_flag:
        print(json.dumps({**keys, "rows": list(rows), "environment": environment()}))


def _seconds(fn: Callable[[], object]) -> float:
    start = time.perf_counter()
    fn()
    return time.perf_counter() - start


def _cell(value: object) -> str:
    return f"{value:,.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def _cpuinfo(key: str) -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.split(":")[0].strip() == key:
                return line.split(":", 1)[1].strip()
    return ""


def _memory_gib() -> float | None:
    with suppress(OSError, ValueError):
        return round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30, 1)
    return None
