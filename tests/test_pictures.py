"""PNG, JPEG, TIFF, NPY and NPZ: every pixel type there and back, and files that lie."""

from __future__ import annotations

import io
import logging
import random
import re
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image as Pillow

from morphospace.errors import DataError
from morphospace.sky.images import read_image


def values(dtype, shape=(6, 8), seed=0):
    return (np.random.default_rng(seed).random(shape) * 250).astype(dtype)


def saved(folder, picture, name, **options):
    path = folder / name
    picture.save(path, **options)
    return path


# Pictures


@pytest.mark.parametrize(
    "dtype, name",
    [("u1", "x.png"), ("u1", "x.tif"), ("u2", "x.png"), ("u2", "x.tif"), ("i4", "x.tif"), ("f4", "x.tiff")],
)
def test_grey_pictures_keep_their_type(tmp_path, dtype, name):
    pixels = values(dtype) * (200 if dtype == "u2" else 1)
    image = read_image(saved(tmp_path, Pillow.fromarray(pixels), name))
    assert image.data.dtype == np.dtype(dtype)
    assert image.data.dtype.isnative
    np.testing.assert_array_equal(image.data, pixels[None])
    assert image.bands == ("0",)
    assert np.isnan(image.wavelength_nm).all()


def test_big_endian_tiff_becomes_native(tmp_path):
    pixels = values("u2")
    header = struct.pack(">2sHI", b"MM", 42, 8)
    tags = [(256, 8), (257, 6), (258, 16), (259, 1), (262, 1), (273, 200), (277, 1), (278, 6), (279, 96)]
    entries = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
    body = header + struct.pack(">H", len(tags)) + entries + bytes(4)
    path = tmp_path / "x.tif"
    path.write_bytes(body.ljust(200, b"\0") + pixels.astype(">u2").tobytes())
    np.testing.assert_array_equal(read_image(path).data, pixels[None])


@pytest.mark.parametrize("name", ["x.png", "x.tif"])
def test_colour_is_three_bands(tmp_path, name):
    pixels = values("u1", (6, 8, 3))
    image = read_image(saved(tmp_path, Pillow.fromarray(pixels), name))
    np.testing.assert_array_equal(image.data, np.moveaxis(pixels, -1, 0))
    assert image.data.flags.c_contiguous
    assert image.bands == ("R", "G", "B")
    assert len(image.wavelength_nm) == 3


def test_jpeg_is_read_as_pillow_reads_it(tmp_path):
    path = saved(tmp_path, Pillow.fromarray(values("u1", (16, 16, 3))), "x.jpg")
    expected = np.asarray(Pillow.open(io.BytesIO(path.read_bytes())))
    np.testing.assert_array_equal(read_image(path).data, np.moveaxis(expected, -1, 0))


@pytest.mark.parametrize(
    "mode, name, n_bands",
    [
        ("1", "x.png", 1),
        ("L", "x.jpg", 1),
        ("LA", "x.png", 1),
        ("P", "x.png", 3),
        ("RGBA", "x.png", 3),
        ("CMYK", "x.jpg", 3),
        ("YCbCr", "x.jpg", 3),
        ("CMYK", "x.tif", 3),
    ],
)
def test_modes_become_grey_or_colour(tmp_path, mode, name, n_bands):
    path = saved(tmp_path, Pillow.fromarray(values("u1", (6, 8, 3))).convert(mode), name)
    assert read_image(path).data.shape == (n_bands, 6, 8)
    assert read_image(path).data.dtype == np.uint8


def test_alpha_is_dropped_not_blended(tmp_path):
    pixels = values("u1", (6, 8, 4))
    pixels[..., 3] = 0
    image = read_image(saved(tmp_path, Pillow.fromarray(pixels), "x.png"))
    np.testing.assert_array_equal(image.data, np.moveaxis(pixels[..., :3], -1, 0))


def test_truth_values_become_0_and_255(tmp_path):
    path = saved(tmp_path, Pillow.fromarray(values("u1") > 100), "x.png")
    assert set(np.unique(read_image(path).data)) == {0, 255}


def test_a_transparent_palette_is_no_warning(tmp_path):
    picture = Pillow.fromarray(values("u1", (6, 8, 3))).convert("P")
    path = saved(tmp_path, picture, "x.png", transparency=bytes(range(100)))
    assert read_image(path).data.shape == (3, 6, 8)


