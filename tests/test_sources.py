"""Arrays, records and tables: right pixels, ids and columns; one sentence for everything else."""

from __future__ import annotations

import io
import pickle

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from morphospace.errors import ConfigError, DataError
from morphospace.sky.intake import Intake
from morphospace.sky.sources import FileSource, open_source
from morphospace.sky.sources.arrays import ArraySource
from morphospace.sky.sources.records import RecordSource
from morphospace.sky.sources.rows import Columns, Names
from morphospace.sky.sources.tables import PathSource, read_table

RNG = np.random.default_rng(0)
COLOURS = RNG.integers(0, 255, (30, 12, 14, 3)).astype(np.uint8)


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Pillow.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write_galaxy10(path, n=30, **options):
    """As Galaxy10 DECaLS is distributed."""
    with h5py.File(path, "w") as file:
        file.create_dataset("images", data=COLOURS[:n], **options)
        file["ans"] = np.arange(n, dtype=np.uint8) % 10
        file["ra"] = np.linspace(0, 359, n)
        file["dec"] = np.linspace(-30, 30, n)
        file["redshift"] = np.linspace(0, 0.2, n).astype(np.float32)
        file["pxscale"] = np.full(n, 0.262)
    return path


# --- HDF5


@pytest.mark.parametrize("options", [{}, {"chunks": (7, 12, 14, 3), "compression": "gzip"}, {"chunks": (1, 6, 7, 3)}])
def test_galaxy10_file(tmp_path, options):
    source = open_source(write_galaxy10(tmp_path / "g.h5", **options), Intake())
    assert isinstance(source, ArraySource)
    assert len(source) == 30
    assert source.types == {"ans": pa.uint8(), "redshift": pa.float32(), "pxscale": pa.float64()}
    for i in (0, 29, 13, 12, 3):
        image = source.read(i)
        np.testing.assert_array_equal(image.data, np.moveaxis(COLOURS[i], -1, 0))
        assert image.bands == ("R", "G", "B")
        assert image.ra == np.linspace(0, 359, 30)[i]
        assert image.dec == np.linspace(-30, 30, 30)[i]
        assert image.pixel_scale_arcsec == 0.262
        assert source.columns(i)["ans"] == i % 10
    assert source.label(12).name == "g-12"
    assert source.label(12).key == f"{tmp_path}/g.h5#12"
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.read(5).data, source.read(5).data)


@pytest.mark.parametrize(
    "shape, expected",
    [((6, 9, 10), (1, 9, 10)), ((6, 4, 9, 10), (4, 9, 10)), ((6, 9, 10, 4), (3, 9, 10)), ((6, 3, 9, 3), (3, 9, 3))],
)
def test_layouts_of_arrays(tmp_path, shape, expected):
    data = RNG.normal(size=shape).astype(np.float32)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["set/cubes"] = data
        file["set/small"] = np.zeros((2, 3, 3))
    image = open_source(tmp_path / "a.h5", Intake()).read(2)
    assert image.data.shape == expected
    assert image.hdu == "set/cubes"
    planes = data[2][None] if len(shape) == 3 else data[2]
    np.testing.assert_array_equal(image.data, planes if planes.shape[0] <= 5 else np.moveaxis(planes[..., :3], -1, 0))


def test_many_files_of_the_multimodal_universe(tmp_path):
    rng = np.random.default_rng(1)
    flux = rng.normal(size=(6, 2, 8, 8)).astype(np.float32)
    mask = rng.random((6, 8, 8)) > 0.1
    ivar = np.full((6, 2, 8, 8), 4, np.float32)
    for part in range(2):
        rows = slice(3 * part, 3 * part + 3)
        folder = tmp_path / f"healpix={part}"
        folder.mkdir()
        with h5py.File(folder / "001-of-001.hdf5", "w") as file:
            file["image_array"], file["image_mask"], file["image_ivar"] = flux[rows], mask[rows], ivar[rows]
            file["image_band"] = np.array([[b"des-g", b"des-r"]] * 3)
            file["image_scale"] = np.full((3, 2), 0.262)
            file["object_id"] = np.arange(6)[rows]
            if part:
                file["z"] = np.ones(3)
    for what in (tmp_path, str(tmp_path / "*" / "*.hdf5"), sorted(tmp_path.rglob("*.hdf5"))):
        source = open_source(what, Intake())
        assert len(source) == 6
        for i in (0, 5, 2, 3):
            image = source.read(i)
            np.testing.assert_array_equal(image.data, flux[i])
            np.testing.assert_array_equal(image.mask, mask[i])
            assert (image.variance == 0.25).all()
            assert image.bands == ("des-g", "des-r")
            assert image.pixel_scale_arcsec == 0.262
            assert source.label(i).name == str(i)
            assert source.columns(i) == {"z": None if i < 3 else 1.0}
        assert source.label(4).source.endswith("healpix=1/001-of-001.hdf5#1")


