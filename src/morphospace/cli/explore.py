"""The verb explore."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from morphospace.cli.options import SOURCE, options_from, state, verb
from morphospace.cli.output import emit
from morphospace.config import call_from

__all__ = ["explore_command"]

_EXPLORE = "morphospace.explore.explore:explore"


@verb(
    _EXPLORE,
    examples=[
        "morphospace explore disks.emb disks.cutouts",
        "morphospace explore disks.emb disks.cutouts --port 9000 --no-browser",
        "morphospace explore disks.emb disks.cutouts --export disks.html",
    ],
)
@click.argument("embeddings", type=click.Path())
@click.argument("cutouts", type=click.Path(), required=False)
@options_from(_EXPLORE, "explore", skip=("emb", "cuts", "color"))
def explore_command(config: dict[str, Any], embeddings: str, cutouts: str | None) -> None:
    """Look at a space of shapes in the browser."""
    from morphospace.explore.explore import explore

    state().interrupted = "the page has ended; labels are safe beside the embeddings"
    target = partial(explore, embeddings, cutouts)
    written = call_from(config.get("explore", {}), target, "explore", source=SOURCE)
    if written is not None:
        emit({"page": str(written)}, f"written to '{written}'", as_json=state().json)
