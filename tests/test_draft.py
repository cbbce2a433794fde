"""Tables of science on their way: a kill loses little, going on gives the same table, mixed sizes are gathered."""

from __future__ import annotations

import multiprocessing
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from click.testing import CliRunner

from morphospace.cli import program
from morphospace.errors import ConfigError, StoreError
from morphospace.science import blocks, draft, masks, segment
from morphospace.science import measure as measure_module
from morphospace.science.blocks import Limits, by_blocks
from morphospace.science.draft import Draft
from morphospace.science.files import write_file
from morphospace.science.measure import Measures, measure
from morphospace.science.morphometry.planes import Plane
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.space import going_on

SIDES = (24, 32, 28)
SMALL = Limits(rows=2, pixels=2**20, window_rows=4)


def picture(seed: int) -> np.ndarray:
    rng, side = np.random.default_rng(seed), SIDES[seed % 3]
    y, x = np.indices((side, side)) - (side - 1) / 2
    return (30 * np.exp(-np.hypot(x, y / 0.7) / 3) + rng.normal(size=(side, side))).astype("f4")


def written(path: Path, n: int, *, first: int = 0) -> Cutouts:
    with CutoutsWriter(path) as writer:
        for i in range(n):
            writer.append(Cutout(f"n{i}", picture(first + i)[None], level=(0.0,), sigma=(1.0,)))
    return Cutouts.open(path)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Cutouts:
    return written(tmp_path_factory.mktemp("draft") / "d.cutouts", 13)


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_module, "Limits", lambda *_: SMALL)
    monkeypatch.setattr(segment, "_AT_ONCE", SMALL)


def same(one: pa.Table, other: pa.Table) -> bool:
    """Whether two tables are equal bit for bit, NaN for NaN."""
    pairs = zip(one.columns, other.columns, strict=True)
    return one.column_names == other.column_names and all(str(a.to_pylist()) == str(b.to_pylist()) for a, b in pairs)


def run(verb: str, data: Any, **options: Any) -> pa.Table:
    return measure(data, **options).table if verb == "measure" else segment.segment(data, steps=2, **options).table


def breaking(monkeypatch: pytest.MonkeyPatch, verb: str, *, at: int, error: BaseException) -> None:
    """Let the block number `at` fail."""
    module, name = (measure_module, "_measured") if verb == "measure" else (segment, "_masks_of")
    work, calls = getattr(module, name), iter(range(100))

    def fails(*given: Any, **named: Any) -> Any:
        if next(calls) == at:
            raise error
        return work(*given, **named)

    monkeypatch.setattr(module, name, fails)


@pytest.mark.parametrize("verb", ["measure", "segment"])
@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("gone")])
def test_interrupted_and_resumed_equals_uninterrupted(
    store: Cutouts, tmp_path: Path, verb: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = run(verb, store)
    out = tmp_path / "t.parquet"
    with monkeypatch.context() as broken:
        breaking(broken, verb, at=7, error=error)
        with pytest.raises(type(error)):
            run(verb, store, out=out)
    assert not out.exists()
    with monkeypatch.context() as again:
        seen: list[str] = []
        real = blocks.read_planes
        again.setattr(blocks, "read_planes", lambda *a: (seen.append(p.id) or p for p in real(*a)))
        if verb == "segment":  # what is left needs the network that the rows before were made with
            again.setattr(segment, "train_unet", None)
        assert same(run(verb, store, out=out, resume=True), whole)
    assert seen[0] == "n4"  # the window written last is made again: figures may depend on their block
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]
    kept = Measures.open(out).table if verb == "measure" else masks.Masks.open(out).table
    assert same(kept, whole)


def killed(store: Path, out: Path) -> None:
    going_on.SAVE_SECONDS = 0.0
    measure_module.Limits = lambda *_: SMALL  # type: ignore[assignment,misc]
    add = Draft.add

    def dies(self: Draft, window: pa.Table) -> None:
        add(self, window)
        if self.first >= 12:
            os.kill(os.getpid(), signal.SIGKILL)

    Draft.add = dies  # type: ignore[method-assign]
    measure(Cutouts.open(store), out=out)