def test_columns_of_every_kind(tmp_path):
    n = 4
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["img"] = np.zeros((n, 5, 5), ">f4")
        file["name"] = np.array([b"NGC 1", b"NGC 2", b"NGC 2", b""])
        file["kind"] = np.array(["E", "Sc", "Σ", ""], dtype=h5py.string_dtype())
        file["good"] = np.array([True, False, True, True])
        file["big"] = np.arange(n, dtype=">i8").reshape(n, 1)
        file["flags"] = np.arange(n)
        file["cat"] = np.array([(1, 2.0)] * n, dtype=[("a", "i4"), ("b", "f8")])
        file["other"] = np.arange(3)
    source = open_source(tmp_path / "a.h5", Intake())
    assert source.columns(2) == {"a": 1, "b": 2.0, "big": 2, "table_flags": 2, "good": True, "kind": "Σ"}
    assert [source.label(i).name for i in range(n)] == ["NGC 1", "NGC 2-1", "NGC 2-2", "a-3"]
    assert source.read(0).data.dtype == np.dtype("=f4")


def test_nan_in_arrays_is_masked(tmp_path):
    data = np.ones((2, 4, 4), np.float32)
    data[1, 0, 0] = np.nan
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = data
    source = open_source(tmp_path / "a.h5", Intake())
    assert source.read(0).mask is None
    assert source.read(1).mask.sum() == 15


def test_bad_arrays_are_told(tmp_path):
    path = write_galaxy10(tmp_path / "g.h5", compression="gzip", chunks=(10, 12, 14, 3))
    whole = path.read_bytes()
    (tmp_path / "cut.h5").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"cut\.h5' is a truncated or damaged HDF5 file"):
        open_source(tmp_path / "cut.h5", Intake())
    with pytest.raises(DataError, match=r"has no data set 'img'; it has .*'images' \(30, 12, 14, 3\)"):
        open_source(path, Intake(image_column="img"))
    with pytest.raises(DataError, match=r"has uint8 of shape \(30,\) in 'ans', no images"):
        open_source(path, Intake(image_column="ans"))
    with pytest.raises(DataError, match=r"has no column 'nr'; it has 'ans'"):
        open_source(path, Intake(id_column="nr"))
    with h5py.File(tmp_path / "flat.h5", "w") as file:
        file["x"] = np.zeros((10, 100))
    with pytest.raises(DataError, match=r"has no array of images; it has 'x' \(10, 100\)"):
        open_source(tmp_path / "flat.h5", Intake())


def test_a_damaged_chunk_costs_its_rows_only(tmp_path):
    path = write_galaxy10(tmp_path / "g.h5", compression="gzip", chunks=(10, 12, 14, 3))
    with h5py.File(path, "r") as file:
        at = file["images"].id.get_chunk_info(1).byte_offset
    damaged = bytearray(path.read_bytes())
    damaged[at + 2 : at + 200] = bytes(198)
    path.write_bytes(damaged)
    source = open_source(path, Intake())
    np.testing.assert_array_equal(source.read(3).data, np.moveaxis(COLOURS[3], -1, 0))
    with pytest.raises(DataError, match=r"g\.h5#13' cannot be read from its HDF5 file"):
        source.read(13)
    np.testing.assert_array_equal(source.read(25).data, np.moveaxis(COLOURS[25], -1, 0))


# --- Parquet


