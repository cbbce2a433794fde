"""Work in other processes: the same results in the same order, and proper words when one of them dies."""

from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphospace import _pool as pool
from morphospace._pool import Pool, can_fork
from morphospace.errors import DataError, StoreError
from morphospace.sky.curate import curate
from morphospace.sky.curation import hands
from morphospace.sky.curation.hands import curate_rows
from morphospace.sky.curation.keep import parse_keep
from morphospace.sky.curation.work import Piece, Work
from morphospace.sky.intake import Intake
from morphospace.sky.sources.files import FileSource
from pool_tasks import deadly, echo, own_number, refusing, squares, uneven
from sky_files import write_bad, write_good

pytestmark = pytest.mark.skipif(not can_fork(), reason="this system cannot fork")

HERE = str(Path(__file__).parent)


@pytest.fixture(autouse=True)
def _findable(monkeypatch):
    """Let the processes find `pool_tasks`."""
    monkeypatch.setattr(sys, "path", [HERE, *sys.path])


@pytest.mark.usefixtures("others_only")
@pytest.mark.parametrize("n", [1, 3])
def test_results_come_in_the_order_of_the_tasks(n):
    tasks = [range(i, i + 3) for i in range(0, 60, 3)]
    with Pool(squares, n) as workers:
        assert list(workers.run(tasks)) == [i * i for i in range(60)]


def test_slow_tasks_and_many_results_change_no_order_before_and_after_the_processes_are_ready():
    with Pool(uneven, 3) as workers:
        found = list(workers.run([[i] for i in range(60)], most=lambda: 4))
    assert found == [i for i in range(60) for _ in range(20)]


@pytest.mark.usefixtures("others_only")
def test_large_tasks_and_large_results_do_not_wait_for_one_another():
    tasks = [bytes(3_000_000)] * 8
    with Pool(echo, 2) as workers:
        assert [len(found) for found in workers.run(tasks)] == [3_000_000] * 8


def test_nothing_to_do_is_no_wait():
    with Pool(squares, 2) as workers:
        assert list(workers.run([])) == []


@pytest.mark.usefixtures("others_only")
def test_only_so_many_tasks_are_taken_ahead():
    taken = []

    def tasks():
        for i in range(200):
            taken.append(i)
            yield [i]

    with Pool(squares, 2) as workers:
        results = workers.run(tasks())
        next(results)
        assert len(taken) <= 2 * pool._AHEAD * 2 + 2


@pytest.mark.usefixtures("others_only")
def test_a_process_that_dies_is_told_in_one_sentence():
    with Pool(deadly, 2) as workers, pytest.raises(StoreError, match=r"died .*resume=True.*fewer processes"):
        list(workers.run([[i] for i in range(9)]))


@pytest.mark.usefixtures("others_only")
def test_an_error_in_a_process_is_that_error_here():
    with Pool(refusing, 2) as workers, pytest.raises(DataError, match="no three") as caught:
        list(workers.run([[i] for i in range(9)]))
    assert "refusing" in caught.value.__notes__[0]


def test_what_cannot_be_imported_there_is_told(monkeypatch):
    monkeypatch.setattr(sys, "path", [path for path in sys.path if path != HERE])
    endless = iter(lambda: time.sleep(0.01) or [1], None)
    with Pool(squares, 2) as workers, pytest.raises(ModuleNotFoundError):
        list(workers.run(endless))


@pytest.mark.usefixtures("others_only")
def test_the_processes_end_with_the_block():
    with Pool(own_number, 2) as workers:
        alive = {pid for pid in workers.run([[i] for i in range(8)])}
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{pid}").exists() for pid in alive):
        assert time.monotonic() < deadline
        time.sleep(0.02)


# -- curate --------------------------------------------------------------------------------------------------------


def contents(store):
    """All files of a store by name; the report has a date and its call."""
    skipped = ("report.html",)
    return {
        str(path.relative_to(store)): path.read_bytes()
        for path in sorted(store.rglob("*"))
        if path.is_file() and path.name not in skipped
    }


@pytest.mark.usefixtures("others_only")
@pytest.mark.parametrize("processes", [2, 3])
def test_several_processes_make_the_same_store_byte_by_byte(tmp_path, monkeypatch, processes):
    files = [*write_good(tmp_path / "in", 90), *write_bad(tmp_path / "in").values()]
    files.append(tmp_path / "in" / "a.fits")  # a repeat that sorts first
    files[-1].write_bytes(files[40].read_bytes())
    monkeypatch.setattr(hands, "_TASK_ROWS", 7)
    options = {"size": 32, "columns": ["OBJECT"], "keep": "usable"}
    one = curate(files, out=tmp_path / "one.cutouts", intake=Intake(processes=1), **options)
    many = curate(files, out=tmp_path / "many.cutouts", intake=Intake(processes=processes), **options)
    assert one.ids == many.ids
    assert contents(one.path) == contents(many.path)


