"""Finding files and reading one image, whatever comes; the shared real data when they are there."""

from __future__ import annotations

import bz2
import gzip
import logging
import os
import re
import threading
import time
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from morphospace.errors import DataError
from morphospace.sky.images import find_files, read_image

SHARED = Path(__file__).parents[2] / "shared" / "data"
CARDS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 83.8,
    "CRVAL2": -5.4,
    "CRPIX1": 5.0,
    "CRPIX2": 4.0,
    "CDELT1": -1.0 / 3600,
    "CDELT2": 1.0 / 3600,
}


def shared(folder, pattern="*"):
    files = sorted((SHARED / folder).glob(pattern))
    if not files:
        pytest.skip(f"../shared/data/{folder} is not here")
    return files


def write(path, data=None, header=None, **cards):
    data = np.arange(63, dtype=np.float32).reshape(7, 9) if data is None else data
    fits.PrimaryHDU(data, fits.Header((header or {}) | cards)).writeto(path)
    return path


# What a FITS file says about its image


def test_everything_the_header_tells(tmp_path):
    cards = {
        "BUNIT": "Jy/beam ",
        "OBJECT": " GG Tau ",
        "FILTER": "F606W",
        "BMAJ": 5 / 3600,
        "BMIN": 4 / 3600,
        "BPA": 30.0,
    }
    path = write(tmp_path / "x.fits", header=CARDS, **cards, EXPTIME=7.5)
    image = read_image(path)
    assert image.source == str(path)
    assert image.hdu == "0"
    assert image.unit == "Jy/beam"
    assert image.object == "GG Tau"
    assert image.bands == ("F606W",)
    assert image.header["EXPTIME"] == 7.5
    assert image.beam == pytest.approx((5, 4, 30))
    assert image.pixel_scale_arcsec == pytest.approx(1)
    assert (image.ra, image.dec) == pytest.approx((83.8, -5.4))
    assert WCS(image.wcs).wcs.ctype[0] == "RA---TAN"
    assert image.mask is None


def test_what_the_header_does_not_tell_is_unknown(tmp_path):
    image = read_image(write(tmp_path / "x.fits"))
    assert (image.unit, image.object, image.wcs) == (None, None, None)
    assert image.bands == ("0",)
    numbers = [image.ra, image.dec, image.pixel_scale_arcsec, *image.beam, *image.wavelength_nm]
    assert np.isnan(numbers).all()


@pytest.mark.parametrize(
    "cards",
    [
        {"BUNIT": "   ", "OBJECT": ""},
        {"BMAJ": "five", "BUNIT": None},
        {"BMAJ": True, "FILTER": "CLEAR"},
        {"BMAJ": 1 + 2j, "RESTFRQ": "high", "PHOTPLAM": -1.0},
    ],
)
def test_useless_cards_are_unknown_too(tmp_path, cards):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        image = read_image(write(tmp_path / "x.fits", header=cards))
    assert (image.unit, image.object, image.bands) == (None, None, ("0",))
    assert np.isnan(image.wavelength_nm[0])


@pytest.mark.parametrize(
    "cards, band",
    [
        ({"FILTER": "g"}, "g"),
        ({"BAND": "K"}, "K"),
        ({"FILTER": 3}, "3"),
        ({"FILTER1": "F814W", "FILTER2": "CLEAR2L"}, "F814W"),
        ({"FILTER1": "CLEAR1S", "FILTER2": "F435W"}, "F435W"),
        ({"FILTNAM1": "F606W"}, "F606W"),
        ({"FILTER": "", "BAND": "J"}, "J"),
    ],
)
def test_the_band_is_named_by_its_filter(tmp_path, cards, band):
    assert read_image(write(tmp_path / "x.fits", header=cards)).bands == (band,)


@pytest.mark.parametrize(
    "cards, expected",
    [
        ({"PHOTPLAM": 5921.1}, 592.11),
        ({"RESTFRQ": 299792458e3}, 1e6),
        ({"RESTFREQ": 299792458e3}, 1e6),
        ({"PHOTPLAM": 5921.1, "RESTFRQ": 1e9}, 592.11),
        ({"CTYPE3": "FREQ", "CRVAL3": 1.4e9, "CRPIX3": 1.0, "CDELT3": 5e7}, 299792458e9 / 1.4e9),
        ({"CTYPE3": "FREQ", "CRVAL3": 1.4e9, "CRPIX3": 3.0, "CDELT3": 5e7}, 299792458e9 / 1.3e9),
        ({"CTYPE3": "FREQ", "CRVAL3": 1.4e9, "RESTFRQ": 1e9}, 299792458e9 / 1.4e9),
    ],
)
def test_the_wavelength_is_in_nanometres(tmp_path, cards, expected):
    plane = np.zeros((1, 7, 9), np.float32)
    assert read_image(write(tmp_path / "x.fits", plane, cards)).wavelength_nm == pytest.approx((expected,))