def write_records(path, column, kind=None, **others):
    table = pa.table({"image": pa.array(column, kind) if kind else pa.array(column), **others})
    pq.write_table(table, path, row_group_size=7)
    return path


def test_hugging_face_images(tmp_path):
    rows = [{"bytes": png(pixels), "path": None} for pixels in COLOURS]
    folder = tmp_path / "data"
    folder.mkdir()
    for shard in range(3):
        inside = slice(10 * shard, 10 * shard + 10)
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        write_records(folder / f"train-{shard:05d}-of-00003.parquet", rows[inside], kind, label=list(range(30))[inside])
    source = open_source(folder, Intake())
    assert isinstance(source, RecordSource)
    assert len(source) == 30
    assert source.types == {"label": pa.int64()}
    for i in (0, 1, 9, 10, 29, 3, 15):
        np.testing.assert_array_equal(source.read(i).data, np.moveaxis(COLOURS[i], -1, 0))
        assert source.columns(i) == {"label": i}
    assert source.label(11).source.endswith("train-00001-of-00003.parquet#1")
    assert len({source.label(i).key for i in range(30)}) == 30
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.read(4).data, source.read(4).data)


def test_encoded_bytes(tmp_path):
    stream = io.BytesIO()
    fits.HDUList(
        [fits.PrimaryHDU(np.arange(12, dtype=np.float32).reshape(3, 4), fits.Header({"BUNIT": "Jy"}))]
    ).writeto(stream)
    path = write_records(tmp_path / "a.parquet", [png(COLOURS[0]), stream.getvalue(), b"", None, b"nonsense"])
    source = open_source(path, Intake())
    np.testing.assert_array_equal(source.read(0).data, np.moveaxis(COLOURS[0], -1, 0))
    assert source.read(1).unit == "Jy"
    assert source.read(1).source.endswith("a.parquet#1")
    for row in (2, 3):
        with pytest.raises(DataError, match=f"a.parquet#{row}' has no image in its row"):
            source.read(row)
    with pytest.raises(DataError, match="is not an image"):
        source.read(4)


@pytest.mark.parametrize("form", ["lists", "fixed", "cube", "colour", "flat"])
def test_nested_numbers(tmp_path, form):
    data = RNG.normal(size={"cube": (9, 3, 6, 7), "flat": (9, 6, 6)}.get(form, (9, 6, 7))).astype(np.float32)
    intake = Intake()
    if form == "colour":
        data = RNG.integers(0, 255, (9, 8, 7, 3)).astype(np.uint8)
    if form == "fixed":
        column = pa.FixedSizeListArray.from_arrays(pa.FixedSizeListArray.from_arrays(pa.array(data.ravel()), 7), 6)
    elif form == "flat":
        column = pa.FixedSizeListArray.from_arrays(pa.array(data.ravel()), 36)
        intake = Intake(image_column="image")
    else:
        column = pa.array(data.tolist())
    pq.write_table(pa.table({"image": column, "z": np.arange(9.0)}), tmp_path / "a.parquet", row_group_size=4)
    source = open_source(tmp_path / "a.parquet", intake)
    assert source.columns(5) == {"z": 5.0}
    for i in range(9):
        expected = data[i] if data.ndim == 4 else data[i][None]
        expected = np.moveaxis(expected, -1, 0) if form == "colour" else expected
        np.testing.assert_array_equal(source.read(i).data, expected)


