"""Thumbnails in sheets: many small pictures in one answer, so that a gallery scrolls without gaps."""

from __future__ import annotations

import io
import math
import threading
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from PIL import Image

from morphospace._lru import Lru
from morphospace._manifest import MANIFEST
from morphospace._parts import Parts
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.thumbs import FORM, THUMBS, make_thumb

__all__ = ["MOST_CELLS", "Sprites", "sheet"]

MOST_CELLS = 256
_PICTURES_BYTES = 96 << 20  # thumbnails as stored
_SHEETS_BYTES = 64 << 20
_QUALITY = 85


class Sprites:
    """Sheets of thumbnails of a store of cutouts; safe to use from threads.

    Parameters
    ----------
    cuts : Cutouts
    rows : array of int, (N,)
        Row of `cuts` for each row of the embeddings, -1 where there is none.
    """

    def __init__(self, cuts: Cutouts, rows: NDArray[np.int64]) -> None:
        self._cuts = cuts
        self._rows = rows
        self._groups: Lru[tuple[int, int], list[bytes]] = Lru(_PICTURES_BYTES * 2 // 3)
        self._drawn: Lru[int, bytes] = Lru(_PICTURES_BYTES // 3)
        self._sheets: Lru[tuple[bytes, int, int | None], bytes] = Lru(_SHEETS_BYTES)
        self._lock = threading.Lock()
        self._ready: _Ready | None = None

    def sheet(self, rows: NDArray[np.int64], size: int, *, columns: int | None = None) -> bytes:
        """Draw thumbnails side by side.

        Parameters
        ----------
        rows : array of int, (n,)
            Of the embeddings, 1 to 256.
        size : int
            Side of a cell in pixels.
        columns : int, optional
            Cells in a line; default ceil(sqrt(n)).

        Returns
        -------
        bytes
            JPEG, black where there is no picture; see `sheet`.
        """

        def draw() -> tuple[bytes, int]:
            made = sheet(self.pictures(rows), size, columns=columns)
            return made, len(made)

        return self._sheets.get((rows.tobytes(), size, columns), draw)

    def pictures(self, rows: NDArray[np.int64]) -> list[bytes | None]:
        """Get the thumbnails of some rows as JPEG; None where there is no cutout."""
        wanted = self._rows[rows]
        places = self._places()
        found: list[bytes | None] = [None] * len(wanted)
        at = np.where(wanted >= 0, places.at[wanted], -1) if places is not None else np.full(len(wanted), -1)
        for i in np.argsort(at, kind="stable"):  # neighbours in the file after one another
            if wanted[i] >= 0:
                known = places is not None and at[i] >= 0
                found[i] = places.picture(int(at[i]), self._groups) if known and places else self._draw(int(wanted[i]))
        return found

    def _draw(self, row: int) -> bytes:
        def make() -> tuple[bytes, int]:
            made = make_thumb(self._cuts.read([row])[0])
            return made, len(made)

        return self._drawn.get(row, make)

    def _places(self) -> _Ready | None:
        with self._lock:
            if self._ready is None and (self._cuts.path / THUMBS / MANIFEST).exists():
                self._ready = _Ready(self._cuts)
            return self._ready


class _Ready:
    """The thumbnails that curation has drawn: where each is."""

    def __init__(self, cuts: Cutouts) -> None:
        self.parts = Parts(cuts.path / THUMBS, FORM)
        there = _keys(self.parts.table(["id", "sha256"]))
        found = pc.index_in(_keys(cuts.table(["id", "sha256"])), value_set=there)
        self.at = np.asarray(found.fill_null(-1).to_numpy(), dtype=np.int64)
        groups = list(self.parts.groups())
        self.starts = np.array([first for _, _, first, _ in groups], dtype=np.int64)
        self.groups = [(part, group) for part, group, _, _ in groups]

    def picture(self, row: int, kept: Lru[tuple[int, int], list[bytes]]) -> bytes:
        number = int(np.searchsorted(self.starts, row, side="right")) - 1
        part, group = self.groups[number]

        def read() -> tuple[list[bytes], int]:
            thumbs = self.parts.group(part, group, ["thumb"]).column("thumb")
            return thumbs.to_pylist(), thumbs.nbytes

        return kept.get((part, group), read)[row - int(self.starts[number])]


def _keys(table: pa.Table) -> pa.Array:
    """Join id and content, which together name a picture."""
    joined = pc.binary_join_element_wise(table["id"], table["sha256"], "\n")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def sheet(pictures: Sequence[bytes | None], size: int, *, columns: int | None = None) -> bytes:
    """Draw pictures into the cells of one JPEG, each fitted into its square.

    JPEG, since WebP takes ten times as long to write: 50 ms for 256 pictures.

    Parameters
    ----------
    pictures : sequence of bytes or None
        As PIL reads them; None leaves a cell black.
    size : int
        Side of a cell in pixels.
    columns : int, optional
        Cells in a line; default ceil(sqrt(n)).
    """
    columns = columns or max(1, math.ceil(math.sqrt(len(pictures))))
    lines = max(1, math.ceil(len(pictures) / columns))
    fitted = [None if picture is None else _fitted(picture, size) for picture in pictures]
    grey = all(image is None or image.mode == "L" for image in fitted)
    whole = Image.new("L" if grey else "RGB", (columns * size, lines * size))
    for i, image in enumerate(fitted):
        if image is not None:
            left, top = (size - image.width) // 2, (size - image.height) // 2
            whole.paste(image, (i % columns * size + left, i // columns * size + top))
    stream = io.BytesIO()
    whole.save(stream, "JPEG", quality=_QUALITY, subsampling=0)
    return stream.getvalue()


def _fitted(picture: bytes, size: int) -> Image.Image:
    with Image.open(io.BytesIO(picture)) as opened:
        image: Image.Image = opened if opened.mode in ("L", "RGB") else opened.convert("RGB")
        image.load()
    scale = size / max(image.size)
    fitted = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    if fitted == image.size:
        return image
    return image.resize(fitted, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR)