def test_planes_are_bands_with_numbers_for_names(tmp_path):
    image = read_image(write(tmp_path / "x.fits", np.zeros((3, 7, 9), np.float32), CARDS, FILTER="g"))
    assert image.bands == ("0", "1", "2")
    assert len(image.wavelength_nm) == 3
    assert image.ra == pytest.approx(83.8)


def test_an_extension_inherits_the_filter_of_the_primary_header_but_not_its_place(tmp_path):
    primary = fits.PrimaryHDU(header=fits.Header(CARDS | {"FILTER": "i", "OBJECT": "a field"}))
    fits.HDUList([primary, fits.ImageHDU(np.zeros((7, 9)))]).writeto(tmp_path / "x.fits")
    image = read_image(tmp_path / "x.fits")
    assert (image.hdu, image.bands, image.object, image.wcs) == ("1", ("i",), "a field", None)
    assert np.isnan(image.ra)


def test_blank_pixels_are_in_the_mask(tmp_path):
    data = np.zeros((2, 7, 9), np.float32)
    data[0, 1, 2], data[1, 3, 4] = np.nan, -np.inf
    mask = read_image(write(tmp_path / "x.fits", data)).mask
    assert mask.dtype == bool
    assert np.argwhere(~mask).tolist() == [[1, 2], [3, 4]]


def test_an_image_of_nan_alone_is_no_error(tmp_path):
    image = read_image(write(tmp_path / "x.fits", np.full((7, 9), np.nan)))
    assert not image.mask.any()


def test_an_unusable_wcs_is_logged_and_costs_no_image(tmp_path, caplog):
    image = read_image(write(tmp_path / "x.fits", header=CARDS | {"CDELT1": 0.0}))
    assert image.wcs is None
    assert image.data.shape == (1, 7, 9)
    assert "its WCS is left out" in caplog.text


@pytest.mark.parametrize("hdu, index", [(None, "1"), (2, "2"), ("2", "2"), ("err", "2")])
def test_the_hdu_is_chosen(tmp_path, hdu, index):
    hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.zeros((7, 9)), name="SCI"), fits.ImageHDU(np.ones((7, 9)), name="ERR")]
    fits.HDUList(hdus).writeto(tmp_path / "x.fits")
    image = read_image(tmp_path / "x.fits", hdu=hdu)
    assert image.hdu == index
    assert image.data.mean() == int(index) - 1


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
@pytest.mark.parametrize("name", ["x.fits.gz", "x.fits"])
def test_packed_files_are_known_by_their_content(tmp_path, pack, name):
    plain = write(tmp_path / "plain.fits", header=CARDS)
    (tmp_path / name).write_bytes(pack(plain.read_bytes()))
    np.testing.assert_array_equal(read_image(tmp_path / name).data, read_image(plain).data)


def test_the_suffix_does_not_matter_and_hdu_is_for_fits_only(tmp_path):
    np.save(tmp_path / "x.npy", np.ones((4, 5)))
    (tmp_path / "x.npy").rename(tmp_path / "x.fits")
    image = read_image(str(tmp_path / "x.fits"), hdu="SCI")
    assert image.hdu == ""
    assert image.header == {}
    assert image.data.shape == (1, 4, 5)


