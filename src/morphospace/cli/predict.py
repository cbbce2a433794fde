"""The verb predict: classes, values and votes from embeddings and tables."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from morphospace.cli.labels import labels_of
from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit
from morphospace.config import call_from
from morphospace.errors import StoreError

if TYPE_CHECKING:
    from morphospace.science.parts import Source
    from morphospace.science.prediction import Prediction
    from morphospace.space.embeddings import Embeddings

__all__ = ["predict_command"]

_PREDICT = "morphospace.science.predict:predict"
_IMAGES = "morphospace.science.finetune:predict_images"
_LEARNING = ("labels", "where", "save", "confusion", "reliability", "figure")
_TABLES = (".csv", ".ecsv", ".fits", ".fit", ".parquet", ".pq", ".vot", ".votable", ".xml")
_WRITTEN = ("out", "save", "confusion", "reliability", "figure")


@verb(
    _PREDICT,
    examples=[
        "morphospace predict disks.emb kind --out predicted.parquet --confusion confusion.png",
        "morphospace predict disks.emb kind --labels labels.csv --where 'snr > 10' --coverage 0.9",
        "morphospace predict disks.emb kind --part shape=shapes.parquet --part colour=g_r,r_i --save kinds.safetensors",
        "morphospace predict new.emb --model kinds.safetensors --out predicted.parquet",
        "morphospace predict new.cutouts --model runs/kinds --average d4 --out predicted.parquet",
    ],
)
@click.argument("embeddings", type=click.Path(), metavar="EMBEDDINGS|CUTOUTS")
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
@click.option(
    "--model",
    type=click.Path(),
    help="Predict with what --save has written, or CUTOUTS with a run of finetune; learns nothing.",
)
@click.option("--out", type=click.Path(), help="Write a row for each object to this .parquet.")
@click.option("--save", type=click.Path(), help="Write the fitted predictor to this .safetensors.")
@click.option("--confusion", type=click.Path(), help="Draw the confusion matrix into this .png, .pdf or .svg.")
@click.option("--reliability", type=click.Path(), help="Draw the reliability diagram into this .png, .pdf or .svg.")
@click.option("--figure", type=click.Path(), help="Draw predicted against true values into this .png, .pdf or .svg.")
@click.option("--overwrite", is_flag=True, help="Replace files that are there.")
@options_from(_PREDICT, "predict", skip=("emb", "labels", "parts"))
@options_from(_IMAGES, "images", skip=("run", "data", "encoder"))
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

    tuned = _check_model(config, columns, given, tables)
    _check_files(given)
    parts = dict(_part(each) for each in tables) or None
    if tuned:
        found = _by_run(embeddings, given["model"], config.get("images", {}))
    elif given["model"]:
        found = _by_model(Embeddings.open(embeddings), parts, given["model"])
    else:
        emb = Embeddings.open(embeddings)
        labels = labels_of(emb, columns, given["labels"], given["where"])
        options = config.get("predict", {})
        found = call_from(options, partial(predict, emb, labels, parts=parts), "predict", source=SOURCE)
    _write(found, given)
    written = {name: given[name] for name in _WRITTEN if given[name] is not None}
    result = {"n": len(found), "task": found.task, "names": found.names, "scores": found.scores, **written}
    result["parts"] = [vars(each) for each in found.parts]
    if tuned:
        result["n_trained_on"] = found.about["n_trained_on"]
    emit(result, _told(found, written), as_json=state().json)


def _check_model(
    config: dict[str, Any], columns: tuple[str, ...], given: dict[str, Any], tables: tuple[str, ...]
) -> bool:
    """Refuse what does not go with --model, and tell whether that is a fine-tuned run."""
    model = given["model"]
    if bool(columns) == bool(model):
        msg = "give the column of the labels, or --model with a predictor that was saved or a run that was fine-tuned"
        raise click.UsageError(msg)
    if model is not None and not Path(model).exists():
        msg = f"--model '{model}' is not there; give a predictor that predict --save wrote, or a run of finetune."
        raise StoreError(msg)
    tuned = model is not None and Path(model).is_dir()
    stray = [name for name in _LEARNING if given[name]] or list(config.get("predict", {}))
    if model and stray:
        msg = (
            f"--{stray[0].replace('_', '-')} is for learning, and --model '{model}' has learned; leave one of them out"
        )
        raise click.UsageError(msg)
    if tuned and tables:
        msg = f"--part is for predictors, and --model '{model}' is a run, which looks at images alone; leave --part out"
        raise click.UsageError(msg)
    if config.get("images") and not tuned:
        msg = f"--{next(iter(config['images']))} needs --model with a run of finetune, which looks at images; leave it out"
        raise click.UsageError(msg)
    return tuned


def _check_files(given: dict[str, Any]) -> None:
    """Refuse names that cannot be written before the work begins."""
    from morphospace.science.files import FIGURES, PARQUET, SAFETENSORS, free_file

    for name, endings in {"out": PARQUET, "save": SAFETENSORS, **dict.fromkeys(_WRITTEN[2:], FIGURES)}.items():
        if given[name] is not None:
            free_file(given[name], endings, overwrite=given["overwrite"])


def _part(text: str) -> tuple[str, Source]:
    name, equals, source = text.partition("=")
    if not equals or not name or not source:
        msg = f"--part needs NAME=FILE or NAME=COLUMN,COLUMN; got '{text}'"
        raise click.UsageError(msg)
    if Path(source).is_file() or Path(source).suffix.casefold() in _TABLES:
        return name, source
    return name, [column.strip() for column in source.split(",")]


def _by_model(emb: Embeddings, parts: dict[str, Source] | None, path: str) -> Prediction:
    from morphospace.science.predictor import Predictor

    model = Predictor.open(path)
    return model.predict(emb, parts=parts, calibrated=model.calibrated)


def _by_run(cutouts: str, path: str, options: dict[str, Any]) -> Prediction:
    from morphospace.science.finetune import predict_images
    from morphospace.sky.cutouts import Cutouts

    return call_from(options, partial(predict_images, path, Cutouts.open(cutouts)), "images", source=SOURCE)


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
    if n_seen := found.about.get("n_trained_on"):
        lines.append(f"the run was trained on {n_seen:,} of them, which it predicts better than new ones")
    lines += [f"{name.replace('_', ' '):>20}  {value:.4g}" for name, value in found.scores.items()]
    if found.parts:
        lines.append(f"{'part':>20}  objects  weight  alone  drop when left out (95 %)")
        lines += [
            f"{p.part:>20}  {p.n:7,}  {p.weight:6.2f}  {p.alone:5.3f}  {p.drop:+.3f} ({p.low:+.3f} to {p.high:+.3f})"
            for p in found.parts
        ]
    return "\n".join(lines + [f"{name} written to '{path}'" for name, path in written.items()])
