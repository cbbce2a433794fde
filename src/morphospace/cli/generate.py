"""The verb of generative runs: what they reconstruct, make and tell."""

from __future__ import annotations

import mimetypes
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from morphospace.cli.options import state, verb
from morphospace.cli.output import emit, refuse_existing

if TYPE_CHECKING:
    import pyarrow as pa
    from matplotlib.figure import Figure

    from morphospace.sky.cutouts import Cutouts
    from morphospace.space.embeddings import Embeddings
    from morphospace.space.generate import Components, Decoder, Gaussians

__all__ = ["ACTIONS", "generate_command"]

_PICTURES = (".png", ".pdf", ".svg")
_COMMON = {"action", "runs", "out", "overwrite", "device", "title"}
_DENSITY = {"embeddings", "k", "seed"}
Answer = tuple[dict[str, Any], str]


@dataclass(frozen=True)
class _Given:
    """What stands on the command line."""

    action: str
    runs: tuple[str, ...]
    out: str | None
    cutouts: str | None
    embeddings: str | None
    survey: str | None
    name: tuple[str, ...]
    component: tuple[int, ...]
    latent: tuple[int, ...]
    ignore: tuple[int, ...]
    vote: tuple[str, ...]
    cut: tuple[str, ...]
    labels: str | None
    table: str | None
    keep: str | None
    n: int | None
    k: int | None
    steps: int | None
    extent: float
    base: str
    method: str
    noise: bool
    seed: int
    device: str
    resume: bool
    overwrite: bool
    title: str

    def decoder(self) -> Decoder:
        from morphospace.space.generate import Decoder

        if len(self.runs) > 1:
            msg = f"{self.action} takes one --run; several are for traverse"
            raise click.UsageError(msg)
        return Decoder.open(self.runs[0], device=self.device)

    def store(self) -> Cutouts:
        from morphospace.sky.cutouts import Cutouts

        return Cutouts.open(self.needed("cutouts"))

    def emb(self) -> Embeddings:
        from morphospace.space.embeddings import Embeddings

        return Embeddings.open(self.needed("embeddings"))

    def density(self, decoder: Decoder) -> Gaussians | None:
        """Fit a mixture to embeddings of this run where -k asks for one."""
        from morphospace.space.generate import Gaussians

        if self.k is None:
            return None
        emb = self.emb()
        decoder.check_space(emb)
        return Gaussians.fit(emb.vectors, k=self.k, seed=self.seed)

    def needed(self, option: str) -> str:
        value = getattr(self, option)
        if value is None:
            msg = f"{self.action} needs --{option}"
            raise click.UsageError(msg)
        return str(value)

    def save(self, figure: Figure) -> str:
        from morphospace.space.figures import save_figure

        return str(save_figure(figure, self.needed("out")))

    def write(self, table: pa.Table) -> str | None:
        """Write a table where --table asks for it."""
        from pyarrow import csv

        from morphospace.science.files import write_file

        return None if self.table is None else str(write_file(Path(self.table), partial(csv.write_csv, table)))


_FILE = click.Path()
_COUNT = click.IntRange(min=1)


