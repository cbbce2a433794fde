"""Maps: t-SNE against scikit-learn's in one run and on many rows; how well the neighbours of each object are kept."""

from __future__ import annotations

import logging
import resource
import time
from collections.abc import Callable

import numpy as np
from sklearn.manifold import TSNE

from _env import arguments, print_environment, report, set_threads
from morphospace.space.embeddings import Embeddings
from morphospace.space.frames import frame_of
from morphospace.space.nearest import nearest_to
from morphospace.space.project import project

N, LARGE, DIM = 20_000, 200_000, 128
FASTER, LARGE_S = 2.0, 1200.0
QUICK_N, QUICK_LARGE = 600, 1500
N_GROUPS, N_INNER = 12, 6  # of the made space, and dimensions in which a group varies
K = 15
SAMPLE = 5000  # objects whose neighbours among all are looked at


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--n", type=int, default=N, help="vectors of the comparison with scikit-learn")
    parser.add_argument("--large", type=int, default=LARGE, help="vectors of the large map; 0: none")
    parser.add_argument("--dim", type=int, default=DIM, help="dimensions of made vectors")
    parser.add_argument("--emb", help="take the vectors of these embeddings, with jitter where more are asked for")
    parser.add_argument("--skip-sklearn", action="store_true", help="leave out scikit-learn, which takes many minutes")
    parser.add_argument("--umap", action="store_true", help="UMAP too")
    options = parser.parse_args()
    if options.quick:
        options.n, options.large = min(options.n, QUICK_N), min(options.large, QUICK_LARGE)
    set_threads(options.threads)
    logging.getLogger("morphospace").addHandler(logging.StreamHandler())
    print_environment(n=options.n, large=options.large, source=options.emb or "made", seed=options.seed)

    rows, keys = compare(options)
    if options.large:
        more, large = on_many(options)
        rows, keys = rows + more, keys | large
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    report(rows, options.json, **keys, peak_memory_gib=peak)


def compare(options) -> tuple[list[dict[str, object]], dict[str, object]]:
    """Time our t-SNE, scikit-learn's and the others on the same vectors, and judge each map."""
    x = vectors_of(options, options.n)
    methods: dict[str, Callable[[], np.ndarray]] = {
        "t-SNE (openTSNE)": lambda: ours(x, "tsne", options.seed),
        "principal components": lambda: ours(x, "pca", options.seed),
    }
    if options.umap:
        methods["UMAP"] = lambda: ours(x, "umap", options.seed)
    if not options.skip_sklearn:
        unit = frame_of(x, "cosine")(x)
        jobs = options.threads or None
        methods["t-SNE (scikit-learn)"] = lambda: TSNE(
            init="pca", random_state=options.seed, n_jobs=jobs
        ).fit_transform(unit)
    rows = [judged(name, x, make, options.seed) for name, make in methods.items()]
    found = {str(row["map"]): row for row in rows}
    mine, other = found["t-SNE (openTSNE)"], found.get("t-SNE (scikit-learn)")
    keys: dict[str, object] = {"tsne_s": mine["seconds"], "tsne_trustworthiness": mine["trustworthiness"]}
    if other is not None:
        keys["sklearn_s"] = other["seconds"]
        keys["times_faster"] = float(other["seconds"]) / float(mine["seconds"])
        keys["quality_not_lower"] = all(mine[name] >= other[name] - 0.001 for name in ("trustworthiness", "kept"))
        keys["target_met"] = keys["times_faster"] >= FASTER and keys["quality_not_lower"]
    return rows, keys


def on_many(options) -> tuple[list[dict[str, object]], dict[str, object]]:
    x = vectors_of(options, options.large)
    rows = [
        judged("t-SNE (openTSNE)", x, lambda: ours(x, "tsne", options.seed), options.seed),
        judged("principal components", x, lambda: ours(x, "pca", options.seed), options.seed),
    ]
    return rows, {"large_tsne_s": rows[0]["seconds"], "large_target_met": float(rows[0]["seconds"]) <= LARGE_S}


