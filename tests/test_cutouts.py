"""The store of cutouts: what goes in comes out, whoever opens it and whatever happens while it is written."""

from __future__ import annotations

import logging
import math
import pickle
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from data import make_v1
from morphospace import _parts
from morphospace._parts import Parts
from morphospace.errors import ConfigError, DataError, ShapeError, StoreError
from morphospace.sky import store_rows
from morphospace.sky.cutouts import (
    COLUMNS,
    Cutout,
    Cutouts,
    CutoutsWriter,
    decode_images,
    decode_masks,
    pixel_sha256,
)
from small_cutouts import cutout, small_parts

V1 = Path(__file__).parent / "data" / "v1"
KNOWN = [name for name in COLUMNS.names if name not in ("image", "dtype", "shape", "mask", "variance")]


@pytest.fixture(autouse=True)
def _unsynced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let writing not wait for the disk; the processes that are killed below do."""
    monkeypatch.setattr("os.fsync", lambda _: None)


def write(path: Path, cutouts: Iterator[Cutout] | Sequence[Cutout], **options: Any) -> Cutouts:
    with CutoutsWriter(path, **options) as writer:
        for one in cutouts:
            writer.append(one)
    return Cutouts.open(path)


def assert_equal(found: Cutout, expected: Cutout) -> None:
    assert found.image.dtype == expected.image.dtype.newbyteorder("<")
    np.testing.assert_array_equal(found.image, expected.image)
    for name in ("mask", "variance"):
        one, other = getattr(found, name), getattr(expected, name)
        assert (one is None) == (other is None)
        if one is not None:
            assert one.dtype == other.dtype
            np.testing.assert_array_equal(one, other)
    assert found.sha256 == (expected.sha256 or pixel_sha256(expected.image))
    for name in KNOWN:
        if name != "sha256":
            np.testing.assert_equal(getattr(found, name), getattr(expected, name), err_msg=name)
            assert type(getattr(found, name)) is type(getattr(expected, name)), name
    for name, value in found.columns.items():
        np.testing.assert_equal(value, expected.columns.get(name), err_msg=name)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Cutouts:
    """Give 900 rows of three sizes and types in several row groups and parts, some with mask and variance."""

    def rows() -> Iterator[Cutout]:
        for i in range(900):
            one = cutout(i, side=(8, 13, 40)[i % 3])
            image = (one.image * 50).astype(("f4", "i2", "u1")[i % 3])
            mask = one.image[0] > -1 if i % 4 == 0 else None
            variance = one.image**2 if i % 7 == 0 else None
            yield replace(one, image=image, mask=mask, variance=variance, ra=float(i), columns={"z": i / 3, "n": i})

    patch = pytest.MonkeyPatch()
    patch.setattr("os.fsync", lambda _: None)
    path = tmp_path_factory.mktemp("many") / "many.cutouts"
    with small_parts(path, {"z": pa.float64(), "n": pa.int64()}) as writer:
        for row in rows():
            writer.append(row)
    patch.undo()
    found = Cutouts.open(path)
    assert len(found._parts.manifest.parts) > 3
    assert len(list(found.chunks())) > 12
    return found


# round trips


TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
REAL = st.floats(allow_nan=True)
SHAPES = st.tuples(st.integers(1, 3), st.integers(1, 6), st.integers(1, 6))
TYPES = st.sampled_from(["?", "u1", "i1", "<u2", ">i2", "<i4", "<u8", "<f2", "<f4", ">f4", "<f8", ">f8"])


@st.composite
def any_cutouts(draw: st.DrawFn) -> Cutout:
    shape = draw(SHAPES)
    bands = st.one_of(st.just(()), st.tuples(*[REAL] * shape[0]))
    return Cutout(
        id=draw(TEXT),
        image=draw(npst.arrays(np.dtype(draw(TYPES)), shape)),
        mask=draw(st.one_of(st.none(), npst.arrays(np.bool_, shape[1:]))),
        variance=draw(st.one_of(st.none(), npst.arrays(np.float32, shape))),
        level=draw(bands),
        sigma=draw(bands),
        wavelength_nm=draw(bands),
        bands=draw(st.one_of(st.just(()), st.tuples(*[TEXT] * shape[0]))),
        unit=draw(st.one_of(st.none(), TEXT)),
        ra=draw(REAL),
        x=draw(REAL),
        wcs=draw(st.one_of(st.none(), TEXT)),
        beam=draw(st.tuples(REAL, REAL, REAL)),
        object=draw(st.one_of(st.none(), TEXT)),
        group=draw(st.one_of(st.none(), TEXT)),
        flags=draw(st.integers(0, 255)),
        source=draw(TEXT),
        columns=draw(st.fixed_dictionaries({}, optional={"z": st.one_of(st.none(), REAL), "who": TEXT})),
    )


@settings(max_examples=30)
@given(st.lists(any_cutouts(), max_size=6, unique_by=lambda c: c.id))
def test_what_is_saved_is_what_is_opened(cutouts: list[Cutout]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        store = write(Path(folder) / "s", cutouts, columns={"z": pa.float64(), "who": pa.string()})
        assert store.ids == [c.id for c in cutouts]
        for found, expected in zip(store.read(range(len(store))), cutouts, strict=True):
            assert_equal(found, expected)
        by_chunk = [image for batch in store.chunks() for image in decode_images(batch)]
        masks = [mask for batch in store.chunks() for mask in decode_masks(batch)]
        for image, mask, expected in zip(by_chunk, masks, cutouts, strict=True):
            assert image.dtype == expected.image.dtype.newbyteorder("<")
            np.testing.assert_array_equal(image, expected.image)
            np.testing.assert_array_equal(mask, expected.mask)  # None equals None


def test_format_version_1_opens_as_it_was_written() -> None:
    store = Cutouts.open(V1 / "cutouts")
    expected = list(make_v1.cutouts())
    assert store.ids == [c.id for c in expected]
    for found, wanted in zip(store.read(range(len(store))), expected, strict=True):
        assert_equal(found, wanted)
    assert store.fingerprint == "87e50ea40117a840a92eb2252102a1a2d36593e76d2432897e23cfbdb97b67ed"


def test_the_script_of_version_1_makes_the_same_content_and_overwrites_nothing(tmp_path: Path) -> None:
    make_v1.make_cutouts(tmp_path / "s")
    assert Cutouts.open(tmp_path / "s").fingerprint == Cutouts.open(V1 / "cutouts").fingerprint
    run = [sys.executable, str(V1.parent / "make_v1.py"), "cutouts"]
    ended = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "never made again" in ended.stderr


def test_columns_on_disk_are_those_of_the_design(tmp_path: Path) -> None:
    store = write(tmp_path / "s", [cutout(0)], columns={"z": pa.float64()})
    assert ", ".join(store.columns) == (
        "id, image, dtype, shape, mask, variance, unit, bands, wavelength_nm, level, sigma, ra, dec, x, y, wcs, "
        "pixel_scale_arcsec, beam, object, group, flags, source, hdu, sha256, z"
    )
    assert b"format_version" in store.schema.metadata[b"morphospace"]
    file = tmp_path / "s" / "part-00000.parquet"
    group = pq.read_metadata(file).row_group(0)
    chunks = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {chunk.compression for chunk in chunks.values()} == {"UNCOMPRESSED"}
    assert [name for name in ("image", "mask", "variance") if chunks[name].is_stats_set] == []
    assert chunks["ra"].is_stats_set


def test_what_is_unknown_is_null(tmp_path: Path) -> None:
    store = write(tmp_path / "s", [cutout(0)], columns={"z": pa.float64(), "n": pa.int32()})
    row = store.table().to_pylist()[0]
    known = {"id", "dtype", "shape", "flags", "source", "hdu", "sha256"}
    assert {name for name, value in row.items() if value is not None} == known


def test_pixels_keep_their_type_and_are_little_endian(tmp_path: Path) -> None:
    image = np.array([[[1, 256]]], ">i2")
    store = write(tmp_path / "s", [Cutout("a", image)])
    (batch,) = store.chunks()
    assert batch["image"][0].as_py() == b"\x01\x00\x00\x01"
    assert (batch["dtype"][0].as_py(), batch["shape"][0].as_py()) == ("int16", [1, 1, 2])
    assert store.read([0])[0].sha256 == pixel_sha256(image.astype("<i2")) == pixel_sha256(image)


def test_the_hash_of_pixels_depends_on_type_shape_and_values() -> None:
    image = np.zeros((1, 2, 6), "i2")
    others = [image.reshape(1, 3, 4), image.astype("u2"), image + 1, np.zeros((1, 2, 3), "i4")]
    assert len({pixel_sha256(one) for one in [image, *others]}) == 5
    assert pixel_sha256(image[:, :, ::-1]) == pixel_sha256(image)


def test_a_hash_that_is_given_is_kept(tmp_path: Path) -> None:
    assert write(tmp_path / "s", [cutout(0, sha256="ab12")]).read([0])[0].sha256 == "ab12"


def test_the_writer_keeps_what_was_given_when_the_caller_changes_it(tmp_path: Path) -> None:
    image = np.ones((1, 3, 3), "f4")
    with CutoutsWriter(tmp_path / "s") as writer:
        writer.append(Cutout("a", image))
        image[:] = 5
    assert Cutouts.open(tmp_path / "s").read([0])[0].image.max() == 1


def test_an_empty_store_is_a_store(tmp_path: Path) -> None:
    store = write(tmp_path / "s", [], columns={"z": pa.float64()})
    assert (len(store), store.ids, store.read([]), store.table().num_rows) == (0, [], [], 0)
    assert sum(len(batch) for batch in store.chunks()) == 0
    assert store.keep([]).ids == []
    assert pa.dataset.dataset(tmp_path / "s").count_rows() == 0
    with pytest.raises(DataError, match="row 0 is out of range: there are 0 rows"):
        store.read([0])


@pytest.mark.slow
def test_a_hundred_thousand_rows(tmp_path: Path) -> None:
    n = 100_000
    pixel = np.zeros((1, 1, 1), "f4")
    store = write(tmp_path / "s", (Cutout(f"№ {i}", pixel + i) for i in range(n)))
    assert store.ids == [f"№ {i}" for i in range(n)]
    asked = np.random.default_rng(0).integers(0, n, 500)
    assert [float(c.image[0, 0, 0]) for c in store.read(asked)] == asked.tolist()


# row groups


def test_small_images_share_a_row_group_and_a_large_one_has_its_own(tmp_path: Path) -> None:
    sides = [100] * 150 + [1100] + [100] * 10
    rows = (Cutout(str(i), np.zeros((1, side, side), "f4")) for i, side in enumerate(sides))
    store = write(tmp_path / "s", rows)
    groups = [sum(image.nbytes for image in decode_images(batch)) for batch in store.chunks()]
    counts = [len(batch) for batch in store.chunks()]
    assert sum(counts) == 161
    assert 1 in counts
    assert all(n == 1 or n_bytes <= 4 << 20 for n, n_bytes in zip(counts, groups, strict=True))
    assert counts[0] > 95


# reading


def test_rows_are_read_in_the_order_asked_for_with_repeats(many: Cutouts) -> None:
    asked = [5, 899, 0, 5, 450, 451, 2]
    found = many.read(asked)
    assert [c.id for c in found] == [f"obj-{i:04d}" for i in asked]
    assert [c.columns["n"] for c in many.read(np.array(asked, np.int32))] == asked


def test_reading_rows_equals_reading_chunks(many: Cutouts) -> None:
    rows = many.read(range(len(many)))
    images = [image for batch in many.chunks() for image in decode_images(batch)]
    masks = [mask for batch in many.chunks() for mask in decode_masks(batch)]
    for row, image, mask in zip(rows, images, masks, strict=True):
        assert row.image.dtype == image.dtype
        np.testing.assert_array_equal(row.image, image)
        np.testing.assert_array_equal(row.mask, mask)
    assert [row.id for row in rows] == many.ids


def test_rows_are_read_without_their_row_groups(many: Cutouts, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    original = Parts.group

    def watched(self: Parts, part: int, group: int, columns: Any = None) -> Any:
        asked.append(columns)
        return original(self, part, group, columns)

    monkeypatch.setattr(Parts, "group", watched)
    store = Cutouts.open(many.path)
    store.read([1, 500, 2])
    assert len(asked) == 2
    assert all("image" not in columns for columns in asked)
    store.read([0, 3, 501])
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("options", "in_place"),
    [
        ({"data_page_size": 500, "write_batch_size": 3}, False),
        ({"compression": "snappy"}, False),
        ({"data_page_version": "2.0", "use_dictionary": False, "data_page_size": 1 << 30}, True),
    ],
)
def test_rows_are_right_however_another_program_laid_them_out(
    many: Cutouts, tmp_path: Path, options: dict[str, Any], in_place: bool
) -> None:
    for file in [*many.path.glob("_*.json"), many.path / "_common_metadata", *many.path.glob("part-*")]:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    for file in tmp_path.glob("part-*"):
        with pq.ParquetFile(file) as old:
            groups = [old.read_row_group(g) for g in range(old.num_row_groups)]
        with pq.ParquetWriter(file, groups[0].schema, **{"compression": "none", **options}) as new:
            for group in groups:
                new.write_table(group)
    other = Cutouts.open(tmp_path)
    for found, expected in zip(other.read(range(900)), many.read(range(900)), strict=True):
        assert_equal(found, expected)
    held = [other._reader._groups.get(place[:2], pytest.fail) for place in other._parts.groups()]
    assert {group.offsets is not None for group in held} == {in_place}


def test_images_of_a_chunk_are_views_of_it(many: Cutouts) -> None:
    batch = next(many.chunks())
    _, _, data = batch["image"].buffers()
    for image in decode_images(batch):
        start = image.__array_interface__["data"][0]
        assert data.address <= start < data.address + data.size
    sliced = decode_images(batch.slice(3, 4))
    np.testing.assert_array_equal(sliced[0], decode_images(batch)[3])
    assert len(sliced) == 4


def test_arrays_of_rows_are_their_own(many: Cutouts) -> None:
    first = many.read([0])[0]
    first.image[:] = 0
    assert first.mask is not None
    assert first.variance is not None
    first.mask[:] = False
    first.variance[:] = 0
    again = many.read([0])[0]
    assert again.image.any()
    assert again.mask is not None
    assert again.mask.any()


def test_table_has_all_columns_but_pixels_unless_asked(many: Cutouts) -> None:
    assert many.table().column_names == [n for n in many.columns if n not in ("image", "mask", "variance")]
    assert many.table(["n", "image"]).column_names == ["n", "image"]
    assert many.table(["n"])["n"].to_pylist() == list(range(900))
    assert next(many.chunks(["shape", "id"])).schema.names == ["shape", "id"]


@pytest.mark.parametrize("read", [lambda c, name: c.table([name]), lambda c, name: list(c.chunks([name]))])
def test_an_unknown_column_is_named_with_the_nearest(many: Cutouts, read: Any) -> None:
    with pytest.raises(DataError, match="no column 'wavelength'; did you mean 'wavelength_nm'"):
        read(many, "wavelength")
    with pytest.raises(DataError, match="no column 'qqqq'; there are id, image"):
        read(many, "qqqq")


@pytest.mark.parametrize("rows", [[900], [0, -1], np.array([1000])])
def test_a_row_out_of_range_is_named(many: Cutouts, rows: Any) -> None:
    with pytest.raises(DataError, match="out of range: there are 900 rows, numbered from 0"):
        many.read(rows)
    with pytest.raises(DataError, match="out of range"):
        many.keep(rows)


def test_row_numbers_are_integers(many: Cutouts) -> None:
    with pytest.raises(DataError, match="must be a list of integers; got an array of float64"):
        many.read([0.5])
    with pytest.raises(DataError, match="must be a list of integers; got an array of bool"):
        many.read([True, False])
    with pytest.raises(DataError, match="shape \\(1, 2\\)"):
        many.read(np.zeros((1, 2), int))


def test_a_store_reads_from_threads_and_other_processes(many: Cutouts) -> None:
    many.read([0])
    again = pickle.loads(pickle.dumps(many.keep(np.arange(900) % 2 == 0)))
    assert len(again) == 450
    wrong: list[int] = []

    def use(seed: int) -> None:
        for _ in range(20):
            rows = np.random.default_rng(seed).integers(0, 450, 20)
            if [c.columns["n"] for c in again.read(rows)] != (2 * rows).tolist():
                wrong.append(seed)

    threads = [threading.Thread(target=use, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_little_is_held_in_memory(many: Cutouts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_rows, "CACHE_BYTES", 1)
    store = Cutouts.open(many.path)
    assert [c.columns["n"] for c in store.read([5, 800, 5])] == [5, 800, 5]
    assert len(store._reader._groups) == 1


# selections


@given(st.sets(st.integers(0, 899), max_size=40), st.booleans(), st.data())
def test_a_selection_is_a_store_of_fewer_rows(
    many: Cutouts, rows: set[int], as_mask: bool, data: st.DataObject
) -> None:
    chosen = sorted(rows)
    kept = many.keep(np.isin(np.arange(900), chosen) if as_mask else data.draw(st.permutations(chosen)))
    assert len(kept) == len(chosen)
    assert kept.table(["n"])["n"].to_pylist() == chosen
    assert [n for batch in kept.chunks(["n"]) for n in batch["n"].to_pylist()] == chosen
    if chosen:
        asked = data.draw(st.lists(st.integers(0, len(chosen) - 1), max_size=5))
        assert [c.columns["n"] for c in kept.read(asked)] == [chosen[i] for i in asked]
        half = kept.keep(np.arange(len(chosen)) % 2 == 0)
        assert half.table(["n"])["n"].to_pylist() == chosen[::2]
        assert half.ids == [f"obj-{i:04d}" for i in chosen[::2]]


def test_chunks_of_a_selection_hold_its_pixels(many: Cutouts) -> None:
    kept = many.keep([3, 4, 700])
    images = [image for batch in kept.chunks() for image in decode_images(batch)]
    for image, row in zip(images, many.read([3, 4, 700]), strict=True):
        np.testing.assert_array_equal(image, row.image)
    assert [sum(m is None for m in decode_masks(b)) for b in kept.chunks()] == [1, 0]


def test_keep_refuses_masks_of_another_length_and_repeats(many: Cutouts) -> None:
    with pytest.raises(ShapeError, match="each of 900 rows; got shape \\(3,\\)"):
        many.keep([True, False, True])
    with pytest.raises(DataError, match="a row number twice"):
        many.keep([4, 4])


# fingerprint


def test_fingerprint_is_that_of_the_rows(tmp_path: Path) -> None:
    first = write(tmp_path / "a", [cutout(i) for i in range(20)])
    same = write(tmp_path / "b", [cutout(i) for i in range(20)])
    assert first.fingerprint == same.fingerprint
    others = [
        write(tmp_path / "c", [cutout(i) for i in range(19)]),
        write(tmp_path / "d", [cutout(i) for i in reversed(range(20))]),
        write(tmp_path / "e", [cutout(i, flags=i // 19) for i in range(20)]),
        write(tmp_path / "f", [cutout(i) for i in range(20)], columns={"z": pa.float64()}),
        first.keep(list(range(19))),
        first.keep(list(range(1, 20))),
    ]
    assert len({s.fingerprint for s in [first, *others]}) == 7
    assert first.keep([1, 2]).fingerprint == same.keep([2, 1]).fingerprint


# writing


def test_user_columns_have_the_types_given(tmp_path: Path) -> None:
    kinds = {
        "z": pa.float32(),
        "n": pa.int16(),
        "who": pa.string(),
        "ok": pa.bool_(),
        "spectrum": pa.list_(pa.float32()),
    }
    values = {"z": np.float64(0.5), "n": 3.0, "who": "Å", "ok": True, "spectrum": np.arange(3.0)}
    store = write(tmp_path / "s", [cutout(0, columns=values), cutout(1)], columns=kinds)
    assert {name: store.schema.field(name).type for name in kinds} == kinds
    rows = store.table(list(kinds)).to_pylist()
    assert rows[0] == {"z": 0.5, "n": 3, "who": "Å", "ok": True, "spectrum": [0.0, 1.0, 2.0]}
    assert set(rows[1].values()) == {None}


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (pa.int32(), 1.5),
        (pa.int32(), "x"),
        (pa.int8(), 300),
        (pa.int32(), math.inf),
        (pa.string(), 3),
        (pa.string(), "a\udcff"),
        (pa.float64(), "x"),
        (pa.list_(pa.float32()), 1.0),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_the_next_row_may_follow(
    tmp_path: Path, kind: Any, value: Any
) -> None:
    with CutoutsWriter(tmp_path / "s", columns={"c": kind}) as writer:
        with pytest.raises(DataError, match="of cutout 'obj-0000' does not fit column 'c' of type"):
            writer.append(cutout(0, columns={"c": value}))
        writer.append(cutout(0))
    assert Cutouts.open(tmp_path / "s").table(["c"])["c"].to_pylist() == [None]


def test_not_a_number_is_null_among_integers(tmp_path: Path) -> None:
    store = write(tmp_path / "s", [cutout(0, columns={"n": float("nan")})], columns={"n": pa.int32()})
    assert store.read([0])[0].columns == {"n": None}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": "a\udcff"}, "id of cutout 'a.udcff' must be Unicode text"),
        ({"id": 12}, "id of cutout 12 must be Unicode text"),
        ({"source": None}, "source of cutout 'obj-0001' must be Unicode text; got None"),
        ({"wcs": b"x"}, "wcs of cutout"),
        ({"image": np.zeros((1, 2, 2), complex)}, "pixels of cutout 'obj-0001' are complex128"),
        ({"image": np.zeros((1, 2, 2), np.longdouble)}, "integers or floats of at most 8 bytes"),
        ({"image": np.broadcast_to(np.uint8(0), (1, 1 << 16, 1 << 16))}, "a row holds at most"),
        ({"columns": {"redshft": 1.0}}, "'redshft', which the store lacks; did you mean 'redshift'?"),
        ({"columns": {"qq": 1.0}}, "'qq', which the store lacks; name it, with its type"),
        ({"id": "obj-0000"}, "id 'obj-0000' came twice"),
    ],
)
def test_a_row_that_cannot_be_stored_is_refused_and_the_next_may_follow(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    with CutoutsWriter(tmp_path / "s", columns={"redshift": pa.float64()}) as writer:
        writer.append(cutout(0))
        with pytest.raises(DataError, match=message):
            writer.append(replace(cutout(1), **change))
        writer.append(cutout(2))
    assert Cutouts.open(tmp_path / "s").ids == ["obj-0000", "obj-0002"]


@pytest.mark.parametrize(
    ("known", "message"),
    [
        ({"image": np.zeros((4, 4))}, r"must be \(C, H, W\) with at least one pixel; got shape \(4, 4\)"),
        ({"image": np.zeros((1, 0, 4))}, "at least one pixel"),
        ({"mask": np.zeros((4, 5), bool)}, r"mask of cutout 'a' must have shape \(4, 4\)"),
        ({"variance": np.zeros((4, 4), "f4")}, r"variance of cutout 'a' must have shape \(2, 4, 4\)"),
        ({"bands": ("g",)}, "bands of cutout 'a' needs one value for each of 2 bands; got 1"),
        ({"sigma": (1.0, 2.0, 3.0)}, "sigma of cutout 'a' needs one value"),
    ],
)
def test_a_cutout_must_fit_together(known: dict[str, Any], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        Cutout(**{"id": "a", "image": np.zeros((2, 4, 4), "f4"), **known})


def test_a_column_of_the_user_may_not_take_our_names(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="column 'ra' is one that every store of cutouts has"):
        CutoutsWriter(tmp_path / "s", columns={"ra": pa.float32()})
    assert not (tmp_path / "s").exists()


def test_nothing_is_overwritten_unasked(tmp_path: Path) -> None:
    write(tmp_path / "s", [cutout(0)])
    with pytest.raises(StoreError, match="is there already; give resume=True"):
        CutoutsWriter(tmp_path / "s")
    with pytest.raises(StoreError, match="begun with other columns \\(see 'z'\\)"):
        CutoutsWriter(tmp_path / "s", columns={"z": pa.int8()}, resume=True)
    assert write(tmp_path / "s", [cutout(7)], overwrite=True).ids == ["obj-0007"]


def test_values_put_in_later_replace_the_old_ones(tmp_path: Path) -> None:
    with small_parts(tmp_path / "s", {}) as writer:
        for i in range(400):
            writer.append(cutout(i, side=30))
        flags = writer.table(["flags"])["flags"].to_numpy().copy()
        assert len(flags) == 400
        flags[390] = 32
        groups = [None] * 390 + ["same"] + [None] * 9
        assert writer.replace({"flags": flags, "group": groups}) == 1
    found = Cutouts.open(tmp_path / "s").read([389, 390])
    assert [(c.flags, c.group) for c in found] == [(0, None), (32, "same")]
    whole = write(tmp_path / "t", [cutout(i, side=30, flags=int(flags[i]), group=groups[i]) for i in range(400)])
    for one, other in zip(Cutouts.open(tmp_path / "s").read(range(400)), whole.read(range(400)), strict=True):
        assert_equal(one, other)


# opening


def test_open_refuses_what_is_no_store_of_cutouts(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is no store of cutouts: there is no such folder"):
        Cutouts.open(tmp_path / "none.cutouts")
    with pytest.raises(StoreError, match=r"is no store of cutouts: it has no _manifest\.json"):
        Cutouts.open(tmp_path)


def test_a_newer_format_says_so(tmp_path: Path) -> None:
    write(tmp_path / "s", [cutout(0)])
    manifest = tmp_path / "s" / "_manifest.json"
    manifest.write_text(manifest.read_text().replace('"format_version": 1', '"format_version": 2'))
    with pytest.raises(StoreError, match=r"format version 2, written by morphospace .* up to version 1: upgrade"):
        Cutouts.open(tmp_path / "s")


def test_a_store_still_being_written_opens_with_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with CutoutsWriter(tmp_path / "s") as writer:
        writer.append(cutout(0))
        writer.flush()
        writer.append(cutout(1))
        with caplog.at_level(logging.WARNING):
            assert Cutouts.open(tmp_path / "s").ids == ["obj-0000"]
        assert "is not complete: it has 1 rows so far" in caplog.text
        writer.close()
        caplog.clear()
        assert Cutouts.open(tmp_path / "s").ids == ["obj-0000", "obj-0001"]
        assert not caplog.text


def test_damaged_pixels_are_an_error_of_the_store(many: Cutouts) -> None:
    batch = next(many.chunks())
    short = pa.array([b"123"] * len(batch))
    at = batch.schema.get_field_index("image")
    with pytest.raises(StoreError, match="image of row 0 has 3 bytes"):
        decode_images(batch.set_column(at, "image", short))


# interruptions


def test_an_error_midway_keeps_the_rows_and_resuming_gives_the_same_store(tmp_path: Path) -> None:
    def breaking() -> None:
        with small_parts(tmp_path / "s", {}) as writer:
            for i in range(300):
                if i == 222:
                    raise KeyboardInterrupt
                writer.append(cutout(i, side=30))

    with pytest.raises(KeyboardInterrupt):
        breaking()
    assert Cutouts.open(tmp_path / "s").ids == [f"obj-{i:04d}" for i in range(222)]
    with small_parts(tmp_path / "s", {}, resume=True) as writer:
        assert writer.done["obj-0221"] == "f73.fits"
        with pytest.raises(DataError, match="came twice"):
            writer.append(cutout(3))
        for i in range(300):
            one = cutout(i, side=30)
            if one.id not in writer.done:
                writer.append(one)
    with small_parts(tmp_path / "whole", {}) as writer:
        for i in range(300):
            writer.append(cutout(i, side=30))
    assert files(tmp_path / "s") == files(tmp_path / "whole")


def files(path: Path) -> dict[str, bytes]:
    return {f.name: f.read_bytes() for f in sorted(path.iterdir())}


def test_a_full_disk_is_one_error_and_the_store_opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, *args: Any) -> None:
        if self.target.name == "part-00001.parquet":
            raise OSError(28, "No space left on device")
        original(self, *args)

    original = _parts._OpenPart.add
    monkeypatch.setattr(_parts._OpenPart, "add", full)

    def filling() -> None:
        with small_parts(tmp_path / "s", {}) as writer:
            for i in range(300):
                writer.append(cutout(i, side=30))

    with pytest.raises(StoreError, match=r"No space left on device.*make room and go on with resume=True"):
        filling()
    left = Cutouts.open(tmp_path / "s").ids
    assert left == [f"obj-{i:04d}" for i in range(len(left))]
    assert len(left) > 20


SCRIPT = """
import sys, time
sys.path.insert(0, {tests!r})
from small_cutouts import cutout, small_parts
with small_parts({path!r}, {{}}, resume=True) as writer:
    print("ready", flush=True)
    for i in range(400):
        one = cutout(i, side=30)
        if one.id not in writer.done:
            writer.append(one)
            time.sleep(0.001)
        if i % 60 == 59:
            writer.flush()