def test_only_the_first_page_is_read_and_said(tmp_path, caplog):
    pages = [Pillow.fromarray(values("u1", seed=seed)) for seed in range(3)]
    path = saved(tmp_path, pages[0], "x.tif", save_all=True, append_images=pages[1:])
    np.testing.assert_array_equal(read_image(path).data[0], values("u1"))
    assert "only the first of its 3 pages is read" in caplog.text


def test_16_bit_colour_is_read_with_8_and_said(tmp_path, caplog):
    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zipfile.crc32(kind + body))

    pixels = values("u2", (4, 5, 3)) * 200
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    path = tmp_path / "x.png"
    header = struct.pack(">IIBBBBB", 5, 4, 16, 2, 0, 0, 0)
    compressed = zipfile.zlib.compress(rows)
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", compressed) + chunk(b"IEND", b""))
    np.testing.assert_array_equal(read_image(path).data, np.moveaxis(pixels >> 8, -1, 0))
    assert "16-bit colour or alpha is read with 8 bits" in caplog.text


@pytest.mark.parametrize("name, left", [("x.png", 0.6), ("x.jpg", 0.5), ("x.tif", 0.5), ("x.png", 0.05)])
def test_truncated_pictures_are_refused(tmp_path, name, left):
    path = saved(tmp_path, Pillow.fromarray(values("u1", (64, 64, 3))), name)
    content = path.read_bytes()
    path.write_bytes(content[: int(left * len(content))])
    with pytest.raises(DataError, match=r"cannot be decoded as a picture \(.*\); open and save it anew"):
        read_image(path)


