"""The verbs of the odd ones and of the observer: anomalies, alike, ask."""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit, refuse_existing
from morphospace.config import call_from, nearest
from morphospace.errors import DataError

if TYPE_CHECKING:
    from morphospace.space.labels import Labels

__all__ = ["alike_command", "anomalies_command", "ask_command"]

_ANOMALIES = "morphospace.space.anomaly:anomalies"
_ALIKE = "morphospace.space.alike:alike"
_ASK = "morphospace.space.ask:ask"


@verb(
    _ANOMALIES,
    examples=[
        "morphospace anomalies disks.emb",
        "morphospace anomalies disks.emb --method forest --top 50 --name odd",
    ],
)
@click.argument("embeddings", type=click.Path())
@click.option(
    "--top", type=click.IntRange(min=1), default=20, show_default=True, help="How many of the oddest to list."
)
@click.option("--name", help="Name under which the table is kept with the embeddings; default: the method.")
@click.option("--overwrite", is_flag=True, help="Replace a table of that name that is there.")
@options_from(_ANOMALIES, "anomalies", skip=("emb",))
def anomalies_command(config: dict[str, Any], embeddings: str, top: int, name: str | None, overwrite: bool) -> None:
    """Rank the odd ones."""
    from morphospace.space.anomaly import anomalies
    from morphospace.space.embeddings import Embeddings
    from morphospace.space.kept import place_of

    emb = Embeddings.open(embeddings)
    given = config.get("anomalies", {})
    method = inspect.signature(anomalies).parameters["method"].default
    place_of(emb, "anomalies", name or given.get("method", method), overwrite=overwrite)
    found = call_from(given, partial(anomalies, emb), "anomalies", source=SOURCE)
    kept = found.save(emb, name, overwrite=overwrite)
    rows = found.top(top)
    result = {"method": found.method, "kept": kept, "top": found.table().take(rows).to_pylist()}
    emit(result, f"{found.told(top)}\nall ranks in '{kept}'", as_json=state().json)


@verb(
    _ALIKE,
    examples=["morphospace alike runs/byol disks.cutouts 'GG Tau' 'AB Aur' --picture alike.png"],
)
@click.argument("run", type=click.Path())
@click.argument("cutouts", type=click.Path())
@click.argument("a")
@click.argument("b")
@click.option("--picture", type=click.Path(), help="Draw both with their heat maps into this .png, .pdf or .svg.")
@click.option("--overwrite", is_flag=True, help="Replace a picture that is there.")
@options_from(_ALIKE, "alike", skip=("run", "cutouts", "a", "b"))
def alike_command(
    config: dict[str, Any], run: str, cutouts: str, a: str, b: str, picture: str | None, overwrite: bool
) -> None:
    """Find what makes a pair alike."""
    from morphospace.runs import Run
    from morphospace.sky.cutouts import Cutouts
    from morphospace.space.alike import alike, plot_alike
    from morphospace.space.figures import save_figure

    if picture is not None:
        refuse_existing(picture, overwrite=overwrite)
    target = partial(alike, Run.open(run), Cutouts.open(cutouts), a=a, b=b)
    found = call_from(config.get("alike", {}), target, "alike", source=SOURCE)
    if picture is not None:
        save_figure(plot_alike(found), picture)
    result = {
        "similarity": found.similarity,
        "patch": found.patch,
        **{key: {"id": h.id, "pixels": h.pixels, "change": h.change} for key, h in (("a", found.a), ("b", found.b))},
    }
    lines = [f"cosine similarity {found.similarity:.4f}"]
    for heat in (found.a, found.b):
        y, x = np.unravel_index(int(np.argmax(heat.change)), heat.change.shape)
        lines.append(f"'{heat.id}': covering the part at x {x}, y {y} of the view takes {heat.change.max():.4f} of it")
    emit(result, "\n".join(lines + ([f"drawn in '{picture}'"] if picture else [])), as_json=state().json)


@verb(
    _ASK,
    examples=[
        "morphospace ask disks.emb mergers --new",
        "morphospace ask disks.emb mergers --give 'GG Tau' 5 --give blob7 0 -n 10",
        "morphospace ask disks.emb kinds --classes ring --classes spiral --wanted ring",
        "morphospace ask disks.emb mergers --export mergers.csv",
    ],
)
@click.argument("embeddings", type=click.Path())
@click.argument("label_set")
@click.option("--new", "labels__new", is_flag=True, help="Make the set: labels are numbers from 0 to 5.")
@click.option(
    "--classes", "labels__classes", multiple=True, help="Make the set with named classes. Give it once for each."
)
@click.option(
    "--give",
    "labels__give",
    type=(str, str),
    multiple=True,
    metavar="ID LABEL",
    help="Label an object. May come often.",
)
@click.option("--undo", "labels__undo", type=click.IntRange(min=0), default=0, help="Take back so many steps first.")
@click.option(
    "--export", "labels__export", type=click.Path(), help="Write the labels to this .csv or .vot and ask nothing."
)
@click.option("--overwrite", "labels__overwrite", is_flag=True, help="Replace an exported file that is there.")
@options_from(_ASK, "ask", skip=("emb", "values"))
def ask_command(config: dict[str, Any], embeddings: str, label_set: str) -> None:
    """Ask for labels."""
    from morphospace.space.ask import ask
    from morphospace.space.embeddings import Embeddings
    from morphospace.space.labels import Labels

    emb = Embeddings.open(embeddings)
    given = config.get("labels", {})
    for identifier, _ in given.get("give", ()):
        emb.row_of(identifier)  # one that is not there is told before anything is written
    with Labels(emb) as labels:
        if "export" in given:
            written = labels.export(label_set, given["export"], overwrite=given.get("overwrite", False))
            emit({"export": written}, f"written to '{written}'", as_json=state().json)
            return
        _label(labels, label_set, given, config.get("ask", {}).get("wanted"))
        values = labels.values(label_set)
    asked = call_from(config.get("ask", {}), partial(ask, emb, values), "ask", source=SOURCE)
    kept = None if asked.method == "cold" else asked.save(emb, label_set)
    result = {"method": asked.method, "why": asked.why, "n_labels": asked.n_labels, "kept": kept}
    result["next"] = asked.table().take(asked.rows).to_pylist()
    emit(result, f"{asked}" + (f"\nall scores in '{kept}'" if kept else ""), as_json=state().json)


def _label(labels: Labels, name: str, given: dict[str, Any], wanted: str | None) -> None:
    """Make the set where that is asked for, take back steps and give labels."""
    classes, known = given.get("classes", ()), [one.name for one in labels.sets()]
    if classes or given.get("new"):
        labels.create(name, "class" if classes else "interest", classes=classes)
    elif name not in known:
        there = (
            f"there {'are' if len(known) > 1 else 'is'} {', '.join(map(repr, known))}" if known else "there is none yet"
        )
        msg = f"there is no label set '{name}': {there}; give --new, or --classes, to make it."
        raise DataError(msg)
    found = labels.find(name)
    if wanted is not None and wanted not in found.classes:
        msg = f"'{wanted}' is no class of label set '{name}'{nearest(wanted, found.classes)}"
        raise DataError(msg)
    for _ in range(given.get("undo", 0)):
        labels.undo(name)
    for identifier, value in given.get("give", ()):
        labels.give(name, identifier, int(value) if found.kind == "interest" and value.isdecimal() else value)
