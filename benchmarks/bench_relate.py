"""What the axes of a space of galaxies mean: principal components against measured shapes and the colour of the pictures.

    python benchmarks/bench_relate.py galaxies.emb galaxies.cutouts --work DIR

Shapes are measured (or taken from --work, where an earlier call has left them). g - r comes from the pictures themselves, whose
bands are i, r and g: stretched pictures give an index that rises with g - r and is no photometry. `relate` writes its page and
table into --work; the figures of the first axes are printed.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa

from _env import arguments, print_environment, report, set_threads
from morphospace.errors import MorphospaceError
from morphospace.science.measure import measure
from morphospace.science.relate import relate
from morphospace.sky.cutouts import Cutouts
from morphospace.space.embeddings import Embeddings

QUANTITIES = ("gini", "concentration", "ellipticity", "asymmetry", "m20", "r50", "snr_per_pixel", "g_r")
_CENTRE = 0.25  # of the side, the radius within which the light is added up
_BORDER = 0.47  # of the side, beyond which the sky is


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("emb", type=Path, help="embeddings")
    parser.add_argument("cutouts", type=Path, help="their cutouts, pictures of three bands")
    parser.add_argument("--work", type=Path, required=True, help="folder for shapes, page and table")
    parser.add_argument("--axes", type=int, default=4, help="components that are printed")
    options = parser.parse_args()
    set_threads(options.threads)
    print_environment()
    cuts, emb = Cutouts.open(options.cutouts), Embeddings.open(options.emb)
    options.work.mkdir(parents=True, exist_ok=True)
    shapes = measure(cuts, out=options.work / "shapes.parquet", resume=True)
    found = relate(
        emb, [shapes, colours(cuts)], columns=QUANTITIES, cutouts=cuts, out=options.work / "relate.html",
        components=options.axes, permutations=100 if options.quick else 1000, seed=options.seed, overwrite=True,
    )  # fmt: skip
    rows = []
    pairs = found.table.to_pylist()
    for name in QUANTITIES:
        row: dict[str, str] = {"quantity": name}
        for pair in (p for p in pairs if p["quantity"] == name):
            row[f"axis {pair['component']}"] = "{spearman:+.2f} ({low:+.2f} to {high:+.2f})".format(**pair)
        known = next(q for q in found.quantities.to_pylist() if q["quantity"] == name)
        rows.append(row | {k: f"{v:.2f}" for k, v in known.items() if k.startswith("r2")})
    report(rows, options.json, page=str(options.work / "relate.html"))


def colours(cuts: Cutouts) -> pa.Table:
    """Colour index of each picture within a circle, magnitudes; NaN where a band has no light there."""
    values = []
    for first in range(0, len(cuts), 256):
        for cutout in cuts.read(range(first, min(first + 256, len(cuts)))):
            _, r_, g_ = (np.nansum(band) for band in _light(cutout.image))
            values.append(-2.5 * np.log10(g_ / r_) if r_ > 0 < g_ else np.nan)
    return pa.table({"id": list(cuts.ids), "g_r": values})


def _light(image: np.ndarray) -> np.ndarray:
    side = image.shape[1:]
    y, x = (np.arange(n) - (n - 1) / 2 for n in side)
    radius = np.hypot(y[:, None], x) / min(side)
    level = np.nanmedian(image[:, radius > _BORDER], axis=1)
    return np.asarray(image[:, radius < _CENTRE] - level[:, None])


if __name__ == "__main__":
    try:
        main()
    except MorphospaceError as error:
        raise SystemExit(f"Error: {error}") from None