@verb(
    "morphospace.cli.generate:generate_command",
    examples=[
        "morphospace generate sample --run runs/vade --out synthetic.cutouts -n 100000 --survey disks.cutouts --noise",
        "morphospace generate sample --run runs/vade --out samples.png --component 3 --component 5",
        "morphospace generate reconstruct --run runs/vade --cutouts disks.cutouts --out best_and_worst.png",
        "morphospace generate traverse --run runs/vae2 --run runs/vae4 --run runs/vae8 --out latents.png",
        "morphospace generate components --run runs/vade --embeddings disks.emb --ignore 4 --labels class",
        "morphospace generate path --run runs/vade --embeddings disks.emb --out path.png",
        "morphospace generate deblend --run runs/vade --embeddings disks.emb --cutouts disks.cutouts --name a12 --out b.png",
    ],
)
@click.argument(
    "action",
    type=click.Choice(("sample", "reconstruct", "traverse", "grid", "map", "path", "deblend", "components")),
)
@click.option("--run", "runs", multiple=True, required=True, type=_FILE, help="Folder of a run; several for traverse.")
@click.option("--out", type=_FILE, help="Picture to draw (.png, .pdf, .svg); for sample also a folder of cutouts.")
@click.option("--cutouts", type=_FILE, help="Images: for reconstruct, deblend, components.")
@click.option("--embeddings", type=_FILE, help="Latents of the run: for map, path, deblend, components, and with -k.")
@click.option("--survey", type=_FILE, help="sample: cutouts whose units, brightness and noise the images take on.")
@click.option("--noise", is_flag=True, help="sample: add white noise as in the survey.")
@click.option(
    "-n", type=_COUNT, help="sample: number of images (64 in a picture, 1000 on disk); reconstruct: columns (8)."
)
@click.option("--component", multiple=True, type=int, help="sample, path: of these only. Give it once for each.")
@click.option("-k", type=_COUNT, help="sample, path, components: fit a mixture of so many to --embeddings, for an AE.")
@click.option("--latent", multiple=True, type=int, help="traverse: this latent. Give it once for each; all by default.")
@click.option(
    "--base", type=click.Choice(("zero", "mean")), default="zero", show_default=True, help="traverse: the others there."
)
@click.option("--steps", type=_COUNT, help="Images along a latent (9), an axis (15; map 12) or from stop to stop (6).")
@click.option("--extent", type=float, default=3.0, show_default=True, help="traverse: how far, in standard deviations.")
@click.option(
    "--method", type=click.Choice(("umap", "pca")), default="umap", show_default=True, help="map: how to draw it."
)
@click.option("--name", multiple=True, help="deblend: id of an object with a companion. Give it once for each.")
@click.option("--ignore", multiple=True, type=int, help="components: leave this one out. Give it once for each.")
@click.option("--labels", help="components: compare with this column of classes.")
@click.option("--vote", multiple=True, help="components: mean of this column of vote fractions. Give it once for each.")
@click.option("--cut", multiple=True, help="components: condition, applied after those before. Give it once for each.")
@click.option("--keep", help="components: keep labels and probabilities beside the embeddings under this name.")
@click.option("--table", type=_FILE, help="components: write each object's; reconstruct: its error; to this .csv file.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of whatever is drawn.")
@click.option("--device", default="auto", show_default=True, help="cpu, cuda, mps; auto takes a GPU if there is one.")
@click.option("--resume", is_flag=True, help="sample: go on with an interrupted catalogue, or make it longer.")
@click.option("--overwrite", is_flag=True, help="Replace what is there.")
@click.option("--title", default="", help="Written above the picture.")
def generate_command(config: dict[str, Any], **options: Any) -> None:  # noqa: ANN401 - click's own
    """Read a run that has a decoder (AE, VAE, VaDE), and make images with it.

    ``sample`` draws synthetic images, to look at or as a catalogue on disk. ``reconstruct`` draws the best and the worst, and
    lists what may be artefacts. ``traverse`` draws what each latent does, ``grid`` the plane of two latents, ``map`` a 2-D map
    of more and the images on it. ``path`` goes through the most typical member of each component. ``deblend`` finds the nearest
    object without a companion. ``components`` counts and compares the components of a mixture.
    """
    from morphospace.science.files import CSV, free_file

    given = _Given(**options)
    action, taken = ACTIONS[given.action]
    ctx = click.get_current_context()
    for param in ctx.command.params:
        name = str(param.name)
        stray = name not in _COMMON | taken and ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if stray and name in options:
            takes = sorted(p.opts[-1] for p in ctx.command.params if p.name in taken)
            msg = f"{param.opts[-1]} is not for {given.action}, which takes {', '.join(takes)}"
            raise click.UsageError(msg, ctx)
    if given.out is not None and Path(given.out).suffix.casefold() in _PICTURES:
        refuse_existing(given.out, overwrite=given.overwrite)
    if given.table is not None:
        free_file(given.table, CSV, overwrite=given.overwrite)
    emit(*action(given), as_json=state().json)


