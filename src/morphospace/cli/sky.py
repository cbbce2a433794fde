"""The verb that takes files in: curate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit
from morphospace.cli.pipeline import Pipeline, fill_from_recipe

if TYPE_CHECKING:
    from morphospace.sky.cutouts import Cutouts

__all__ = ["curate_command", "describe_cutouts"]

_CURATE = "morphospace.sky.curate:curate"


@verb(
    _CURATE,
    examples=[
        "morphospace curate fits/ --out disks.cutouts --size 100 --columns EXPTIME --columns INSTRUME",
        "morphospace curate field.fits --out field.cutouts --detect --size 64",
        "morphospace curate 'data/*.fits.gz' --out all.cutouts --keep all --resume",
        "morphospace curate maps/ --recipe alma-discs --out discs.cutouts",
        "morphospace curate sources.vot --intake-mosaics tiles/ --size 64 --out sources.cutouts",
    ],
)
@click.argument("source", nargs=-1, required=True)
@click.option("--recipe", metavar="NAME", help="A published curation, alma-discs or clouds; options beside it win.")
@options_from(_CURATE, "curate", skip=("source",))
def curate_command(config: dict[str, Any], source: tuple[str, ...], recipe: str | None) -> None:
    """Turn image files into cutouts."""
    table = {"source": source[0] if len(source) == 1 else list(source), **config["curate"]}
    state().interrupted = f"what was complete is safe in '{table['out']}'; go on with the same command and --resume"
    asked = {"curate": table if recipe is None else {**table, "recipe": recipe}}
    result, text = describe_cutouts(Pipeline(fill_from_recipe(asked), SOURCE).curate())
    emit(result, text, as_json=state().json)


def describe_cutouts(cuts: Cutouts) -> tuple[dict[str, Any], str]:
    """Return what came of a curation, for machines and for people."""
    import numpy as np
    import pyarrow.parquet as pq

    from morphospace.sky.curate import LEFT_OUT
    from morphospace.sky.curation.report import REPORT
    from morphospace.sky.flags import Flag

    flags = np.asarray(cuts.table(["flags"])["flags"])
    counts = {str(flag.name): int(((flags & flag.value) != 0).sum()) for flag in Flag}
    counts = {name: n for name, n in counts.items() if n}
    left_out = cuts.path / LEFT_OUT
    n_left_out = pq.read_metadata(left_out).num_rows if left_out.is_file() else 0
    report = cuts.path / REPORT
    result = {
        "cutouts": str(cuts.path),
        "n": len(cuts),
        "left_out": n_left_out,
        "flags": counts,
        "report": str(report),
    }
    lines = [f"{len(cuts):,} cutouts in '{cuts.path}', {n_left_out:,} left out"]
    if counts:
        lines.append("flagged and kept: " + ", ".join(f"{name} {n:,}" for name, n in counts.items()))
    lines.append(f"what was left out and why: {report}")
    return result, "\n".join(lines)
