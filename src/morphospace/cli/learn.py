"""The verbs of learning: train, doctor, views."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from morphospace.cli.faint import injection_options, measure_completeness, wants_injection
from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit, refuse_existing
from morphospace.cli.pipeline import Pipeline, check, config_of_run, merged
from morphospace.config import apply_overrides, call_from, load_toml
from morphospace.errors import ConfigError

if TYPE_CHECKING:
    from morphospace.runs import Run

__all__ = ["describe_run", "doctor_command", "train_command", "views_command"]

_TRAIN = "morphospace.learn.train:train"
_ENCODER = "morphospace.learn.encoders:encoder"
_VIEWS = "morphospace.learn.views:views"
_DOCTOR = "morphospace.learn.doctor:doctor"
_PLOT = "morphospace.learn.gallery:plot_views"
_PRESET = (
    "Preset: radio, optical, clouds or oriented (no turns, no flips). By default radio for one band, else optical."
)


@verb(
    _TRAIN,
    examples=[
        "morphospace train disks.cutouts --out runs/byol --views radio --clip-sigma 3",
        "morphospace train disks.cutouts --out runs/vicreg --method VICReg --encoder resnet18 --last-layer 3",
        "morphospace train run.toml --set train.epochs=10",
        "morphospace train --resume runs/byol",
    ],
)
@click.argument("source", type=click.Path(), required=False)
@click.option("--resume", type=click.Path(), metavar="RUN", help="Go on with an interrupted run; needs no more.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Any key of a config: method.ema_decay=0.9"
)
@click.option(
    "--method",
    "method__name",
    help="SimCLR (the default), BYOL, VICReg, AE, VAE, VaDE, AstroVaDEr; options: --set method.KEY=VALUE.",
)
@options_from(_ENCODER, "encoder", skip=("bands",), rename={"name": "encoder"})
@click.option("--views", "views__preset", help=_PRESET)
@options_from(_VIEWS, "views", skip=("preset",))
@options_from(_TRAIN, "train", skip=("method", "data", "views", "resume"), flatten=("loop",), required=False)
def train_command(config: dict[str, Any], source: str | None, resume: str | None, overrides: tuple[str, ...]) -> None:
    """Train on cutouts, on what a config file says, or go on with a run."""
    if (source is None) == (resume is None):
        msg = "give a store of cutouts or a config file to train on, or --resume RUN"
        raise click.UsageError(msg)
    if resume is not None:
        if config or overrides:
            msg = "--resume goes on with the settings of the run and takes no others"
            raise click.UsageError(msg)
        pipeline = _resumed(resume)
    else:
        from_file = str(source).endswith(".toml")
        base, where = (load_toml(str(source)), str(source)) if from_file else ({"train": {"data": source}}, SOURCE)
        pipeline = Pipeline(apply_overrides(merged(base, config), overrides), where)
    run = _trained(pipeline)
    emit(*describe_run(run), as_json=state().json)


def _resumed(path: str) -> Pipeline:
    from morphospace.learn.record import preparation_of
    from morphospace.runs import Run

    run = Run.open(path)
    return Pipeline(config_of_run(run), f"{path}/run.toml", preparation_of(run))


def _trained(pipeline: Pipeline) -> Run:
    from morphospace.sky.cutouts import Cutouts

    tables = {"train": {}, **pipeline.config}
    check({name: tables[name] for name in ("encoder", "method", "views", "train") if name in tables}, pipeline.source)
    data = tables["train"].get("data", tables.get("curate", {}).get("out"))
    if data is None:
        msg = f"'train.data' is missing in {pipeline.source}; it must be a store of cutouts"
        raise ConfigError(msg)
    state().interrupted = f"go on with: morphospace train --resume {tables['train']['out']}"
    return pipeline.train(Cutouts.open(data))


def describe_run(run: Run) -> tuple[dict[str, Any], str]:
    """Return what came of a training, for machines and for people."""
    health = run.health
    result = {"run": str(run.path), "space": run.space_id(), "verdict": health.get("verdict"), "health": health}
    lines = [f"run '{run.path}', space {result['space']}"]
    if health:
        lines.append(f"health: {health['verdict']}")
        lines += [f"  - {sentence}" for sentence in health["sentences"]]
    return result, "\n".join(lines)


@verb(
    _PLOT,
    examples=[
        "morphospace views galaxy.fits --views optical --out views.png",
        "morphospace views disks.cutouts --views radio --clip-sigma 5 --set views.zoom=[0.5,2]",
    ],
)
@click.argument("images", nargs=-1, required=True, type=click.Path())
@click.option(
    "--out", default="views.png", show_default=True, type=click.Path(), help="Picture to write: .png, .pdf, .svg."
)
@click.option("--overwrite", is_flag=True, help="Replace a picture that is there.")
@click.option(
    "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Any key of [views] in a config: views.zoom=[1,2]"
)
@click.option("--views", "views__preset", help=_PRESET)
@options_from(_VIEWS, "views", skip=("preset",))
@options_from(_PLOT, "plot", skip=("images", "views"))
def views_command(
    config: dict[str, Any], images: tuple[str, ...], out: str, overwrite: bool, overrides: tuple[str, ...]
) -> None:
    """Draw what a network would see."""
    from morphospace.learn.gallery import plot_views
    from morphospace.space.figures import save_figure

    refuse_existing(out, overwrite=overwrite)
    pipeline = Pipeline(apply_overrides(config, overrides), SOURCE)
    check({name: table for name, table in pipeline.config.items() if name != "plot"}, SOURCE)
    source, bands = _images(images)
    target = partial(plot_views, source, pipeline.views("radio" if bands == 1 else "optical"))
    save_figure(call_from(pipeline.table("plot"), target, "plot", source=SOURCE), out)
    emit({"views": out}, f"drawn into '{out}'", as_json=state().json)


def _images(paths: tuple[str, ...]) -> tuple[Any, int]:
    """Return a store or a list of files, and the number of bands."""
    from morphospace._manifest import MANIFEST
    from morphospace.learn.data import first_shape
    from morphospace.sky.cutouts import Cutouts
    from morphospace.sky.images import find_files, read_image

    if len(paths) == 1 and (Path(paths[0]) / MANIFEST).is_file():
        cuts = Cutouts.open(paths[0])
        return cuts, first_shape(cuts)[0] if len(cuts) else 1
    source = paths[0] if len(paths) == 1 else list(paths)
    return source, len(read_image(find_files(source)[0]).data)


@verb(
    _DOCTOR,
    examples=[
        "morphospace doctor runs/byol",
        "morphospace doctor runs/byol labelled.cutouts --labels TYPE --instruments TELESCOP",
        "morphospace doctor runs/byol disks.cutouts --inject --out how-faint --sizes 4 --sizes 10",
    ],
)
@click.argument("run", type=click.Path())
@click.argument("cutouts", type=click.Path(), required=False)
@options_from(_DOCTOR, "doctor", skip=("run", "data", "encoder"))
@injection_options
def doctor_command(config: dict[str, Any], run: str, cutouts: str | None, **injection: Any) -> None:  # noqa: ANN401
    """Judge a run."""
    from morphospace.learn.doctor import doctor
    from morphospace.sky.cutouts import Cutouts

    if wants_injection(config, injection):
        measure_completeness(config, run, cutouts, injection)
        return
    data = None if cutouts is None else Cutouts.open(cutouts)
    health = call_from(config.get("doctor", {}), partial(doctor, run, data), "doctor", source=SOURCE)
    result = {"verdict": str(health.verdict), "sentences": health.sentences, "figures": health.figures}
    emit(result, health.text(), as_json=state().json)