def _sample(given: _Given) -> Answer:
    from morphospace.sky.cutouts import Cutouts
    from morphospace.space.generate import generate, look_of, plot_samples, sample

    out = given.needed("out")
    picture = Path(out).suffix.casefold() in _PICTURES
    if not picture and (mimetypes.guess_type(out)[0] or "").startswith("image/"):
        msg = f"'{out}' is no folder, and pictures are {', '.join(_PICTURES)}"
        raise click.UsageError(msg)
    stray = [name for name in ("survey", "noise", "resume") if picture and getattr(given, name)]
    if stray:
        msg = f"--{stray[0]} is for a catalogue on disk; '{out}' is a picture"
        raise click.UsageError(msg)
    if given.k is None and given.embeddings is not None:
        msg = "sample takes --embeddings with -k, to fit a mixture to them"
        raise click.UsageError(msg)
    decoder = given.decoder()
    density, chosen = given.density(decoder), given.component or None
    if picture:
        found = sample(decoder, given.n or 64, components=chosen, density=density, seed=given.seed)
        given.save(plot_samples(found, look=look_of(decoder), title=given.title or "drawn from the density"))
        return {"picture": out, "n": len(found.images)}, f"{len(found.images):,} images in '{out}'"
    state().interrupted = f"what was complete is safe in '{out}'; go on with the same command and --resume"
    made = generate(
        decoder,
        out,
        n=given.n or 1000,
        components=chosen,
        density=density,
        survey=None if given.survey is None else Cutouts.open(given.survey),
        noise=given.noise,
        seed=given.seed,
        resume=given.resume,
        overwrite=given.overwrite,
    )
    return {"cutouts": str(made.path), "n": len(made)}, f"{len(made):,} synthetic images in '{made.path}'"


def _reconstruct(given: _Given) -> Answer:
    from morphospace.space.generate import look_of, plot_reconstructions, reconstruct

    decoder, cutouts = given.decoder(), given.store()
    found = reconstruct(decoder, cutouts)
    n = min(given.n or 8, len(found))
    written = given.write(found.table())
    artefacts = found.artefacts()
    result = {"n": len(found), "artefacts": artefacts.to_pylist(), "table": written}
    if given.out is not None:
        title = given.title or f"{given.runs[0]}: the {n} best and the {n} worst of {len(found):,}"
        figure = plot_reconstructions(found.best(n), found.worst(n), look=look_of(cutouts), title=title)
        result["picture"] = given.save(figure)
    head = f"{len(found):,} images, {len(artefacts)} reconstructed more than 3 robust sigmas worse than usual"
    return result, "\n".join([head, *_lines(artefacts.slice(0, 20))])


def _traverse(given: _Given) -> Answer:
    from morphospace.space.generate import Decoder, look_of, plot_traversals, traverse

    decoders = [Decoder.open(run, device=given.device) for run in given.runs]
    base: Any = given.base
    found = [
        traverse(d, latents=given.latent, base=base, steps=given.steps or 9, extent=given.extent) for d in decoders
    ]
    out = given.save(plot_traversals(*found, look=look_of(decoders[0]), title=given.title))
    told = [{"run": t.name, "latents": t.latents, "change": t.change} for t in found]
    return {"picture": out, "runs": told}, f"{sum(len(t.latents) for t in found)} latents in '{out}'"


def _grid(given: _Given) -> Answer:
    from morphospace.space.generate import grid, look_of, plot_grid

    decoder = given.decoder()
    found = grid(decoder, steps=given.steps or 15)
    out = given.save(plot_grid(found, look=look_of(decoder), title=given.title))
    return {"picture": out}, f"{found.images.shape[0]} x {found.images.shape[1]} images in '{out}'"


def _map(given: _Given) -> Answer:
    from morphospace.space.generate import inverse_map, look_of, plot_grid

    decoder = given.decoder()
    method: Any = given.method
    found = inverse_map(decoder, given.emb(), method=method, steps=given.steps or 12, seed=given.seed)
    out = given.save(plot_grid(found, look=look_of(decoder), title=given.title))
    return {"picture": out}, f"map of {len(found.points):,} objects, decoded, in '{out}'"


def _path(given: _Given) -> Answer:
    from morphospace.space.generate import look_of, plot_path, tour

    decoder = given.decoder()
    steps, density = given.steps or 6, given.density(decoder)
    found = tour(decoder, given.emb(), components=given.component, density=density, steps=steps, seed=given.seed)
    out = given.save(plot_path(found, look=look_of(decoder), title=given.title))
    told = {"picture": out, "ids": found.ids, "components": found.components, "length": found.length}
    order = ", ".join(f"{c} ({name})" for c, name in zip(found.components, found.ids, strict=True))
    return told, f"{len(found.images)} images in '{out}', through components {order}"


