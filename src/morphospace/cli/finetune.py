"""The verb finetune: an encoder trained with labels, from a run or from scratch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from morphospace.cli.labels import labels_of
from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit
from morphospace.cli.pipeline import Pipeline, check
from morphospace.config import call_from, nearest
from morphospace.errors import ConfigError

if TYPE_CHECKING:
    from torch import nn

    from morphospace.learn.views import Views
    from morphospace.sky.cutouts import Cutouts

__all__ = ["finetune_command"]

_FINETUNE = "morphospace.science.finetune:finetune"
_VIEWS = "morphospace.learn.views:views"
_PRESET = "Of an encoder from scratch: radio, optical, clouds or oriented. A run keeps its own views."


@verb(
    _FINETUNE,
    examples=[
        "morphospace finetune runs/simclr disks.cutouts kind --out runs/kinds",
        "morphospace finetune runs/simclr disks.cutouts kind --labels labels.csv --out runs/last --blocks 1",
        "morphospace finetune starter disks.cutouts kind --out runs/soft --layer-decay 0.7 --balanced",
        "morphospace finetune light disks.cutouts kind --out runs/scratch --views radio --size 64",
        "morphospace predict new.cutouts --model runs/kinds --out predicted.parquet",
    ],
)
@click.argument("start", metavar="RUN|starter|ENCODER")
@click.argument("cutouts", type=click.Path())
@click.argument("columns", nargs=-1, required=True)
@click.option(
    "--labels",
    type=click.Path(),
    help="Table with id and the columns: CSV, FITS, VOTable or Parquet; default: CUTOUTS.",
)
@click.option("--where", help="Learn only from objects that meet this condition on the columns of the cutouts.")
@click.option("--views", "views__preset", help=_PRESET)
@options_from(_VIEWS, "views", skip=("preset",))
@options_from(_FINETUNE, "finetune", skip=("start", "data", "labels", "views"), flatten=("tuning", "loop"))
def finetune_command(
    config: dict[str, Any], start: str, cutouts: str, columns: tuple[str, ...], labels: str | None, where: str | None
) -> None:
    """Train with labels."""
    from morphospace.science.finetune import finetune, trained_on
    from morphospace.sky.cutouts import Cutouts

    options = config.get("finetune", {})
    data = Cutouts.open(cutouts)
    begin, views = _begin(start, data, config)
    found = labels_of(data, columns, labels, where)
    state().interrupted = f"go on with the same command and --resume; what is done is safe in '{options['out']}'"
    target = partial(finetune, begin, data, labels=found, views=views)
    run = call_from(options, target, "finetune", source=SOURCE)
    n = len(trained_on(run))
    result = {"run": str(run.path), "space": run.space_id(), "n_trained_on": n}
    emit(result, f"run '{run.path}', trained on {n:,} labelled objects, space {run.space_id()}", as_json=state().json)


def _begin(start: str, data: Cutouts, config: dict[str, Any]) -> tuple[nn.Module | str, Views | None]:
    """Return what is trained and its views: a run as it is, or a new encoder of that name."""
    from morphospace.learn.data import first_shape
    from morphospace.learn.encoders import ENCODERS, encoder
    from morphospace.science.finetune import seeded

    if start not in ENCODERS and start != "starter" and not Path(start).exists():
        msg = f"there is no run and no encoder '{start}'{nearest(start, [*ENCODERS, 'starter'])}"
        raise ConfigError(msg)
    if start not in ENCODERS or Path(start).exists():
        if "views" in config:
            name = next(iter(config["views"])).replace("_", "-").replace("preset", "views")
            msg = f"--{name} is for an encoder from scratch ({', '.join(ENCODERS)}); a run keeps its own views"
            raise click.UsageError(msg)
        return start, None
    views = {"views": config.get("views", {})}
    check(views, SOURCE)
    bands = first_shape(data)[0] if len(data) else 1
    with seeded(int(config["finetune"].get("seed", 0))):
        network = encoder(start, bands=bands)
    return network, Pipeline(views, SOURCE).views("radio" if bands == 1 else "optical")