"""


def test_a_process_killed_several_times_ends_with_the_same_bytes(tmp_path: Path) -> None:
    if sys.platform == "win32":
        pytest.skip("SIGKILL is of POSIX")
    with small_parts(tmp_path / "whole", {}) as writer:
        for i in range(400):
            writer.append(cutout(i, side=30))
    whole = Cutouts.open(tmp_path / "whole")
    moments = random.Random(3)
    path = tmp_path / "s"
    command = [sys.executable, "-c", SCRIPT.format(path=str(path), tests=str(Path(__file__).parent))]
    for moment in [*(moments.uniform(0.0, 0.4) for _ in range(4)), None]:
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert child.stdout is not None
        assert child.stdout.readline().strip() == b"ready"
        if moment is None:
            _, said = child.communicate(timeout=60)
            assert child.returncode == 0, said.decode()
        else:
            time.sleep(moment)
            child.send_signal(signal.SIGKILL)
            child.communicate(timeout=60)
            left = Cutouts.open(path)
            assert left.ids == whole.ids[: len(left)]
    assert files(path) == files(whole.path)
    assert Cutouts.open(path).fingerprint == whole.fingerprint


# other programs


def test_pandas_reads_the_folder(many: Cutouts) -> None:
    pandas = pytest.importorskip("pandas")
    (many.path / "_thumbs").mkdir(exist_ok=True)
    (many.path / "_thumbs" / "x.webp").write_bytes(b"no table")
    frame = pandas.read_parquet(many.path)
    assert frame["n"].tolist() == list(range(900))
    first = frame.iloc[0]
    np.testing.assert_array_equal(
        np.frombuffer(first["image"], first["dtype"]).reshape(first["shape"]), many.read([0])[0].image
    )
    assert pandas.read_parquet(many.path, columns=["id", "ra"])["ra"].isna().sum() == 0


def test_pyarrow_reads_the_folder(many: Cutouts) -> None:
    dataset = pa.dataset.dataset(many.path)
    assert dataset.count_rows() == 900
    found = dataset.to_table(columns=["n"], filter=pa.dataset.field("ra") > 890.0)
    assert sorted(found["n"].to_pylist()) == list(range(891, 900))


def test_duckdb_reads_the_folder(many: Cutouts) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as base:
        rows = base.execute(f"select id, ra from '{many.path}/*.parquet' where n < 3 order by n").fetchall()
        assert rows == [("obj-0000", 0.0), ("obj-0001", 1.0), ("obj-0002", 2.0)]
        n_bytes = base.execute(f"select sum(octet_length(image)) from '{many.path}/*.parquet'").fetchone()
        assert n_bytes == (300 * (64 * 4 + 169 * 2 + 1600),)


def test_duckdb_tells_a_column_of_a_header_from_ours(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    write(tmp_path / "s", [cutout(0, object="ours", columns={"OBJECT": "theirs"})], columns={"OBJECT": pa.string()})
    with duckdb.connect() as base:
        rows = base.execute(f"select * from '{tmp_path}/s/*.parquet'").fetchall()
    assert "ours" in rows[0]
    assert "theirs" in rows[0]


def test_astropy_reads_a_part(many: Cutouts) -> None:
    """Its own reader stops at null among texts, so columns that may lack values go through pandas."""
    pandas = pytest.importorskip("pandas")
    table = pytest.importorskip("astropy.table")
    names = ["id", "ra", "flags", "source", "sha256", "n"]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="No table::len")  # it guesses the lengths of texts
        found = table.QTable.read(many.path / "part-00000.parquet", format="parquet", include_names=names)
    expected = many.table(names).slice(0, len(found))
    assert found["id"].tolist() == expected["id"].to_pylist()
    assert found["ra"].tolist() == expected["ra"].to_pylist()
    whole = table.Table.from_pandas(pandas.read_parquet(many.path, columns=["id", "ra", "object"]))
    assert whole["ra"].tolist() == many.table(["ra"])["ra"].to_pylist()
