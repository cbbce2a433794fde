"""What the page asks that takes work: tables, conditions, neighbours, a selection for other programs."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from starlette.responses import Response

from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError
from morphospace.explore.answers import Asked, arrays, row_numbers, text, told, whole
from morphospace.explore.routes import column_of, describe_rows
from morphospace.explore.scene import Scene
from morphospace.space.embeddings import Embeddings
from morphospace.space.export import FORMATS, export
from morphospace.space.search import Hits, search
from morphospace.space.where import columns_of, rows_where

__all__ = ["describe_hits", "export_selection", "find_neighbours", "neighbours", "table", "where"]

_MOST_EXAMPLES = 1_000
_MOST_HITS = 1_000
_MOST_LINES = 200
_MEDIA = {
    "csv": "text/csv; charset=utf-8",
    "votable": "application/x-votable+xml",
    "fits": "application/fits",
    "parquet": "application/vnd.apache.parquet",
}
_SUFFIX = {"csv": ".csv", "votable": ".vot", "fits": ".fits", "parquet": ".parquet"}


def rows_that(scene: Scene, condition: str) -> NDArray[np.int64]:
    """Find the rows that meet a condition, as ``--where`` on the command line."""
    emb = scene.emb
    names = columns_of(condition, emb.columns)
    return np.flatnonzero(rows_where(emb.table(list(dict.fromkeys(["id", *names]))), condition))


def where(scene: Scene, asked: Asked) -> Response:
    """Answer /api/where: uint32 row numbers."""
    condition = text(asked.json().get("where"), "where")
    found = np.arange(len(scene.emb)) if condition is None else rows_that(scene, condition)
    return arrays(found.astype(np.uint32))


def table(scene: Scene, asked: Asked) -> Response:
    """Answer /api/table: some lines of the table of rows, in the order asked for."""
    want = asked.json()
    n = len(scene.emb)
    chosen = np.arange(n) if want.get("rows") is None else row_numbers(want["rows"], n, most=n)
    condition = text(want.get("where"), "where")
    if condition is not None:
        chosen = chosen[np.isin(chosen, rows_that(scene, condition))]
    sort = text(want.get("sort"), "sort")
    if sort is not None:
        chosen = chosen[_order(scene, chosen, sort, descending=want.get("descending") is True)]
    offset = whole(want.get("offset", 0), "offset", least=0, most=1 << 40)
    limit = whole(want.get("limit", 50), "limit", least=1, most=_MOST_LINES)
    columns = _columns(scene, want.get("columns"))
    return told({"total": len(chosen), "rows": describe_rows(scene, chosen[offset : offset + limit], columns)})


def _columns(scene: Scene, wanted: object) -> list[str] | None:
    if wanted is None or wanted == []:
        return None
    if not isinstance(wanted, list) or any(not isinstance(name, str) for name in wanted):
        msg = "columns must be a list of names."
        raise DataError(msg)
    for name in wanted:
        if name not in scene.columns:
            msg = f"embeddings {scene.emb.name} have no column '{name}' that can be shown{nearest(name, scene.columns)}"
            raise ConfigError(msg)
    return wanted


def _order(scene: Scene, chosen: NDArray[np.int64], sort: str, *, descending: bool) -> NDArray[np.int64]:
    """Sort rows by a column; rows without a value come last, equal ones stay in order."""
    if sort.startswith("@"):
        column = column_of(scene, sort)
        found = column.values[chosen]
        values = pa.array(found, mask=found < 0 if column.kind == "category" else None)  # -1: in no class
    elif sort == "row":
        values = pa.array(chosen)
    else:
        values = scene.emb.table([_sortable(scene, sort)])[sort].take(chosen)
    if pa.types.is_floating(values.type):  # a NaN is no value either
        values = pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)
    keys = [("value", "descending" if descending else "ascending"), ("at", "ascending")]
    both = pa.table({"value": values, "at": np.arange(len(chosen))})
    return np.asarray(pc.sort_indices(both, sort_keys=keys), dtype=np.int64)


def _sortable(scene: Scene, name: str) -> str:
    known = ["id", *scene.columns]
    if name not in known:
        msg = f"embeddings {scene.emb.name} have no column '{name}' to sort by{nearest(name, known)}"
        raise ConfigError(msg)
    return name


def neighbours(scene: Scene, asked: Asked) -> Response:
    """Answer /api/neighbours: what is like these and unlike those."""
    want = asked.json()
    n = len(scene.emb)
    like = row_numbers(want.get("like", []), n, most=_MOST_EXAMPLES)
    unlike = row_numbers(want.get("unlike", []), n, most=_MOST_EXAMPLES)
    examples = [scene.emb.keep(like)] if len(like) else []
    if want.get("dropped") is not None:
        examples.append(scene.drops.get(text(want["dropped"], "dropped") or "").emb)
    return told(describe_hits(find_neighbours(scene, examples, unlike, want)))


def find_neighbours(scene: Scene, examples: list[Embeddings], unlike: NDArray[np.int64], want: dict[str, Any]) -> Hits:
    """Search with the settings of a question; see ``morphospace.search``."""
    if not examples:
        msg = "choose at least one object to find the neighbours of."
        raise DataError(msg)
    return search(
        scene.emb,
        examples[0] if len(examples) == 1 else examples,
        not_like=scene.emb.keep(unlike) if len(unlike) else (),
        k=whole(want.get("k", 24), "k", least=1, most=_MOST_HITS),
        where=text(want.get("where"), "where"),
        exclude_radius=text(want.get("exclude_radius"), "exclude_radius"),
    )


def describe_hits(hits: Hits) -> dict[str, Any]:
    """Tell what a search found."""
    found = zip(hits.rows, hits.ids, hits.similarities, hits.quantiles, strict=True)
    return {
        "hits": [{"row": r, "id": i, "similarity": s, "quantile": q} for r, i, s, q in found],
        "n_searched": hits.n_searched,
        "query": hits.query,
    }


def export_selection(scene: Scene, asked: Asked) -> Response:
    """Answer /api/selection/export: the rows with their vectors and columns, as a file."""
    want = asked.json()
    chosen = row_numbers(want.get("rows"), len(scene.emb), most=len(scene.emb))
    name = str(want.get("format", "csv"))
    if name not in _SUFFIX:
        msg = f"unknown format '{name[:40]}' of a selection; there are {', '.join(f for f in FORMATS if f in _SUFFIX)}."
        raise ConfigError(msg)
    if not len(chosen):
        msg = "nothing is selected, so there is nothing to write."
        raise DataError(msg)
    stem = scene.emb.path.stem if scene.emb.path is not None else "selection"
    file = f"{stem}-{len(chosen)}{_SUFFIX[name]}"
    return Response(
        file_of(scene.emb.keep(chosen), name),
        media_type=_MEDIA[name],
        headers={"Content-Disposition": f"attachment; filename*=UTF-8''{quote(file)}"},
    )


def file_of(emb: Embeddings, name: str) -> bytes:
    """Write embeddings in a format of ``morphospace export`` and give the bytes."""
    with tempfile.TemporaryDirectory() as folder:
        return export(emb, Path(folder) / f"selection{_SUFFIX[name]}", format=name).read_bytes()
