"""Cut-outs at sky positions: equal to astropy's, across borders, in any frame, every row accounted for."""

from __future__ import annotations

import pickle
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.nddata.utils import NoOverlapError
from astropy.table import Table
from astropy.wcs import WCS

from morphospace.errors import ConfigError, DataError
from morphospace.sky.images import read_image
from morphospace.sky.intake import Intake
from morphospace.sky.sources import open_source
from morphospace.sky.sources.mosaics import MosaicSource
from morphospace.sky.sources.positions import read_positions
from morphospace.sky.sources.tables import read_table

SCALE = 0.4 / 3600
FRAMES = {
    "icrs": {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "RADESYS": "ICRS"},
    "fk5": {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "RADESYS": "FK5", "EQUINOX": 2000.0},
    "fk5_1975": {"CTYPE1": "RA---SIN", "CTYPE2": "DEC--SIN", "RADESYS": "FK5", "EQUINOX": 1975.0},
    "fk4": {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "RADESYS": "FK4", "EQUINOX": 1950.0},
    "galactic": {"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR"},
    "swapped": {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "RADESYS": "ICRS"},
}


def header(lon=150.0, lat=2.0, shape=(200, 240), frame="icrs", crpix=None, **cards) -> fits.Header:
    made = fits.Header({**FRAMES[frame], "CRVAL1": lon, "CRVAL2": lat, "CDELT1": -SCALE, "CDELT2": SCALE})
    made["CRPIX1"], made["CRPIX2"] = crpix or ((shape[1] + 1) / 2, (shape[0] + 1) / 2)
    made.update(cards)
    return made


def write_tile(path, *, shape=(200, 240), seed=0, data=None, **options):
    rng = np.random.default_rng(seed)
    pixels = rng.normal(size=shape).astype(np.float32) if data is None else data
    cards = header(shape=pixels.shape[-2:], **options)
    fits.writeto(path, pixels, cards)
    return pixels, WCS(cards)


def sky_of(wcs: WCS, x, y) -> SkyCoord:
    return wcs.pixel_to_world(x, y).icrs


def write_positions(path, coords: SkyCoord, **columns):
    table = Table({"id": [f"s{i}" for i in range(len(coords))], "ra": coords.ra.deg, "dec": coords.dec.deg, **columns})
    table.write(path, overwrite=True)
    return path


def opened(table, mosaics, size=21, **settings) -> MosaicSource:
    return open_source(table, Intake(mosaics=str(mosaics), **settings), size=size)


def by_name(source) -> dict[str, int]:
    return {source.label(i).name: i for i in range(len(source))}


@pytest.mark.parametrize("frame", sorted(FRAMES))
@pytest.mark.parametrize("size", [20, 21])
def test_cutouts_equal_those_of_astropy(tmp_path, frame, size):
    lon, lat = (2.0, 150.0) if frame == "swapped" else (150.0, 2.0)
    pixels, wcs = write_tile(tmp_path / "m.fits", frame=frame, lon=lon, lat=lat)
    rng = np.random.default_rng(1)
    coords = sky_of(wcs, rng.uniform(-0.4, 239.4, 25), rng.uniform(-0.4, 199.4, 25))
    source = opened(write_positions(tmp_path / "t.csv", coords), tmp_path / "m.fits", size)

    assert len(source) == 25
    for i in range(25):
        row = int(source.label(i).name[1:])
        # astropy's Cutout2D takes the axes of a SkyCoord for RA and Dec in this order, whatever the header says
        at = coords[row] if frame != "swapped" else tuple(map(float, wcs.world_to_pixel(coords[row])))
        expected = Cutout2D(pixels, at, size, wcs=wcs, mode="partial", fill_value=np.nan)
        image = source.read(i)
        np.testing.assert_array_equal(image.data, expected.data[None])
        assert image.data.dtype == np.float32
        assert image.data.dtype.isnative
        inside = np.isfinite(expected.data)
        assert image.mask is None if inside.all() else (image.mask == inside).all()
        assert image.ra == pytest.approx(coords[row].ra.deg, abs=1e-9)
        x, y = WCS(image.wcs).world_to_pixel(coords[row])
        assert abs(x - (size - 1) / 2) <= 0.5 + 1e-6
        np.testing.assert_allclose([x, y], expected.wcs.world_to_pixel(coords[row]), atol=1e-6)
        assert image.origin == tuple(
            first - offset for first, offset in zip(expected.origin_original, expected.origin_cutout, strict=True)
        )


