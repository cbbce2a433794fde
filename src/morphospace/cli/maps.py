"""The verb of maps: project."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit, refuse_existing
from morphospace.config import arguments_from
from morphospace.errors import StoreError

if TYPE_CHECKING:
    from morphospace.space.embeddings import Embeddings
    from morphospace.space.project import Projection
    from morphospace.space.tiles import Thumbs

__all__ = ["project_command"]

_PROJECT = "morphospace.space.project:project"


@verb(
    _PROJECT,
    examples=[
        "morphospace project disks.emb --method tsne",
        "morphospace project disks.emb --method tsne --picture map.pdf --cutouts disks.cutouts --color density",
        "morphospace project disks.emb --method umap --dims 3 --name umap-wide --neighbors 50",
    ],
)
@click.argument("embeddings", type=click.Path())
@click.option("--name", help="Name under which the map is kept with the embeddings; default: the method.")
@click.option("--picture", type=click.Path(), help="Draw the map into this .png, .pdf or .svg.")
@click.option("--cutouts", type=click.Path(), help="Store that the embeddings come from: thumbnails on the picture.")
@click.option("--color", help="Colour the picture by a column of the embeddings, or by density: how common a shape is.")
@click.option("--overwrite", is_flag=True, help="Replace a picture, or a map made otherwise, that is there.")
@options_from(_PROJECT, "project", skip=("emb",))
def project_command(
    config: dict[str, Any],
    embeddings: str,
    name: str | None,
    picture: str | None,
    cutouts: str | None,
    color: str | None,
    overwrite: bool,
) -> None:
    """Make a map."""
    from morphospace.space.embeddings import Embeddings
    from morphospace.space.figures import save_figure
    from morphospace.space.map_figure import plot_map

    if picture is None and (cutouts, color) != (None, None):
        msg = "--cutouts and --color are for a picture; give --picture FILE too"
        raise click.UsageError(msg)
    if picture is not None:
        if config.get("project", {}).get("dims") == 1:
            msg = "a picture needs two axes; give --dims 2, or leave --picture out"
            raise click.UsageError(msg)
        refuse_existing(picture, overwrite=overwrite)
    emb = Embeddings.open(embeddings)
    thumbs = _checked(emb, cutouts, color)
    found, path, known = _kept_or_new(emb, config.get("project", {}), name, overwrite=overwrite)
    if picture is not None:
        save_figure(plot_map(found, thumbs, color=color), picture)
    n = len(found.ids) - int((found.coordinates != found.coordinates).any(axis=1).sum())
    result = {
        "map": path,
        "method": found.method,
        "settings": found.settings,
        "n": n,
        "n_without_vector": len(found.ids) - n,
        "explained": found.explained,
        "kept_before": known,
        "picture": picture,
    }
    lines = [f"map of {n:,} objects {'was kept' if known else 'kept'} in '{path}'"]
    lines += [f"drawn in '{picture}'"] if picture else []
    emit(result, "\n".join(lines), as_json=state().json)


def _kept_or_new(
    emb: Embeddings, table: dict[str, Any], name: str | None, *, overwrite: bool
) -> tuple[Projection, str, bool]:
    """Make the map and keep it, or take the one that was made just so: its file, and whether it was there."""
    from morphospace.space.kept import kept, place_of
    from morphospace.space.project import default_name, open_projection, project

    given = arguments_from(table, partial(project, emb), "project", source=SOURCE)
    parameters = inspect.signature(project).parameters
    asked = {key: each.default for key, each in parameters.items() if key != "emb"} | given
    name = name or default_name(asked["method"], asked["dims"])
    place_of(emb, "maps", name, overwrite=True)  # one that is there may be just this
    there = kept(emb, "maps").get(name)
    if there is not None and there.fresh:
        old = open_projection(emb, name)
        told = {"method": old.method, **old.settings}
        other = [f"{key} {value}" for key, value in told.items() if asked[key] != value]
        if not other and old.current:
            return old, str(there.path), True
        if other and not overwrite:
            made = f"'{there.path}' is there already, made with {', '.join(other)}"
            msg = f"{made}; choose another name or give overwrite=True (--overwrite)."
            raise StoreError(msg)
    new = project(emb, **given)
    return new, str(new.save(name, overwrite=True)), False


def _checked(emb: Embeddings, cutouts: str | None, color: str | None) -> Thumbs | None:
    """Give the thumbnails, and refuse what cannot be drawn before the map takes its minutes."""
    from morphospace.sky.cutouts import Cutouts
    from morphospace.space.map_colours import DENSITY, colours_of
    from morphospace.space.masked import masked_thumbs

    if color is not None and color != DENSITY:
        colours_of(color, emb)
    return None if cutouts is None else masked_thumbs(Cutouts.open(cutouts), emb)
