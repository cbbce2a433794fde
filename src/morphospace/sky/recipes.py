"""Curations as they were published, by name: named arguments of `curate`, and the views that go with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from morphospace.config import nearest
from morphospace.errors import ConfigError
from morphospace.sky.detect import Detection
from morphospace.sky.intake import Intake

__all__ = ["RECIPES", "Recipe", "find_recipe", "recipe_calls", "with_recipe"]


@dataclass(frozen=True)
class Recipe:
    """A curation that somebody else has done, in arguments.

    Attributes
    ----------
    summary : str
        What it makes of which files, a sentence.
    arguments : mapping
        Named arguments of `morphospace.curate`.
    views : mapping
        Named arguments of `morphospace.views` for a training on what comes out.
    """

    summary: str
    arguments: Mapping[str, Any]
    views: Mapping[str, Any]


RECIPES: dict[str, Recipe] = {
    "alma-discs": Recipe(
        summary="Discs in ALMA maps: pixels above 3 sigma of the noise at their place, grouped by DBSCAN on the scale of the "
        "beam, one cut-out of 100 x 100 pixels a source; views clip at 3 sigma.",
        arguments={
            "size": 100,
            "detect": Detection(
                method="dbscan", threshold_sigma=3.0, peak_sigma=5.0, min_pixels=5, smoothing=0.0, box=0
            ),
        },
        views={"preset": "radio", "size": 100, "clip_sigma": 3.0},
    ),
    "clouds": Recipe(
        summary="Clouds in maps of dust and gas: what hangs together above a low threshold, each structure in a cut-out of its "
        "own size; of cubes the integrated intensity; views in logarithmic stretch.",
        arguments={
            "detect": Detection(threshold_sigma=2.0, min_pixels=200, smoothing=5.0, contrast=0.01, box=0, padding=1.2),
            "intake": Intake(cube="moment0"),
        },
        views={"preset": "clouds"},
    ),
}


def find_recipe(name: str) -> Recipe:
    """Take a recipe by its name.

    Raises
    ------
    ConfigError
        If there is none of that name; the nearest is named.
    """
    if name not in RECIPES:
        msg = f"there is no recipe '{name}'{nearest(name, RECIPES)}."
        raise ConfigError(msg)
    return RECIPES[name]


def recipe_calls(name: str, *, source: str = "maps/", out: str = "maps.cutouts") -> str:
    """Write the calls a recipe stands for.

    Parameters
    ----------
    name : str
        Of `RECIPES`.
    source, out : str
        Put into the call of `curate`.

    Returns
    -------
    str
        Lines of Python.

    Raises
    ------
    ConfigError
        If there is no such recipe.

    Examples
    --------
    >>> print(recipe_calls("clouds"))
    import morphospace as ms
    <BLANKLINE>
    detect = ms.Detection(threshold_sigma=2.0, min_pixels=200, smoothing=5.0, contrast=0.01, box=0, padding=1.2)
    intake = ms.Intake(cube='moment0')
    cuts = ms.curate('maps/', out='maps.cutouts', detect=detect, intake=intake)
    views = ms.views(preset='clouds')
    """
    recipe = find_recipe(name)
    lines = ["import morphospace as ms", ""]
    listed = [repr(source), f"out={out!r}"]
    for key, value in recipe.arguments.items():
        if is_dataclass(value):
            lines.append(f"{key} = ms.{type(value).__name__}({', '.join(_listed(_table(value)))})")
        listed.append(f"{key}={key if is_dataclass(value) else repr(value)}")
    lines.append(f"cuts = ms.curate({', '.join(listed)})")
    lines.append(f"views = ms.views({', '.join(_listed(recipe.views))})")
    return "\n".join(lines)


def with_recipe(name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Fill what a table of ``[curate]`` does not say from a recipe.

    Parameters
    ----------
    name : str
        Of `RECIPES`.
    table : mapping
        Arguments of `curate` as config files and command lines have them: a group such as `detect` is a table of its
        own. What it says goes before the recipe, key by key.

    Returns
    -------
    dict
        A new table.

    Raises
    ------
    ConfigError
        If there is no such recipe.

    Examples
    --------
    >>> with_recipe("alma-discs", {"size": 64, "detect": {"peak_sigma": 7.0}})["detect"]["peak_sigma"]
    7.0
    """
    filled = {key: _table(value) for key, value in find_recipe(name).arguments.items()}
    for key, value in table.items():
        both = isinstance(value, Mapping) and isinstance(filled.get(key), dict)
        filled[key] = {**filled[key], **value} if both else value
    return filled


def _table(value: Any) -> Any:  # noqa: ANN401
    """Write a group of arguments as a table of those that are not as they come; other values stay."""
    if not is_dataclass(value):
        return value
    return {field.name: own for field in fields(value) if (own := getattr(value, field.name)) != field.default}


def _listed(arguments: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value!r}" for key, value in arguments.items()]
