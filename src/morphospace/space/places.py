"""Where objects are on the sky and what they are called: which rows are other observations of the same thing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from astropy import units as u
from numpy.typing import NDArray
from scipy.spatial import KDTree

from morphospace.errors import ConfigError
from morphospace.space.embeddings import Embeddings
from morphospace.space.names import fold

__all__ = ["Places", "radius_arcsec"]


def radius_arcsec(radius: str | float | u.Quantity) -> float:
    """Read an angle.

    Parameters
    ----------
    radius : str, float or Quantity
        ``"10arcsec"``, ``"0.5 arcmin"``, a Quantity, or a bare number of arcsec.

    Returns
    -------
    float
        In arcsec, from 0 to 648,000 (180 degrees).

    Raises
    ------
    ConfigError
        If it is no angle, negative, not finite, or more than 180 degrees.

    Examples
    --------
    >>> radius_arcsec("0.5arcmin")
    30.0
    """
    try:
        quantity = u.Quantity(radius)
        angle = quantity.value * 1.0 if quantity.unit == u.dimensionless_unscaled else quantity.to_value(u.arcsec)
        arcsec = float(angle)
    except (TypeError, ValueError, u.UnitsError):
        msg = f"exclude_radius must be an angle such as '10arcsec'; got {radius!r}."
        raise ConfigError(msg) from None
    if not 0.0 <= arcsec <= 180 * 3600:
        msg = f"exclude_radius must be from 0 to 180 degrees; got {radius!r}."
        raise ConfigError(msg)
    return round(arcsec, 9)  # 0.5 arcmin is 30, not 29.999999999999996


@dataclass(frozen=True)
class Places:
    """Position, object name and group of some rows.

    Attributes
    ----------
    ra, dec : array of float64, (N,)
        Degrees (ICRS), NaN where unknown.
    objects, groups : tuple of str or None
        Columns ``object`` and ``group``.
    """

    ra: NDArray[np.float64]
    dec: NDArray[np.float64]
    objects: tuple[str | None, ...]
    groups: tuple[str | None, ...]

    @classmethod
    def of(cls, emb: Embeddings, rows: NDArray[np.int64] | None = None) -> Places:
        """Read them from the columns ``ra, dec, object, group``, as far as they are there.

        Parameters
        ----------
        emb : Embeddings
        rows : array of int, optional
            Default: all rows.
        """
        table = emb.table(["id", *(c for c in ("ra", "dec", "object", "group") if c in emb.columns)])
        table = table if rows is None else table.take(pa.array(rows, pa.int64()))
        ra, dec = _degrees(table, "ra"), _degrees(table, "dec")
        unknown = ~(np.isfinite(ra) & np.isfinite(dec))
        ra[unknown] = dec[unknown] = np.nan
        return cls(ra, dec, _texts(table, "object"), _texts(table, "group"))

    @classmethod
    def joined(cls, places: Sequence[Places]) -> Places:
        """Put several after one another."""
        return cls(
            np.concatenate([p.ra for p in places]),
            np.concatenate([p.dec for p in places]),
            tuple(o for p in places for o in p.objects),
            tuple(g for p in places for g in p.groups),
        )

    def known(self) -> bool:
        """Tell whether any has a position, an object name or a group."""
        return bool(np.isfinite(self.ra).any()) or any(self.objects) or any(g is not None for g in self.groups)

    def near(self, examples: Places, radius_arcsec: float) -> NDArray[np.bool_]:
        """Tell which of these rows are other observations of one of the examples.

        Parameters
        ----------
        examples : Places
        radius_arcsec : float

        Returns
        -------
        array of bool, (N,)
            True within the radius. Where the row or the example has no position: where both have one object name
            (case and blanks do not count) or one group.
        """
        placed, placed_example = np.isfinite(self.ra), np.isfinite(examples.ra)
        near = np.zeros(len(self.ra), dtype=np.bool_)
        if placed.any() and placed_example.any():
            tree = KDTree(_unit_vectors(examples.ra[placed_example], examples.dec[placed_example]))
            # A chord and not a cosine: the cosine of 1 arcsec differs from 1 by 1e-11.
            chord = 2 * np.sin(np.deg2rad(radius_arcsec / 3600) / 2) * (1 + 1e-9) + 1e-15
            distance, _ = tree.query(_unit_vectors(self.ra[placed], self.dec[placed]), distance_upper_bound=chord)
            near[placed] = np.isfinite(distance)
        near |= ~placed & self._named_as(examples, np.ones(len(examples.ra), dtype=np.bool_))
        if not placed_example.all():
            near |= self._named_as(examples, ~placed_example)
        return near

    def _named_as(self, examples: Places, which: NDArray[np.bool_]) -> NDArray[np.bool_]:
        objects = {fold(o) for o, w in zip(examples.objects, which, strict=True) if w and o}
        groups = {g for g, w in zip(examples.groups, which, strict=True) if w and g is not None}
        same = np.zeros(len(self.ra), dtype=np.bool_)
        if objects:
            same |= np.array([bool(o) and fold(o or "") in objects for o in self.objects], dtype=np.bool_)
        if groups:
            same |= np.array([g in groups for g in self.groups], dtype=np.bool_)
        return same


def _degrees(table: pa.Table, name: str) -> NDArray[np.float64]:
    if name not in table.column_names:
        return np.full(len(table), np.nan)
    return np.array(table[name].cast(pa.float64()).to_numpy(), dtype=np.float64)


def _texts(table: pa.Table, name: str) -> tuple[str | None, ...]:
    if name not in table.column_names:
        return (None,) * len(table)
    return tuple(None if value is None else str(value) for value in table[name].to_pylist())


def _unit_vectors(ra: NDArray[np.float64], dec: NDArray[np.float64]) -> NDArray[np.float64]:
    a, d = np.deg2rad(ra), np.deg2rad(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)
