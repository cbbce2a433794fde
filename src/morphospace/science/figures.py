"""Figures of a prediction: confusion matrix, reliability diagram, label-efficiency curves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from morphospace.errors import DataError
from morphospace.science.calibration import reliability_curve
from morphospace.science.curves import Curve
from morphospace.science.prediction import Prediction
from morphospace.space.figures import FONT, legible, new_figure

__all__ = ["plot_confusion", "plot_curves", "plot_reliability", "plot_values"]

_BLUE, _ORANGE = "#0072b2", "#d55e00"
_COLOURS = (_BLUE, _ORANGE, "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#777777")


def plot_confusion(prediction: Prediction) -> Figure:
    """Draw how often each true class (row) is taken for each class (column), in per cent of the row, with counts.

    Parameters
    ----------
    prediction : Prediction
        Of classes, with known labels.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    DataError
        If no class is known.
    """
    counts = prediction.confusion()
    share = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    k = len(counts)
    names = [legible(name) for name in prediction.names]
    side = 1.6 + 0.75 * k
    figure = new_figure(side + 0.6, side)
    ax = figure.add_subplot()
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for row in range(k):
        for column in range(k):
            ink = "white" if share[row, column] > 0.55 else "black"
            text = f"{100 * share[row, column]:.0f} %\n{counts[row, column]:,}"
            ax.text(column, row, text, ha="center", va="center", fontsize=8, color=ink, font=FONT)
    ax.set_xticks(range(k), names, rotation=35, ha="right", fontsize=8, font=FONT, parse_math=False)
    ax.set_yticks(range(k), names, fontsize=8, font=FONT, parse_math=False)
    ax.set_xlabel("predicted")
    ax.set_ylabel("true")
    scores = prediction.scores
    title = f"accuracy {100 * scores['accuracy']:.1f} %, balanced {100 * scores['balanced_accuracy']:.1f} %"
    ax.set_title(title, fontsize=9)
    figure.set_layout_engine("constrained")
    return figure


def plot_reliability(prediction: Prediction, *, bins: int = 15) -> Figure:
    """Draw how often the class said with some confidence is right; on the diagonal it is as often as said.

    Parameters
    ----------
    prediction : Prediction
        Of classes, with known labels.
    bins : int, >= 1
        Of the confidence.

    Returns
    -------
    matplotlib.figure.Figure
        Bars of two binomial standard errors; below, the number of objects of each confidence.

    Raises
    ------
    DataError
        If no class is known.
    """
    prediction.confusion()  # refuses what has no classes
    known = prediction.known
    y = prediction.target.y[known] if prediction.target is not None else np.zeros(0, dtype=np.intp)
    curve = reliability_curve(prediction.p[known], y, bins=bins)
    some = curve.n > 0
    figure = new_figure(4.2, 4.8)
    top, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    top.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--")
    # Laplace's estimate, so that a bin of few does not look certain
    rate = (curve.accuracy[some] * curve.n[some] + 1) / (curve.n[some] + 2)
    error = 2 * np.sqrt(rate * (1 - rate) / curve.n[some])
    low, high = np.clip([curve.accuracy[some] - error, curve.accuracy[some] + error], 0, 1)
    bars = [curve.accuracy[some] - low, high - curve.accuracy[some]]
    top.errorbar(curve.confidence[some], curve.accuracy[some], bars, fmt="o-", color=_BLUE, lw=1.5, ms=4, capsize=2)
    top.set(xlim=(0, 1), ylim=(0, 1), ylabel="fraction right")
    top.set_title(f"expected calibration error {curve.error:.3f}", fontsize=9)
    below.bar(curve.low, curve.n, width=curve.high - curve.low, align="edge", color="0.75", edgecolor="white")
    below.set(xlabel="confidence", ylabel="objects")
    _bare(top)
    _bare(below)
    figure.set_layout_engine("constrained")
    return figure


def plot_values(prediction: Prediction) -> Figure:
    """Draw predicted against true values, with intervals where there are some.

    Raises
    ------
    DataError
        If no value is known.
    """
    if prediction.task != "values" or prediction.target is None or not prediction.known.any():
        msg = "the figure needs values that are known; there are none."
        raise DataError(msg)
    known = prediction.known
    true, guess = prediction.target.y[known], prediction.mean[known]
    figure = new_figure(4.4, 4.4)
    ax = figure.add_subplot()
    if prediction.interval is not None:
        ends = prediction.interval[known]
        ax.vlines(true, ends[:, 0], ends[:, 1], color="0.8", lw=0.5, zorder=1)
    ax.plot(true, guess, ".", ms=2.5, color=_BLUE, alpha=0.6, zorder=2)
    both = [float(true.min()), float(true.max())]
    ax.plot(both, both, color=_ORANGE, lw=1, ls="--", zorder=3)
    low, high = np.quantile(np.concatenate([true, guess]), [0.001, 0.999])
    margin = 0.05 * max(float(high - low), 1e-12)
    ax.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), xlabel="true", ylabel="predicted")
    scores = prediction.scores
    ax.set_title(f"R² {scores['r2']:.3f}, median error {scores['median_error']:.3g}", fontsize=9)
    _bare(ax)
    figure.set_layout_engine("constrained")
    return figure


def plot_curves(curves: Sequence[Curve], *, title: str = "") -> Figure:
    """Draw scores against the number of labels, the range of the repeats shaded.

    Parameters
    ----------
    curves : sequence of Curve
        Of one score.
    title : str

    Raises
    ------
    DataError
        If there is no curve, or they are of different scores.
    """
    scores = {curve.score for curve in curves}
    if len(scores) != 1:
        msg = f"the curves must be of one score; got {', '.join(sorted(scores)) or 'none'}."
        raise DataError(msg)
    figure = new_figure(4.8, 3.6)
    ax = figure.add_subplot()
    for i, curve in enumerate(curves):
        colour = _COLOURS[i % len(_COLOURS)]
        low, high = curve.interval().T
        ax.fill_between(curve.sizes, low, high, color=colour, alpha=0.15, lw=0)
        ax.plot(curve.sizes, curve.mean, "o-", color=colour, ms=4, lw=1.6, label=legible(curve.name))
    ticks = sorted({int(n) for curve in curves for n in curve.sizes})
    ax.set_xscale("log")
    ax.set_xticks(ticks, [f"{n:,}" for n in ticks])
    ax.set_xticks([], minor=True)
    ax.set(xlabel="labels learned from", ylabel=scores.pop().replace("_", " "))
    ax.set_title(legible(title), fontsize=9)
    ax.legend(frameon=False, fontsize=8)
    _bare(ax)
    figure.set_layout_engine("constrained")
    return figure


def _bare(ax: Axes) -> None:
    ax.spines[["top", "right"]].set_visible(False)
