"""Exact top-10 search: time of a query against plain numpy on the same vectors, and bytes of the vectors on disk."""

from __future__ import annotations

import tempfile
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from _env import arguments, median_of, paired, print_environment, report, set_threads
from morphospace.space.embeddings import Embeddings
from morphospace.space.search import search

K = 10
TARGET_MS = 100.0
TARGET_BYTES = 1.05
N_CLUSTERS = 1000


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000, help="vectors")
    parser.add_argument("--dim", type=int, default=128, help="dimensions")
    parser.add_argument("--repeats", type=int, default=15, help="queries timed, ours and numpy's in turn")
    options = parser.parse_args()
    if options.quick:
        options.rows, options.repeats = min(options.rows, 20_000), min(options.repeats, 5)
    set_threads(options.threads)
    print_environment(rows=options.rows, dim=options.dim, seed=options.seed)

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "bench.emb"
        write_s = write(path, options)
        n_bytes = 4 * options.rows * options.dim
        on_disk = {
            "vector_bytes_ratio": vector_bytes(path) / n_bytes,
            "folder_bytes_ratio": sum(file.stat().st_size for file in path.iterdir()) / n_bytes,
            "write_s": write_s,
        }
        measure(Embeddings.open(path), options, on_disk)


def write(path: Path, options) -> float:
    vectors = make_vectors(options.rows, options.dim, options.seed)
    ids = [f"object-{row:08d}" for row in range(options.rows)]
    return seconds(lambda: Embeddings.from_arrays(path, ids, vectors))


def measure(emb: Embeddings, options, on_disk: dict[str, float]) -> None:
    open_s = seconds(lambda: emb.vectors)
    index = emb.index()
    index_s = seconds(lambda: index.valid)
    # unit vectors made ahead, for numpy's sake
    unit = emb.vectors / np.linalg.norm(emb.vectors, axis=1, keepdims=True)
    rng = np.random.default_rng(options.seed + 1)
    queries = (emb.vectors[rng.integers(0, len(emb), 64)] + 0.1 * rng.standard_normal((64, emb.dim))).astype(np.float32)

    ours, other, names = cycle(queries), cycle(queries), cycle(emb.ids[:64])  # each query is asked of both
    one = paired(options.repeats, lambda: index.query(next(ours), K), lambda: brute_force(unit, next(other)[None]))
    batch = paired(3, lambda: index.query(queries, K), lambda: brute_force(unit, queries))
    verb_s = median_of(options.repeats, lambda: search(emb, next(names), k=K))

    ms = 1000 * one.ours
    rows = [
        {"what": "one query", "ms a query": ms, "numpy ms": 1000 * one.other, "ratio to numpy": one.ratio},
        {
            "what": f"{len(queries)} queries at once",
            "ms a query": 1000 * batch.ours / len(queries),
            "numpy ms": 1000 * batch.other / len(queries),
            "ratio to numpy": batch.ratio,
        },
        {"what": "search(emb, id)", "ms a query": 1000 * verb_s},
    ]
    report(
        rows,
        options.json,
        ms_per_query=ms,
        numpy_ms_per_query=1000 * one.other,
        ratio_to_numpy=one.ratio,
        recall_at_10=recall(index, emb.vectors, queries[:8]),
        **on_disk,
        read_s=open_s,
        index_s=index_s,
        targets_met=bool(ms <= TARGET_MS and on_disk["vector_bytes_ratio"] <= TARGET_BYTES),
    )


def make_vectors(n: int, dim: int, seed: int) -> np.ndarray:
    """Clustered vectors of different lengths, as an encoder gives them."""
    rng = np.random.default_rng(seed)
    centres = rng.standard_normal((N_CLUSTERS, dim), dtype=np.float32)
    vectors = np.empty((n, dim), np.float32)
    for start in range(0, n, 50_000):
        part = vectors[start : start + 50_000]
        rng.standard_normal(out=part, dtype=np.float32)
        part *= 0.5
        part += centres[rng.integers(0, N_CLUSTERS, len(part))]
    return vectors


def brute_force(unit: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Find the rows of the K largest products of each query: what one writes without a library."""
    scores = (queries / np.linalg.norm(queries, axis=1, keepdims=True)) @ unit.T
    top = np.argpartition(scores, scores.shape[1] - K, axis=1)[:, -K:]
    order = np.argsort(-np.take_along_axis(scores, top, axis=1), axis=1)
    return np.take_along_axis(top, order, axis=1)


def recall(index, vectors: np.ndarray, queries: np.ndarray) -> float:
    """Share of the true nearest rows, in float64, among those that the index gives."""
    found = index.query(queries, K).rows
    shares = []
    for query, rows in zip(queries.astype(np.float64), found, strict=True):
        scores = np.empty(len(vectors))
        for start in range(0, len(vectors), 50_000):
            part = vectors[start : start + 50_000].astype(np.float64)
            scores[start : start + 50_000] = part @ query / np.linalg.norm(part, axis=1)
        shares.append(len(set(np.argsort(-scores)[:K]) & set(rows)) / K)
    return float(np.mean(shares))


def vector_bytes(path: Path) -> int:
    """Bytes of column ``vector`` in the files of a store."""
    total = 0
    for file in sorted(path.glob("part-*.parquet")):
        metadata = pq.read_metadata(file)
        for group in range(metadata.num_row_groups):
            columns = (metadata.row_group(group).column(i) for i in range(metadata.num_columns))
            total += sum(c.total_compressed_size for c in columns if c.path_in_schema.startswith("vector"))
    return total


def seconds(fn) -> float:
    start = time.perf_counter()
    fn()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
