"""Where an image lies on the sky, from the cards of its header."""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from astropy.coordinates import (
    FK4,
    FK5,
    ICRS,
    BaseCoordinateFrame,
    CartesianRepresentation,
    FK4NoETerms,
    Galactic,
    UnitSphericalRepresentation,
)
from astropy.time import Time
from astropy.units import deg
from astropy.wcs import WCS, Wcsprm
from numpy.typing import NDArray

from morphospace.sky._intake import one_line, quiet
from morphospace.sky.headers import format_card

__all__ = ["NOWHERE", "Place", "locate", "steps_on_sky"]

_logger = logging.getLogger(__name__)
_STEP = 0.5  # pixels

# The cards of axes 1 and 2 that wcslib and astropy read for an image, old spellings and polynomials included.
_NAMES = re.compile(r"(?:CTYPE|CUNIT)[12]|RADESYS|RADECSYS")
_NUMBERS = re.compile(
    r"(?:CRVAL|CRPIX|CDELT|CROTA)[12]|(?:PC|CD)[12]_[12]|PC00[12]00[12]|PV[12]_\d+|LONPOLE|LATPOLE|EQUINOX|EPOCH"
)
_SIP = re.compile(r"(?:A|B|AP|BP)_(?:ORDER|\d+_\d+)")
# Plate solution of the Digitized Sky Survey, which wcslib prefers to the cards above; half of one gives nonsense.
_PLATE = re.compile(r"CNPIX[12]|[XY]PIXELSZ|PPO\d|PLTRA[HMS]|PLTDEC(?:[DMS]|SN)|AMD[XY]\d+")
_PLATE_NEEDED = frozenset(
    "CNPIX1 CNPIX2 XPIXELSZ YPIXELSZ PPO3 PPO6 PLTRAH PLTRAM PLTRAS PLTDECSN PLTDECD PLTDECM PLTDECS".split()
    + [f"AMD{axis}{i}" for axis in "XY" for i in (1, 2, 3)]
)
_NEEDED = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")
# What the two commonest projections need where nothing else is said.
_PLAIN = frozenset(
    ["CTYPE1", "CTYPE2", "CUNIT1", "CUNIT2", *_NEEDED, "RADESYS", "EQUINOX", "LATPOLE"]
    + [f"{key}{i}_{j}" for key in ("PC", "CD") for i in "12" for j in "12"]
    + ["CDELT1", "CDELT2"]
)
_FK5_SINCE = 1984.0
_PLAIN_AXES = {("RA---TAN", "DEC--TAN"): "TAN", ("RA---SIN", "DEC--SIN"): "SIN"}
_SCALES = (("CDELT1", "CDELT2"), ("CD1_1", "CD2_2"), ("CD1_2", "CD2_1"))


class Place(NamedTuple):
    """Position and scale of an image; what is unknown is None or NaN."""

    wcs: str | None  # cards of 80 characters, as `astropy.wcs.WCS` takes them
    ra: float  # ICRS, degrees, of the centre of the image
    dec: float
    pixel_scale_arcsec: float  # side of a square of a pixel's area at the reference pixel


NOWHERE = Place(None, np.nan, np.nan, np.nan)


def locate(header: Mapping[str, Any], size: tuple[int, int], source: str) -> Place:
    """Work out where an image of (H, W) pixels lies on the sky.

    Only the first two axes and only WCS cards are read. Plain TAN and SIN in ICRS or FK5 are worked out here, all else
    by the same wcslib as in `astropy.wcs`, which takes ten times as long. Galactic, FK4 and FK5 positions become ICRS;
    other systems, such as ecliptic, keep their WCS and scale with ``ra`` and ``dec`` NaN.

    Parameters
    ----------
    header : mapping
        Values by keyword.
    size : tuple of int
        (H, W) in pixels.
    source : str
        Named in the log when the WCS cannot be used.

    Returns
    -------
    Place
        `NOWHERE` without a celestial WCS, and with one that is incomplete or broken; that is logged.
    """
    if "CTYPE1" not in header or "CTYPE2" not in header:
        return NOWHERE
    try:
        found = _wcs_values(header)
        cards = "".join([format_card(key, value) for key, value in found.items()])
        plain = _plain_place(found, cards, size)
        if plain is not None:
            return plain
        with quiet(source):
            return _place(cards, size)
    except Exception as error:  # wcslib and astropy have many classes; none of them may cost the image
        _logger.warning("'%s': its WCS is left out: %s", source, one_line(error))
        return NOWHERE


