"""Tables beside the images: joined by id or place on the sky, magnitudes to colours, photometry of the SDSS."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
from astropy import units as u
from astropy.coordinates import SkyCoord
from numpy.typing import NDArray

from morphospace._optional import optional_import
from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError
from morphospace.science.measure import Measures
from morphospace.sky.sources.positions import read_positions
from morphospace.sky.sources.rows import DECS, IDS, RAS, find_column
from morphospace.sky.sources.tables import TableData, read_table
from morphospace.space.embeddings import Embeddings
from morphospace.space.places import Places, radius_arcsec

__all__ = ["MATCHES", "Tabled", "colours", "join", "sdss_photometry"]

logger = logging.getLogger(__name__)

Float = NDArray[np.float64]

#: What can be joined: a table, the shapes of `measure`, or a file of any kind of table.
Tabled: TypeAlias = "Measures | pa.Table | str | Path"
#: Values of the column ``match``: no row; one; several rows fit, the nearest (or first) is taken; the row was also given to
#: another object.
MATCHES = ("none", "one", "ambiguous", "shared")

_BANDS = "ugriz"
_SDSS = tuple(f"{what}_{band}" for what in ("modelMag", "modelMagErr", "extinction") for band in _BANDS)
_AT_ONCE = 500  # positions in one question to the SDSS
_FAINTEST, _BRIGHTEST = 50.0, -50.0  # beyond them stand the surveys' marks of a missing value: 99, -9999


class _Found(NamedTuple):
    """The first or nearest row of each object, how many fit (0: none does), and the distance (NaN by id)."""

    row: NDArray[np.int64]
    fits: NDArray[np.int64]
    arcsec: Float


def join(
    emb: Embeddings,
    table: Tabled,
    *,
    by: str | None = None,
    radius: str | float | u.Quantity = "2arcsec",
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """Find the row of a table that belongs to each object.

    Parameters
    ----------
    emb : Embeddings
        The objects.
    table : Measures, pyarrow.Table or path
        CSV, ECSV, FITS, VOTable or Parquet. Ids and positions are found by the usual names of columns.
    by : {"id", "position"}, optional
        Default: by id where the table has one that an object has, else by position.
    radius : str, float or Quantity
        Farthest match on the sky; a bare number is in arcsec. Not used by id.
    columns : sequence of str, optional
        Columns to take; default all, but the ids that it was joined by.

    Returns
    -------
    pyarrow.Table
        A row for each object, in their order: ``id``, ``match`` (one of `MATCHES`), ``match_rows`` (how many fit),
        ``match_arcsec`` (by position; NaN without a match), then the columns, null without a match. Columns of these names
        and ``ra`` and ``dec`` get ``table_`` before them.

    Raises
    ------
    DataError
        If the table cannot be read, has no ids or positions, or nothing matches.
    ConfigError
        If `by`, `radius` or a column is not known.
    """
    if by not in (None, "id", "position"):
        msg = f"by must be 'id' or 'position'; got {by!r}."
        raise ConfigError(msg)
    data, name = _read(table)
    wanted = _wanted(data.columns, columns, name)
    key = find_column(data.columns.column_names, "", IDS, source=name, setting="id_column")
    found = _by_id(emb, data.columns[key]) if by in (None, "id") and key is not None else None
    if by == "id" and (found is None or not found.fits.any()):
        what = "no column of ids" if key is None else f"none of these {len(emb)} ids in its column '{key}'"
        msg = f"{name} has {what}; join by position, or name the column of ids 'id'."
        raise DataError(msg)
    if found is None or not found.fits.any():
        found, key = _by_position(emb, data, name, radius), None  # ids of its own are worth keeping
    matches = _matches(found)
    _tell(matches, name)
    ours = {
        "id": pa.array(emb.ids, pa.string()),
        "match": pa.array(matches, pa.string()),
        "match_rows": pa.array(found.fits, pa.int32()),
        "match_arcsec": pa.array(found.arcsec),
    }
    taken = data.columns.select(wanted).take(pa.array(found.row, pa.int64(), mask=found.fits == 0))
    names = {n: f"table_{n}" if n.lower() in (*ours, "ra", "dec") else n for n in wanted if n != key}
    return pa.table({**ours, **{new: taken[old] for old, new in names.items()}})


def colours(table: pa.Table, magnitudes: Sequence[str], *, extinction: Mapping[str, str] | None = None) -> pa.Table:
    """Add the colours of neighbouring bands to a table.

    Parameters
    ----------
    table : pyarrow.Table
    magnitudes : sequence of str
        Columns of magnitudes from blue to red, at least 2.
    extinction : mapping of str to str, optional
        For each column of magnitudes, that of its extinction in magnitudes, which is subtracted.

    Returns
    -------
    pyarrow.Table
        With a column ``<blue>-<red>`` for each pair of neighbours, float64; what the names have in common before their
        last ``_`` is left out (``modelMag_g``, ``modelMag_r``: ``g-r``). NaN where a magnitude is missing: null, NaN, or
        beyond ±50 as the marks 99 and -9999 are.

    Raises
    ------
    ConfigError
        If there are fewer than 2 magnitudes, a column is not there, or the extinction of one is not given.
    DataError
        If a column holds no numbers.

    Examples
    --------
    >>> colours(pa.table({"g": [18.0, 99.0], "r": [17.5, 16.0]}), ["g", "r"])["g-r"].to_pylist()
    [0.5, nan]
    """
    if len(magnitudes) < 2:
        msg = f"colours need at least 2 magnitudes; got {len(magnitudes)}."
        raise ConfigError(msg)
    without = [name for name in magnitudes if extinction is not None and name not in extinction]
    if extinction is not None and without:
        msg = f"extinction names no column for '{without[0]}'; give one for every magnitude, or none at all."
        raise ConfigError(msg)
    values = []
    for name in magnitudes:
        raw = _numbers(table, name)
        mag = np.where((raw < _FAINTEST) & (raw > _BRIGHTEST), raw, np.nan)
        values.append(mag if extinction is None else mag - _numbers(table, extinction[name]))
    short = _short(magnitudes)
    for i in range(len(values) - 1):
        name = f"{short[i]}-{short[i + 1]}"
        if name in table.column_names:
            msg = f"the table has a column '{name}' already; drop or rename it first."
            raise ConfigError(msg)
        table = table.append_column(name, pa.array(values[i] - values[i + 1]))
    return table


def sdss_photometry(
    emb: Embeddings, *, radius: str | float | u.Quantity = "2arcsec", release: int = 17, timeout: float = 60.0
) -> pa.Table:
    """Ask the SDSS for the photometry of each object, through astroquery.

    Parameters
    ----------
    emb : Embeddings
        With columns ``ra`` and ``dec``; objects without a place are not asked for.
    radius : str, float or Quantity
        Farthest match, at most 3 arcmin.
    release : int
        Data release.
    timeout : float
        Seconds to wait for an answer.

    Returns
    -------
    pyarrow.Table
        As of `join` by position: ``modelMag_u`` to ``z``, their errors and extinctions, ``objID``, ``type``, and the
        colours ``u-g`` to ``i-z`` less the extinction.

    Raises
    ------
    MissingDependencyError
        If astroquery is not installed.
    DataError
        If no object has a place, the service cannot be reached or fails, or it knows none of them.

    Notes
    -----
    The cross-match of SkyServer; the nearest primary object within the radius. Nothing is kept on disk.
    """
    arcsec = _radius(radius)
    sdss = optional_import("astroquery.sdss", extra="data", purpose="the photometry of the SDSS")
    places = Places.of(emb)
    known = np.flatnonzero(np.isfinite(places.ra) & np.isfinite(places.dec))
    if not len(known):
        msg = f"no object of embeddings {emb.name} has a place on the sky; columns 'ra' and 'dec' are needed."
        raise DataError(msg)
    answers = []
    with _no_cache():
        for start in range(0, len(known), _AT_ONCE):
            part = known[start : start + _AT_ONCE]
            at = SkyCoord(places.ra[part], places.dec[part], unit="deg")
            answers.append(_ask(sdss, at, arcsec, release, timeout))
    found = [_arrow(answer) for answer in answers if answer is not None and len(answer)]
    if not found:
        msg = f"the SDSS (DR{release}) has nothing within {arcsec:g} arcsec of any of the {len(known)} places."
        raise DataError(msg)
    joined = join(emb, pa.concat_tables(found, promote_options="permissive"), by="position", radius=arcsec)
    names = [f"modelMag_{band}" for band in _BANDS]
    return colours(joined, names, extinction={n: n.replace("modelMag", "extinction") for n in names})


def _ask(sdss: Any, at: SkyCoord, arcsec: float, release: int, timeout: float) -> Any:  # noqa: ANN401
    requests = optional_import("requests", extra="data", purpose="the photometry of the SDSS")
    exceptions = optional_import("astroquery.exceptions", extra="data", purpose="the photometry of the SDSS")
    failures = (requests.RequestException, exceptions.RemoteServiceError, exceptions.TimeoutError, OSError, ValueError)
    try:
        return sdss.SDSSClass().query_crossid(
            at,
            radius=arcsec * u.arcsec,
            photoobj_fields=["objID", "ra", "dec", *_SDSS],
            data_release=release,
            timeout=timeout,
            cache=False,
        )
    except failures as error:
        said = " ".join(str(error).split())[:200]
        msg = f"the SDSS gave no photometry ({said}); try again later, or join a table that you have."
        raise DataError(msg) from error


@contextmanager
def _no_cache() -> Iterator[None]:
    """Keep astroquery from writing answers below the home folder."""
    astroquery = optional_import("astroquery", extra="data", purpose="the photometry of the SDSS")
    with astroquery.cache_conf.set_temp("cache_active", False):
        yield


def _arrow(answer: Any) -> pa.Table:  # noqa: ANN401 - a table of astropy
    columns = {}
    for name in answer.colnames:
        column = answer[name]
        mask = np.asarray(getattr(column, "mask", np.zeros(len(column), dtype=bool)))
        columns[name] = pa.array(np.asarray(column), mask=np.broadcast_to(mask, len(column)))
    return pa.table(columns)


def _read(table: Tabled) -> tuple[TableData, str]:
    if isinstance(table, Measures):
        return TableData(table.table, {}), "the table of shapes"
    if isinstance(table, pa.Table):
        return TableData(table, {}), "the table"
    return read_table(table, texts=IDS), f"'{Path(table).name}'"


def _wanted(table: pa.Table, columns: Sequence[str] | None, name: str) -> list[str]:
    if columns is None:
        return list(table.column_names)
    for column in columns:
        if column not in table.column_names:
            msg = f"unknown column '{column}' in {name}{nearest(column, table.column_names)}"
            raise ConfigError(msg)
    return list(columns)


def _by_id(emb: Embeddings, ids: pa.ChunkedArray) -> _Found:
    first: dict[str, int] = {}
    times: dict[str, int] = {}
    for row, value in enumerate(ids.to_pylist()):
        if value is not None:
            first.setdefault(str(value), row)
            times[str(value)] = times.get(str(value), 0) + 1
    rows = np.array([first.get(identifier, 0) for identifier in emb.ids], dtype=np.int64)
    count = np.array([times.get(identifier, 0) for identifier in emb.ids], dtype=np.int64)
    return _Found(rows, count, np.full(len(emb), np.nan))


def _by_position(emb: Embeddings, data: TableData, name: str, radius: str | float | u.Quantity) -> _Found:
    names = data.columns.column_names
    ra, dec = (find_column(names, "", usual, source=name, setting="column") for usual in (RAS, DECS))
    places = Places.of(emb)
    known = np.flatnonzero(np.isfinite(places.ra) & np.isfinite(places.dec))
    if ra is None or dec is None or not len(known):
        who = name if ra is None or dec is None else f"embeddings {emb.name}"
        msg = f"{who} cannot be joined by position: no place on the sky is given; name its columns 'ra' and 'dec'."
        raise DataError(msg)
    arcsec = _radius(radius)
    there = np.column_stack(read_positions(data.columns, data.units, ra, dec, name))
    rows = np.flatnonzero(np.isfinite(there).all(1))
    nearest_row, count = np.zeros(len(emb), dtype=np.int64), np.zeros(len(emb), dtype=np.int64)
    apart = np.full(len(emb), np.nan)
    if len(rows):
        ours = SkyCoord(places.ra[known], places.dec[known], unit="deg")
        theirs = SkyCoord(there[rows, 0], there[rows, 1], unit="deg")
        index, separation, _ = ours.match_to_catalog_sky(theirs)
        near = separation.arcsec <= arcsec
        which, _, _, _ = theirs.search_around_sky(ours, max(arcsec, 1e-9) * u.arcsec)
        nearest_row[known] = rows[index]
        count[known] = np.where(near, np.maximum(np.bincount(which, minlength=len(known)), 1), 0)
        apart[known[near]] = separation.arcsec[near]
    if not count.any():
        msg = f"no row of {name} lies within {arcsec:g} arcsec of any of the {len(emb)} objects; check the columns."
        raise DataError(msg)
    return _Found(nearest_row, count, apart)


def _matches(found: _Found) -> list[str]:
    row, count = found.row, found.fits
    taken = np.bincount(row[count > 0], minlength=int(row.max(initial=0)) + 1)
    code = np.select([count == 0, count > 1, taken[row] > 1], [0, 2, 3], 1)
    return [MATCHES[c] for c in code]


def _tell(matches: list[str], name: str) -> None:
    n = {kind: matches.count(kind) for kind in MATCHES}
    logger.info("%s: %d of %d objects have a row", name, len(matches) - n["none"], len(matches))
    if n["ambiguous"] or n["shared"]:
        told = "%s: %d objects fit several rows (nearest or first taken), %d share a row; see the column 'match'"
        logger.warning(told, name, n["ambiguous"], n["shared"])


def _radius(radius: str | float | u.Quantity) -> float:
    try:
        return radius_arcsec(radius)
    except ConfigError:
        msg = f"radius must be an angle from 0 to 180 degrees, such as '2arcsec'; got {radius!r}."
        raise ConfigError(msg) from None


def _numbers(table: pa.Table, name: str) -> Float:
    if name not in table.column_names:
        msg = f"unknown column '{name}' in the table{nearest(name, table.column_names)}"
        raise ConfigError(msg)
    column = table[name]
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        msg = f"column '{name}' must hold magnitudes; got {column.type}."
        raise DataError(msg)
    return np.array(column.cast(pa.float64()).to_numpy(), dtype=np.float64)  # null becomes NaN


def _short(names: Sequence[str]) -> list[str]:
    """Leave out what all names have before their last underscore, if that leaves something of each."""
    stems = {name.rpartition("_")[0] for name in names}
    return [name.rpartition("_")[2] for name in names] if len(stems) == 1 and all(stems) else list(names)
