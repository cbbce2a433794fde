"""Completeness: how often an object is found, against its S/N and size; table, limits, sentences and figure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
from astropy.stats import binom_conf_interval
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray
from sklearn.isotonic import IsotonicRegression

from morphospace._manifest import replacing
from morphospace.errors import DataError, StoreError
from morphospace.space.figures import new_figure, save_figure

__all__ = ["LEVEL", "LIMITS", "Cell", "Completeness", "crossing", "plot_completeness", "wilson"]

LEVEL = 0.95  # of the intervals
LIMITS = (0.5, 0.9)
_ABOUT = b"morphospace"
_COLOURS = ("#1b6ca8", "#d95f02", "#2a9d5c", "#8e44ad", "#7f7f7f")

F64 = NDArray[np.float64]


class Cell(NamedTuple):
    """One point of the grid.

    Attributes
    ----------
    by : str
        ``"search"`` or ``"classifier"``.
    kind : str
    size_px : float
        Half-light radius.
    snr : float
        Brightest pixel over the noise of a pixel; 0 without an object.
    snr_matched : float
        S/N of all the object's light in an optimal filter, were the noise white.
    n, found : int
        Objects, and how many of them were found.
    chance : float
        How often it would be found if its vector said nothing: k / (N + 1), or the share of empty pictures.
    rank : float
        Median rank among the objects of the store; NaN for a classifier.
    """

    by: str
    kind: str
    size_px: float
    snr: float
    snr_matched: float
    n: int
    found: int
    chance: float
    rank: float


class _Limit(NamedTuple):
    by: str
    kind: str
    size_px: float
    completeness: float
    snr: float
    low: float
    high: float


class _Curve(NamedTuple):
    """The cells of one kind, size and way of finding, faintest first."""

    by: str
    kind: str
    size_px: float
    snr: F64
    n: F64
    found: F64
    rank: F64
    chance: float

    @property
    def empty(self) -> float:
        """How often a picture without an object is found; NaN if that was not tried."""
        return float(self.found[0] / self.n[0]) if self.snr[0] == 0 else math.nan


@dataclass(frozen=True)
class Completeness:
    """How often objects are found against S/N and size.

    Attributes
    ----------
    table : pyarrow.Table
        The fields of `Cell`, and ``completeness`` with its Wilson interval ``low``, ``high`` of 95 %.
    limits : pyarrow.Table
        For each curve the S/N of 50 and 90 % with ``low``, ``high``, where the limits of the interval cross; NaN where the
        grid does not reach so far: ``snr`` is NaN if it is never so complete.
    about : dict
        How it was measured: run, space_id, fingerprint of the cutouts, k, n, number searched, noise.
    """

    table: pa.Table
    limits: pa.Table
    about: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, cells: Sequence[Cell], about: Mapping[str, Any]) -> Completeness:
        """Make it of the cells of a grid.

        Raises
        ------
        DataError
            If there is none.
        """
        if not cells:
            msg = "there is no completeness of no objects; inject at least one."
            raise DataError(msg)
        columns = {name: [getattr(cell, name) for cell in cells] for name in Cell._fields}
        low, high = wilson(columns["found"], columns["n"])
        share = np.divide(columns["found"], columns["n"])
        table = pa.table({**columns, "completeness": share, "low": low, "high": high})
        limits = [limit for curve in _curves(table) for limit in _limits(curve)]
        names = _Limit._fields
        return cls(table, pa.table({name: [getattr(limit, name) for limit in limits] for name in names}), dict(about))

    def __repr__(self) -> str:
        return f"<Completeness: {self.table.num_rows} cells>"

    @property
    def sentences(self) -> list[str]:
        """What a paper would say, a sentence for each kind and size."""
        about = self.about
        words = []
        if "n_searched" in about:
            noise = about.get("noise", {})
            drawn = f" ({noise['drawn']} of them without blank sky: drawn after theirs)" if noise.get("drawn") else ""
            words.append(
                f"An object counts as found by search if it is among the {about['k']} nearest of {about['n_searched']:,} to "
                f"a bright one of its kind; {about['n']} were injected at each S/N into the noise of "
                f"{noise.get('own', 0) + noise.get('drawn', 0)} pictures{drawn}."
            )
        return words + [_sentence(curve, list(_limits(curve))) for curve in _curves(self.table)]

    def __str__(self) -> str:
        return "\n".join(self.sentences)

    def save(self, out: str | Path, *, overwrite: bool = False) -> Path:
        """Write ``completeness.parquet``, ``completeness.csv``, ``limits.csv`` and ``completeness.png`` into a folder.

        Parameters
        ----------
        out : path
        overwrite : bool
            Replace what is there.

        Raises
        ------
        StoreError
            If one is there and `overwrite` is not given, or it cannot be written.
        """
        folder = Path(out)
        written = ["completeness.parquet", "completeness.csv", "limits.csv", "completeness.png"]
        for name in written:
            if (folder / name).exists() and not overwrite:
                msg = f"'{folder / name}' is there already; choose another folder or give overwrite=True (--overwrite)."
                raise StoreError(msg)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with replacing(folder / written[0]) as beside:
                pq.write_table(self.table.replace_schema_metadata({_ABOUT: json.dumps(dict(self.about))}), beside)
            for name, table in ((written[1], self.table), (written[2], self.limits)):
                with replacing(folder / name) as beside:
                    pacsv.write_csv(table, beside)
        except OSError as error:
            msg = f"'{folder}' cannot be written ({error})."
            raise StoreError(msg) from error
        save_figure(plot_completeness(self), folder / written[3])
        return folder


def wilson(found: ArrayLike, n: ArrayLike, *, level: float = LEVEL) -> tuple[F64, F64]:
    """Give the interval of a share: Wilson's, which holds for few objects and for shares of 0 and 1 too.

    Parameters
    ----------
    found, n : array of int
        0 <= found <= n, n >= 1.
    level : float
        Coverage.

    Returns
    -------
    low, high : array of float64

    Notes
    -----
    Wilson 1927; Brown, Cai & DasGupta 2001, eq. 4; computed by astropy.
    """
    low, high = binom_conf_interval(np.asarray(found), np.asarray(n), level, interval="wilson")
    return np.asarray(low, np.float64), np.asarray(high, np.float64)


def crossing(snr: F64, share: F64, weight: F64, wanted: float) -> float:
    """Find the S/N from which a share is reached, on the nearest curve that never falls.

    Parameters
    ----------
    snr : ndarray, ascending, >= 0
    share, weight : ndarray
        Measured shares, and the number of objects in each.
    wanted : float

    Returns
    -------
    float
        Interpolated in log S/N; the lowest positive S/N where all reach it, NaN where none does.
    """
    above = snr > 0
    x = np.log(snr[above])
    rising = IsotonicRegression(y_min=0.0, y_max=1.0).fit_transform(x, share[above], sample_weight=weight[above])
    reached = np.flatnonzero(rising >= wanted)
    if not len(reached):
        return math.nan
    last = int(reached[0])
    if last == 0:
        return float(snr[above][0])
    step = (wanted - rising[last - 1]) / (rising[last] - rising[last - 1])
    return float(np.exp(x[last - 1] + step * (x[last] - x[last - 1])))


def plot_completeness(found: Completeness) -> Figure:
    """Draw a panel for each kind and way of finding: completeness against S/N, a curve with its interval for each size.

    Parameters
    ----------
    found : Completeness

    Returns
    -------
    matplotlib.figure.Figure
        Dotted: what chance would find.
    """
    curves = list(_curves(found.table))
    ways, kinds = list(dict.fromkeys(c.by for c in curves)), list(dict.fromkeys(c.kind for c in curves))
    sizes = sorted({c.size_px for c in curves})
    width, height = 0.9 + 2.7 * len(kinds), 0.7 + 2.3 * len(ways)
    figure = new_figure(width, height)
    panels = figure.subplots(len(ways), len(kinds), squeeze=False, sharex=True, sharey=True)
    for curve in curves:
        ax = panels[ways.index(curve.by)][kinds.index(curve.kind)]
        _draw(ax, curve, _COLOURS[sizes.index(curve.size_px) % len(_COLOURS)])
    for row, by in enumerate(ways):
        panels[row][0].set_ylabel(f"found by {by}")
        for column, kind in enumerate(kinds):
            ax = panels[row][column]
            ax.set(ylim=(-0.03, 1.03), xscale="log")
            ax.xaxis.set(major_locator=LogLocator(subs=(1, 2, 5)), major_formatter=StrMethodFormatter("{x:g}"))
            ax.xaxis.set_minor_formatter(NullFormatter())
            for limit in LIMITS:
                ax.axhline(limit, color="0.85", linewidth=0.8, zorder=0)
            if row == 0:
                ax.set_title(f"{kind}s", fontsize=10)
            if row == len(ways) - 1:
                ax.set_xlabel("peak S/N")
    panels[0][0].legend(fontsize=7, frameon=False, title="half-light radius", title_fontsize=7)
    figure.tight_layout()
    return figure


def _draw(ax: Axes, curve: _Curve, colour: str) -> None:
    shown = curve.snr > 0
    low, high = wilson(curve.found, curve.n)
    x, share = curve.snr[shown], (curve.found / curve.n)[shown]
    ax.fill_between(x, low[shown], high[shown], color=colour, alpha=0.18, linewidth=0)
    ax.plot(x, share, "o-", color=colour, markersize=3, linewidth=1.3, label=f"{curve.size_px:g} px")
    ax.axhline(curve.chance, color=colour, linestyle=":", linewidth=0.8)


def _curves(table: pa.Table) -> Iterator[_Curve]:
    columns = {
        name: np.asarray(table[name].to_pylist())
        for name in ("by", "kind", "size_px", "snr", "n", "found", "rank", "chance")
    }
    keys = list(zip(columns["by"].tolist(), columns["kind"].tolist(), columns["size_px"].tolist(), strict=True))
    for key in dict.fromkeys(keys):
        rows = np.array([row for row, other in enumerate(keys) if other == key])
        rows = rows[np.argsort(columns["snr"][rows], kind="stable")]
        snr, n, found, rank = (columns[name][rows].astype(np.float64) for name in ("snr", "n", "found", "rank"))
        yield _Curve(*key, snr, n, found, rank, float(columns["chance"][rows[-1]]))


def _limits(curve: _Curve) -> Iterator[_Limit]:
    low, high = wilson(curve.found, curve.n)
    for wanted in LIMITS:
        value, first, last = (crossing(curve.snr, s, curve.n, wanted) for s in (curve.found / curve.n, high, low))
        yield _Limit(curve.by, curve.kind, curve.size_px, wanted, value, first, last)


def _sentence(curve: _Curve, limits: Sequence[_Limit]) -> str:
    least, most = curve.snr[curve.snr > 0][0], curve.snr[-1]
    parts = []
    for limit in limits:
        share = f"{100 * limit.completeness:.0f} %"
        if math.isnan(limit.snr):
            parts.append(f"{share} are not reached up to S/N {most:g}")
        elif limit.snr <= least:
            parts.append(f"{share} are found at S/N {least:g} already")
        else:
            low = f"{limit.low:.1f}" if limit.low > least else f"below {least:g}"
            high = f"{limit.high:.1f}" if math.isfinite(limit.high) else f"above {most:g}"
            parts.append(f"{share} from S/N {limit.snr:.1f} ({low} to {high})")
    rank = f" (median rank {curve.rank[-1]:.0f})" if math.isfinite(curve.rank[-1]) else ""
    top = f"{100 * curve.found[-1] / curve.n[-1]:.0f} % at S/N {most:g}{rank}"
    empty = f", {100 * curve.empty:.0f} % of empty pictures" if math.isfinite(curve.empty) else ""
    return f"{curve.kind}s of half-light radius {curve.size_px:g} px, {curve.by}: {'; '.join(parts)}; {top}{empty}."
