"""Small pictures of the cutouts, for people: in the report, beside search results and on the page."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from morphospace._manifest import MANIFEST
from morphospace._parts import Form, Parts, PartWriter
from morphospace.sky.cutouts import Cutout, Cutouts

__all__ = ["FORM", "THUMBS", "THUMB_PIXELS", "ThumbsWriter", "decode_thumb", "load_thumbs", "make_thumb"]

THUMBS = "_thumbs"
THUMB_PIXELS = 96
#: Of the parts that thumbnails are kept in.
FORM = Form(kind="thumbs", version=1, bulk=("thumb",))
_SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("thumb", pa.binary(), nullable=False),
    ]
)
_GROUP_BYTES = 256 << 10  # about 60 pictures: reading one costs reading these
_BATCH_ROWS = 512
_BLANK = (46, 52, 64)  # slate: not a colour that pixels have
_SOFTENING = 3.0  # sigma below which the stretch is linear
_WHITE = 0.997  # quantile
_AS_IT_IS = 128  # pixels: fewer are not worth averaging to fewer still
_QUALITY = 80
_FAINT = 20.0  # sigmas in the highest pixel of an image whose sigma is unknown


@np.errstate(over="ignore", invalid="ignore")  # float64 maps may exceed float32
def make_thumb(cutout: Cutout) -> bytes:
    """Draw a cutout as a small JPEG picture.

    An image of more than 128 pixels a side is averaged down to 96, others stay as they are; it is shown with an asinh
    stretch of its flux above the level in units of sigma, from -1 sigma to the 99.7th percentile. Three bands make
    colours, the longest wavelength red; any other number is averaged. Pictures of 8 bits are shown as they are. Rows
    of FITS images run upwards. Blank pixels are slate.

    Parameters
    ----------
    cutout : Cutout
        Level and sigma may be unknown or 0; the median and a twentieth of the highest pixel stand in for them.

    Returns
    -------
    bytes
        JPEG, grey where one plane is shown and no pixel is blank.
    """
    valid = _valid(cutout)
    if cutout.image.dtype == np.uint8:
        planes = [_shrink(plane.astype(np.float32)) for plane in _colours(cutout, cutout.image)]
    else:
        planes = _stretched(_colours(cutout, _significance(cutout, valid)))
    grey = [np.rint(plane).clip(0, 255).astype(np.uint8) for plane in planes]
    if len(grey) == 1 and valid is None:
        picture = grey[0]
    else:
        picture = np.stack(grey * (3 // len(grey)), axis=-1)
    if valid is not None:
        picture[_shrink(valid.astype(np.float32)) < 0.5] = _BLANK
    if cutout.hdu:
        picture = picture[::-1]
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()


def _valid(cutout: Cutout) -> NDArray[np.bool_] | None:
    """Mark the pixels that are shown; None where all are."""
    valid = np.isfinite(cutout.image).all(axis=0) if cutout.image.dtype.kind == "f" else None
    if cutout.mask is not None:
        valid = cutout.mask if valid is None else valid & cutout.mask
    return None if valid is None or valid.all() else valid


def decode_thumb(thumb: bytes) -> NDArray[np.uint8]:
    """Turn a picture of `load_thumbs` into an array: (H, W, 3), uint8, the first row on top."""
    return np.asarray(Image.open(io.BytesIO(thumb)).convert("RGB"))


def load_thumbs(store: Cutouts, rows: Sequence[int] | NDArray[np.integer[Any]]) -> list[bytes]:
    """Read the pictures of some rows of a store.

    Parameters
    ----------
    store : Cutouts
        Those that `curate` has made have their pictures ready; for others they are drawn now.
    rows : sequence of int
        Row numbers of `store`; repeats are allowed.

    Returns
    -------
    list of bytes
        JPEG, one for each row, in the order asked for.
    """
    wanted = np.asarray(rows, dtype=np.int64)
    keys = store.table(["id", "sha256"]).take(wanted)
    pairs = list(zip(keys["id"].to_pylist(), keys["sha256"].to_pylist(), strict=True))
    found = read_thumbs(store.path, pairs)
    absent = [i for i, pair in enumerate(pairs) if pair not in found]
    for i, cutout in zip(absent, store.read(wanted[absent]), strict=True):
        found[pairs[i]] = make_thumb(cutout)
    return [found[pair] for pair in pairs]


def read_thumbs(store: Path, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], bytes]:
    """Read the pictures that are ready, by (id, sha256); the others are not in the result."""
    folder = store / THUMBS
    if not (folder / MANIFEST).exists():
        return {}
    places = _places(folder, (folder / MANIFEST).stat().st_mtime_ns)
    wanted = sorted({(places[key], key) for key in keys if key in places})
    found = {}
    parts = Parts(folder, FORM)
    numbers = np.array([row for row, _ in wanted], dtype=np.int64)
    for part, group, first, n in parts.groups():
        start, stop = np.searchsorted(numbers, [first, first + n])
        if start < stop:
            thumbs = parts.group(part, group, ["thumb"]).column("thumb")
            for row, key in wanted[start:stop]:
                found[key] = thumbs[row - first].as_py()
    return found


@lru_cache(maxsize=4)
def _places(folder: Path, mtime_ns: int) -> dict[tuple[str, str], int]:
    """Row number of each picture; `mtime_ns` makes a changed folder a new question."""
    table = Parts(folder, FORM).table(["id", "sha256"])
    pairs = zip(table["id"].to_pylist(), table["sha256"].to_pylist(), strict=True)
    return {pair: row for row, pair in enumerate(pairs)}


class ThumbsWriter:
    """Write pictures beside the rows of a store; use it in a ``with`` block.

    Parameters
    ----------
    store : Path
        Folder of the store.
    resume : bool
        Keep the pictures that are there; otherwise begin anew.
    """

    def __init__(self, store: Path, *, resume: bool) -> None:
        self._parts = PartWriter(
            store / THUMBS, FORM, _SCHEMA, resume=resume, overwrite=not resume, group_bytes=_GROUP_BYTES
        )
        done = self._parts.done(["id", "sha256"])
        self.done = set(zip(done["id"].to_pylist(), done["sha256"].to_pylist(), strict=True))
        self._rows: list[tuple[str, str, bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self._drain()
        self._parts.__exit__(kind, error, trace)

    def extend(self, thumbs: Sequence[tuple[str, str, bytes]]) -> None:
        """Write pictures, each with id and sha256 of its row; those that are there already are passed over."""
        self._rows += thumbs if not self.done else [thumb for thumb in thumbs if thumb[:2] not in self.done]
        if len(self._rows) >= _BATCH_ROWS:
            self._drain()

    def _drain(self) -> None:
        if self._rows:
            columns = zip(*self._rows, strict=True)
            arrays = [pa.array(column, field.type) for column, field in zip(columns, _SCHEMA, strict=True)]
            self._rows = []
            self._parts.write(pa.RecordBatch.from_arrays(arrays, schema=_SCHEMA))


def _significance(cutout: Cutout, valid: NDArray[np.bool_] | None) -> NDArray[np.float32]:
    """Flux above the level in units of sigma; 0 where blank."""
    image = cutout.image.astype(np.float32)
    for band, plane in enumerate(image):
        pixels = plane if valid is None else plane[valid]
        if not pixels.size:
            plane[:] = 0
            continue
        level = cutout.level[band] if cutout.level else float(np.median(pixels))
        sigma = cutout.sigma[band] if cutout.sigma else 0.0
        if not sigma > 0:
            sigma = (float(pixels.max()) - level) / _FAINT or 1.0
        plane -= np.float32(level)
        plane /= np.float32(sigma)
        if valid is not None:
            plane[~valid] = 0
    return image


def _colours(cutout: Cutout, image: NDArray[Any]) -> list[NDArray[Any]]:
    """Choose what is shown: red, green and blue, or one plane."""
    if len(image) == 1:
        return [image[0]]
    if len(image) != 3:
        return [image.mean(axis=0, dtype=np.float32)]
    waves = np.asarray(cutout.wavelength_nm or (np.nan,) * 3)
    order = np.argsort(-waves) if np.isfinite(waves).all() else np.arange(3)
    return [image[band] for band in order]


def _stretched(planes: list[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Shrink, and stretch all bands alike to 0 ... 255."""
    small = [_shrink(plane) for plane in planes]
    white = _white(small)
    low, high = math.asinh(-1 / _SOFTENING), math.asinh(white / _SOFTENING)  # floats keep float32 arrays so
    return [(np.arcsinh(plane / _SOFTENING) - low) * (255 / (high - low)) for plane in small]


def _white(planes: list[NDArray[np.float32]]) -> float:
    """Find the 99.7th percentile of all bands together, at least 6 sigma."""
    least = 2 * _SOFTENING
    n = sum(plane.size for plane in planes)
    above = n - 1 - round((n - 1) * _WHITE)  # pixels that are brighter
    bright = np.concatenate([plane[plane > least] for plane in planes])  # few: a partition of all takes longer
    if bright.size <= above:
        return least
    rank = bright.size - 1 - above
    return float(np.partition(bright, rank)[rank])


def _shrink(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    height, width = plane.shape
    factor = max(height, width) / THUMB_PIXELS
    if max(height, width) <= _AS_IT_IS:
        return plane
    size = (max(round(width / factor), 1), max(round(height / factor), 1))
    small = Image.fromarray(plane).resize(size, Image.Resampling.BOX)
    return np.asarray(small, dtype=np.float32)