@pytest.mark.parametrize("form", ["struct of lists", "list of structs"])
def test_multimodal_universe(tmp_path, form):
    n, bands = 5, ["des-g", "des-r", "des-z"]
    flux = RNG.normal(size=(n, 3, 6, 6)).astype(np.float32)
    mask = RNG.random((n, 3, 6, 6)) > 0.1
    ivar = np.where(RNG.random((n, 3, 6, 6)) > 0.1, 4.0, 0.0).astype(np.float32)
    parts = [
        {"band": bands, "flux": f.tolist(), "mask": m.tolist(), "ivar": v.tolist(), "scale": [0.262] * 3}
        for f, m, v in zip(flux, mask, ivar, strict=True)
    ]
    if form == "list of structs":
        parts = [[{key: row[key][b] for key in row} for b in range(3)] for row in parts]
    table = pa.table({"image": pa.array(parts), "object_id": [f"o{i}" for i in range(n)], "ra": [1.0, 2, 3, 4, 5]})
    table = table.append_column("dec", pa.array([0.0] * n)).append_column("z_spec", pa.array([0.1] * n))
    pq.write_table(table, tmp_path / "a.parquet")
    source = open_source(tmp_path / "a.parquet", Intake())
    for i in range(n):
        image = source.read(i)
        np.testing.assert_array_equal(image.data, flux[i])
        np.testing.assert_array_equal(image.mask, (mask[i] & (ivar[i] > 0)).all(axis=0))
        np.testing.assert_array_equal(image.variance, np.where(ivar[i] > 0, 0.25, np.nan).astype(np.float32))
        assert image.bands == tuple(bands)
        assert image.pixel_scale_arcsec == pytest.approx(0.262)
        assert (image.ra, image.dec) == (i + 1, 0.0)
        assert source.label(i).name == f"o{i}"
        assert source.columns(i) == {"z_spec": 0.1}


def test_ragged_rows_are_errors_of_their_own(tmp_path):
    good = [[1.0, 2.0], [3.0, 4.0]]
    path = write_records(tmp_path / "a.parquet", [good, [[1.0], [2.0, 3.0]], None, [[1.0, None], [2.0, 3.0]], good])
    source = open_source(path, Intake())
    assert source.read(4).data.shape == (1, 2, 2)
    for row, what in ((1, "rows of different lengths"), (2, "no image in its row"), (3, "missing pixels")):
        with pytest.raises(DataError, match=f"a.parquet#{row}' has {what}"):
            source.read(row)


def test_bad_records_are_told(tmp_path):
    path = write_records(tmp_path / "a.parquet", [png(COLOURS[0])] * 40)
    with pytest.raises(DataError, match=r"has no column 'img'; it has 'image'"):
        open_source(path, Intake(image_column="img"))
    (tmp_path / "cut.parquet").write_bytes(path.read_bytes()[:300])
    with pytest.raises(DataError, match=r"cut\.parquet' is a truncated or damaged Parquet file"):
        open_source(tmp_path / "cut.parquet", Intake())
    pq.write_table(pa.table({"z": [1.0]}), tmp_path / "z.parquet")
    with pytest.raises(DataError, match=r"z\.parquet' has no column of paths; it has 'z'"):
        open_source(tmp_path / "z.parquet", Intake())
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="holds no Parquet or HDF5 file"):
        open_source(empty, Intake(image_column="x"))


# --- tables of paths


def write_images(folder, n=4):
    folder.mkdir(exist_ok=True)
    for i in range(n):
        fits.writeto(folder / f"im{i}.fits", np.full((6, 6), i, np.float32) + np.eye(6, dtype=np.float32))


@pytest.mark.parametrize("name", ["t.csv", "t.ecsv", "t.fits", "t.vot", "t.parquet", "semicolon.csv", "blanks.dat"])
def test_a_table_names_its_files(tmp_path, name):
    write_images(tmp_path / "img")
    table = Table({"file": [f"img/im{i}.fits" for i in range(4)], "objid": ["01", "02", "03", "04"]})
    table["z"] = [0.1, 0.2, 0.3, 0.4]
    table["n"] = np.arange(4)
    path = tmp_path / name
    options = {"semicolon.csv": {"format": "ascii.csv", "delimiter": ";"}, "blanks.dat": {"format": "ascii"}}
    table.write(path, **options.get(name, {"format": "votable"} if name == "t.vot" else {}))
    source = open_source(path, Intake())
    assert isinstance(source, PathSource)
    assert set(source.types) == {"z", "n"}
    for i in range(4):
        assert source.read(i).data[0, 0, 1] == i
        assert source.columns(i) == {"z": [0.1, 0.2, 0.3, 0.4][i], "n": i}
        assert source.label(i).key == str(tmp_path / "img" / f"im{i}.fits")
        assert source.label(i).name == (f"0{i + 1}" if name != "blanks.dat" else str(i + 1))


