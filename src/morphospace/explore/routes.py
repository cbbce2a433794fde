"""What the page may read: the space, its maps and columns, rows, pictures and pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from morphospace.errors import DataError
from morphospace.explore.answers import Asked, arrays, joined, told, told_json, whole
from morphospace.explore.columns import Encoded
from morphospace.explore.labelling import describe_sets, label_column
from morphospace.explore.pixels import orientation, pixels_of
from morphospace.explore.scene import COLOR, Scene
from morphospace.explore.sprites import MOST_CELLS, Sprites
from morphospace.runs import STARTER
from morphospace.sky.cutouts import Cutout
from morphospace.sky.flags import DEFINITIONS, decode_flags
from morphospace.space.kept import Kept

__all__ = [
    "band_names",
    "column",
    "describe_rows",
    "describe_space",
    "finite",
    "map_places",
    "pixels",
    "pixels_answer",
    "rows",
    "space",
    "thumbs",
]

LABEL = "@label:"
_MOST_ROWS = 500
_MOST_PIXELS = 2048


def describe_space(scene: Scene) -> dict[str, Any]:
    """Tell all that the page needs to know before it asks for anything else."""
    emb, cuts = scene.emb, scene.cuts
    run = str(emb.provenance.get("run", ""))
    columns = [c._asdict() for c in scene.columns.values()]
    if scene.color_column is not None:
        columns.insert(0, scene.color_column._asdict())
    return {
        "name": emb.path.name if emb.path is not None else "embeddings",
        "n": len(emb),
        "dim": emb.dim,
        "space_id": emb.space_id,
        "run": run,
        "starter": run == str(STARTER) or run == "starter",
        "store": None if cuts is None else cuts.path.name,
        "n_cutouts": 0 if cuts is None else int(np.count_nonzero(scene.cut_rows >= 0)),
        "version": version("morphospace"),
        "bands": _bands(scene),
        "average": emb.provenance.get("average"),
        "columns": columns,
        "color": None if scene.color_column is None else COLOR,
        "maps": scene.maps,
        "n_maps": len(scene.maps),
        "clusters": [
            {"name": name, "k": _k(scene, found), "about": found.about, "fresh": found.fresh}
            for name, found in scene.results("clusters").items()
        ],
        "anomalies": [
            {"name": name, "about": found.about, "fresh": found.fresh}
            for name, found in scene.results("anomalies").items()
        ],
        "scores": [{"name": name, "fresh": found.fresh} for name, found in scene.results("scores").items()],
        "label_sets": describe_sets(scene),
        "positions": {"ra", "dec"} <= set(emb.columns),
        "scale_default": emb.provenance.get("preparation", {}),
        "density": True,
        "flags": [{"bit": int(d.flag), "name": d.flag.name, "description": d.description} for d in DEFINITIONS],
        "samp": True,
        "thumbs": cuts is not None,
        "drop": bool(run),
        "export": False,
        "notes": list(dict.fromkeys(scene.notes)),
    }


def _k(scene: Scene, found: Kept) -> int:
    def count() -> int:
        return int(found.read(["label"])["label"].to_numpy().max(initial=-1)) + 1

    return scene.once(("k", found.name, found.stamp), count)


def _bands(scene: Scene) -> list[str]:
    """Name the bands of the first object that has a cutout."""
    there = np.flatnonzero(scene.cut_rows >= 0)
    if not len(there):
        return []
    return band_names(scene.cutout(int(there[0])))


def space(scene: Scene, asked: Asked) -> Response:
    """Answer /api/space."""
    scene.refresh()
    return told(describe_space(scene))


def map_places(scene: Scene, asked: Asked) -> Response:
    """Answer /api/map/NAME: float32 (N, dims)."""
    found = scene.map(asked.path["name"])
    return arrays(found.xy, {"X-Dims": str(found.xy.shape[1])})


def column(scene: Scene, asked: Asked) -> Response:
    """Answer /api/column/NAME: float32, or int16 codes of a category."""
    found = column_of(scene, asked.path["name"])
    return arrays(found.values, {"X-Kind": found.kind})


def column_of(scene: Scene, name: str) -> Encoded:
    """Give a column as it is drawn; a label set changes with each click, so it is read anew."""
    return label_column(scene, name.removeprefix(LABEL)) if name.startswith(LABEL) else scene.column(name)


def rows(scene: Scene, asked: Asked) -> Response:
    """Answer /api/rows: all that is known of up to 500 objects."""
    return told(describe_rows(scene, asked.rows(len(scene.emb), most=_MOST_ROWS)))


def describe_rows(
    scene: Scene, wanted: NDArray[np.int64], columns: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """Tell what is known of some rows.

    Parameters
    ----------
    scene : Scene
    wanted : array of int, (n,)
    columns : sequence of str, optional
        Those of the columns that are told; default all that can be shown.
    """
    emb = scene.emb
    own = [name for name in ("source", "object", "ra", "dec", "flags", "pixel_scale_arcsec") if name in emb.columns]
    shown = list(scene.columns) if columns is None else list(columns)
    table = emb.table(list(dict.fromkeys(["id", *own, *shown]))).take(wanted)
    shapes = _shapes(scene, wanted)
    found = []
    for row, values, shape in zip(wanted.tolist(), table.to_pylist(), shapes, strict=True):
        one = {"row": row, "id": values["id"], "shape": shape}
        one |= {name: values.get(name) for name in ("source", "object", "ra", "dec", "pixel_scale_arcsec")}
        one["flags"] = list(decode_flags(int(values.get("flags") or 0)))
        one["columns"] = {name: values[name] for name in shown}
        found.append(one)
    return found


def _shapes(scene: Scene, wanted: NDArray[np.int64]) -> list[list[int] | None]:
    cuts = scene.cuts
    if cuts is None:
        return [None] * len(wanted)
    every = scene.once("shapes", lambda: cuts.table(["shape"])["shape"])
    at = scene.cut_rows[wanted]
    known = iter(every.take(at[at >= 0]).to_pylist())
    return [next(known) if row >= 0 else None for row in at]


def thumbs(scene: Scene, asked: Asked) -> Response:
    """Answer /api/thumbs: one JPEG of up to 256 thumbnails."""
    wanted = asked.rows(len(scene.emb), most=MOST_CELLS)
    size = asked.number("size", 64, least=16, most=128)
    sprites = scene.sprites or Sprites(scene.store(), scene.cut_rows)
    if not len(wanted):
        msg = "rows must name at least one row."
        raise DataError(msg)
    return Response(sprites.sheet(wanted, size), media_type="image/jpeg")


def pixels(scene: Scene, asked: Asked) -> Response:
    """Answer /api/pixels/ROW: float32 (C, H, W)."""
    row = whole(asked.path["row"], "row", least=0, most=len(scene.emb) - 1)
    return pixels_answer(scene.cutout(row), asked)


def pixels_answer(cutout: Cutout, asked: Asked) -> Response:
    """Answer with the flux of a cutout and what its headers say."""
    found = pixels_of(cutout, asked.number("most", 512, least=8, most=_MOST_PIXELS))
    n = len(found.flux)
    headers = {
        "X-Id": joined([cutout.id]),
        "X-Shape": joined(found.flux.shape),
        "X-Full-Shape": joined(found.full_shape),
        "X-Level": joined(finite(cutout.level, n)),
        "X-Sigma": joined(finite(cutout.sigma, n)),
        "X-Bands": joined(band_names(cutout)),
        "X-Unit": joined([cutout.unit or ""]),
        "X-Orientation": told_json(orientation(cutout)),
    }
    return arrays(found.flux, headers)


def finite(values: Sequence[float], n: int) -> list[float | None]:
    """Give one value for each of n bands, None where it is unknown."""
    return [value if math.isfinite(value) else None for value in values] if values else [None] * n


def band_names(cutout: Cutout) -> list[str]:
    """Name the bands of a cutout, by their numbers where they have no names."""
    return list(cutout.bands) or [str(band) for band in range(len(cutout.image))]