def _place(cards: str, size: tuple[int, int]) -> Place:
    """Ask wcslib for the place of the centre and the scale."""
    prm, (world,) = _to_world(cards, np.array([[(size[1] - 1) / 2, (size[0] - 1) / 2]]))
    if prm.lng < 0 or prm.lat < 0:
        return NOWHERE
    _check_complete(cards)
    ra, dec = _to_icrs(world[prm.lng], world[prm.lat], (prm.lngtyp, prm.radesys.upper(), prm.equinox))
    matrix = np.diag(prm.get_cdelt()) @ prm.get_pc()
    return Place(cards, ra, dec, 3600.0 * float(np.sqrt(abs(np.linalg.det(matrix)))))


def _to_world(cards: str, pixels: NDArray[np.float64]) -> tuple[Wcsprm, NDArray[np.float64]]:
    """Ask wcslib for the coordinates of pixels (N, 2)."""
    if "A_ORDER =" in cards or "B_ORDER =" in cards:  # SIP polynomials are astropy's own
        wcs = WCS(cards)
        return wcs.wcs, np.asarray(wcs.all_pix2world(pixels, 0))
    prm = Wcsprm(header=cards.encode("ascii"), relax=True, warnings=False)
    prm.fix()
    prm.set()
    return prm, np.asarray(prm.p2s(pixels, 0)["world"])


def steps_on_sky(cards: str, size: tuple[int, int]) -> NDArray[np.float64]:
    """Find how an image lies on the sky.

    Parameters
    ----------
    cards : str
        Header cards of the WCS.
    size : tuple of int
        (H, W).

    Returns
    -------
    array of float64, (2, 2)
        Steps to east (first row) and north (ICRS, arcsec) for a step of a pixel in x (first column) and in y, at the
        centre. All NaN where that is not told, or has no area. What wcslib makes of damaged cards is raised as it comes.
    """
    x, y = (size[1] - 1) / 2, (size[0] - 1) / 2
    prm, world = _to_world(cards, np.array([[x, y], [x + _STEP, y], [x, y + _STEP]]))
    unknown = np.full((2, 2), np.nan)
    if prm.lng < 0 or prm.lat < 0:
        return unknown
    system = (prm.lngtyp, prm.radesys.upper(), prm.equinox)
    lon, lat = np.array([_to_icrs(each[prm.lng], each[prm.lat], system) for each in world]).T
    turn = (lon[1:] - lon[0] + 180) % 360 - 180
    steps = 3600 / _STEP * np.array([turn * np.cos(np.radians(lat[0])), lat[1:] - lat[0]])
    return np.asarray(steps) if abs(np.linalg.det(steps)) > 0 else unknown


