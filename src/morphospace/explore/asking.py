"""What the page asks of the run: where a new image lies, and what makes two objects alike."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from starlette.responses import Response

from morphospace.errors import DataError, MorphospaceError
from morphospace.explore.answers import Asked, text, told, whole
from morphospace.explore.drop import Dropped
from morphospace.explore.questions import describe_hits
from morphospace.explore.routes import pixels_answer
from morphospace.explore.scene import Scene
from morphospace.explore.sprites import sheet
from morphospace.sky.thumbs import make_thumb
from morphospace.space.alike import Heat, alike
from morphospace.space.project import open_projection
from morphospace.space.search import search

__all__ = ["compare", "drop", "dropped_pixels", "dropped_thumb"]

logger = logging.getLogger(__name__)
_N_HITS = 12
_MOST_HEAT = 96  # cells of a heat map along the longer side
_N_PLACED = 3  # neighbours whose mean place is that of a new image where the map itself places none


def drop(scene: Scene, asked: Asked) -> Response:
    """Answer /api/drop: what a new image is like, and where it lies."""
    name = text(asked.query.get("name"), "name", most=1_000) or "dropped"
    token = scene.drops.take(name, asked.body)
    found = scene.drops.get(token)
    hits = search(scene.emb, found.emb, k=_N_HITS)
    return told(
        {
            "dropped": token,
            "name": found.cutout.id,
            "shape": found.cutout.image.shape,
            "place": _places(scene, found),
            "novelty": found.novelty,
            **describe_hits(hits),
        }
    )


def _places(scene: Scene, found: Dropped) -> dict[str, list[float]]:
    """Place a new image on every map that can be shown: as the map does it, else among its nearest neighbours."""
    shown = [one["name"] for one in scene.maps if one["fresh"]]
    return {name: place for name in shown if (place := _place(scene, found, name)) is not None}


def _place(scene: Scene, found: Dropped, name: str) -> list[float] | None:
    shown = scene.map(name)
    if name in scene.results("maps"):
        try:
            stamp = scene.result("maps", name).stamp
            projection = scene.once(("projection", name, stamp), lambda: open_projection(scene.emb, name))
            place = shown.put(projection.place(found.emb.vectors))[0]
            if np.isfinite(place).all():
                return [float(x) for x in place]
        except MorphospaceError as error:
            logger.info("map '%s' places no new image (%s); the mean of its neighbours' places is shown", name, error)
    near = search(scene.emb, found.emb, k=_N_PLACED)
    xy = shown.xy[near.rows]
    weights = np.clip(near.similarities, 1e-6, None) * np.isfinite(xy).all(axis=1)
    return (weights @ np.nan_to_num(xy) / weights.sum()).tolist() if weights.sum() > 0 else None


def dropped_pixels(scene: Scene, asked: Asked) -> Response:
    """Answer /api/pixels/dropped/TOKEN: as the pixels of a row."""
    return pixels_answer(scene.drops.get(asked.path["token"]).cutout, asked)


def dropped_thumb(scene: Scene, asked: Asked) -> Response:
    """Answer /api/thumbs/dropped/TOKEN: one picture."""
    size = asked.number("size", 64, least=16, most=128)
    return Response(sheet([make_thumb(scene.drops.get(asked.path["token"]).cutout)], size), media_type="image/jpeg")


def compare(scene: Scene, asked: Asked) -> Response:
    """Answer /api/alike: what makes two objects alike, as heat maps over their whole images."""
    want, most = asked.json(), len(scene.emb) - 1
    rows = [whole(want.get(key), key, least=0, most=most) for key in ("a", "b")]
    if rows[0] == rows[1]:
        msg = "choose two different objects to see what makes them alike."
        raise DataError(msg)
    cutouts = [scene.cutout(row) for row in rows]
    store = scene.store().keep(scene.cut_rows[rows])
    with scene.drops.kernel() as kernel:
        found = alike(kernel, store, a=cutouts[0].id, b=cutouts[1].id)
    told_of: dict[str, Any] = {"similarity": found.similarity}
    for name, heat, cutout, strength in zip("ab", (found.a, found.b), cutouts, found.shown(), strict=True):
        over = _over_image(strength, heat, cutout.image.shape[-2:])
        told_of[name] = {"shape": over.shape, "heat": np.round(over, 4).ravel()}
    return told(told_of)


def _over_image(strength: NDArray[np.float64], heat: Heat, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """Bring a map of the network's view to the frame of the image; 0 where the network did not look."""
    factor = min(1.0, _MOST_HEAT / max(shape))
    cells = [max(1, round(length * factor)) for length in shape]
    # from the centre, which both share
    places = [((np.arange(n) + 0.5) / n - 0.5) * length for n, length in zip(cells, shape, strict=True)]
    y, x = np.meshgrid(*places, indexing="ij")
    cos, sin = np.cos(heat.angle), np.sin(heat.angle)
    turned = (cos * y - sin * x, cos * x + sin * y)
    at = [offset / heat.pixels + (side - 1) / 2 for offset, side in zip(turned, strength.shape, strict=True)]
    return np.asarray(map_coordinates(strength, at, order=1, mode="constant"))