def test_rows_of_tables_that_are_wrong(tmp_path):
    write_images(tmp_path / "img", 1)
    (tmp_path / "t.csv").write_text("which,ra,dec\nimg/im0.fits,10,20\n,1,2\nimg/none.fits,1,2\nimg/im0.fits,30,40\n")
    source = open_source(tmp_path / "t.csv", Intake(path_column="which"))
    assert source.read(0).ra == 10
    assert source.read(3).dec == 40
    with pytest.raises(DataError, match=r"t\.csv#1' names no file"):
        source.read(1)
    with pytest.raises(DataError, match="does not exist"):
        source.read(2)
    assert len({source.label(i).key for i in range(4)}) == 4
    assert len({source.label(i).name for i in range(4)}) == 4
    with pytest.raises(
        DataError, match=r"has no column 'files'; it has 'which', 'ra', 'dec'; name one with path_column"
    ):
        open_source(tmp_path / "t.csv", Intake(path_column="files"))


def test_bad_tables_are_told(tmp_path):
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "ragged.csv").write_text("a,b\n1,2\n3\n")
    (tmp_path / "binary.csv").write_bytes(b"a,b\n\0\0\0")
    (tmp_path / "comments.csv").write_text("# nothing\n# here\n")
    for name, what in [
        ("empty.csv", "is empty"),
        ("ragged.csv", "cannot be read as a table"),
        ("binary.csv", "holds binary data"),
        ("comments.csv", "nothing but comments"),
        ("none.csv", "does not exist"),
    ]:
        with pytest.raises(DataError, match=what):
            read_table(tmp_path / name)


def test_masked_values_are_null(tmp_path):
    table = Table({"path": ["a", "b"], "z": np.ma.array([1.0, 2.0], mask=[False, True])})
    table.write(tmp_path / "t.vot", format="votable")
    source = open_source(tmp_path / "t.vot", Intake())
    assert [source.columns(i)["z"] for i in range(2)] == [1.0, None]


# --- choosing


def test_plain_files_stay_plain(tmp_path):
    write_images(tmp_path / "img")
    (tmp_path / "list.txt").write_text("img/im0.fits\nimg/im2.fits\n")
    for what, n in ((tmp_path / "img", 4), (tmp_path / "list.txt", 2), (tmp_path / "img" / "im0.fits", 1)):
        source = open_source(what, Intake())
        assert isinstance(source, FileSource)
        assert len(source) == n
        assert source.columns(0) == {}
        assert source.label(0).name == "im0"
        assert source.read(0).data.shape == (1, 6, 6)
    several = open_source([tmp_path / "img" / "im0.fits", tmp_path / "img" / "../img/im0.fits"], Intake())
    assert len(several) == 1
    assert pickle.loads(pickle.dumps(several)).label(0) == several.label(0)
    with pytest.raises(ConfigError, match="mosaics is for tables"):
        open_source(tmp_path / "img", Intake(mosaics="x"))


# --- rows


@settings(max_examples=60, deadline=None)
@given(ids=st.lists(st.one_of(st.none(), st.text(max_size=4)), min_size=1, max_size=12))
def test_names_are_never_empty(ids):
    names = Names(len(ids), "t", pa.chunked_array([pa.array(ids, pa.string())]))
    made = [names.name(i) for i in range(len(ids))]
    assert all(made)
    for text, name in zip(ids, made, strict=True):
        if text and ids.count(text) == 1 and text == text.strip():
            assert name.startswith(text.encode("utf-8", "backslashreplace").decode())


@settings(max_examples=60, deadline=None)
@given(values=st.lists(st.one_of(st.none(), st.integers(-(2**60), 2**60)), max_size=9))
def test_columns_give_back_their_values(values):
    table = pa.table({"a": pa.array(values, pa.int64()), "RA": pa.array(values, pa.int64())})
    columns = Columns(table)
    assert list(columns.types) == ["a", "table_RA"]
    assert [columns.row(i)["a"] for i in range(len(values))] == values


def test_columns_that_cannot_be_kept_are_left_out():
    table = pa.table({"l": [[1], [2]], "b": [b"1", b"2"], "n": [None, None], "t": pa.array([1, 2], pa.timestamp("s"))})
    assert list(Columns(table).types) == ["t"]
    assert Columns(table).row(0) == {"t": "1970-01-01 00:00:01"}