@pytest.mark.slow
def test_rows_survive_a_kill(store: Cutouts, tmp_path: Path) -> None:
    out = tmp_path / "shapes.parquet"
    process = multiprocessing.get_context("spawn").Process(target=killed, args=(store.path, out))
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    with pytest.raises(StoreError, match=r"was begun and not finished; give resume=True \(--resume\) to go on"):
        measure(store, out=out)
    assert same(measure(store, out=out, resume=True).table, measure(store).table)
    assert [p.name for p in tmp_path.iterdir()] == ["shapes.parquet"]


class Own:
    def __init__(self, n: int) -> None:
        self.n, self.read = n, list[int]()

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Any:
        self.read.append(i)
        return {"id": f"own {i}", "image": picture(i)[None]}


def test_samples_go_on_with_the_row_they_stopped_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, out = Own(13), tmp_path / "t.parquet"
    with monkeypatch.context() as broken:
        breaking(broken, "measure", at=7, error=RuntimeError("gone"))
        with pytest.raises(RuntimeError, match="gone"):
            measure(data, out=out)
    data.read.clear()
    found = measure(data, out=out, resume=True)
    assert min(data.read) == 4
    assert found.table["id"].to_pylist() == [f"own {i}" for i in range(13)]
    assert same(found.table, measure(data).table)


