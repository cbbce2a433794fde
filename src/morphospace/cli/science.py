"""The verbs of science: measure."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit
from morphospace.config import call_from

__all__ = ["measure_command"]

_MEASURE = "morphospace.science.measure:measure"


@verb(
    _MEASURE,
    examples=[
        "morphospace measure disks.cutouts --out shapes.parquet",
        "morphospace measure galaxies.cutouts --out shapes.parquet --band r --segmentation-threshold-sigma 2",
    ],
)
@click.argument("cutouts", type=click.Path())
@options_from(_MEASURE, "measure", skip=("cutouts", "labels", "out"))
@click.option("--out", "measure__out", type=click.Path(), required=True, help="Parquet file to write.")
def measure_command(config: dict[str, Any], cutouts: str) -> None:
    """Measure shapes."""
    from morphospace.science.measure import measure
    from morphospace.science.morphometry.flags import DEFINITIONS
    from morphospace.sky.cutouts import Cutouts

    out = config["measure"]["out"]
    state().interrupted = f"what was measured is safe beside '{out}'; go on with the same command and --resume"
    target = partial(measure, Cutouts.open(cutouts))
    found = call_from(config.get("measure", {}), target, "measure", source=SOURCE)
    bits = found["shape_flags"]
    flagged = {d.flag.name or "": int(((bits & int(d.flag)) != 0).sum()) for d in DEFINITIONS}
    flagged = {name: n for name, n in flagged.items() if n}
    result = {"shapes": str(found.path), "n": len(found), "good": int(found.good.sum()), "flags": flagged}
    lines = [f"{result['n']:,} objects in '{found.path}', {result['good']:,} of them measured well"]
    lines += [f"{n:8,}  {d.flag.name}: {d.description}" for d in DEFINITIONS if (n := flagged.get(d.flag.name or ""))]
    emit(result, "\n".join(lines), as_json=state().json)