def _deblend(given: _Given) -> Answer:
    from morphospace.space.generate import deblend, look_of, plot_deblended

    if not given.name:
        msg = "deblend needs --name, the id of an object with a companion"
        raise click.UsageError(msg)
    decoder, emb, cutouts = given.decoder(), given.emb(), given.store()
    found = [deblend(decoder, emb, cutouts=cutouts, name=name, steps=given.steps or 6) for name in given.name]
    out = given.save(plot_deblended(*found, look=look_of(cutouts), title=given.title))
    told = [{"id": f.id, "neighbour": f.neighbour, "distance": f.distance, "rank": f.rank} for f in found]
    lines = [f"{f.id}: nearest without a companion is {f.neighbour} (neighbour {f.rank})" for f in found]
    return {"picture": out, "found": told}, "\n".join(lines)


def _components(given: _Given) -> Answer:
    from morphospace.space.generate import assign, components, look_of, plot_components

    if given.k is not None or given.keep is not None:
        given.needed("embeddings")
    if given.out is not None:
        given.needed("cutouts")
    decoder = given.decoder()
    if given.embeddings is None:
        found = assign(decoder, given.store(), ignore=given.ignore)
    else:
        found = components(decoder, given.emb(), density=given.density(decoder), ignore=given.ignore)
    summary = found.summary()
    result: dict[str, Any] = {"components": summary.to_pylist(), "table": given.write(found.table())}
    lines = _lines(summary)
    if given.keep is not None:
        result["kept"] = str(found.keep(given.emb(), given.keep, overwrite=given.overwrite))
    if given.out is not None:
        cutouts = given.store()
        figure = plot_components(decoder, found, cutouts, look=look_of(cutouts), title=given.title)
        result["picture"] = given.save(figure)
    for key, table, head in _comparisons(given, found):
        result[key] = table.to_pylist()
        lines += ["", head, *_lines(table)]
    return result, "\n".join(lines)


def _comparisons(given: _Given, found: Components) -> list[tuple[str, pa.Table, str]]:
    from morphospace.space.generate import compare_labels, compare_votes, nested_cuts

    if not (given.labels or given.vote or given.cut):
        return []
    known = given.emb() if given.embeddings is not None else given.store()
    parts = []
    if given.labels:
        found_labels = compare_labels(found.labels, known.table([given.labels])[given.labels].to_pylist())
        head = (
            f"{given.labels}: AMI {found_labels.ami:.3f}, ARI {found_labels.ari:.3f}, "
            f"purity {found_labels.purity:.3f} (majority {found_labels.majority:.3f})"
        )
        parts.append(("labels", found_labels.table(), head))
    if given.vote:
        parts.append(("votes", compare_votes(found.labels, known.table(list(given.vote))), "mean votes"))
    if given.cut:
        head = "left after " + ", then ".join(given.cut)
        parts.append(("cuts", nested_cuts(found.labels, known.table(), given.cut), head))
    return parts


def _lines(table: pa.Table) -> list[str]:
    """Lay a table out in columns."""
    if not table.num_rows:
        return []
    cells = [table.column_names, *([_cell(v) for v in row.values()] for row in table.to_pylist())]
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in cells]


def _cell(value: object) -> str:
    if value is None or value != value:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


#: Each action: what carries it out, and the options that it takes beside the common ones.
ACTIONS: dict[str, tuple[Callable[[_Given], Answer], set[str]]] = {
    "sample": (_sample, {"n", "component", "survey", "noise", "resume", *_DENSITY}),
    "reconstruct": (_reconstruct, {"cutouts", "n", "table"}),
    "traverse": (_traverse, {"latent", "base", "steps", "extent"}),
    "grid": (_grid, {"steps"}),
    "map": (_map, {"embeddings", "method", "steps", "seed"}),
    "path": (_path, {"component", "steps", *_DENSITY}),
    "deblend": (_deblend, {"embeddings", "cutouts", "name", "steps"}),
    "components": (_components, {"cutouts", "ignore", "labels", "vote", "cut", "keep", "table", *_DENSITY}),
}