@pytest.mark.parametrize("verb", ["measure", "segment"])
def test_going_on_is_refused_with_other_rows_or_settings(
    store: Cutouts, tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "t.parquet"
    with monkeypatch.context() as broken:
        breaking(broken, verb, at=7, error=RuntimeError("gone"))
        with pytest.raises(RuntimeError):
            run(verb, store, out=out)
    with pytest.raises(StoreError, match="begun and not finished"):
        run(verb, store, out=out)
    with pytest.raises(StoreError, match=r"was begun with other settings \(band\); give the same, or overwrite it"):
        run(verb, store, out=out, band=0, resume=True)
    other = written(tmp_path / "other.cutouts", 13, first=3)
    with pytest.raises(StoreError, match="holds other rows than the beginning of these cutouts"):
        run(verb, other, out=out, resume=True)
    assert len(run(verb, other, out=out, overwrite=True)) == 13
    with pytest.raises(StoreError, match="of other cutouts; choose another out=, or overwrite it"):
        run(verb, store, out=out, resume=True)
    with pytest.raises(StoreError, match="of other band; choose"):
        run(verb, other, out=out, band=0, resume=True)
    assert same(run(verb, other, out=out, resume=True), run(verb, other))


def test_a_call_that_fails_at_once_leaves_nothing(store: Cutouts, tmp_path: Path) -> None:
    for verb in ("measure", "segment"):
        with pytest.raises(ConfigError, match="no band 'z'"):
            run(verb, store, out=tmp_path / "t.parquet", band="z")
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_network_is_told(store: Cutouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "t.parquet"
    with monkeypatch.context() as broken:
        breaking(broken, "segment", at=7, error=RuntimeError("gone"))
        with pytest.raises(RuntimeError):
            run("segment", store, out=out)
    (tmp_path / "_t.parquet.draft" / "_network.safetensors").write_text("gone")
    with pytest.raises(StoreError, match=r"the network in .* cannot be read .*begin anew with overwrite=True"):
        run("segment", store, out=out, resume=True)


def test_a_draft_writes_every_row_once_wherever_it_was_cut(store: Cutouts, tmp_path: Path) -> None:
    schema = pa.schema({"id": pa.string(), "x": pa.float64()})
    whole = pa.table({"id": store.ids, "x": np.arange(13.0)}, schema=schema)
    windows = [whole.slice(0, 5), whole.slice(5, 5), whole.slice(10)]
    for cut in range(1, 13):
        out = tmp_path / f"{cut}.parquet"
        with Draft(out, schema, store, settings={}) as one:
            for window in windows:
                kept = min(cut - one.first, window.num_rows)
                if kept < window.num_rows:  # a part may end within a window
                    one._writer.write(draft.one_batch(one_window(one, window).slice(0, kept)))
                    break
                one.add(window)
        with Draft(out, schema, store, settings={}, resume=True) as again:
            assert (again.rows, again.first) == (cut, 5 * ((cut - 1) // 5))
            for window in windows[again.first // 5 :]:
                again.add(window)
            assert again.table().equals(whole)


def one_window(one: Draft, window: pa.Table) -> pa.Table:
    hashes = one._hashes.slice(one.first, window.num_rows)  # type: ignore[union-attr]
    place = pa.array(np.arange(window.num_rows), pa.int32())
    return window.append_column("sha256", hashes).append_column("place_in_window", place)


@pytest.mark.parametrize("window_rows", [1, 5, 100])
def test_blocks_hold_one_shape_and_rows_keep_their_order(window_rows: int) -> None:
    got: list[list[Plane]] = []

    def work(given: Any) -> Any:
        for block in given:
            got.append(block)
            yield pa.table({"id": [plane.id for plane in block]})

    seen: list[int] = []
    limits = Limits(rows=3, pixels=2**20, window_rows=window_rows)
    tables = list(by_blocks(Own(13), None, work, limits=limits, seen=seen.append))
    assert [name for t in tables for name in t["id"].to_pylist()] == [f"own {i}" for i in range(13)]
    assert all(len({plane.image.shape for plane in block}) == 1 and len(block) <= 3 for block in got)
    assert sum(seen) == 13
    if window_rows == 100:  # five, four and four of a shape
        assert len(got) == 6
    assert all(t.num_rows <= window_rows for t in tables)


def test_a_window_ends_with_its_pixels() -> None:
    def work(given: Any) -> Any:
        return (pa.table({"id": [plane.id for plane in block]}) for block in given)

    limits = Limits(rows=9, pixels=1, window_pixels=2 * 32 * 32)
    tables = list(by_blocks(Own(7), None, work, limits=limits, seen=lambda _: None))
    assert sum(t.num_rows for t in tables) == 7
    assert all(t.num_rows <= 3 for t in tables)


def test_command_says_how_to_go_on(store: Cutouts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for verb, extra in (("measure", []), ("segment", ["--steps", "2"])):
        words = [verb, str(store.path), "--out", str(tmp_path / f"{verb}.parquet"), *extra]
        with monkeypatch.context() as broken:
            breaking(broken, verb, at=7, error=KeyboardInterrupt())
            done = CliRunner().invoke(program, words)
        assert done.exit_code != 0
        assert CliRunner().invoke(program, words).exit_code != 0
        done = CliRunner().invoke(program, [*words, "--resume"])
        assert done.exit_code == 0, done.output
        assert "13 " in done.stdout


# files


def test_other_endings_are_refused_before_any_work(store: Cutouts, tmp_path: Path) -> None:
    for verb in ("measure", "segment"):
        with pytest.raises(ConfigError, match=r"'t.txt' must end in .parquet or .pq, for that is what is written"):
            run(verb, store, out=tmp_path / "t.txt")
        done = CliRunner().invoke(program, [verb, str(store.path), "--out", str(tmp_path / "t.csv")])
        assert "'t.csv' must end in .parquet" in str(done.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_breaks_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "new" / "t.parquet"
    write_file(path, lambda beside: beside.write_text("old"))

    def breaks(beside: Path) -> None:
        beside.write_text("half")
        raise OSError("disk full")

    with pytest.raises(StoreError, match=r"t.parquet' cannot be written \(disk full\)"):
        write_file(path, breaks)
    assert [p.name for p in path.parent.iterdir()] == ["t.parquet"]
    assert path.read_text() == "old"
