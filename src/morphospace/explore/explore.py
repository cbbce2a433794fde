"""The verb explore: a page in the browser to look at a space of shapes."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from morphospace.explore.app import STATIC, make_app
from morphospace.explore.scene import Scene
from morphospace.explore.security import new_token
from morphospace.explore.serve import HOST, bind, serve
from morphospace.explore.standalone import write_page
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
    export: str | Path | None = None,
    overwrite: bool = False,
) -> Path | None:
    """Show embeddings as a page in the browser, until Ctrl-C, or write that page into one file.

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
    export : path, optional
        Write the page of up to 5,000 objects into this file, which opens without a server, and serve nothing.
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    Path or None
        The file, where one was written.

    Raises
    ------
    DataError
        If the embeddings are empty, or no id of them is in the cutouts.
    ConfigError
        If there are too many objects for one file.
    StoreError
        If a folder is no store, no port is free, or the file cannot be written.
    """
    scene = open_scene(emb, cuts, color=color)
    if export is not None:
        with contextlib.closing(scene):
            return write_page(scene, export, STATIC, overwrite=overwrite)
    with contextlib.closing(scene), bind(port) as listening:
        found = int(listening.getsockname()[1])
        app = make_app(scene, port=found, token=new_token())
        address = f"http://{HOST}:{found}/"
        for note in scene.notes:
            logger.info("%s", note)
        logger.info("showing %s objects at %s - Ctrl-C ends it", f"{len(scene.emb):,}", address)
        threading.Thread(target=scene.warm, daemon=True).start()
        serve(app, listening, opened=address if browser else None)
    return None


def open_scene(
    emb: Embeddings | str | Path, cuts: Cutouts | str | Path | None, *, color: Sequence[Any] | None = None
) -> Scene:
    """Open what is to be shown, and draw its first map."""
    embeddings = emb if isinstance(emb, Embeddings) else Embeddings.open(emb)
    store = Cutouts.open(cuts) if isinstance(cuts, str | Path) else cuts
    scene = Scene(embeddings, store, color=color)
    scene.map(scene.maps[0]["name"])
    return scene
