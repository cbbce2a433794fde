"""Histograms as SVG, for pages that must not ask anything of the network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["histogram"]

_WIDTH, _HEIGHT, _FOOT = 400, 120, 18
_BINS = 32


def histogram(values: NDArray[np.float64], *, limit: float | None = None) -> str:
    """Draw how positive values are distributed, over a logarithmic axis where they span more than a factor of ten.

    Parameters
    ----------
    values : ndarray, (N,), float64
        NaN, infinities and what is not positive on a logarithmic axis are left out.
    limit : float, optional
        Drawn as a dashed line.

    Returns
    -------
    str
        An ``svg`` element, or a sentence where there are no values or only one.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return '<p class="soft">Unknown for all.</p>'
    low, high = float(finite.min()), float(finite.max())
    if low == high:
        return f'<p class="soft">{_short(low)} for all.</p>'
    logarithmic = low > 0 and high / low > 10
    scaled = np.log10(finite) if logarithmic else finite
    counts, edges = np.histogram(scaled, bins=_BINS)
    step = _WIDTH / _BINS
    top = _HEIGHT - _FOOT
    bars = "".join(
        f'<rect x="{i * step + 0.5:.1f}" y="{top - h:.1f}" width="{step - 1:.1f}" height="{h:.1f}"/>'
        for i, h in enumerate(np.maximum(counts / counts.max() * (top - 14), np.where(counts, 1.5, 0)))
        if h
    )
    start, stop = float(edges[0]), float(edges[-1])
    middle = (start + stop) / 2
    ends = [(0, start, "start"), (_WIDTH / 2, middle, "middle"), (_WIDTH, stop, "end")]
    labels = "".join(
        f'<text x="{x}" y="{_HEIGHT - 4}" text-anchor="{anchor}">{_short(10**at if logarithmic else at)}</text>'
        for x, at, anchor in ends
    )
    line = ""
    if limit is not None and low < limit < high:
        x = _WIDTH * ((np.log10(limit) if logarithmic else limit) - start) / (stop - start)
        line = f'<line class="limit" x1="{x:.1f}" x2="{x:.1f}" y1="0" y2="{top}"/>'
        line += f'<text x="{x + 4:.1f}" y="10">{_short(limit)}</text>'
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="from {_short(low)} to {_short(high)}">'
        f'{bars}<line x1="0" x2="{_WIDTH}" y1="{top}" y2="{top}"/>{line}{labels}</svg>'
    )


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
