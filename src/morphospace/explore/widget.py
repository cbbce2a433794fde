"""The map in a notebook: the same points, colours and thumbnails, with a selection that Python can read."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from morphospace._optional import optional_import
from morphospace.config import nearest
from morphospace.errors import ConfigError
from morphospace.explore.answers import plain
from morphospace.explore.app import STATIC
from morphospace.explore.explore import open_scene
from morphospace.explore.standalone import page_data
from morphospace.sky.cutouts import Cutouts
from morphospace.space.embeddings import Embeddings

__all__ = ["map_widget"]

_LEAST_HEIGHT = 100


def map_widget(
    emb: Embeddings | str | Path,
    cuts: Cutouts | str | Path | None = None,
    *,
    color: str | Sequence[Any] | None = None,
    height: int = 480,
) -> Any:  # noqa: ANN401 - a widget of anywidget, which is optional
    """Show the map in a Jupyter notebook.

    Parameters
    ----------
    emb : Embeddings or path
    cuts : Cutouts or path, optional
        The store that they were made of; pictures are shown for up to 5,000 objects.
    color : str or sequence, optional
        Name of a column, of ``@cluster:NAME`` and the like, or a value for each row.
    height : int, >= 100
        In pixels.

    Returns
    -------
    anywidget.AnyWidget
        ``selection`` is the list of the rows chosen with lasso or box, ``chosen`` the row that was clicked, or -1; both
        can be read and set.

    Raises
    ------
    ConfigError
        If the height is too small or there is no such column.
    DataError
        As for ``explore``.
    MissingDependencyError
        Without the extra ``jupyter``.
    """
    if height < _LEAST_HEIGHT:
        msg = f"height must be at least {_LEAST_HEIGHT} pixels; got {height}."
        raise ConfigError(msg)
    by_name = color if isinstance(color, str) else None
    scene = open_scene(emb, cuts, color=None if isinstance(color, str) else color)
    with contextlib.closing(scene):
        data = plain(page_data(scene))
    if by_name is not None and by_name not in data["columns"]:
        msg = f"nothing can be coloured by '{by_name}'{nearest(by_name, data['columns'])}"
        raise ConfigError(msg)
    return _widget_class()(data=data, color=by_name or data["space"]["color"] or "", height=height)


@cache
def _widget_class() -> Any:  # noqa: ANN401
    purpose = "the map in a notebook"
    anywidget = optional_import("anywidget", extra="jupyter", purpose=purpose)
    traits = optional_import("traitlets", extra="jupyter", purpose=purpose)
    members = {
        "_esm": STATIC / "widget.js",
        "data": traits.Dict().tag(sync=True),
        "color": traits.Unicode().tag(sync=True),
        "height": traits.Int(480).tag(sync=True),
        "selection": traits.List(traits.Int()).tag(sync=True),
        "chosen": traits.Int(-1).tag(sync=True),
    }
    return type("MapWidget", (anywidget.AnyWidget,), members)