def test_window_larger_than_its_mosaic(tmp_path):
    pixels, wcs = write_tile(tmp_path / "m.fits", shape=(11, 9))
    coords = sky_of(wcs, np.array([3.0]), np.array([4.0]))
    image = opened(write_positions(tmp_path / "t.csv", coords), tmp_path / "m.fits", 31).read(0)
    expected = Cutout2D(pixels, coords[0], 31, wcs=wcs, mode="partial", fill_value=np.nan).data
    np.testing.assert_array_equal(image.data[0], expected)
    assert image.mask.sum() == 99


@pytest.mark.parametrize("kind", ["rice", "gzip", "scaled", "uint16", "int16", "float64", "extension", "bands", "sip"])
def test_any_kind_of_mosaic(tmp_path, kind):
    rng = np.random.default_rng(3)
    data = rng.normal(100, 30, (120, 130)).astype(np.float32)
    cards = header(shape=data.shape)
    path = tmp_path / ("m.fits.gz" if kind == "gzip" else "m.fits")
    hdu: str | int | None = None
    if kind == "rice":
        fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(data.astype(np.int32), cards)]).writeto(path)
    elif kind == "extension":
        hdus = [
            fits.PrimaryHDU(np.zeros((5, 5))),
            fits.ImageHDU(data, cards, name="SCI"),
            fits.ImageHDU(data * 2, cards),
        ]
        fits.HDUList(hdus).writeto(path)
        hdu = "sci"
    elif kind == "scaled":
        unit = fits.PrimaryHDU(data, cards)
        unit.scale("int16", bscale=0.01, bzero=5)
        unit.writeto(path)
    elif kind == "sip":
        cards["CTYPE1"], cards["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
        cards.update({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-4, "B_0_2": -1e-4, "A_1_1": 5e-5})
        fits.writeto(path, data, cards)
    else:
        planes = np.stack([data, data + 1, data + 2]) if kind == "bands" else data
        kinds = {"uint16": "u2", "int16": "i2", "float64": "f8"}
        fits.writeto(path, planes.astype(kinds.get(kind, "f4")), cards)
    stored = read_image(path, hdu=hdu).data
    wcs = WCS(cards)
    coords = wcs.pixel_to_world(rng.uniform(10, 110, 12), rng.uniform(10, 110, 12))
    coords = coords.icrs
    table = write_positions(tmp_path / "t.csv", coords)
    source = open_source(table, Intake(mosaics=str(path)), size=15, hdu=hdu)
    for i in range(12):
        expected = [Cutout2D(plane, coords[int(source.label(i).name[1:])], 15, wcs=wcs).data for plane in stored]
        np.testing.assert_array_equal(source.read(i).data, expected)


def grid_of_tiles(folder, overlap=0, seed=5):
    """Cut one picture into four tiles on one grid."""
    folder.mkdir()
    whole = np.random.default_rng(seed).normal(size=(200, 200)).astype(np.float32)
    for row in range(2):
        for column in range(2):
            y0, x0 = row * (100 - overlap), column * (100 - overlap)
            y1, x1 = (200 if far else 100 + overlap for far in (row, column))
            crpix = (100.5 - x0, 100.5 - y0)
            write_tile(folder / f"t{row}{column}.fits", data=whole[y0:y1, x0:x1], crpix=crpix)
    return whole, WCS(header(shape=(200, 200), crpix=(100.5, 100.5)))


@pytest.mark.parametrize("overlap", [0, 12])
def test_tiles_of_one_grid_are_put_together(tmp_path, overlap):
    whole, wcs = grid_of_tiles(tmp_path / "tiles", overlap)
    rng = np.random.default_rng(6)
    coords = sky_of(wcs, rng.uniform(-0.4, 199.4, 200), rng.uniform(-0.4, 199.4, 200))
    source = opened(write_positions(tmp_path / "t.csv", coords), tmp_path / "tiles", 31)
    across = 0
    for i in range(len(source)):
        row = int(source.label(i).name[1:])
        expected = Cutout2D(whole, coords[row], 31, wcs=wcs, mode="partial", fill_value=np.nan).data
        np.testing.assert_array_equal(source.read(i).data[0], expected)
        across += np.isfinite(expected).all() and source.columns(i)["mosaic"] is not None
    assert across > 100


def test_tiles_of_other_grids_are_not_resampled(tmp_path):
    left, wcs = write_tile(tmp_path / "a.fits", shape=(80, 80))
    write_tile(tmp_path / "b.fits", shape=(80, 80), seed=1, crpix=(40.5 - 70.4, 40.5))  # 0.4 of a pixel off
    coords = sky_of(wcs, np.array([74.0]), np.array([40.0]))
    image = opened(write_positions(tmp_path / "t.csv", coords), tmp_path / "*.fits", 21).read(0)
    expected = Cutout2D(left, coords[0], 21, wcs=wcs, mode="partial", fill_value=np.nan).data
    np.testing.assert_array_equal(image.data[0], expected)
    assert not image.mask.all()


def test_the_deepest_tile_is_taken_and_its_blank_pixels_filled(tmp_path):
    first, wcs = write_tile(tmp_path / "a.fits", shape=(80, 80))
    second = first + 1000
    write_tile(tmp_path / "b.fits", data=second, crpix=(40.5 - 30, 40.5))  # its pixel 0 is pixel 30 of a
    blank = first.copy()
    blank[40, 45:50] = np.nan
    fits.writeto(tmp_path / "a.fits", blank, header(shape=(80, 80)), overwrite=True)
    coords = sky_of(wcs, np.array([45.0, 65.0]), np.array([40.0, 40.0]))
    source = opened(write_positions(tmp_path / "t.csv", coords), tmp_path / "*.fits", 11)
    at = by_name(source)
    assert source.columns(at["s0"])["mosaic"] == "a.fits"
    assert source.columns(at["s1"])["mosaic"] == "b.fits"
    image = source.read(at["s0"])
    assert image.mask is None
    np.testing.assert_array_equal(image.data[0, 5, 5:10], second[40, 15:20])
    np.testing.assert_array_equal(image.data[0, :5], first[35:40, 40:51])


def test_rows_outside_are_errors_of_their_own(tmp_path):
    write_tile(tmp_path / "m.fits")
    ra = [150.0, 200.0, np.nan, 150.0]
    Table({"name": list("abcd"), "RA": ra, "DEC": [2.0, 2.0, 2.0, 99.0]}).write(tmp_path / "t.fits")
    source = opened(tmp_path / "t.fits", tmp_path / "m.fits")
    at = by_name(source)
    assert sorted(at) == list("abcd")
    assert source.read(at["a"]).data.shape == (1, 21, 21)
    with pytest.raises(DataError, match=r"t\.fits#1' lies outside the mosaic \(RA 200\.00000, Dec 2\.00000\)"):
        source.read(at["b"])
    for name in "cd":
        with pytest.raises(DataError, match="has no position"):
            source.read(at[name])
    assert [source.label(at[name]).source[-1] for name in "abcd"] == list("0123")


def test_positions_as_people_write_them(tmp_path):
    _, wcs = write_tile(tmp_path / "m.fits")
    coord = sky_of(wcs, np.array([100.0]), np.array([90.0]))
    text = coord.to_string("hmsdms", sep=":", precision=6)[0].split()
    expected = opened(write_positions(tmp_path / "d.csv", coord), tmp_path / "m.fits").read(0).data
    (tmp_path / "s.csv").write_text(f"RA,Dec\n{text[0]},{text[1]}\n")
    (tmp_path / "b.txt").write_text(f"RAJ2000 DEJ2000\n{coord.ra.deg[0]} {coord.dec.deg[0]}\n")
    radians = Table({"ra": coord.ra.rad, "dec": coord.dec.rad}, units={"ra": "rad", "dec": "rad"})
    radians.write(tmp_path / "r.fits")
    hours = Table({"ra": coord.ra.hour, "dec": coord.dec.deg}, units={"ra": "hourangle", "dec": "deg"})
    hours.write(tmp_path / "h.ecsv")
    degrees = Table({"ra": coord.ra.deg, "dec": coord.dec.deg}, units={"ra": "deg", "dec": "deg"})
    degrees.write(tmp_path / "v.vot", format="votable")
    degrees.write(tmp_path / "p.parquet")
    for name in ("s.csv", "b.txt", "r.fits", "h.ecsv", "v.vot", "p.parquet"):
        np.testing.assert_array_equal(opened(tmp_path / name, tmp_path / "m.fits").read(0).data, expected)


def test_whole_seconds_are_no_times_of_day(tmp_path):
    """Readers of CSV take 12:30:05 for one."""
    (tmp_path / "s.csv").write_text("ra,dec,ut\n00:40:04,05:00:10,23:10:00\n,+05:00:12,\n")
    table = read_table(tmp_path / "s.csv")
    ra, dec = read_positions(table.columns, table.units, "ra", "dec", "s.csv")
    np.testing.assert_allclose(ra, [10 + 4 * 15 / 3600, np.nan])
    np.testing.assert_allclose(dec[0], 5 + 10 / 3600)


def test_wrong_units_are_told(tmp_path):
    _, wcs = write_tile(tmp_path / "m.fits")
    coords = sky_of(wcs, np.array([100.0, 120.0]), np.array([90.0, 80.0]))
    Table({"ra": coords.ra.rad, "dec": coords.dec.rad}).write(tmp_path / "r.csv")
    with pytest.raises(DataError, match=r"none of its 2 positions in the mosaic, and seems to hold radians"):
        opened(tmp_path / "r.csv", tmp_path / "m.fits")
    Table({"ra": coords.ra.hour, "dec": coords.dec.deg}).write(tmp_path / "h.csv")
    with pytest.raises(DataError, match="right ascensions in hours"):
        opened(tmp_path / "h.csv", tmp_path / "m.fits")
    Table({"ra": coords.ra.deg * 3600, "dec": coords.dec.deg * 3600}).write(tmp_path / "s.csv")
    with pytest.raises(DataError, match="all lie outside"):
        opened(tmp_path / "s.csv", tmp_path / "m.fits")
    Table({"ra": coords.ra.deg, "dec": coords.dec.deg}, units={"ra": "Jy"}).write(tmp_path / "j.ecsv")
    with pytest.raises(DataError, match="unit 'Jy' in its column 'ra'"):
        opened(tmp_path / "j.ecsv", tmp_path / "m.fits")
    Table({"ra": ["here", "there"], "dec": coords.dec.deg}).write(tmp_path / "t.csv")
    with pytest.raises(DataError, match="'here' in its column 'ra', which is no angle"):
        opened(tmp_path / "t.csv", tmp_path / "m.fits")


def test_what_cannot_be_done_is_told(tmp_path):
    _, wcs = write_tile(tmp_path / "m.fits")
    table = write_positions(tmp_path / "t.csv", sky_of(wcs, np.array([100.0]), np.array([90.0])))
    with pytest.raises(ConfigError, match="size of at least 1 pixel"):
        opened(table, tmp_path / "m.fits", None)
    with pytest.raises(
        DataError, match=r"t\.csv' has no column 'alpha'; it has 'id', 'ra', 'dec'; name one with ra_column"
    ):
        opened(table, tmp_path / "m.fits", ra_column="alpha")
    with pytest.raises(DataError, match="but no column of paths; name the images to cut them out of with mosaics"):
        open_source(table, Intake(), size=21)
    (tmp_path / "n.csv").write_text("l,b\n1,2\n")
    with pytest.raises(DataError, match=r"no column of positions \(ra and dec\); it has 'l', 'b'"):
        opened(tmp_path / "n.csv", tmp_path / "m.fits")
    fits.writeto(tmp_path / "bare.fits", np.ones((9, 9), np.float32))
    with pytest.raises(DataError, match=r"bare\.fits' has no celestial WCS"):
        opened(table, tmp_path / "bare.fits")
    cut = tmp_path / "cut.fits"
    cut.write_bytes((tmp_path / "m.fits").read_bytes()[:9000])
    with pytest.raises(DataError, match=r"cut\.fits'"):
        opened(table, cut)


def test_a_bad_mosaic_costs_only_itself(tmp_path, caplog):
    _, wcs = write_tile(tmp_path / "m.fits")
    fits.writeto(tmp_path / "bare.fits", np.ones((9, 9), np.float32))
    table = write_positions(tmp_path / "t.csv", sky_of(wcs, np.array([100.0]), np.array([90.0])))
    source = opened(table, tmp_path / "*.fits")
    assert source.read(0).data.shape == (1, 21, 21)
    assert "bare.fits' has no celestial WCS" in caplog.text


def test_bands_are_not_mixed(tmp_path):
    _, wcs = write_tile(tmp_path / "g.fits", FILTER="g")
    write_tile(tmp_path / "r.fits", FILTER="r")
    table = write_positions(tmp_path / "t.csv", sky_of(wcs, np.array([100.0]), np.array([90.0])))
    with pytest.raises(DataError, match="show the same sky in the bands 'g' and 'r'"):
        opened(table, tmp_path / "*.fits")
    assert opened(table, tmp_path / "g.fits").read(0).bands == ("g",)


def test_a_map_that_wraps_around(tmp_path):
    """A cylindrical map whose reference lies far away: longitude 185 is -175 to wcslib, a whole turn off."""
    cards = fits.Header({"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR", "CRVAL1": 0.0, "CRVAL2": 0.0})
    cards.update({"CDELT1": -0.1, "CDELT2": 0.1, "CRPIX1": 1900.5, "CRPIX2": 100.5})
    data = np.arange(200 * 200, dtype=np.float32).reshape(200, 200)
    fits.writeto(tmp_path / "m.fits", data, cards)
    galactic = SkyCoord([175.0, 185.0], [1.0, -2.0], unit="deg", frame="galactic")
    source = opened(write_positions(tmp_path / "t.csv", galactic.icrs), tmp_path / "m.fits", 3)
    at = by_name(source)
    for name, lon, lat in (("s0", 175.0, 1.0), ("s1", 185.0, -2.0)):
        x, y = 1899.5 - lon / 0.1, 99.5 + lat / 0.1
        column, row = np.ceil(np.round(x - 1.5, 6)) + 1, np.ceil(np.round(y - 1.5, 6)) + 1
        assert source.read(at[name]).data[0, 1, 1] == data[int(row), int(column)]


def test_columns_ids_and_stamps(tmp_path):
    _, wcs = write_tile(tmp_path / "m.fits")
    coords = sky_of(wcs, np.array([100.0, 50.0, 60.0]), np.array([90.0, 20.0, 30.0]))
    table = Table({"ra": coords.ra.deg, "dec": coords.dec.deg, "mag": [1.5, 2.5, np.nan], "flags": [1, 2, 3]})
    table["objid"] = ["007", "008", "007"]
    table.write(tmp_path / "t.csv")
    source = opened(tmp_path / "t.csv", tmp_path / "m.fits")
    assert set(source.types) == {"mosaic", "mag", "table_flags"}
    assert source.columns(1) == {"mosaic": "m.fits", "mag": 2.5, "table_flags": 2}
    assert [source.label(i).name for i in range(3)] == ["007-0", "008", "007-2"]
    before = [source.label(i) for i in range(3)]
    table["ra"][1] += 0.001
    table.write(tmp_path / "t.csv", overwrite=True)
    after = [opened(tmp_path / "t.csv", tmp_path / "m.fits").label(i) for i in range(3)]
    assert [a == b for a, b in zip(before, after, strict=True)] == [True, False, True]


def test_a_source_travels_to_other_processes(tmp_path):
    _, wcs = write_tile(tmp_path / "m.fits")
    source = opened(write_positions(tmp_path / "t.csv", sky_of(wcs, np.array([100.0]), np.array([90.0]))), tmp_path)
    source.read(0)
    packed = pickle.dumps(source)
    assert len(packed) < 50_000
    np.testing.assert_array_equal(pickle.loads(packed).read(0).data, source.read(0).data)


def test_a_million_rows_are_placed_in_seconds(tmp_path):
    (tmp_path / "tiles").mkdir()
    for number in range(9):
        cards = header(lon=150 + 0.03 * (number % 3), lat=2 + 0.03 * (number // 3), shape=(300, 300))
        fits.writeto(tmp_path / "tiles" / f"{number}.fits", np.zeros((300, 300), np.float32), cards)
    rng = np.random.default_rng(0)
    n = 1_000_000
    columns = {"ra": rng.uniform(149.985, 150.075, n), "dec": rng.uniform(1.985, 2.075, n), "id": np.arange(n)}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    begin = time.process_time()
    source = opened(tmp_path / "t.parquet", tmp_path / "tiles", 11)
    assert len(source) == n
    assert time.process_time() - begin < 30
    inside = sum(source.columns(i)["mosaic"] is not None for i in range(0, n, 10_000))
    assert inside == 100


def test_random_positions_lie_where_astropy_says(tmp_path):
    """Which of four overlapping mosaics, in four frames, holds a position: asked one by one of astropy."""
    centre = SkyCoord(150.0, 2.0, unit="deg")
    tiles = {}
    for number, frame in enumerate(("icrs", "fk5", "galactic", "fk4")):
        here = SkyCoord(150.0 + 0.006 * (number % 2), 2.0 + 0.006 * (number // 2), unit="deg").transform_to(frame)
        lon, lat = here.spherical.lon.deg, here.spherical.lat.deg
        tiles[f"{frame}.fits"] = write_tile(
            tmp_path / f"{frame}.fits", shape=(90, 90), seed=number, frame=frame, lon=lon, lat=lat
        )
    rng = np.random.default_rng(2)
    coords = SkyCoord(150 + rng.uniform(-0.01, 0.02, 150), 2 + rng.uniform(-0.01, 0.02, 150), unit="deg")
    assert centre.separation(coords).deg.max() < 1
    source = opened(write_positions(tmp_path / "t.csv", coords), tmp_path / "*.fits", 5)
    for i in range(150):
        row = int(source.label(i).name[1:])
        depths = {}
        for name, (_, wcs) in tiles.items():
            x, y = wcs.world_to_pixel(coords[row])
            depths[name] = float(min(x + 0.5, 89.5 - x, y + 0.5, 89.5 - y))
        best = max(depths, key=depths.get)
        expected = best if depths[best] >= 0 else None
        assert source.columns(i)["mosaic"] == expected
        if expected:
            pixels, wcs = tiles[best]
            try:
                cut = Cutout2D(pixels, coords[row], 5, wcs=wcs, mode="partial", fill_value=np.nan).data
            except NoOverlapError:
                pytest.fail("astropy finds no overlap")
            np.testing.assert_array_equal(source.read(i).data[0], cut)
