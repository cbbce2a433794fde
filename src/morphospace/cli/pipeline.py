"""From a config to objects and calls: what `morphospace run` does, and each verb that reads a config."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from inspect import signature
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

import click

from morphospace.config import arguments_from, call_from, nearest
from morphospace.errors import ConfigError

if TYPE_CHECKING:
    from morphospace.learn.methods import Method
    from morphospace.learn.prepare import Preparation
    from morphospace.learn.views import Views
    from morphospace.runs import Run
    from morphospace.sky.cutouts import Cutouts
    from morphospace.space.embeddings import Embeddings

__all__ = ["TABLES", "Pipeline", "check", "config_of_run", "fill_from_recipe", "merged"]

#: Tables of a config file, in the order of work.
TABLES = ("curate", "encoder", "method", "views", "train", "embed", "export")
DEFAULT_METHOD = "SimCLR"


def check(config: Mapping[str, Any], source: str) -> None:
    """Read a whole config without doing anything, so that a mistake at its end is told at once.

    Parameters
    ----------
    config : mapping
        Tables as of `load_toml`.
    source : str
        Name of the file, for messages.

    Raises
    ------
    ConfigError
        If a table or key is unknown, a value of the wrong type, or a required key is missing.
    """
    for name, table in config.items():
        if name not in TABLES:
            msg = f"unknown table '{name}' in {source}{nearest(name, TABLES)}"
            raise ConfigError(msg)
        if not isinstance(table, Mapping):
            msg = f"'{name}' in {source} must be a table, written [{name}]; got {table!r}"
            raise ConfigError(msg)
    pipeline = Pipeline(config, source)
    for name in config:
        pipeline.check(name)


def fill_from_recipe(config: Mapping[str, Any]) -> dict[str, Any]:
    """Put a recipe, the key ``recipe`` of [curate], in the place of its name; print the calls that it stands for.

    What the config says itself goes before the recipe. Its views become [views] where that is not there and something
    is trained.

    Raises
    ------
    ConfigError
        If there is no such recipe.
    """
    tables = dict(config)
    curate = tables.get("curate")
    if not isinstance(curate, Mapping) or "recipe" not in curate:
        return tables
    from morphospace.sky.recipes import find_recipe, recipe_calls, with_recipe

    name = str(curate["recipe"])
    own = {key: value for key, value in curate.items() if key != "recipe"}
    tables["curate"] = with_recipe(name, own)
    if "train" in tables:
        tables.setdefault("views", dict(find_recipe(name).views))
    places = {key: str(own[key]) for key in ("source", "out") if key in own}
    click.echo(f"recipe {name} stands for\n{indent(recipe_calls(name, **places), '    ')}", err=True)
    return tables


class Pipeline:
    """The calls that a config describes.

    Parameters
    ----------
    config : mapping
        Tables as of `load_toml`.
    source : str
        Name of the file, for messages.
    preparation : Preparation, optional
        Of the run that is gone on with; [views] then holds fields of `Views` only.
    """

    def __init__(self, config: Mapping[str, Any], source: str, preparation: Preparation | None = None) -> None:
        self.config, self.source, self.preparation = config, source, preparation

    def table(self, name: str, *, without: tuple[str, ...] = ()) -> dict[str, Any]:
        """Return the keys of one table, but for those that are no parameters of the call."""
        return {key: value for key, value in self.config.get(name, {}).items() if key not in without}

    def check(self, name: str) -> None:
        """Check the keys of one table."""
        if name == "views":
            self._views_arguments()
        else:
            arguments_from(
                self.table(name, without=_BESIDE.get(name, ())), self._target(name), name, source=self.source
            )

    def curate(self) -> Cutouts:
        """Call curate with the table [curate]."""
        from morphospace.sky.curate import curate

        return call_from(self.table("curate"), curate, "curate", source=self.source)

    def train(self, data: Cutouts) -> Run:
        """Call train on cutouts with the tables [encoder], [method], [views] and [train]."""
        from morphospace.learn.data import first_shape
        from morphospace.learn.train import train

        bands = first_shape(data)[0] if len(data) else 1
        views = self.views("radio" if bands == 1 else "optical")
        target = partial(train, self.method(bands, views.prepare.size), data, views=views)
        return call_from(self.table("train", without=_BESIDE["train"]), target, "train", source=self.source)

    def method(self, bands: int, size: int) -> Method:
        """Build the method and its encoder; the weights' start is that of the seed in [train].

        A decoder makes images of the size of the views, unless [method] says otherwise.
        """
        import torch

        from morphospace.learn.encoders import encoder
        from morphospace.learn.train import train

        torch.manual_seed(self.table("train").get("seed", signature(train).parameters["seed"].default))
        network = call_from({"bands": bands, **self.table("encoder")}, encoder, "encoder", source=self.source)
        kind = self._method_class()
        table = self.table("method", without=_BESIDE["method"])
        if "size" in signature(kind).parameters:
            table = {"size": size, **table}
        return call_from(table, partial(kind, network), "method", source=self.source)

    def views(self, preset: str) -> Views:
        """Build the views; `preset` is that of a config without one."""
        from morphospace.learn.views import views

        named, prepared, changed = self._views_arguments()
        base = views(**{"preset": preset, **named})
        return replace(base, prepare=replace(self.preparation or base.prepare, **prepared), **changed)

    def embed(self, run: Run | str, data: Cutouts) -> Embeddings:
        """Call embed with the table [embed]."""
        from morphospace.space.embed import embed

        target = partial(embed, run, data)
        return call_from(self.table("embed", without=_BESIDE["embed"]), target, "embed", source=self.source)

    def export(self, emb: Embeddings) -> Path:
        """Call export with the table [export]; thumbnails come from the store under its key ``cutouts``."""
        from morphospace.sky.cutouts import Cutouts
        from morphospace.space.export import export
        from morphospace.space.tiles import thumbs_of

        cutouts = self.table("export").get("cutouts")
        thumbs = None if cutouts is None else thumbs_of(Cutouts.open(cutouts), emb)
        table = self.table("export", without=_BESIDE["export"])
        return call_from(table, partial(export, emb, thumbs=thumbs), "export", source=self.source)

    def _method_class(self) -> type[Method]:
        from morphospace.learn.methods import METHODS

        name = self.table("method").get("name", DEFAULT_METHOD)
        if name not in METHODS:
            msg = f"unknown method {name!r} in {self.source}{nearest(str(name), METHODS)}"
            raise ConfigError(msg)
        return METHODS[name]

    def _views_arguments(self) -> list[dict[str, Any]]:
        """Return the preset, and the fields of `Preparation` and of `Views` that differ from it."""
        from morphospace.learn.prepare import Preparation
        from morphospace.learn.views import Views

        def preset(preset: str) -> None: ...

        table = self.table("views")
        kinds: list[Callable[..., Any]] = [preset, Preparation, Views]
        names = [{name for name in signature(kind).parameters if name != "prepare"} for kind in kinds]
        known = set().union(*names)
        if unknown := [key for key in table if key not in known]:
            hint = nearest(f"views.{unknown[0]}", [f"views.{key}" for key in known])
            msg = f"unknown key 'views.{unknown[0]}' in {self.source}{hint}"
            raise ConfigError(msg)
        parts = [{key: value for key, value in table.items() if key in own} for own in names]
        return [
            arguments_from(part, kind, "views", source=self.source) if part else {}
            for part, kind in zip(parts, kinds, strict=True)
        ]

    def _target(self, name: str) -> Callable[..., Any]:
        """Return what a table calls, with what comes from other tables bound."""
        if name == "method":
            return partial(self._method_class(), None)  # type: ignore[arg-type] # never called
        module, bound = _CALLS[name]
        return partial(getattr(importlib.import_module(module), name), **dict.fromkeys(bound))


#: Function of a table's name: its module, and its parameters that are objects from other tables.
_CALLS: dict[str, tuple[str, tuple[str, ...]]] = {
    "curate": ("morphospace.sky.curate", ()),
    "encoder": ("morphospace.learn.encoders", ()),
    "train": ("morphospace.learn.train", ("method", "data", "views")),
    "embed": ("morphospace.space.embed", ("run", "data")),
    "export": ("morphospace.space.export", ("emb", "thumbs")),
}
#: Keys of a table that are no parameters of its call, but say which objects it gets.
_BESIDE = {"method": ("name",), "train": ("data",), "embed": ("run", "data"), "export": ("cutouts",)}


def merged(base: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Return tables in which the second config wins, key by key."""
    result = dict(base)
    for key, value in above.items():
        below = result.get(key)
        result[key] = merged(below, value) if isinstance(below, Mapping) and isinstance(value, Mapping) else value
    return result


def config_of_run(run: Run) -> dict[str, Any]:
    """Return the config that goes on with a run, from what the run says of itself.

    Parameters
    ----------
    run : Run
        Finished or not.

    Returns
    -------
    dict
        Tables as of a config file, but for the preparation of the images, which `Pipeline` takes as it is.
    """
    recorded = run.config
    method = dict(recorded["method"])
    if "layer" in recorded:
        method["layer"] = recorded["layer"]
    return {
        "encoder": recorded["encoder"],
        "method": method,
        "views": recorded["views"],
        "train": {
            **recorded["train"],
            # how many devices there were is recorded beside the settings, for the batches were shared among them
            "loop": {k: v for k, v in recorded["loop"].items() if k != "n_devices"},
            "data": recorded["data"].get("path"),
            "out": str(run.path),
            "resume": True,
        },
    }
