"""The surveys that cut-outs can be had of, and how each service is asked."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlencode

from morphospace.config import nearest
from morphospace.errors import ConfigError
from morphospace.sky.archives.web import check_url

__all__ = ["Format", "Survey", "Wanted", "choose", "cutout_url", "find_survey"]

Format = Literal["fits", "jpg"]
_SURVEYS = Path(__file__).with_name("surveys.toml")


@dataclass(frozen=True)
class Survey:
    """A survey and the service that cuts it out."""

    name: str
    """As the service knows it."""
    service: str
    """``"hips2fits"``, ``"skyserver"`` or ``"legacysurvey"``."""
    scale: float
    """Arcsec per pixel, 0 where it is not known."""
    url: Mapping[str, str]
    """Address by format."""
    per_second: float
    """Requests a second at most."""
    most_pixels: int
    """Side of the largest cut-out."""


@dataclass(frozen=True)
class Wanted:
    """What is asked for at each position."""

    survey: Survey
    """Of what."""
    url: str
    """Of the service."""
    format: Format
    """Of the files."""
    size_arcsec: float
    """Side on the sky."""
    pixels: int
    """Side in pixels."""
    bands: str
    """Letters, "" for the service's own choice."""


def find_survey(name: str) -> Survey:
    """Return a survey by its name: a listed one, a Legacy Survey layer, or the id of any HiPS.

    Parameters
    ----------
    name : str
        ``"sdss"``, ``"ls-dr10"`` or another layer that begins with ``ls-``, or a HiPS id such as ``"CDS/P/DSS2/red"``.

    Returns
    -------
    Survey

    Raises
    ------
    ConfigError
        If it is none of these.
    """
    with _SURVEYS.open("rb") as stream:
        tables: dict[str, Any] = tomllib.load(stream)
    known: dict[str, dict[str, Any]] = tables["survey"]
    if name in known:
        entry = known[name]
    elif name.startswith("ls-"):
        entry = known["ls-dr10"]
    elif "/" in name:
        entry = {"service": "hips2fits", "scale": 0.0}
    else:
        msg = f"there is no survey {name!r}{nearest(name, known)}; the id of any HiPS, such as CDS/P/DSS2/red, goes too"
        raise ConfigError(msg)
    service = tables["service"][entry["service"]]
    return Survey(name, entry["service"], entry["scale"], service["url"], service["per_second"], service["most_pixels"])


def choose(name: str, *, size_arcsec: float, pixels: int | None, format: Format | None, bands: str, url: str) -> Wanted:
    """Settle what is asked for, with the defaults of the survey.

    Parameters
    ----------
    name, size_arcsec, pixels, format, bands, url
        As of `morphospace.fetch`.

    Returns
    -------
    Wanted

    Raises
    ------
    ConfigError
        If the survey has no such format, bands or size.
    """
    survey = find_survey(name)
    if url:
        survey = replace(survey, url=dict.fromkeys(survey.url, check_url(url)))
    chosen: Format = format or ("fits" if "fits" in survey.url else "jpg")
    if chosen not in survey.url:
        msg = f"{survey.name} comes as {' or '.join(survey.url)} only, not as {chosen}."
        raise ConfigError(msg)
    if bands and survey.service != "legacysurvey":
        msg = f"bands={bands!r} is for layers of the Legacy Survey; {survey.name} has no choice of bands."
        raise ConfigError(msg)
    if not 0 < size_arcsec <= 36_000:
        msg = f"size_arcsec must be above 0 and at most 36000 (10 degrees); got {size_arcsec}."
        raise ConfigError(msg)
    return Wanted(survey, survey.url[chosen], chosen, float(size_arcsec), _pixels(survey, size_arcsec, pixels), bands)


def _pixels(survey: Survey, size_arcsec: float, pixels: int | None) -> int:
    """Return the side in pixels, by default at the scale of the survey."""
    if pixels is None and not survey.scale:
        msg = f"the pixel scale of {survey.name} is not known here; give pixels, the side of the cut-outs."
        raise ConfigError(msg)
    side = max(1, round(size_arcsec / survey.scale)) if pixels is None else pixels
    if not 1 <= side <= survey.most_pixels:
        msg = (
            f"a cut-out of {side} pixels is not to be had of {survey.name}, whose service gives 1 to "
            f"{survey.most_pixels}; change size_arcsec or pixels."
        )
        raise ConfigError(msg)
    return side


def cutout_url(cutout: Wanted, ra: float, dec: float) -> str:
    """Return the address of the cut-out at a position.

    Parameters
    ----------
    cutout : Wanted
        What is asked for.
    ra, dec : float
        Centre in degrees, ICRS.

    Returns
    -------
    str
    """
    scale = f"{cutout.size_arcsec / cutout.pixels:.6g}"
    query: dict[str, str | int] = {"ra": f"{ra:.7f}", "dec": f"{dec:.7f}"}
    if cutout.survey.service == "hips2fits":
        query |= {"hips": cutout.survey.name, "width": cutout.pixels, "height": cutout.pixels}
        query |= {"fov": f"{cutout.size_arcsec / 3600:.9g}", "projection": "TAN", "coordsys": "icrs"}
        query |= {"format": cutout.format}
    elif cutout.survey.service == "skyserver":
        query |= {"scale": scale, "width": cutout.pixels, "height": cutout.pixels}
    else:
        query |= {"layer": cutout.survey.name, "pixscale": scale, "size": cutout.pixels}
        query |= {"bands": cutout.bands} if cutout.bands else {}
    return f"{cutout.url}{'&' if '?' in cutout.url else '?'}{urlencode(query)}"
