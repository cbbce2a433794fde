"""Taking files in: `curate` on plain FITS files, beside reading them one by one with astropy, and its memory.

(a) `curate` of 10,000 simulated files of 100 x 100 pixels, with all its checks, pictures and its report, in turn with
`astropy.io.fits.getdata` on each of them in one process, which only reads: `ratio_to_getdata`, wall time over wall
time, and `processor_ratio`, processor time over processor time of all processes.
(b) The most memory that `curate` takes on 10,000 and on 50,000 files, all its processes together, pages that they
share counted once: `peak_mb` of the larger, `memory_ratio` of the two. The files are links to a thousand different ones.
"""

from __future__ import annotations

import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from astropy.io import fits

from _env import arguments, paired, print_environment, report, set_threads
from morphospace.sky.curate import curate
from morphospace.sky.intake import Intake
from morphospace.sky.simulate import simulate, write_fits

SIZE = 100
TARGET, MOST_MB, MOST_GROWTH = 2.0, 1000.0, 1.1
_PIECE = 1000
_CURATE = """
import sys
from morphospace.sky.curate import curate
from morphospace.sky.intake import Intake
curate(sys.argv[1], out=sys.argv[2], keep="all", intake=Intake(processes=int(sys.argv[3])))
"""


def write_files(folder: Path, n: int, seed: int) -> list[Path]:
    """Write simulated files, each another one."""
    files: list[Path] = []
    for start in range(0, n, _PIECE):
        sky = simulate("double", min(_PIECE, n - start), size=SIZE, seed=seed, start=start)
        files += write_fits(sky, folder / f"{start:06d}")
    return files


def link_files(files: Sequence[Path], folder: Path, n: int) -> Path:
    """Make a folder with many links to few files."""
    folder.mkdir()
    for number, file in zip(range(n), itertools.cycle(files)):
        os.link(file, folder / f"{number:06d}.fits")
    return folder


def processor_seconds(work: Callable[[], object]) -> float:
    """Measure the processor time of this process and those that it ended."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    before = [resource.getrusage(kind) for kind in kinds]
    work()
    after = [resource.getrusage(kind) for kind in kinds]
    return sum(b.ru_utime + b.ru_stime - a.ru_utime - a.ru_stime for a, b in zip(before, after, strict=True))


def peak_mb(folder: Path, out: Path, processes: int) -> float:
    """Curate a folder in a process of its own and watch its memory and that of its children."""
    process = subprocess.Popen([sys.executable, "-c", _CURATE, str(folder), str(out), str(processes)])
    most = 0.0
    while process.poll() is None:
        most = max(most, sum(map(memory_mb, family(process.pid))))
        time.sleep(0.05)
    if process.returncode:
        sys.exit("curate failed")
    return most


def family(pid: int) -> list[int]:
    """Give a process and all below it."""
    found = [pid]
    for parent in found:
        with suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text().split())
    return found


def memory_mb(pid: int) -> float:
    """Proportional set size: pages that n processes share count as one nth for each."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1000
    return 0.0


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--files", type=int, default=10_000, help="files to time; five times as many for the memory")
    parser.add_argument("--rounds", type=int, default=5, help="passes timed, ours and the other in turn")
    parser.add_argument("--processes", type=int, default=0, help="processes of curate; 0: one per core")
    options = parser.parse_args()
    n, rounds = (200, 1) if options.quick else (options.files, options.rounds)
    set_threads(options.threads)
    print_environment(files=n, size=SIZE, seed=options.seed, rounds=rounds, processes=options.processes)
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        files = write_files(work / "files", n, options.seed)
        intake = Intake(processes=options.processes)

        def ours() -> None:
            curate(files, out=work / "timed.cutouts", intake=intake, overwrite=True)

        def other() -> None:
            for file in files:
                fits.getdata(file)

        found = paired(rounds, ours, other)
        processor = processor_seconds(other) / processor_seconds(ours)
        peaks = []
        for many in (n, 5 * n):
            linked = link_files(files[:_PIECE], work / f"linked{many}", many)
            peaks.append(peak_mb(linked, work / f"{many}.cutouts", options.processes))
    rows = [
        {"what": "curate", "files": n, "s": found.ours, "ms/file": 1000 * found.ours / n},
        {"what": "getdata", "files": n, "s": found.other, "ms/file": 1000 * found.other / n},
        *({"what": "memory of curate", "files": k * n, "MB": peak} for k, peak in zip((1, 5), peaks, strict=True)),
    ]
    growth = peaks[1] / peaks[0] if peaks[0] else float("nan")
    met = found.ratio >= TARGET and peaks[1] <= MOST_MB and growth <= MOST_GROWTH
    report(
        rows,
        options.json,
        ratio_to_getdata=found.ratio,
        processor_ratio=processor,
        peak_mb=peaks[1],
        memory_ratio=growth,
        targets_met=bool(met),
    )


if __name__ == "__main__":
    main()
