"""The verbs that go the whole way: run and demo."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from morphospace.cli.astromorph import from_astromorph, is_astromorph
from morphospace.cli.learn import describe_run
from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit
from morphospace.cli.pipeline import Pipeline, check, fill_from_recipe
from morphospace.cli.sky import describe_cutouts
from morphospace.cli.space import describe_embeddings
from morphospace.config import apply_overrides, call_from, load_toml
from morphospace.errors import ConfigError

if TYPE_CHECKING:
    from morphospace.runs import Run

__all__ = ["Told", "demo_command", "run", "run_command"]

_RUN = "morphospace.cli.whole:run"
_DEMO = "morphospace.walkthrough:demo"
#: What each step came to, for machines and for people.
Told = dict[str, tuple[dict[str, Any], str]]


def run(config: str | Path, *, overrides: Sequence[str] = (), resume: bool = False, overwrite: bool = False) -> Told:
    """Curate, train, embed and export from one config file.

    The tables [curate], [encoder], [method], [views], [train], [embed] and [export] hold the parameters of the calls;
    steps without a table are left out. Without [curate] the cutouts are those of `data` in [train] or [embed], and
    without [train] the run is that of `run` in [embed]. Paths are relative to the current directory. The whole file is
    checked before anything is done.

    Parameters
    ----------
    config : path
        A TOML file; that of an astromorph pipeline is taken as it is.
    overrides : sequence of str
        Single keys to replace, ``train.epochs=10``.
    resume : bool
        Go on where an earlier call stopped: what is complete is kept, the export is written again.
    overwrite : bool
        Put new cutouts, embeddings and exports in place of what is there; a run is never replaced.

    Returns
    -------
    dict
        What each step came to.

    Raises
    ------
    ConfigError
        If a table or key is unknown or missing, or a value of the wrong type.
    """
    if resume and overwrite:
        msg = "resume goes on with what is there and overwrite replaces it; give one of them."
        raise ConfigError(msg)
    read = load_toml(config)
    own = from_astromorph(read, Path(config).name) if is_astromorph(read) else read
    tables = fill_from_recipe(apply_overrides(own, overrides))
    check(tables, str(config))
    for name in ("curate", "train", "embed") if resume else ():
        tables.get(name, {})["resume"] = True
    for name in ("export",) if resume else ("curate", "embed", "export") if overwrite else ():
        tables.get(name, {})["overwrite"] = True
    return _steps(Pipeline(tables, str(config)))


def _steps(pipeline: Pipeline) -> Told:
    from morphospace.sky.cutouts import Cutouts

    told: Told = {}
    config = pipeline.config
    if "curate" in config:
        cuts = pipeline.curate()
        told["curate"] = describe_cutouts(cuts)
    else:
        cuts = Cutouts.open(_needed(pipeline, "data", ("train", "embed"), "a store of cutouts"))
    trained: Run | str | None = None
    if "train" in config:
        trained = pipeline.train(cuts)
        told["train"] = describe_run(trained)
    if "embed" in config:
        emb = pipeline.embed(trained or _needed(pipeline, "run", ("embed",), "a run"), cuts)
        told["embed"] = describe_embeddings(emb)
        if "export" in config:
            written = pipeline.export(emb)
            told["export"] = ({"export": str(written)}, f"written to '{written}'")
    return told


def _needed(pipeline: Pipeline, key: str, tables: Sequence[str], what: str) -> str:
    for name in tables:
        if key in pipeline.table(name):
            return str(pipeline.table(name)[key])
    msg = f"'{tables[-1]}.{key}' is missing in {pipeline.source}; it must be {what}"
    raise ConfigError(msg)


@verb(_RUN, examples=["morphospace run disks.toml", "morphospace run disks.toml --set train.epochs=10 --resume"])
@click.argument("config_file", metavar="CONFIG", type=click.Path())
@options_from(_RUN, "run", skip=("config",), rename={"overrides": "set"})
def run_command(config: dict[str, Any], config_file: str) -> None:
    """Do what a config file says."""
    state().interrupted = f"what was complete is safe; go on with: morphospace run {config_file} --resume"
    told = run(config_file, **config.get("run", {}))
    result = {name: result for name, (result, _) in told.items()}
    emit(result, "\n".join(text for _, text in told.values()), as_json=state().json)


@verb(_DEMO, examples=["morphospace demo", "morphospace demo --out hubble --overwrite"])
@options_from(_DEMO, "demo")
def demo_command(config: dict[str, Any]) -> None:
    """Show the whole way on a real field."""
    from morphospace.walkthrough import demo

    state().interrupted = "start again with: morphospace demo --overwrite"
    folder = call_from(config.get("demo", {}), demo, "demo", source=SOURCE)
    made = sorted(path.name for path in folder.iterdir())
    text = "\n".join([f"look into '{folder}':", *(f"  {name}" for name in made)])
    emit({"demo": str(folder), "made": made}, text, as_json=state().json)
