"""The verb relate: what the axes of a space mean."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit
from morphospace.config import call_from

__all__ = ["relate_command"]

_RELATE = "morphospace.science.relate:relate"
_TOLD = 3


@verb(
    _RELATE,
    examples=[
        "morphospace relate disks.emb --table shapes.parquet --cutouts disks.cutouts --out relate.html",
        "morphospace relate disks.emb --table shapes.parquet --table sdss.csv --components 3 --out colours.html",
    ],
)
@click.argument("embeddings", type=click.Path())
@click.option(
    "--table",
    "tables",
    type=click.Path(),
    multiple=True,
    help="Table of quantities: shapes of measure, CSV, FITS, VOTable or Parquet. Give it once for each.",
)
@click.option("--cutouts", "cutouts", type=click.Path(), help="Cutouts whose pictures go on the page.")
@click.option("--out", "relate__out", type=click.Path(), required=True, help="Page to write, e.g. relate.html.")
@options_from(_RELATE, "relate", skip=("emb", "tables", "cutouts", "out"))
def relate_command(config: dict[str, Any], embeddings: str, tables: tuple[str, ...], cutouts: str | None) -> None:
    """Relate a space to quantities."""
    from morphospace.science.relate import relate
    from morphospace.sky.cutouts import Cutouts
    from morphospace.space.embeddings import Embeddings

    pictures = None if cutouts is None else Cutouts.open(cutouts)
    target = partial(relate, Embeddings.open(embeddings), list(tables), cutouts=pictures)
    found = call_from(config.get("relate", {}), target, "relate", source=SOURCE)
    pairs = found.table.to_pylist()
    result = {
        "page": str(found.path),
        "pairs": len(pairs),
        "stand": sum(pair["stands"] for pair in pairs),
        "explained": found.explained,
        "quantities": found.quantities.to_pylist(),
        "canonical": found.canonical.to_pylist(),
        "left_out": found.about["left_out"],
    }
    lines = [f"{result['stand']:,} of {len(pairs):,} pairs of component and quantity stand; see '{found.path}'"]
    for c, share in enumerate(found.explained, 1):
        own = sorted((p for p in pairs if p["component"] == c and p["stands"]), key=lambda p: -abs(p["spearman"]))
        told = ", ".join(f"{p['quantity']} {p['spearman']:+.2f}" for p in own[:_TOLD]) or "nothing stands"
        lines.append(f"  PC {c}, {100 * share:4.1f} % of the variance: {told}")
    emit(result, "\n".join(lines), as_json=state().json)
