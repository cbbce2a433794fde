"""The verb explore: a page in the browser to look at a space of shapes."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from morphospace.explore.app import make_app
from morphospace.explore.scene import Scene
from morphospace.explore.security import new_token
from morphospace.explore.serve import bind, serve
from morphospace.sky.cutouts import Cutouts
from morphospace.space.embeddings import Embeddings

__all__ = ["explore"]

logger = logging.getLogger(__name__)


def explore(
    emb: Embeddings | str | Path,
    cuts: Cutouts | str | Path | None = None,
    *,
    color: Sequence[Any] | None = None,
    port: int = 8765,
    browser: bool = True,
) -> None:
    """Show embeddings as a page in the browser, until Ctrl-C.

    The page is served to this machine only.

    Parameters
    ----------
    emb : Embeddings or path
    cuts : Cutouts or path, optional
        The store that they were made of; without it there are no pictures.
    color : sequence, optional
        A value for each row, numbers or texts, that the map is coloured by at the start.
    port : int
        Where it is served; where that is in use, the next one that is free. 0 takes any.
    browser : bool
        Open the page in the browser.

    Raises
    ------
    DataError
        If the embeddings are empty, or no id of them is in the cutouts.
    StoreError
        If a folder is no store, or no port is free.
    """
    scene = open_scene(emb, cuts, color=color)
    with bind(port) as listening:
        found = int(listening.getsockname()[1])
        app = make_app(scene, port=found, token=new_token())
        address = f"http://127.0.0.1:{found}/"
        for note in scene.notes:
            logger.info("%s", note)
        logger.info("showing %s objects at %s - Ctrl-C ends it", f"{len(scene.emb):,}", address)
        serve(app, listening, opened=address if browser else None)


def open_scene(
    emb: Embeddings | str | Path, cuts: Cutouts | str | Path | None, *, color: Sequence[Any] | None = None
) -> Scene:
    """Open what is to be shown, and draw its first map."""
    embeddings = emb if isinstance(emb, Embeddings) else Embeddings.open(emb)
    store = Cutouts.open(cuts) if isinstance(cuts, str | Path) else cuts
    scene = Scene(embeddings, store, color=color)
    scene.map(scene.maps[0]["name"])
    return scene