def test_reading_in_threads_leaves_the_warning_filters_alone(tmp_path):
    for number in range(8):
        write(tmp_path / f"{number}.fits", header=CARDS | {"EQUINOX": 1950.0 + number / 8})
    before = list(warnings.filters)
    found = []

    def read_all():
        found.extend(read_image(file).ra for file in find_files(tmp_path))

    threads = [threading.Thread(target=read_all) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 32
    assert np.isfinite(found).all()
    assert warnings.filters == before


# Bad input: one sentence each, naming the file, what came and what to do


def bad_files(folder):
    """What the issue lists and what archives send, by the words that the refusal must hold."""
    whole = write(folder / "whole.fits").read_bytes()
    table = fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])])])
    table.writeto(folder / "table.fits")
    contents = {
        "is empty (0 bytes)": b"",
        "is truncated": whole[:2900],
        "has no END card": whole[:300],
        "is a web page": b"\n <!DOCTYPE html><html><body>404 Not Found</body></html>",
        "is a web page or XML": b'\xef\xbb\xbf<?xml version="1.0"?><VOTABLE/>',
        "is not an image (it begins with 'ra,dec": b"ra,dec\n1,2\n",
        "is not an image (it begins with '\\x00": bytes(5000),
        "is a damaged gzip file": gzip.compress(whole)[:-9],
        "is a damaged bzip2 file": bz2.compress(whole)[:100],
        "is a gzip file without FITS": gzip.compress(b"hello"),
        "is packed with xz": b"\xfd7zXZ\0\0",
        "is packed with compress": b"\x1f\x9d\x90",
        "is a GIF picture": b"GIF89a",
        "is a PDF document": b"%PDF-1.7",
        "is an HDF5 file": b"\x89HDF\r\n",
        "FITS extension without its primary header": whole.replace(b"SIMPLE  =  ", b"XTENSION=  "),
    }
    cube = fits.PrimaryHDU(np.zeros((41, 3, 3), np.float32))
    cube.writeto(folder / "cube.fits")
    contents["cube of 41 planes"] = (folder / "cube.fits").read_bytes()
    contents["HDU 1 '' is a table"] = (folder / "table.fits").read_bytes()
    return contents


def test_bad_files_give_one_sentence(tmp_path):
    for what, content in bad_files(tmp_path).items():
        path = tmp_path / "bad.fits"
        path.write_bytes(content)
        with pytest.raises(DataError) as refused:
            read_image(path)
        assert re.fullmatch(rf"'{re.escape(str(path))}' [^\n;]*; [^\n;]*\.", str(refused.value))
        assert what in str(refused.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"'.*none\.fits' does not exist; check the name"):
        read_image(tmp_path / "none.fits")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="is a folder; pass a file in it, or the folder to curate"):
        read_image(tmp_path)


def test_a_pipe_is_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.fits")
    with pytest.raises(DataError, match="is a device or pipe"):
        read_image(tmp_path / "pipe.fits")


def test_impossible_names_are_refused(tmp_path):
    with pytest.raises(DataError, match="cannot be opened"):
        read_image("x\0.fits")
    with pytest.raises(DataError, match="cannot be opened"):
        read_image(tmp_path / ("x" * 999))


def test_a_file_without_permission_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path / "x.fits")

    def denied(*_, **__):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("builtins.open", denied)  # root may read everything, so chmod proves nothing in CI
    with pytest.raises(DataError, match=r"cannot be opened \(Permission denied\)"):
        read_image(path)


@pytest.mark.parametrize(
    "fault, match",
    [
        (OSError(5, "Input/output error"), r"cannot be read \(Input/output error\); check the disk"),
        (MemoryError(), "does not fit into memory; cut it into smaller images"),
    ],
)
def test_faults_of_the_machine_are_refusals_too(tmp_path, monkeypatch, fault, match):
    def failing(*_, **__):
        raise fault

    monkeypatch.setattr("morphospace.sky.fits.read_pixels", failing)
    with pytest.raises(DataError, match=match):
        read_image(write(tmp_path / "x.fits"))


