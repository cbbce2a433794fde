"""Clusters and anomalies that were kept with the embeddings, as galleries and lists."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from morphospace.explore.answers import Asked, told
from morphospace.explore.scene import Scene
from morphospace.space.kept import Kept

__all__ = ["anomalies", "clusters", "describe_anomalies", "describe_clusters"]

_N_SHOWN = 12  # of each cluster, the most typical and random ones
_MOST_LISTED = 500
_SEED = 0


def clusters(scene: Scene, asked: Asked) -> Response:
    """Answer /api/clusters/NAME: each cluster with its most typical members and random ones."""
    return told(describe_clusters(scene, asked.path["name"]))


def describe_clusters(scene: Scene, name: str) -> dict[str, Any]:
    """Tell what is in each cluster of a kept result."""
    found = scene.result("clusters", name)

    def describe() -> dict[str, Any]:
        labels = found.table["label"].to_numpy()
        k = int(labels.max(initial=-1)) + 1
        stability = found.about.get("rands")
        told_of = [_cluster(found, labels, label, _at(stability, label)) for label in range(k)]
        return {"k": k, "figures": found.about, "n_none": int((labels < 0).sum()), "clusters": told_of}

    return scene.once(("clusters", name), describe)


def _cluster(found: Kept, labels: NDArray[Any], label: int, stability: object) -> dict[str, Any]:
    rows = np.flatnonzero(labels == label)
    sure = _of(found, f"p_{label}", rows)
    typical = rows[np.argsort(-np.nan_to_num(_of(found, "typicality", rows)), kind="stable")[:_N_SHOWN]]
    drawn = np.random.default_rng((_SEED, label)).permutation(rows)[:_N_SHOWN]
    return {
        "label": label,
        "n": len(rows),
        "typical": typical,
        "random": drawn,
        "stability": stability,
        "mean_probability": float(sure.mean()) if len(rows) else None,
    }


def _of(found: Kept, column: str, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """Take some rows of a column; NaN where the result has none."""
    if column not in found.table.column_names:
        return np.full(len(rows), np.nan)
    return np.asarray(found.table[column].to_numpy()[rows], dtype=np.float64)


def _at(values: object, place: int) -> object:
    return values[place] if isinstance(values, list) and place < len(values) else None


def anomalies(scene: Scene, asked: Asked) -> Response:
    """Answer /api/anomalies/NAME: the odd ones, the oddest first, with the reason in words."""
    offset = asked.number("offset", 0, least=0, most=1 << 40)
    limit = asked.number("limit", 100, least=1, most=_MOST_LISTED)
    return told(describe_anomalies(scene, asked.path["name"], offset, limit))


def describe_anomalies(scene: Scene, name: str, offset: int, limit: int) -> list[dict[str, Any]]:
    """List rows of a kept result in the order of their rank; rows without a rank are left out."""
    table = scene.result("anomalies", name).table
    order = scene.once(("anomalies", name), lambda: _ranked(table["rank"].to_numpy()))
    some = order[offset : offset + limit]
    lines = table.select(["rank", "score", "reason"]).take(some).to_pylist()
    return [{"row": row, **line} for row, line in zip(some.tolist(), lines, strict=True)]


def _ranked(rank: NDArray[Any]) -> NDArray[np.int64]:
    """Order the rows by rank: from 1 on; 0, -1 or missing means that a row has none."""
    place = np.nan_to_num(rank.astype(np.float64), nan=0.0)
    order = np.argsort(place, kind="stable")
    return order[place[order] > 0]