def test_another_number_of_processes_may_resume(tmp_path):
    write_good(tmp_path / "in", 4)
    curate(tmp_path / "in", out=tmp_path / "x.cutouts", intake=Intake(processes=1))
    assert len(curate(tmp_path / "in", out=tmp_path / "x.cutouts", intake=Intake(processes=2), resume=True)) == 4


def test_few_images_need_no_other_process(tmp_path, monkeypatch):
    monkeypatch.setattr(hands, "Pool", None)
    assert len(curate(write_good(tmp_path / "in", 3), out=tmp_path / "x.cutouts")) == 3


def test_the_processes_import_neither_torch_nor_what_only_detection_needs(tmp_path):
    work = Work(FileSource(write_good(tmp_path, 1)), parse_keep("all"), None, None, None, None, {})
    code = (
        "import pickle, sys; pickle.load(sys.stdin.buffer); "
        "print([m for m in sys.modules if m.split('.')[0] in ('torch', 'photutils', 'pandas', 'duckdb')])"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps(work), capture_output=True, check=True, timeout=60
    )
    assert told.stdout.decode().strip() == "[]"


SCRIPT = """
from morphospace.sky.curate import curate
from morphospace.sky.intake import Intake
import sys
print("begun")
curate(sys.argv[1], out=sys.argv[2], intake=Intake(processes=2))
print("done")
"""


def test_a_script_without_a_guard_runs_once(tmp_path):
    write_good(tmp_path / "in", 80)
    (tmp_path / "script.py").write_text(SCRIPT)
    told = subprocess.run(
        [sys.executable, tmp_path / "script.py", tmp_path / "in", tmp_path / "x.cutouts"],
        capture_output=True,
        timeout=120,
        check=False,
    )
    assert told.stdout.decode().split() == ["begun", "done"], told.stderr.decode()


def test_rows_are_all_done_whatever_the_tasks_are(tmp_path):
    source = FileSource(write_good(tmp_path, 5))
    rows = [(row, source.label(row)) for row in range(5)]
    work = Work(source, parse_keep("all"), None, None, None, None, {})
    pieces = list(curate_rows(work, iter(rows), 5, 0))
    told = [json.loads(line)["path"] for piece in pieces for line in piece.lines.splitlines()]
    assert told == [label.key for _, label in rows]
    assert sum(piece.n for piece in pieces) == 5
    assert sum(len(piece.batch) for piece in pieces if piece.batch is not None) == 5


@given(
    seconds=st.floats(0, 1e3), image_bytes=st.integers(0, 1 << 36), n=st.integers(0, 300), processes=st.integers(2, 16)
)
def test_large_and_slow_images_go_few_at_a_time(seconds, image_bytes, n, processes):
    pace = hands._Pace(processes)
    pace.learn(Piece(n, "", None, [], [], seconds, image_bytes))
    assert 1 <= pace.most() <= 2 * processes
    assert pace.most() == 1 or pace.most() * image_bytes * hands._COPIES <= hands._BYTES_AT_A_TIME
    task = next(pace.tasks(iter([(i, None) for i in range(1000)])))
    assert 1 <= len(task) <= hands._TASK_ROWS
    assert len(task) == 1 or len(task) * seconds / max(n, 1) <= 2 * hands._TASK_SECONDS


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_in_the_middle_no_process_stays_and_resume_goes_on(tmp_path, how):
    write_good(tmp_path / "in", 400)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.replace("processes=2)", "processes=2), resume=True"))
    out = tmp_path / "x.cutouts"
    process = subprocess.Popen([sys.executable, script, tmp_path / "in", out], stderr=subprocess.DEVNULL)
    below = set()
    deadline = time.monotonic() + 60
    while process.poll() is None and (len(below) < 2 or not (out / "_journal.jsonl").exists()):
        assert time.monotonic() < deadline
        below |= offspring(process.pid)
        time.sleep(0.01)
    process.send_signal(how)
    process.communicate(timeout=60)
    while any(is_alive(pid) for pid in below):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert len(curate(tmp_path / "in", out=out, resume=True, intake=Intake(processes=1))) == 400


def offspring(pid):
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            found += map(int, children.read_text().split())
    return set(found[1:])


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