def test_a_packed_file_cannot_fill_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("morphospace.sky.images._MAX_UNPACKED", 2**24)
    whole = write(tmp_path / "x.fits").read_bytes()
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(whole + bytes(2**26), compresslevel=1))
    tracemalloc.start()
    with pytest.raises(DataError, match="unpacks to more than"):
        read_image(tmp_path / "bomb.gz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2**26


def test_nothing_escapes_as_a_warning(tmp_path, caplog):
    """Broken cards, odd characters, an old WCS: lines of the log, though pytest makes every warning an error."""
    path = write(tmp_path / "x.fits", header=CARDS | {"RADECSYS": "FK4", "EPOCH": 1850.0, "DATE-OBS": "31/12/99"})
    content = bytearray(path.read_bytes())
    end = content.find(b"END" + b" " * 77)
    cards = ["BROKEN  = 'no end", "COMMENT  caf\xe9\t", "NOEQUAL 5", "END"]
    content[end : end + 80 * len(cards)] = b"".join(card.encode("latin-1").ljust(80) for card in cards)
    path.write_bytes(content)
    image = read_image(path)
    assert np.isfinite(image.ra)
    assert any("broken header cards are left out: BROKEN, NOEQUAL" in message for message in caplog.messages)
    assert all(message.startswith(f"'{path}'") for message in caplog.messages)


# Finding files


@pytest.fixture
def folder(tmp_path):
    for name in ("b.fits", "a.FITS", "c.png", "sub/d.npy", "sub/deep/e.fits.gz", "f.fit", "g.fits.fz"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    for name in (".hidden.fits", "notes.md", "table.csv", "sub/._d.npy", ".git/x.fits", "data.parquet"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def names(files, folder):
    assert all(isinstance(file, Path) for file in files)
    return [file.relative_to(folder).as_posix() for file in files]


def test_a_folder_gives_its_images_at_any_depth_in_order(folder):
    expected = ["a.FITS", "b.fits", "c.png", "f.fit", "g.fits.fz", "sub/d.npy", "sub/deep/e.fits.gz"]
    assert names(find_files(folder), folder) == expected
    assert names(find_files(str(folder)), folder) == expected


def test_a_pattern_gives_what_it_matches(folder):
    assert names(find_files(f"{folder}/*.fit*"), folder) == ["b.fits", "f.fit", "g.fits.fz"]
    assert names(find_files(f"{folder}/**/*.npy"), folder) == ["sub/d.npy"]
    assert names(find_files(f"{folder}/no*"), folder) == ["notes.md"]  # asked for, so reading it will say


def test_a_file_with_brackets_in_its_name_is_a_file(folder):
    (folder / "x[1].fits").touch()
    assert names(find_files(folder / "x[1].fits"), folder) == ["x[1].fits"]


@pytest.mark.parametrize("suffix", [".txt", ".lst", ".list", ".LIST"])
def test_a_list_gives_its_lines(folder, suffix):
    listing = folder / f"files{suffix}"
    lines = [
        "# objects",
        "",
        "b.fits",
        "  sub/d.npy  ",
        "   ",
        "gone.fits",
        str(folder / "c.png"),
        "b.fits",
        "na\xefve.fits",
    ]
    listing.write_bytes("\ufeff".encode() + "\r\n".join(lines).encode())
    assert names(find_files(listing), folder) == ["b.fits", "sub/d.npy", "gone.fits", "c.png", "na\xefve.fits"]


def test_a_sequence_joins_its_sources_and_keeps_missing_files(folder):
    (folder / "all.txt").write_text("f.fit\n")
    sources = [folder / "b.fits", str(folder / "sub"), folder / "gone.fits", folder / "all.txt", folder / "b.fits"]
    assert names(find_files(sources), folder) == ["b.fits", "sub/d.npy", "sub/deep/e.fits.gz", "gone.fits", "f.fit"]


def test_links_are_followed_but_not_in_rings(folder):
    (folder / "sub" / "ring").symlink_to(folder)
    elsewhere = folder / ".elsewhere"
    elsewhere.mkdir()
    (elsewhere / "z.fits").touch()
    (folder / "link").symlink_to(elsewhere)
    (folder / "broken.fits").symlink_to(folder / "nowhere")
    found = names(find_files(folder), folder)
    assert found.count("b.fits") == 1
    assert {"link/z.fits", "broken.fits"} <= set(found)
    assert len(found) == 9


def test_a_closed_folder_is_said(folder, monkeypatch, caplog):
    scan = os.scandir

    def scandir(path):
        if str(path).endswith("deep"):
            raise PermissionError(13, "Permission denied")
        return scan(path)

    monkeypatch.setattr(os, "scandir", scandir)
    assert len(find_files(folder)) == 6
    assert "deep' is left out: Permission denied" in caplog.text


@pytest.mark.parametrize(
    "source, match",
    [
        ("empty", r"'.*empty' holds no image file; pass a folder, pattern or list"),
        ("none.fits", "'.*none.fits' does not exist"),
        ("*.nothing", r"nothing' holds no image file"),
        ("blank.txt", r"blank.txt' holds no image file"),
    ],
)
def test_nothing_found_is_refused(tmp_path, source, match):
    (tmp_path / "empty").mkdir()
    (tmp_path / "blank.txt").write_text("\n# none\n")
    with pytest.raises(DataError, match=match):
        find_files(f"{tmp_path}/{source}")
    with pytest.raises(DataError, match="the 2 sources hold no image file" if source != "none.fits" else match):
        find_files([tmp_path / "empty", tmp_path / "blank.txt"] if source != "none.fits" else tmp_path / source)
    with pytest.raises(DataError, match="the 0 sources hold no image file"):
        find_files([])


# Real data


def judged(file, image):
    """Compare pixels, keywords and place with astropy."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(file, memmap=False) as hdus:
            hdu = hdus[int(image.hdu)]
            np.testing.assert_array_equal(image.data, hdu.data.reshape(image.data.shape))
            for key in ("NAXIS1", "NAXIS2", "BITPIX", "OBJECT", "BUNIT", "CRVAL1", "BMAJ", "EXPTIME"):
                value = hdu.header.get(key, hdus[0].header.get(key))
                assert image.header.get(key) == (value.rstrip() if isinstance(value, str) else value)
            wcs = WCS(hdu.header).celestial
            if image.wcs is not None:
                centre = wcs.pixel_to_world((image.data.shape[2] - 1) / 2, (image.data.shape[1] - 1) / 2)
                if wcs.wcs.lngtyp == "GLON":  # astropy believes RADESYS = 'FK5' beside it
                    world = wcs.all_pix2world([[(n - 1) / 2 for n in image.data.shape[:0:-1]]], 0)[0]
                    centre = SkyCoord(*world, unit="deg", frame="galactic")
                assert SkyCoord(image.ra, image.dec, unit="deg").separation(centre.icrs).arcsec < 1e-5
            else:
                assert not wcs.has_celestial


def test_the_26_untouched_radio_maps(caplog):
    caplog.set_level(logging.ERROR)
    images = [read_image(file) for file in shared("radio/raw")]
    assert len(images) == 26
    assert {image.data.shape for image in images} == {(1, 300, 300)}
    assert {image.data.dtype for image in images} == {np.dtype(np.float32)}
    assert sum(image.mask is not None for image in images) == 5
    assert all((image.mask is None) == np.isfinite(image.data).all() for image in images)
    assert all(image.pixel_scale_arcsec == pytest.approx(1.8) for image in images)
    for image in images:  # J004148.2-091702: the name is the place
        hours, minutes, seconds = (float(Path(image.source).name[slice(*span)]) for span in ((1, 3), (3, 5), (5, 9)))
        assert image.ra == pytest.approx(15 * (hours + minutes / 60 + seconds / 3600), abs=0.02)
        judged(image.source, image)


@pytest.mark.parametrize(
    "folder, pattern, n",
    [("radio/fits", "J000*", 3), ("spectra/deep2/images", "*_6ac_*", 40), ("fields/hsc", "*", 10)],
)
def test_real_cutouts_equal_astropy(folder, pattern, n, caplog):
    caplog.set_level(logging.ERROR)
    files = shared(folder, pattern)[:n]
    for file in files:
        image = read_image(file)
        assert np.isfinite(image.ra)
        judged(file, image)


def test_real_fields_equal_astropy_or_are_cubes(caplog):
    caplog.set_level(logging.ERROR)
    cubes = set()
    for file in shared("fields", "*.fits*"):
        try:
            image = read_image(file)
        except DataError as refused:
            cubes.add(file.name if "cube of" in str(refused) else str(refused))
        else:
            judged(file, image)
    assert cubes == {"Orion.methanol.cbc.contsub.image.fits", "l1448_13co.fits", "subcub_mosaic.fits"}


def test_real_galaxies_are_colour_pictures():
    for file in shared("galaxies/images")[:50]:
        image = read_image(file)
        assert image.data.shape == (3, 128, 128)
        assert image.data.dtype == np.uint8
        assert image.bands == ("R", "G", "B")


def test_a_cutout_takes_no_longer_than_astropy(tmp_path):
    """A guard against a lost fast way, loose since machines are shared; figures are for the benchmarks."""
    path = write(tmp_path / "x.fits", np.zeros((150, 150), np.float32), CARDS)

    def best(call, n=20):
        times = []
        for _ in range(n):
            began = time.perf_counter()
            call()
            times.append(time.perf_counter() - began)
        return min(times)

    def by_astropy():
        with fits.open(path, memmap=False) as hdus:
            return hdus[0].data, WCS(hdus[0].header)

    assert best(lambda: read_image(path)) < best(by_astropy)