def test_a_picture_of_too_many_pixels_is_refused_before_it_is_decoded(tmp_path):
    path = saved(tmp_path, Pillow.new("L", (8, 8)), "x.png")
    content = bytearray(path.read_bytes())
    content[16:24] = struct.pack(">II", 10**5, 10**5)
    content[29:33] = struct.pack(">I", zipfile.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(DataError, match="10000000000 pixels"):
        read_image(path)


# Arrays


@given(
    hnp.arrays(
        st.sampled_from(["u1", "i2", ">i2", "u4", "i8", "f2", ">f4", "f8", "?"]),
        st.tuples(st.integers(1, 9), st.integers(1, 9)),
        elements=st.integers(0, 1),
    ),
    st.sampled_from(["C", "F"]),
)
def test_npy_is_read_back(tmp_path_factory, pixels, order):
    path = tmp_path_factory.mktemp("npy") / "x.npy"
    np.save(path, np.asarray(pixels, order=order))
    data = read_image(path).data
    np.testing.assert_array_equal(data[0], pixels)
    assert data.dtype == (np.uint8 if pixels.dtype == bool else pixels.dtype.newbyteorder("="))
    assert data.flags.c_contiguous
    assert data.flags.writeable


@pytest.mark.parametrize(
    "dtype, shape, expected",
    [
        ("f4", (6, 8), (1, 6, 8)),
        ("f4", (1, 1), (1, 1, 1)),
        ("f4", (5, 6, 8), (5, 6, 8)),
        ("f4", (1, 1, 6, 8), (1, 6, 8)),
        ("u1", (6, 8, 3), (3, 6, 8)),
        ("u1", (6, 8, 4), (3, 6, 8)),
        ("u1", (3, 8, 3), (3, 8, 3)),
        ("u1", (3, 6, 8), (3, 6, 8)),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_axes_of_arrays(tmp_path, dtype, shape, expected, order):
    pixels = values(dtype, shape)
    np.save(tmp_path / "x.npy", np.asarray(pixels, order=order))
    image = read_image(tmp_path / "x.npy")
    colour = dtype == "u1" and shape[-1] in (3, 4) and shape[0] > 5
    wanted = np.moveaxis(pixels[..., :3], -1, 0) if colour else pixels.reshape(expected)
    np.testing.assert_array_equal(image.data, wanted)
    assert image.bands == tuple("012345"[: len(image.data)])


def test_blank_pixels_of_an_array_are_in_the_mask(tmp_path):
    pixels = values("f4", (2, 6, 8))
    pixels[0, 1, 2] = np.nan
    pixels[1, 3, 4] = np.inf
    np.save(tmp_path / "x.npy", pixels)
    mask = read_image(tmp_path / "x.npy").mask
    assert mask.shape == (6, 8)
    assert np.argwhere(~mask).tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_gives_its_first_image(tmp_path, save):
    save(tmp_path / "x.npz", label=np.arange(3), picture=values("f4"), other=values("f4", seed=1))
    np.testing.assert_array_equal(read_image(tmp_path / "x.npz").data[0], values("f4"))


@pytest.mark.parametrize(
    "array, match",
    [
        (np.array([[{}]], dtype=object), "holds object instead of real numbers"),
        (np.ones((3, 3), complex), "holds complex128 instead of real numbers"),
        (np.array([["a"]]), "instead of real numbers"),
        (np.zeros((2, 2), [("a", "f4")]), "instead of real numbers"),
        (np.zeros((2, 2), "M8[s]"), "instead of real numbers"),
        (np.arange(5.0), "holds 1-dimensional data"),
        (np.array(5.0), "holds 0-dimensional data"),
        (np.zeros((0, 5)), r"without pixels, shape \(0, 5\)"),
        (np.zeros((9, 0, 3), "u1"), "without pixels"),
        (np.zeros((6, 8, 3), "f4"), "cube of 6 planes"),
        (np.zeros((2, 3, 6, 8), "f4"), "cube of 2 x 3 planes"),
    ],
)
def test_arrays_that_are_no_image_are_refused(tmp_path, array, match):
    np.save(tmp_path / "x.npy", array, allow_pickle=True)
    np.savez(tmp_path / "x.npz", array)
    with pytest.raises(DataError, match=match):
        read_image(tmp_path / "x.npy")
    with pytest.raises(DataError, match=match if array.ndim > 1 else "without an array of two or more axes"):
        read_image(tmp_path / "x.npz")


def hostile_npy(shape="(1000000000000, 1000000)", descr="<f8"):
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text.encode() + b"\n" + bytes(64)


@pytest.mark.parametrize("shape", ["(1000000000000, 1000000)", "(50000, 50000)"])
@pytest.mark.parametrize("zipped", [False, True])
def test_arrays_shorter_than_they_say_take_no_memory(tmp_path, shape, zipped):
    path = tmp_path / "x"
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a.npy", hostile_npy(shape))
    else:
        path.write_bytes(hostile_npy(shape))
    tracemalloc.start()
    began = time.monotonic()
    with pytest.raises(DataError, match="is truncated: its header announces"):
        read_image(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2e6
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("shape", ["(-1, 5)", "('a', 5)", "__import__('os')", "(1,", "(True, 5)", "(-1, -5)"])
def test_odd_array_headers_are_refused(tmp_path, shape):
    (tmp_path / "x.npy").write_bytes(hostile_npy(shape))
    with pytest.raises(DataError, match=r"'.*x\.npy' "):
        read_image(tmp_path / "x.npy")


def test_an_archive_that_claims_more_than_deflate_can_pack_is_refused(tmp_path):
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", hostile_npy("(20000, 20000)"))
    content = bytearray(path.read_bytes())
    at = content.rfind(b"PK\x01\x02")
    content[at + 24 : at + 28] = struct.pack("<I", 2**32 - 2)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"announces 4294967294 bytes in 'a\.npy'"):
        read_image(path)


def test_a_zip_file_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(DataError, match="is a ZIP file without an array"):
        read_image(tmp_path / "x.npz")


# Damage


@pytest.mark.parametrize("name", ["x.png", "x.jpg", "x.tif", "x.npy", "x.npz"])
def test_damaged_files_give_an_image_or_one_sentence(tmp_path, name, caplog):
    caplog.set_level(logging.CRITICAL)
    path = tmp_path / name
    if name == "x.npz":
        np.savez_compressed(path, values("f4"))
    elif name == "x.npy":
        np.save(path, values("f4"))
    else:
        Pillow.fromarray(values("u1", (12, 16, 3))).save(path)
    whole = path.read_bytes()
    rng = random.Random(name)
    n_read, refused = 0, []
    for _ in range(100):
        content = bytearray(whole)
        at = rng.randrange(len(content))
        if rng.random() < 0.3:
            content = content[: at + 1]
        elif rng.random() < 0.3:
            content[at:at] = rng.randbytes(9)
        else:
            content[at] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        try:
            data = read_image(path).data
        except DataError as error:
            refused.append(str(error))
        else:
            n_read += 1
            assert data.ndim == 3
    assert len(refused) > 10
    assert n_read + len(refused) == 100
    assert all(re.fullmatch(rf"'{re.escape(str(path))}' [^\n]*; [^\n]*\.", sentence) for sentence in refused)
