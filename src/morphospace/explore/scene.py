"""What the page shows: embeddings, their cutouts, and what was kept beside them, read when it is asked for."""

from __future__ import annotations

import logging
import tempfile
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from morphospace._lru import Lru
from morphospace._manifest import read_manifest
from morphospace.config import nearest
from morphospace.errors import DataError, MorphospaceError, ShapeError, StoreError
from morphospace.explore.answers import refuse
from morphospace.explore.columns import Column, Encoded, describe, encode, shown_columns
from morphospace.explore.drop import Drops
from morphospace.explore.maps import Map, crowding, principal_axes, scaled
from morphospace.explore.sprites import Sprites
from morphospace.sky.cutouts import Cutout, Cutouts
from morphospace.space.embeddings import FORM, Embeddings
from morphospace.space.kept import KINDS, Kept, kept
from morphospace.space.labels import Labels
from morphospace.space.tiles import find_rows

__all__ = ["COLOR", "Scene"]

logger = logging.getLogger(__name__)
T = TypeVar("T")
COLOR = "@color"
QUICK_MAP = "pca"
_SPECIAL = {"@cluster": "clusters", "@score": "scores", "@anomaly": "anomalies"}
_LASTING = ("columns", "shapes", "crowding", COLOR)  # whatever else is kept with the embeddings
_DRAWN_BYTES = 256 << 20  # columns and maps as they are sent


