"""The verb predict: classes, values and votes from embeddings and tables."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit, refuse_existing
from morphospace.config import call_from

if TYPE_CHECKING:
    from morphospace.science.parts import Source
    from morphospace.science.prediction import Prediction
    from morphospace.science.targets import LabelSource
    from morphospace.space.embeddings import Embeddings

__all__ = ["predict_command"]

_PREDICT = "morphospace.science.predict:predict"
_LEARNING = ("labels", "where", "save", "confusion", "reliability", "figure")
_WRITTEN = ("out", "save", "confusion", "reliability", "figure")


@verb(
    _PREDICT,
    examples=[
        "morphospace predict disks.emb kind --out predicted.parquet --confusion confusion.png",
        "morphospace predict disks.emb kind --labels labels.csv --where 'snr > 10' --coverage 0.9",
        "morphospace predict disks.emb kind --part shape=shapes.parquet --part colour=g_r,r_i --save kinds.safetensors",
        "morphospace predict new.emb --model kinds.safetensors --out predicted.parquet",
    ],
)
@click.argument("embeddings", type=click.Path())
@click.argument("columns", nargs=-1)
@click.option(
    "--labels",
    type=click.Path(),
    help="Table with id and the columns: CSV, FITS, VOTable or Parquet; default: EMBEDDINGS.",
)
@click.option("--where", help="Learn only from objects that meet this condition on the columns of the embeddings.")
@click.option(
    "--part",
    "tables",
    multiple=True,
    metavar="NAME=FROM",
    help="Fuse with a table (CSV, FITS, VOTable, Parquet) or columns joined by commas. Give it once for each part.",
)
@click.option("--model", type=click.Path(), help="Predict with what --save has written; learns nothing.")
@click.option("--out", type=click.Path(), help="Write a row for each object to this .parquet.")
@click.option("--save", type=click.Path(), help="Write the fitted predictor to this .safetensors.")
@click.option("--confusion", type=click.Path(), help="Draw the confusion matrix into this .png, .pdf or .svg.")
@click.option("--reliability", type=click.Path(), help="Draw the reliability diagram into this .png, .pdf or .svg.")
@click.option("--figure", type=click.Path(), help="Draw predicted against true values into this .png, .pdf or .svg.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@options_from(_PREDICT, "predict", skip=("emb", "labels", "parts"))
def predict_command(
    config: dict[str, Any],
    embeddings: str,
    columns: tuple[str, ...],
    tables: tuple[str, ...],
    **given: Any,  # noqa: ANN401
) -> None:
    """Predict from labels."""
    from morphospace.science.predict import predict
    from morphospace.space.embeddings import Embeddings

    if bool(columns) == bool(given["model"]):
        msg = "give the column of the labels, or --model with a predictor that was saved"
        raise click.UsageError(msg)
    stray = [name for name in _LEARNING if given[name]] or list(config.get("predict", {}))
    if given["model"] and stray:
        msg = f"--{stray[0].replace('_', '-')} is for learning; --model predicts with what was learned"
        raise click.UsageError(msg)
    for name in _WRITTEN:
        if given[name] is not None:
            refuse_existing(given[name], overwrite=given["overwrite"])
    emb = Embeddings.open(embeddings)
    parts = dict(_part(each) for each in tables) or None
    if given["model"]:
        found = _by_model(emb, parts, given["model"])
    else:
        labels = _labels(emb, columns, given["labels"], given["where"])
        options = config.get("predict", {})
        found = call_from(options, partial(predict, emb, labels, parts=parts), "predict", source=SOURCE)
    _write(found, given)
    written = {name: given[name] for name in _WRITTEN if given[name] is not None}
    result = {"n": len(found), "task": found.task, "names": found.names, "scores": found.scores, **written}
    result["parts"] = [vars(each) for each in found.parts]
    emit(result, _told(found, written), as_json=state().json)


def _part(text: str) -> tuple[str, Source]:
    name, equals, source = text.partition("=")
    if not equals or not name or not source:
        msg = f"--part needs NAME=FILE or NAME=COLUMN,COLUMN; got '{text}'"
        raise click.UsageError(msg)
    if Path(source).is_file() or Path(source).suffix in (".parquet", ".csv"):
        return name, source
    return name, [column.strip() for column in source.split(",")]


def _labels(emb: Embeddings, columns: tuple[str, ...], path: str | None, where: str | None) -> LabelSource:
    """Return labels by id, those of objects that do not meet the condition left out."""
    from morphospace.science.targets import read_labels
    from morphospace.space.where import columns_of, rows_where

    wanted = columns[0] if len(columns) == 1 else columns
    if path is not None:
        labels = read_labels(path, wanted)
    elif where is None:
        return wanted
    else:
        table = emb.table(list(columns))
        rows = zip(*(table[c].to_pylist() for c in columns), strict=True)
        values = [row[0] if len(columns) == 1 else dict(zip(columns, row, strict=True)) for row in rows]
        labels = dict(zip(emb.ids, values, strict=True))
    if where is None:
        return labels
    chosen = rows_where(emb.table(sorted(columns_of(where, emb.columns))), where)
    out = {i for i, keep in zip(emb.ids, chosen, strict=True) if not keep}
    return {i: label for i, label in labels.items() if i not in out}


def _by_model(emb: Embeddings, parts: dict[str, Source] | None, path: str) -> Prediction:
    from morphospace.science.predictor import Predictor

    model = Predictor.open(path)
    return model.predict(emb, parts=parts, calibrated=model.calibrated)


def _write(found: Prediction, given: dict[str, Any]) -> None:
    from morphospace.science.figures import plot_confusion, plot_reliability, plot_values
    from morphospace.space.figures import save_figure

    if given["out"] is not None:
        found.save(given["out"], overwrite=given["overwrite"])
    if given["save"] is not None and found.predictor is not None:
        found.predictor.save(given["save"], overwrite=given["overwrite"])
    drawings = {"confusion": plot_confusion, "reliability": plot_reliability, "figure": plot_values}
    for name, draw in drawings.items():
        if given[name] is not None:
            save_figure(draw(found), given[name])


def _told(found: Prediction, written: dict[str, Any]) -> str:
    """Say in words how good the prediction is."""
    n_known = int(found.known.sum())
    what = f"{found.task}: {', '.join(found.names)}" if found.names else found.task
    lines = [f"{len(found):,} objects predicted, {n_known:,} of them with a label to judge by; {what}"]
    lines += [f"{name.replace('_', ' '):>20}  {value:.4g}" for name, value in found.scores.items()]
    if found.parts:
        lines.append(f"{'part':>20}  objects  weight  alone  drop when left out (95 %)")
        lines += [
            f"{p.part:>20}  {p.n:7,}  {p.weight:6.2f}  {p.alone:5.3f}  {p.drop:+.3f} ({p.low:+.3f} to {p.high:+.3f})"
            for p in found.parts
        ]
    return "\n".join(lines + [f"{name} written to '{path}'" for name, path in written.items()])