def ours(x: np.ndarray, method: str, seed: int) -> np.ndarray:
    emb = Embeddings.from_arrays(None, [str(i) for i in range(len(x))], x)
    return project(emb, method, seed=seed).coordinates


def judged(name: str, x: np.ndarray, make: Callable[[], np.ndarray], seed: int) -> dict[str, object]:
    start = time.perf_counter()
    y = make()
    seconds = time.perf_counter() - start
    kept, trust = quality(frame_of(x, "cosine")(x), np.asarray(y, np.float32), seed)
    return {"map": name, "n": len(x), "seconds": seconds, "kept": kept, "trustworthiness": trust}


def quality(x: np.ndarray, y: np.ndarray, seed: int) -> tuple[float, float]:
    """Judge a map by a sample of its objects, whose neighbours are looked for among all.

    Returns the share of the 15 nearest in the space that are among the 15 nearest on the map, and the trustworthiness
    (Venna & Kaski 2001, eq. 2, with the sum over the sample): 1 less the mean excess rank, in the space, of neighbours on
    the map that are none in the space, scaled so that a random map has about 0.5.
    """
    n = len(x)
    sample = np.random.default_rng(seed).permutation(n)[: min(SAMPLE, n)]
    k = min(K, (n - 1) // 2)
    kept, excess = 0.0, 0.0
    for start in range(0, len(sample), 200):
        some = sample[start : start + 200]
        d = ((x[some] ** 2).sum(1)[:, None] + (x**2).sum(1)[None] - 2 * x[some] @ x.T).astype(np.float32)
        d[np.arange(len(some)), some] = np.inf
        space = np.argpartition(d, k, axis=1)[:, :k]
        around = [np.setdiff1d(row, [i], assume_unique=True)[:k] for row, i in zip(near(y, some, k), some, strict=True)]
        for i, (mine, theirs) in enumerate(zip(around, space, strict=True)):
            kept += len(np.intersect1d(mine, theirs)) / k
            ranks = 1 + (d[i][None] < d[i][mine][:, None]).sum(1)
            excess += np.clip(ranks - k, 0, None).sum()
    trust = 1 - 2 / (len(sample) * k * (2 * n - 3 * k - 1)) * excess
    return kept / len(sample), trust


def near(y: np.ndarray, rows: np.ndarray, k: int) -> np.ndarray:
    """Rows of the k + 1 nearest on the map; the object is among them unless others lie on it."""
    return nearest_to(y, y[rows], k + 1).rows


def vectors_of(options, n: int) -> np.ndarray:
    """Vectors of an encoder, drawn again with jitter where there are too few, or made ones."""
    rng = np.random.default_rng(options.seed)
    if options.emb is None:
        return made(n, options.dim, rng)
    x = Embeddings.open(options.emb).vectors
    x = x[np.isfinite(x).all(axis=1)]
    if n <= len(x):
        return x[np.sort(rng.permutation(len(x))[:n])]
    scale = 0.5 * nearest_to(x, x[:1000], 2).distances[:, 1].mean() / np.sqrt(x.shape[1])
    drawn = x[rng.integers(0, len(x), n)]
    return (drawn + scale * rng.standard_normal(drawn.shape)).astype(np.float32)


def made(n: int, dim: int, rng: np.random.Generator) -> np.ndarray:
    """Groups of unequal size, each a curved sheet of few dimensions in a space of many, with jitter."""
    kind = rng.choice(N_GROUPS, n, p=rng.dirichlet(np.full(N_GROUPS, 2.0)))
    inner = rng.standard_normal((n, N_INNER))
    into = rng.standard_normal((N_GROUPS, N_INNER, dim)) / np.sqrt(N_INNER)
    x = 1.5 * rng.standard_normal((N_GROUPS, dim))[kind]
    for each in range(N_GROUPS):
        rows = kind == each
        x[rows] += np.sin(inner[rows] @ into[each]) + 0.5 * inner[rows] @ into[(each + 1) % N_GROUPS]
    return (x + 0.1 * rng.standard_normal((n, dim))).astype(np.float32)


if __name__ == "__main__":
    main()
