"""How faint, and which pixels: doctor --inject, and the verb segment."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import click

from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit
from morphospace.config import call_from

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from morphospace.science.inject import Classifier

__all__ = ["injection_options", "measure_completeness", "segment_command", "wants_injection"]

_INJECT = "morphospace.science.inject:inject"
_SEGMENT = "morphospace.science.segment:segment"
F = TypeVar("F", bound=Callable[..., Any])


def injection_options(function: F) -> F:
    """Add --inject and its options to a command."""
    options = (
        click.option(
            "--inject", is_flag=True, help="Put simulated objects into the noise of CUTOUTS: how faint is found?"
        ),
        click.option("--out", type=click.Path(), help="With --inject: folder for table, limits and figure."),
        click.option("--embeddings", type=click.Path(), help="With --inject: embeddings of CUTOUTS by this run."),
        click.option(
            "--classifier", type=click.Path(), help="With --inject: predictor that predict --save has written."
        ),
        click.option("--overwrite", is_flag=True, help="With --inject: replace what is in --out."),
        options_from(_INJECT, "inject", skip=("run", "cutouts", "embeddings", "classifier", "seed")),
    )
    for option in reversed(options):
        function = option(function)
    return function


def wants_injection(config: Mapping[str, Any], injection: Mapping[str, Any]) -> bool:
    """Tell whether a command shall inject, and refuse options that go with it where it shall not."""
    if injection["inject"]:
        return True
    stray = [name for name in ("out", "embeddings", "classifier", "overwrite") if injection[name]] or list(
        config.get("inject", {})
    )
    if stray:
        msg = f"--{stray[0]} goes with --inject"
        raise click.UsageError(msg)
    return False


def measure_completeness(
    config: Mapping[str, Any], run: str, cutouts: str | None, injection: Mapping[str, Any]
) -> None:
    """Inject, write what is asked for and say what came of it."""
    from morphospace.science.inject import inject
    from morphospace.sky.cutouts import Cutouts
    from morphospace.space.embeddings import Embeddings

    if cutouts is None:
        msg = "--inject needs the cutouts whose noise it uses: morphospace doctor RUN CUTOUTS --inject"
        raise click.UsageError(msg)
    known = injection["embeddings"]
    options: dict[str, Any] = {"seed": config.get("doctor", {}).get("seed", 0)}
    if injection["classifier"] is not None:
        options["classifier"] = _classifier(injection["classifier"])
    embeddings = None if known is None else Embeddings.open(known)
    target = partial(inject, run, Cutouts.open(cutouts), embeddings=embeddings, **options)
    found = call_from(dict(config.get("inject", {})), target, "inject", source=SOURCE)
    lines, result = found.sentences, {"limits": found.limits.to_pylist(), "about": found.about}
    if injection["out"] is not None:
        folder = found.save(injection["out"], overwrite=injection["overwrite"])
        result |= {"out": str(folder)}
        lines = [*lines, f"table, limits and figure in '{folder}'"]
    emit({**result, "sentences": found.sentences}, "\n".join(lines), as_json=state().json)


def _classifier(path: str) -> Classifier:
    """Return a predictor as what gives each vector its class; parts that it was fitted with beside vectors are missing."""
    from morphospace.science.predictor import Predictor
    from morphospace.space.embeddings import Embeddings

    predictor = Predictor.open(path)

    def classes(vectors: NDArray[np.float32]) -> Sequence[str]:
        emb = Embeddings.from_arrays(None, [str(row) for row in range(len(vectors))], vectors)
        found: list[str] = predictor.predict(emb, calibrated=False).classes.tolist()
        return found

    return classes


@verb(
    _SEGMENT,
    examples=[
        "morphospace segment disks.cutouts --out disks.masks.parquet",
        "morphospace segment galaxies.cutouts --out galaxies.masks.parquet --band r --steps 1000",
    ],
)
@click.argument("cutouts", type=click.Path())
@options_from(_SEGMENT, "segment", skip=("cutouts", "out"))
@click.option("--out", "segment__out", type=click.Path(), required=True, help="Parquet file to write.")
def segment_command(config: dict[str, Any], cutouts: str) -> None:
    """Find the pixels of every object."""
    from morphospace.science.masks import COMPARED, compared
    from morphospace.science.segment import segment
    from morphospace.sky.cutouts import Cutouts

    out = config["segment"]["out"]
    state().interrupted = f"masks that were made are safe beside '{out}'; go on with the same command and --resume"
    target = partial(segment, Cutouts.open(cutouts))
    masks = call_from(config.get("segment", {}), target, "segment", source=SOURCE)
    areas = masks.table["area_px"].to_numpy()
    figures = compared(masks)
    result = {"masks": str(masks.path), "n": len(masks), "empty": int((areas == 0).sum()), "iou": figures}
    lines = [f"{len(masks):,} masks in '{masks.path}', {result['empty']:,} of them empty"]
    lines.append("intersection over union, median (16 to 84 %) where a mask is not empty:")
    for name, words in COMPARED.items():
        f = figures[name]
        lines.append(f"  {words:<24} {f['median']:.2f} ({f['low']:.2f} to {f['high']:.2f}), {f['n']:,} objects")
    emit(result, "\n".join(lines), as_json=state().json)
