"""Clusters and anomalies that were kept with the embeddings, as galleries and lists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
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
        labels = found.read(["label"])["label"].to_numpy()
        typicality = _column(found, "typicality", len(labels))
        k = int(labels.max(initial=-1)) + 1
        stability = found.about.get("rands")
        told_of = [_cluster(found, labels, typicality, label, _at(stability, label)) for label in range(k)]
        return {"k": k, "figures": found.about, "n_none": int((labels < 0).sum()), "clusters": told_of}

    return scene.once(("clusters", name, found.stamp), describe)


def _cluster(
    found: Kept, labels: NDArray[Any], typicality: NDArray[Any], label: int, stability: object
) -> dict[str, Any]:
    rows = np.flatnonzero(labels == label)
    sure = _column(found, f"p_{label}", len(labels))[rows]  # one at a time: a million rows in 50 clusters are 200 MB
    typical = rows[np.argsort(-np.nan_to_num(typicality[rows]), kind="stable")[:_N_SHOWN]]
    drawn = np.random.default_rng((_SEED, label)).permutation(rows)[:_N_SHOWN]
    return {
        "label": label,
        "n": len(rows),
        "typical": typical,
        "random": drawn,
        "stability": stability,
        "mean_probability": float(sure.mean()) if len(rows) else None,
    }


def _column(found: Kept, name: str, n: int) -> NDArray[Any]:
    """Read a column; NaN where the result has none."""
    return np.asarray(found.read([name])[name].to_numpy()) if name in found.columns else np.full(n, np.nan)


def _at(values: object, place: int) -> object:
    return values[place] if isinstance(values, list) and place < len(values) else None


def anomalies(scene: Scene, asked: Asked) -> Response:
    """Answer /api/anomalies/NAME: the odd ones, the oddest first, with the reason in words."""
    offset = asked.number("offset", 0, least=0, most=1 << 40)
    limit = asked.number("limit", 100, least=1, most=_MOST_LISTED)
    return told(describe_anomalies(scene, asked.path["name"], offset, limit))


def describe_anomalies(scene: Scene, name: str, offset: int, limit: int) -> list[dict[str, Any]]:
    """List rows of a kept result in the order of their rank; rows without a rank are left out."""
    found = scene.result("anomalies", name)
    ranked = scene.once(("anomalies", name, found.stamp), lambda: _ranked(found.read(["rank", "score", "reason"])))
    lines: list[dict[str, Any]] = ranked.slice(offset, limit).to_pylist()
    return lines


def _ranked(table: pa.Table) -> pa.Table:
    """Order rows by rank, from 1 on, with their numbers as column ``row``; 0, -1 or missing means that one has none."""
    place = np.nan_to_num(table["rank"].to_numpy().astype(np.float64), nan=0.0)
    order = np.argsort(place, kind="stable")
    order = order[place[order] > 0]
    return table.take(order).add_column(0, "row", [order])
