"""Objects of a rare class found among the first looked at: asking the observer against forest, k-NN and chance."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from _env import arguments, print_environment, report, set_threads
from morphospace.space.anomaly import anomalies
from morphospace.space.ask import ask
from morphospace.space.embeddings import Embeddings
from morphospace.space.figures import save_figure

TARGET_OVER_RANDOM = 3.0
INTERESTING = 5
COLOURS = {"asked": "#0072b2", "k-NN": "#d55e00", "forest": "#009e73", "random": "#777777"}
NAMES = {
    "asked": "asked, round by round",
    "k-NN": "k-NN rank",
    "forest": "isolation forest rank",
    "random": "by chance",
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--emb", type=Path, help="embeddings with a column of classes; without it, made-up ones")
    parser.add_argument("--column", default="gz1_class", help="column of the classes")
    parser.add_argument("--rare", nargs="+", default=["merger", "dont_know"], help="classes to find, each and together")
    parser.add_argument("--looked", type=int, default=200, help="objects that the observer looks at")
    parser.add_argument("--batch", type=int, default=10, help="objects that each round offers")
    parser.add_argument("--seeds", type=int, default=10, help="observers")
    parser.add_argument("--metric", default="cosine", choices=["cosine", "euclidean"])
    parser.add_argument("--picture", type=Path, help="draw the curves into this .png, .pdf or .svg")
    options = parser.parse_args()
    if options.quick:
        options.seeds, options.looked = min(options.seeds, 2), min(options.looked, 60)
    set_threads(options.threads)
    emb = made_up(options.seed) if options.emb is None else Embeddings.open(options.emb)
    classes = np.array(emb.table([options.column])[options.column].to_pylist())
    told = {key: getattr(options, key) for key in ("seed", "seeds", "looked", "batch", "metric")}
    print_environment(emb=repr(emb), column=options.column, **told)

    curves: dict[str, dict[str, NDArray[np.number]]] = {}
    for name, wanted in tasks(classes, options.rare):
        curves[name] = {way: np.stack(list(found)) for way, found in ways(emb, wanted, options)}
    rows = [row for name, wanted in tasks(classes, options.rare) for row in table(name, wanted, curves[name])]
    if options.picture:
        draw(curves, dict(tasks(classes, options.rare)), options.picture)
    print(markdown(rows, options.looked))
    found = {(row["what"], row["way"]): row for row in rows}
    asked = [row for row in rows if row["way"] == "asked"]
    report(
        rows,
        options.json,
        least_over_chance=min(row["over chance"] for row in asked),
        target=TARGET_OVER_RANDOM,
        above_forest_everywhere=all(row["found"] > found[row["what"], "forest"]["found"] for row in asked),
    )


def tasks(classes: NDArray[np.str_], rare: list[str]) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    for name in rare:
        yield name, classes == name
    if len(rare) > 1:
        yield " or ".join(rare), np.isin(classes, rare)


def ways(emb: Embeddings, wanted: NDArray[np.bool_], options) -> Iterator[tuple[str, Iterator[NDArray[np.number]]]]:
    """Yield each way of choosing, with how many were found after 1, 2, ... objects for each seed."""
    n, seeds = options.looked, range(options.seed, options.seed + options.seeds)
    yield "asked", (np.cumsum(wanted[observe(emb, wanted, options, seed)]) for seed in seeds)
    for way, method in (("k-NN", "knn"), ("forest", "forest")):
        ranked = (anomalies(emb, method, metric=options.metric, explain=0, seed=seed).top(n) for seed in seeds)
        yield way, (np.cumsum(wanted[rows]) for rows in ranked)
    yield "random", iter([np.arange(1, n + 1) * wanted.mean()])  # what is expected of it


def observe(emb: Embeddings, wanted: NDArray[np.bool_], options, seed: int) -> list[int]:
    """Let an observer who knows the truth look at what is offered; give the rows in that order."""
    labels: dict[str, int | str] = {}
    looked: list[int] = []
    while len(looked) < options.looked:
        n = min(options.batch, options.looked - len(looked))
        rows = ask(emb, labels, n=n, metric=options.metric, seed=seed).rows
        for row in rows:
            labels[emb.ids[row]] = INTERESTING if wanted[row] else 0
        looked += [int(row) for row in rows]
    return looked


def table(name: str, wanted: NDArray[np.bool_], curves: dict[str, NDArray[np.number]]) -> list[dict[str, object]]:
    rows = []
    for way, found in curves.items():
        last = found[:, -1]
        chance = found.shape[1] * wanted.mean()
        low, high = interval(last)
        rows.append(
            {
                "what": name,
                "there": int(wanted.sum()),
                "way": way,
                "found": float(last.mean()),
                "low": low,
                "high": high,
                "over chance": float(last.mean() / chance),
                "found in the first half": float(found[:, found.shape[1] // 2 - 1].mean()),
            }
        )
    return rows


def interval(values: NDArray[np.number]) -> tuple[float, float]:
    """Give the 95 % interval of the mean over the seeds, by bootstrap."""
    draws = np.random.default_rng(0).choice(values, (10_000, len(values))).mean(axis=1)
    low, high = np.quantile(draws, (0.025, 0.975))
    return float(low), float(high)


def markdown(rows: list[dict[str, object]], looked: int) -> str:
    lines = [f"| to find | there are | way | found in the first {looked} (95 % of the mean) | over chance |"]
    lines.append("|---|---|---|---|---|")
    for row in rows:
        found = f"{row['found']:.1f}"
        if row["way"] != "random":
            found += f" ({row['low']:.1f} to {row['high']:.1f})"
        way = NAMES[str(row["way"])]
        lines.append(f"| {row['what']} | {row['there']} | {way} | {found} | {row['over chance']:.1f} |")
    return "\n".join([*lines, ""])


def draw(curves: dict[str, dict[str, NDArray[np.number]]], wanted: dict[str, NDArray[np.bool_]], path: Path) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.6 * len(curves), 3.4), facecolor="white", layout="constrained")
    axes = np.atleast_1d(figure.subplots(1, len(curves)))
    for ax, (name, ways_) in zip(axes, curves.items(), strict=True):
        for way, found in ways_.items():
            x = np.arange(1, found.shape[1] + 1)
            ax.plot(x, found.mean(axis=0), color=COLOURS[way], label=NAMES[way], lw=1.8)
            if way != "random":
                low, high = np.quantile(found, (0.1, 0.9), axis=0)
                ax.fill_between(x, low, high, color=COLOURS[way], alpha=0.18, lw=0)
        ax.set_title(f"{name} ({int(wanted[name].sum())} of {len(wanted[name]):,})", fontsize=10)
        ax.set_xlabel("objects looked at")
        ax.set_xlim(0, found.shape[1])
        ax.set_ylim(bottom=0)
        ax.spines[["top", "right"]].set_visible(False)
    axes[0].set_ylabel("found")
    axes[0].legend(frameon=False, fontsize=8, loc="upper left")
    save_figure(figure, path)


def made_up(seed: int) -> Embeddings:
    """Make vectors of two common classes and two rare ones within their reach."""
    rng = np.random.default_rng(seed)
    sizes = {"round": 1200, "long": 700, "merger": 40, "dont_know": 20}
    centres = rng.normal(size=(len(sizes), 24))
    kind = np.repeat(np.arange(len(sizes)), list(sizes.values()))
    vectors = centres[kind] + rng.normal(size=(len(kind), 24))
    names = np.array(list(sizes))[kind].tolist()
    return Embeddings.from_arrays(None, [f"o{i}" for i in range(len(kind))], vectors, {"gz1_class": names})


if __name__ == "__main__":
    main()