class Scene:
    """Embeddings and cutouts as the page sees them; safe to use from threads.

    Parameters
    ----------
    emb : Embeddings
    cuts : Cutouts, optional
        The store that they were made of; without it there are no pictures.
    color : sequence, optional
        A value for each row, numbers or texts, that the map is coloured by at the start.

    Attributes
    ----------
    notes : list of str
        What the observer should know, a sentence each.

    Raises
    ------
    DataError
        If the embeddings are empty, or no id of them is in the cutouts.
    ShapeError
        If `color` has another length.
    """

    def __init__(self, emb: Embeddings, cuts: Cutouts | None = None, *, color: Sequence[Any] | None = None) -> None:
        if len(emb) == 0:
            msg = f"embeddings {emb.name} hold no rows, so there is nothing to look at."
            raise DataError(msg)
        self.emb = emb
        self.cuts = cuts
        self.notes: list[str] = []
        self.drops = Drops(emb)
        self.labels = None if emb.path is None else Labels(emb)
        self.learned: Lru[object, Any] = Lru(2)
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._lock = threading.Lock()
        self._locks: dict[object, threading.Lock] = {}
        self._made: dict[object, Any] = {}
        self._drawn: Lru[object, Any] = Lru(_DRAWN_BYTES)
        self._stamp: object = None
        self._kept: dict[str, dict[str, Kept]] = {kind: {} for kind in KINDS}
        self.cut_rows = np.full(len(emb), -1, dtype=np.int64) if cuts is None else self._match(cuts)
        self.sprites = None if cuts is None else Sprites(cuts, self.cut_rows)
        self._note_unfinished()
        self._color = None if color is None else _colour_table(color, len(emb))
        self.refresh()
        if not self._fresh_maps():
            self.notes.append(
                "No map is kept with these embeddings, so two principal components are shown; "
                "morphospace project makes better ones."
            )

    def warm(self) -> None:
        """Read what the page asks for first: columns and the places of thumbnails."""
        try:
            _ = self.columns
            if self.sprites is not None:
                self.sprites.pictures(np.zeros(1, dtype=np.int64))
        except MorphospaceError as error:
            logger.info("%s", error)  # the page is told when it asks

    def scratch(self) -> Path:
        """Give a folder for files that other programs read; it goes when the scene is closed."""
        with self._lock:
            if self._scratch is None:
                self._scratch = tempfile.TemporaryDirectory(prefix="morphospace-")
            return Path(self._scratch.name)

    def close(self) -> None:
        """Let go of the labels' file and of the scratch folder."""
        if self.labels is not None:
            self.labels.close()
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch = None

    # ---- cutouts

    def _match(self, cuts: Cutouts) -> NDArray[np.int64]:
        rows = find_rows(cuts, self.emb)
        absent = int(np.count_nonzero(rows < 0))
        if absent == len(rows):
            msg = (
                f"embeddings {self.emb.name} and cutouts '{cuts.path.name}' do not belong together: no id is in both, "
                f"e.g. '{self.emb.ids[0]}'; give the cutouts that were embedded."
            )
            raise DataError(msg)
        if absent:
            self.notes.append(f"{absent:,} of {len(rows):,} objects are not in the cutouts and have no picture.")
        return rows

    def _note_unfinished(self) -> None:
        stores: list[tuple[Path, str, int]] = []
        if self.emb.path is not None:
            stores.append((self.emb.path, FORM.kind, len(self.emb)))
        if self.cuts is not None:
            stores.append((self.cuts.path, "cutouts", len(self.cuts)))
        for path, kind, n in stores:
            if not read_manifest(path, kind=kind, format_version=FORM.version).complete:
                self.notes.append(
                    f"'{path.name}' is being written, or its writing was broken off: the {n:,} rows so far are shown."
                )

    def cutout(self, row: int) -> Cutout:
        """Read the cutout of a row; an error of status 404 where there is none."""
        store = self.store()
        if self.cut_rows[row] < 0:
            msg = f"'{self.emb.ids[row]}' is not in the cutouts."
            raise refuse(msg)
        return store.read([int(self.cut_rows[row])])[0]

    def store(self) -> Cutouts:
        """Give the cutouts; an error of status 404 where none were given."""
        if self.cuts is None:
            msg = "no cutouts were given, so there are no pictures; start with: morphospace explore EMB CUTOUTS"
            raise refuse(msg)
        return self.cuts

    # ---- what is kept beside the embeddings

    def refresh(self) -> None:
        """Look for results that were kept since; a damaged one is noted and left out."""
        with self._lock:
            stamp = self._stamp_now()
            if stamp == self._stamp:
                return
            self._stamp = stamp
            self._drawn = Lru(_DRAWN_BYTES)
            self._made = {key: value for key, value in self._made.items() if key in _LASTING}
            for kind in KINDS:
                damaged: list[StoreError] = []
                self._kept[kind] = kept(self.emb, kind, damaged=damaged)
                self.notes += [str(error) for error in damaged]

    def _stamp_now(self) -> object:
        if self.emb.path is None:
            return ()
        files = (path for kind in KINDS for path in self.emb.path.glob(f"_{kind}/*.parquet"))
        return tuple(sorted((str(path), path.stat().st_mtime_ns) for path in files))

    def results(self, kind: str) -> dict[str, Kept]:
        """Give what is kept of a kind, by name; see ``morphospace.space.kept``. Their rows are on the disk."""
        return self._kept[kind]

    def result(self, kind: str, name: str) -> Kept:
        """Give one kept result whose rows are those of the embeddings; else an error of status 404 or 409."""
        found = self._kept[kind].get(name)
        if found is None or not found.current:
            self.refresh()
            found = self._kept[kind].get(name)
        if found is None:
            msg = f"there is no '{name}' among the {kind} kept with these embeddings{nearest(name, self._kept[kind])}"
            raise refuse(msg)
        if not found.fresh:
            msg = f"'{name}' was made for other rows or another space; make it again."
            raise refuse(msg, 409)
        return found

    def known_labels(self) -> Labels:
        """Give the labels, or raise a DataError where they cannot be kept."""
        return Labels(self.emb) if self.labels is None else self.labels

    # ---- maps

    def _fresh_maps(self) -> list[str]:
        return [name for name, one in self._kept["maps"].items() if one.fresh and "y" in one.columns]

    @property
    def maps(self) -> list[dict[str, Any]]:
        """Name the maps: those kept, or two principal components where there is none of these rows."""
        told = [
            {
                "name": name,
                "method": str(found.about.get("method", name)),
                "dims": 3 if "z" in found.columns else 2,
                "fresh": found.fresh,
            }
            for name, found in self._kept["maps"].items()
            if "y" in found.columns
        ]
        fresh = self._fresh_maps()
        if not fresh:
            told = [one for one in told if one["name"] != QUICK_MAP]
            told.insert(0, {"name": QUICK_MAP, "method": "pca", "dims": 2, "fresh": True})
        return told

    def map(self, name: str) -> Map:
        """Give a map on the scale of the page; an error of status 404 or 409 where it cannot be shown."""
        quick = name == QUICK_MAP and not self._fresh_maps()
        kept_map = None if quick else self.result("maps", name)

        def make() -> tuple[Map, int]:
            if kept_map is None:
                made = scaled(name, "pca", principal_axes(self.emb))
            else:
                table = kept_map.read([axis for axis in ("x", "y", "z") if axis in kept_map.columns])
                places = np.stack([axis.to_numpy() for axis in table.columns], axis=1)
                made = scaled(name, str(kept_map.about.get("method", name)), places.astype(np.float64))
            return made, made.xy.nbytes

        return self._draw(("map", name, None if kept_map is None else kept_map.stamp), make)

    def _draw(self, key: tuple[object, ...], make: Callable[[], tuple[T, int]]) -> T:
        with self._only(key):
            found: T = self._drawn.get(key, make)
            return found

    # ---- columns

    @property
    def columns(self) -> dict[str, Column]:
        """Describe all columns that can be shown, by name; read once."""
        return self.once("columns", self._describe)

    def _describe(self) -> dict[str, Column]:
        found = {name: describe(self.emb, name) for name in shown_columns(self.emb)}
        pa.default_memory_pool().release_unused()  # a tenth of a gigabyte after a million rows
        return found

    def once(self, key: object, make: Callable[[], T]) -> T:
        """Make something when it is first asked for, and keep it; what is of a result has its stamp in the key."""
        with self._only(key):
            made = self._made
            if key not in made:
                made[key] = make()
            found: T = made[key]
            return found

    def _only(self, key: object) -> threading.Lock:
        """Give the lock of one thing, so that two threads do not make it and others need not wait."""
        with self._lock:
            return self._locks.setdefault(key, threading.Lock())

    def column(self, name: str) -> Encoded:
        """Give a column as it is drawn; ``@cluster:NAME`` and the like name what is kept.

        Raises
        ------
        HTTPException
            Of status 404 where there is no such column.
        DataError
            Where it is text of many values.
        """
        kind, _, which = name.partition(":")
        found = self.result(_SPECIAL[kind], which) if kind in _SPECIAL else None

        def make() -> tuple[Encoded, int]:
            if found is not None:
                made = _column_of(found)
            else:
                made = self._special(name) if name.startswith("@") else self._plain(name)
            return made, made.values.nbytes

        return self._draw(("column", name, None if found is None else found.stamp), make)

    def _plain(self, name: str) -> Encoded:
        if name not in self.columns:
            msg = f"embeddings {self.emb.name} have no column '{name}' that can be shown{nearest(name, self.columns)}"
            raise refuse(msg)
        return encode(self.emb, self.columns[name])

    def _special(self, name: str) -> Encoded:
        if name == COLOR and self._color is not None:
            return encode(self._color, describe(self._color, "color"))
        if name.partition(":")[0] == "@density":
            return Encoded("number", self.once("crowding", lambda: crowding(self.emb)))
        msg = f"there is no column '{name}'; @cluster:, @score:, @anomaly:, @label: and @density: begin special ones."
        raise refuse(msg)

    @property
    def color_column(self) -> Column | None:
        """Describe what the caller of ``explore`` gave to colour by."""
        color = self._color
        return None if color is None else self.once(COLOR, lambda: describe(color, "color")._replace(name=COLOR))


def _column_of(found: Kept) -> Encoded:
    """Read the column of a kept result that a map is coloured by."""
    if "label" in found.columns:
        return Encoded("category", found.read(["label"])["label"].to_numpy().astype(np.int16))
    return Encoded("number", np.asarray(found.read(["score"])["score"].to_numpy(), dtype=np.float32))


def _colour_table(color: Sequence[Any], n: int) -> Embeddings:
    """Hold the values to colour by in the way of a column."""
    values = np.asarray(color)
    if values.shape != (n,):
        msg = f"color must have one value for each of the {n} rows; got shape {values.shape}."
        raise ShapeError(msg)
    if values.dtype.kind in "OUS" or values.dtype.kind == "b":
        values = np.array([None if v is None else str(v) for v in values.tolist()], dtype=object)
    ids = [str(i) for i in range(n)]
    return Embeddings.from_arrays(None, ids, np.zeros((n, 1), np.float32), {"color": pa.array(values)})