def _plain_place(found: Mapping[str, Any], cards: str, size: tuple[int, int]) -> Place | None:
    """Work out the place of a centre in plain TAN and SIN; None where anything else is said."""
    if not found.keys() <= _PLAIN:
        return None
    kind = _PLAIN_AXES.get((found["CTYPE1"], found["CTYPE2"]))
    system = found.get("RADESYS", "")
    matrix = _plain_matrix(found)
    if kind is None or matrix is None or system not in ("", "ICRS", "FK5"):
        return None
    if not system and found.get("EQUINOX", _FK5_SINCE) < _FK5_SINCE:  # FK4, says the standard
        return None
    if found.get("CUNIT1", "deg") != "deg" or found.get("CUNIT2", "deg") != "deg":
        return None
    values = [found.get(key, math.nan) for key in _NEEDED]
    (a, b), (c, d) = matrix
    area = abs(a * d - b * c)
    if not (area > 0 and math.isfinite(sum(values)) and abs(values[1]) < 90):
        return None
    x, y = (size[1] + 1) / 2 - values[2], (size[0] + 1) / 2 - values[3]
    direction = _deproject(kind, a * x + b * y, c * x + d * y)
    if direction is None:
        return None
    position = _turned(direction, values[0], values[1])
    if system != "ICRS" and (system or "EQUINOX" in found):
        position = _from_fk5(*position, float(found.get("EQUINOX", 2000.0)))
    return Place(cards, *position, 3600.0 * math.sqrt(area))


