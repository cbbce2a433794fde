"""The page as one file that opens from disk: no server, no network."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from morphospace._manifest import replacing
from morphospace.errors import ConfigError, StoreError
from morphospace.explore.answers import told_json
from morphospace.explore.labelling import describe_sets, labels_of
from morphospace.explore.pixels import orientation, pixels_of, shrunk
from morphospace.explore.results import describe_anomalies, describe_clusters
from morphospace.explore.routes import band_names, column_of, describe_rows, describe_space, finite
from morphospace.explore.scene import Scene
from morphospace.explore.sprites import MOST_CELLS, Sprites
from morphospace.sky.cutouts import Cutout

__all__ = ["MOST_OBJECTS", "page_data", "write_page"]

MOST_OBJECTS = 5_000
THUMB_SIZE = 48
_SLOT = "<!--MORPHOSPACE-DATA-->"
_SIDES = (64, 48, 32)  # pixels: the largest that keeps the file small enough
_PIXEL_BYTES = 24 << 20
_MASKED = 65_535
_ROWS_AT_ONCE = 256


def write_page(scene: Scene, out: str | Path, static: Path, *, overwrite: bool = False) -> Path:
    """Write the page with all that it shows into one HTML file.

    Parameters
    ----------
    scene : Scene
        Of up to 5,000 objects.
    out : path
        File to write; written beside and renamed.
    static : Path
        Folder of the built page.
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    Path

    Raises
    ------
    ConfigError
        If there are more objects.
    StoreError
        If the file is there and `overwrite` is not given, or it cannot be written.
    """
    path, n = Path(out), len(scene.emb)
    if n > MOST_OBJECTS:
        msg = (
            f"one page holds up to {MOST_OBJECTS:,} objects and embeddings {scene.emb.name} have {n:,}; "
            "choose some with emb.keep(rows), or explore them without export."
        )
        raise ConfigError(msg)
    if path.exists() and not overwrite:
        msg = f"'{path}' is there already; choose another name or give overwrite=True (--overwrite)."
        raise StoreError(msg)
    try:
        page = (static / "single.html").read_text("utf-8")
    except OSError:
        page = ""
    before, slot, after = page.partition(_SLOT)
    if not slot:
        msg = "the built page 'single.html' is not in this installation; install morphospace again."
        raise StoreError(msg)
    data = told_json(page_data(scene))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            beside.write_text(
                f'{before}<script type="application/json" id="morphospace-data">{data}</script>{after}', "utf-8"
            )
    except OSError as error:
        msg = f"'{path}' cannot be written ({error})."
        raise StoreError(msg) from error
    return path


def page_data(scene: Scene) -> dict[str, Any]:
    """Gather what the page asks a server for; what is not there is left out.

    Names of files lose their folders, which are nobody else's business. Of more than 5,000 objects the map and what it
    can be coloured by are all.
    """
    told = describe_space(scene)
    told |= {"export": True, "samp": False, "drop": False, "run": PurePath(told["run"]).name}
    maps = [one["name"] for one in scene.maps if one["fresh"]]
    data: dict[str, Any] = {
        "space": told,
        "maps": {name: _base64(scene.map(name).xy) for name in maps},
        "columns": {name: _column(scene, name) for name in _column_names(told, maps)},
    }
    if len(scene.emb) > MOST_OBJECTS:
        return data
    data |= {
        "rows": _rows(scene),
        "vectors": {"dim": scene.emb.dim, "data": _base64(_unit_vectors(scene.emb.vectors))},
        "clusters": {one["name"]: describe_clusters(scene, one["name"]) for one in told["clusters"] if one["fresh"]},
        "anomalies": {
            one["name"]: describe_anomalies(scene, one["name"], 0, MOST_OBJECTS)
            for one in told["anomalies"]
            if one["fresh"]
        },
        "labels": {one["name"]: labels_of(scene, one["name"]) for one in describe_sets(scene)},
    }
    if scene.sprites is not None:
        data["thumbs"] = _thumbs(scene, scene.sprites)
        pixels = _Pixels.of(scene)
        told["notes"].append(_about_pixels(pixels))
        data |= {} if pixels is None else {"pixels": pixels.told(), "meta": pixels.meta}
    return data


def _rows(scene: Scene) -> list[dict[str, Any]]:
    rows = describe_rows(scene, np.arange(len(scene.emb)))
    for row in rows:
        row["source"] = _file_name(row["source"])
        row["columns"] = {name: value for name, value in row["columns"].items() if name != "sha256"}
        if "source" in row["columns"]:
            row["columns"]["source"] = row["source"]
    return rows


def _file_name(path: str | None) -> str | None:
    return None if path is None else path.replace("\\", "/").rpartition("/")[2]


def _column_names(told: dict[str, Any], maps: Sequence[str]) -> list[str]:
    names = [one["name"] for one in told["columns"] if one["kind"] != "text"]
    names += [f"@density:{name}" for name in maps]
    names += [f"@label:{one['name']}" for one in told["label_sets"]]
    for key, sign in (("clusters", "@cluster:"), ("scores", "@score:"), ("anomalies", "@anomaly:")):
        names += [f"{sign}{one['name']}" for one in told[key] if one["fresh"]]
    return names


def _column(scene: Scene, name: str) -> dict[str, Any]:
    found = column_of(scene, name)
    categories = {"categories": found.categories} if found.categories else {}
    return {"kind": found.kind, **categories, "data": _base64(found.values)}


def _base64(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values, values.dtype.newbyteorder("<")).data.cast("B")).decode()


def _unit_vectors(vectors: NDArray[np.float32]) -> NDArray[np.float16]:
    """Scale to length 1; a row that has no direction is NaN."""
    with np.errstate(all="ignore"):
        longest = np.abs(vectors).max(axis=1, keepdims=True)
        unit = vectors / longest
        return np.asarray(unit / np.linalg.norm(unit, axis=1, keepdims=True), dtype=np.float16)


def _thumbs(scene: Scene, sprites: Sprites) -> dict[str, Any]:
    """Give all thumbnails in sheets of 16 x 16."""
    n, side = len(scene.emb), math.isqrt(MOST_CELLS)
    urls = []
    for start in range(0, n, MOST_CELLS):
        sheet = sprites.sheet(np.arange(start, min(start + MOST_CELLS, n)), THUMB_SIZE, columns=side)
        urls.append(f"data:image/jpeg;base64,{base64.b64encode(sheet).decode()}")
    return {"size": THUMB_SIZE, "columns": side, "per_sprite": MOST_CELLS, "sprites": urls}


def _about_pixels(pixels: _Pixels | None) -> str:
    if pixels is None:
        return "This file holds thumbnails and no pixels, since these would be too many."
    return f"This file holds the pixels averaged to {pixels.steps.shape[-1]} on the longer side."


class _Pixels(NamedTuple):
    """Small images of all objects, in 65,534 steps between the lowest and highest value of each band."""

    bands: list[str]
    unit: str
    steps: NDArray[np.uint16]  # (N, C, side, side); 65535: masked or outside
    low: NDArray[np.float64]  # (N, C)
    high: NDArray[np.float64]
    meta: list[dict[str, Any]]

    @classmethod
    def of(cls, scene: Scene) -> _Pixels | None:
        """Read them; None with different numbers of bands, or if they would be too many."""
        n, there = len(scene.emb), np.flatnonzero(scene.cut_rows >= 0)
        first = scene.cutout(int(there[0]))
        bands = len(first.image)
        side = next((s for s in _SIDES if n * bands * s * s * 2 <= _PIXEL_BYTES), None)
        if side is None or scene.cuts is None:
            return None
        steps = np.full((n, bands, side, side), _MASKED, dtype=np.uint16)
        low, high = np.zeros((n, bands)), np.zeros((n, bands))
        meta: list[dict[str, Any]] = [{} for _ in range(n)]
        for start in range(0, len(there), _ROWS_AT_ONCE):
            rows = there[start : start + _ROWS_AT_ONCE]
            for row, cutout in zip(rows.tolist(), scene.cuts.read(scene.cut_rows[rows]), strict=True):
                if len(cutout.image) != bands:
                    return None
                for band, plane in enumerate(_small(cutout, side)):
                    low[row, band], high[row, band] = _fill(steps[row, band], plane)
                meta[row] = _meta(cutout)
        return cls(band_names(first), first.unit or "", steps, low, high, meta)

    def told(self) -> dict[str, Any]:
        """Give them as the page takes them: value = lo + q (hi - lo) / 65534."""
        about = {"bands": self.bands, "unit": self.unit, "shape": self.steps.shape[1:], "dtype": "uint16"}
        return {**about, "lo": self.low.ravel(), "hi": self.high.ravel(), "data": _base64(self.steps)}


def _meta(cutout: Cutout) -> dict[str, Any]:
    bands, longer = len(cutout.image), max(cutout.image.shape[1:])
    return {
        "level": finite(cutout.level, bands),
        "sigma": finite(cutout.sigma, bands),
        "orientation": orientation(cutout),
        "full_shape": (bands, longer, longer),  # of the square that the image is the middle of
    }


@np.errstate(over="ignore", invalid="ignore")
def _small(cutout: Cutout, side: int) -> NDArray[np.float32]:
    """Average an image so that its longer side is ``side``, or repeat its pixels where it is smaller."""
    flux = pixels_of(cutout, max(cutout.image.shape)).flux
    height, width = flux.shape[1:]
    size = (max(1, round(width * side / max(height, width))), max(1, round(height * side / max(height, width))))
    return np.stack([shrunk(plane, size) for plane in flux])


def _fill(steps: NDArray[np.uint16], small: NDArray[np.float32]) -> tuple[float, float]:
    """Write a plane into the middle of its square; give its lowest and highest value."""
    good = np.isfinite(small)
    if not good.any():
        return 0.0, 0.0
    low, high = float(small[good].min()), float(small[good].max())
    scaled = (np.where(good, small, low).astype(np.float64) - low) * ((_MASKED - 1) / (high - low) if high > low else 0)
    top, left = (steps.shape[0] - small.shape[0]) // 2, (steps.shape[1] - small.shape[1]) // 2
    found = np.where(good, np.rint(scaled), _MASKED).astype(np.uint16)
    steps[top : top + small.shape[0], left : left + small.shape[1]] = found
    return low, high
