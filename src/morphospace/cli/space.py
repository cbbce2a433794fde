"""The verbs of the space of shapes: embed, search, export."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit, refuse_existing
from morphospace.cli.pipeline import Pipeline
from morphospace.config import call_from

if TYPE_CHECKING:
    from morphospace.space.embeddings import Embeddings

__all__ = ["describe_embeddings", "embed_command", "export_command", "search_command"]

_EMBED = "morphospace.space.embed:embed"
_SEARCH = "morphospace.space.search:search"
_EXPORT = "morphospace.space.export:export"


@verb(
    _EMBED,
    examples=[
        "morphospace embed disks.cutouts --run runs/byol --out disks.emb --average d4",
        "morphospace embed disks.cutouts --run starter --out quick.emb",
    ],
)
@click.argument("cutouts", type=click.Path())
@click.option("--run", required=True, help="Folder of a finished run, or starter.")
@options_from(_EMBED, "embed", skip=("run", "data", "encoder"))
def embed_command(config: dict[str, Any], cutouts: str, run: str) -> None:
    """Turn cutouts into vectors."""
    from morphospace.sky.cutouts import Cutouts

    state().interrupted = (
        f"what was complete is safe in '{config['embed']['out']}'; go on with the same command and --resume"
    )
    emb = Pipeline(config, SOURCE).embed(run, Cutouts.open(cutouts))
    emit(*describe_embeddings(emb), as_json=state().json)


def describe_embeddings(emb: Embeddings) -> tuple[dict[str, Any], str]:
    """Return what came of an embedding, for machines and for people."""
    result = {"embeddings": str(emb.path), "n": len(emb), "dimensions": emb.dim, "space": emb.space_id}
    return result, f"{len(emb):,} vectors of {emb.dim} dimensions in '{emb.path}', space {emb.space_id}"


@verb(
    _SEARCH,
    examples=[
        'morphospace search disks.emb "GG Tau" -k 12 --exclude-radius 10arcsec',
        "morphospace search disks.emb new/image.fits",
        "morphospace search disks.emb spiral1 --picture hits.png --cutouts disks.cutouts",
        "morphospace search disks.emb spiral1 spiral2 --not-like blob7 --where 'flags == 0'",
    ],
)
@click.argument("embeddings", type=click.Path())
@click.argument("query", nargs=-1, required=True)
@click.option("--picture", type=click.Path(), help="Draw query and hits into this .png, .pdf or .svg; needs --cutouts.")
@click.option("--cutouts", type=click.Path(), help="Store that the embeddings come from, for --picture.")
@click.option("--overwrite", is_flag=True, help="Replace a picture that is there.")
@options_from(_SEARCH, "search", skip=("emb", "query"))
def search_command(
    config: dict[str, Any],
    embeddings: str,
    query: tuple[str, ...],
    picture: str | None,
    cutouts: str | None,
    overwrite: bool,
) -> None:
    """Find the most similar objects."""
    from morphospace.sky.cutouts import Cutouts
    from morphospace.space.embeddings import Embeddings
    from morphospace.space.figures import plot_hits, save_figure
    from morphospace.space.search import search
    from morphospace.space.tiles import thumbs_of

    if picture is not None and cutouts is None:
        msg = "--picture needs --cutouts STORE, where the thumbnails are"
        raise click.UsageError(msg)
    if picture is not None:
        refuse_existing(picture, overwrite=overwrite)
    emb = Embeddings.open(embeddings)
    found: list[Any] = [_known_or_new(emb, one) for one in query]
    target = partial(search, emb, found[0] if len(found) == 1 else found)
    hits = call_from(config.get("search", {}), target, "search", source=SOURCE)
    result = {
        "query": hits.query,
        "metric": hits.metric,
        "n_searched": hits.n_searched,
        "hits": hits.table().to_pylist(),
    }
    if picture is not None and cutouts is not None:
        save_figure(plot_hits([hits], thumbs_of(Cutouts.open(cutouts), emb)), picture)
    emit(result, str(hits), as_json=state().json)


def _known_or_new(emb: Embeddings, name: str) -> str | Embeddings:
    """Return a name as it is, and a file that is not among the embeddings as a vector of the same space."""
    path = Path(name)
    if name in emb or not path.is_file():
        return name
    sources = emb.table(["source"])["source"].to_pylist() if "source" in emb.columns else []
    if path.resolve() in {Path(source).resolve() for source in sources if source}:
        return name
    from morphospace.learn.gallery import sample_of
    from morphospace.runs import Run
    from morphospace.sky.images import read_image
    from morphospace.sky.stacks import sample_stack
    from morphospace.space.embed import Embedder
    from morphospace.space.embeddings import Embeddings

    kernel = Embedder(Run.open(str(emb.provenance.get("run"))), average=emb.provenance.get("average"))
    stack = sample_stack(sample_of(read_image(path)), 0)
    return Embeddings.from_arrays(None, [path.name], kernel.vectors([stack]), provenance=kernel.provenance())


@verb(
    _EXPORT,
    examples=[
        "morphospace export disks.emb disks.vot",
        "morphospace export disks.emb projector --format tensorboard --cutouts disks.cutouts",
    ],
)
@click.argument("embeddings", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--cutouts", type=click.Path(), help="Store that the embeddings come from; its thumbnails go along.")
@options_from(_EXPORT, "export", skip=("emb", "out", "thumbs"))
def export_command(config: dict[str, Any], embeddings: str, out: str, cutouts: str | None) -> None:
    """Write embeddings for another program."""
    from morphospace.space.embeddings import Embeddings

    table = {"out": out, **config.get("export", {})}
    if cutouts is not None:
        table["cutouts"] = cutouts
    written: Path = Pipeline({"export": table}, SOURCE).export(Embeddings.open(embeddings))
    emit({"export": str(written)}, f"written to '{written}'", as_json=state().json)