def _plain_matrix(found: Mapping[str, Any]) -> tuple[tuple[float, float], tuple[float, float]] | None:
    """Give degrees by pixel, from CDELT with or without PC, or from CD alone; None where both are there or neither."""
    has_cd = any(key in found for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"))
    if has_cd:
        if any(key[:2] == "PC" or key[:5] == "CDELT" for key in found):
            return None
        if not any(one in found and other in found for one, other in _SCALES[1:]):
            return None
        c11, c12, c21, c22 = (found.get(key, 0.0) for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"))
        return (c11, c12), (c21, c22)
    if "CDELT1" not in found or "CDELT2" not in found:
        return None
    s1, s2 = found["CDELT1"], found["CDELT2"]
    return (
        (s1 * found.get("PC1_1", 1.0), s1 * found.get("PC1_2", 0.0)),
        (s2 * found.get("PC2_1", 0.0), s2 * found.get("PC2_2", 1.0)),
    )


def _deproject(kind: str, x: float, y: float) -> tuple[float, float, float] | None:
    """Point east, north and along the axis, of any length (Calabretta & Greisen 2002, eq. 54, 55 and 59)."""
    x, y = math.radians(x), math.radians(y)
    if kind == "TAN":
        return x, y, 1.0
    rest = 1 - x * x - y * y
    return (x, y, math.sqrt(rest)) if rest > 0 else None


def _turned(direction: tuple[float, float, float], lon: float, lat: float) -> tuple[float, float]:
    """Turn a direction about a reference point into a position in degrees (Calabretta & Greisen 2002, eq. 2)."""
    east, north, along = direction
    sine, cosine = math.sin(math.radians(lat)), math.cos(math.radians(lat))
    across = along * cosine - north * sine
    up = north * cosine + along * sine
    return (lon + math.degrees(math.atan2(east, across))) % 360, math.degrees(math.atan2(up, math.hypot(east, across)))


def _from_fk5(lon: float, lat: float, equinox: float) -> tuple[float, float]:
    a, d = math.radians(lon), math.radians(lat)
    vector = (math.cos(d) * math.cos(a), math.cos(d) * math.sin(a), math.sin(d))
    x, y, z = (sum(m * v for m, v in zip(row, vector, strict=True)) for row in _fk5_rows(equinox))
    return math.degrees(math.atan2(y, x)) % 360, math.degrees(math.atan2(z, math.hypot(x, y)))


@lru_cache(maxsize=64)
def _fk5_rows(equinox: float) -> list[list[float]]:
    rows: list[list[float]] = _rotation("RA", "FK5", equinox).tolist()
    return rows


@lru_cache(maxsize=4096)
def _kind(key: str) -> str:
    """Say what a keyword is to the WCS: a name, a number, a coefficient of SIP, part of a plate solution, or nothing."""
    kinds = (("name", _NAMES), ("number", _NUMBERS), ("sip", _SIP), ("plate", _PLATE))
    return next((kind for kind, pattern in kinds if pattern.fullmatch(key)), "")


def _wcs_values(header: Mapping[str, Any]) -> dict[str, str | float]:
    """Choose the WCS cards of the first two axes, with values in standard form."""
    wanted = {"name", "number"}
    suffix = ""
    if "A_ORDER" in header and not str(header["CTYPE1"]).strip().upper().endswith("-TPV"):
        # So astropy does, too, but it prints a line where SIP comes without its suffix or beside TPV.
        wanted.add("sip")
        suffix = "-SIP"
    if header.keys() >= _PLATE_NEEDED:
        wanted.add("plate")
    found: dict[str, str | float] = {}
    for key, value in header.items():
        kind = _kind(key)
        if kind not in wanted:
            continue
        if kind == "name":
            text = str(value).strip()
            found[key] = text.upper().removesuffix(suffix) + suffix if key[:5] == "CTYPE" else text
        else:
            found[key] = str(value) if key == "PLTDECSN" else _number(key, value)
    return found


def _number(key: str, value: object) -> int | float:
    """Take a number, also from text such as '10.5' or 'J2000'; wcslib would read 0 in its place."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    text = str(value).strip()
    if key in ("EQUINOX", "EPOCH"):
        text = text.lstrip("BbJj")
    try:
        return float(text)
    except ValueError:
        msg = f"{key} is {value!r} instead of a number"
        raise ValueError(msg) from None


def _check_complete(cards: str) -> None:
    """Refuse a WCS without its reference or scale, for which the standard's defaults (0, 1 degree) mislead."""
    keys = {cards[i : i + 8].rstrip() for i in range(0, len(cards), 80)}
    if "AMDX1" in keys:
        return
    missing = [key for key in _NEEDED if key not in keys]
    if not any(keys.issuperset(pair) for pair in _SCALES):
        missing.append("CDELT1 and CDELT2")
    if missing:
        msg = f"it lacks {', '.join(missing)}"
        raise ValueError(msg)


def _to_icrs(lon: float, lat: float, system: tuple[str, str, float]) -> tuple[float, float]:
    """Turn a position in degrees to ICRS; NaN where the system is none of the supported."""
    frame = _frame(*system)
    if frame is None or not np.isfinite([lon, lat]).all():
        return np.nan, np.nan
    if isinstance(frame, FK4):  # its aberration terms are no rotation
        icrs = frame.realize_frame(UnitSphericalRepresentation(lon * deg, lat * deg)).transform_to(ICRS())
        return float(icrs.ra.deg), float(icrs.dec.deg)
    a, d = np.radians([lon, lat])
    x, y, z = _rotation(*system) @ np.array([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])
    return float(np.degrees(np.arctan2(y, x)) % 360), float(np.degrees(np.arctan2(z, np.hypot(x, y))))


@lru_cache(maxsize=64)
def _rotation(lngtyp: str, radesys: str, equinox: float) -> NDArray[np.float64]:
    """Rotation matrix from a system to ICRS, asked of astropy once: SkyCoord takes 0.5 ms a call."""
    basis = CartesianRepresentation(np.eye(3))
    frame = _frame(lngtyp, radesys, equinox)
    if frame is None or isinstance(frame, ICRS):
        return np.eye(3)
    turned: NDArray[np.float64] = frame.realize_frame(basis).transform_to(ICRS()).cartesian.xyz.value
    return turned


@lru_cache(maxsize=64)
def _frame(lngtyp: str, radesys: str, equinox: float) -> BaseCoordinateFrame | None:
    """Choose the frame by the name of the axis first: files do say RADESYS = 'FK5' beside GLON."""
    if lngtyp == "GLON":
        return Galactic()
    if lngtyp != "RA":
        return None
    if radesys in ("FK4", "FK4-NO-E"):
        kind = FK4 if radesys == "FK4" else FK4NoETerms
        return kind(equinox=Time(1950.0 if np.isnan(equinox) else equinox, format="byear"))
    if radesys == "FK5" or (radesys != "ICRS" and not np.isnan(equinox)):
        return FK5(equinox=Time(2000.0 if np.isnan(equinox) else equinox, format="jyear"))
    return ICRS()
