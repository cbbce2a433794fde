"""Nuisance audit: how well a linear probe reads from the vectors what is no property of the object's shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from morphospace.errors import ShapeError
from morphospace.learn.compare import folds
from morphospace.learn.probe import linear_probe, linear_r2
from morphospace.sky.noise import estimate_noise
from morphospace.sky.shape import Shapes, is_elongated, measure_shapes

__all__ = ["MIN_AUDITED", "Nuisances", "Reading", "audit_nuisances", "measure_nuisances"]

Float = NDArray[np.float64]

MIN_AUDITED = 50  # objects with a known value, the least from which a probe says something
N_FOLDS = 5


@dataclass(frozen=True, eq=False)
class Nuisances:
    """What is known of N objects beside their shape; None where nothing is, NaN or None for single objects.

    Attributes
    ----------
    position_angle_deg : array-like, (N,), optional
        Of the major axis; period 180. NaN for objects that are not elongated.
    companion_angle_deg : array-like, (N,), optional
        Direction to the brightest companion; period 360. NaN without one.
    instrument : mapping of str to array-like, (N,)
        Columns of names: telescope, camera, band, programme.
    snr, size, background : array-like, (N,), optional
        In any unit: only their order counts.
    oriented : bool
        Orientation is meant to be learned: angles are reported and not judged.
    """

    position_angle_deg: ArrayLike | None = None
    companion_angle_deg: ArrayLike | None = None
    instrument: Mapping[str, ArrayLike] = field(default_factory=dict)
    snr: ArrayLike | None = None
    size: ArrayLike | None = None
    background: ArrayLike | None = None
    oriented: bool = False


class Reading(NamedTuple):
    """How well one nuisance can be read.

    Attributes
    ----------
    name : str
        ``"position angle (2PA)"``, ``"position angle (4PA)"``, ``"companion angle"``, ``"instrument NAME"``, ``"S/N"``,
        ``"size"`` or ``"background"``.
    n : int
        Objects with a known value.
    score : float
        Out of sample, 1 = perfectly, about 0 = not at all: R2 of (cos, sin) of the angle or of the rank of the value;
        for an instrument (balanced accuracy - 1/K) / (1 - 1/K). NaN if not audited.
    share : float
        Fraction of the variance of the vectors that goes with it, corrected for the number of regressors. A nuisance may
        be readable and yet too faint to move neighbours. NaN if not audited.
    judged : bool
        False for S/N, size and background, which carry physics, and for angles that are meant to be learned.
    gap : str
        Why it was not audited; empty if it was.
    """

    name: str
    n: int
    score: float
    share: float
    judged: bool
    gap: str = ""


def measure_nuisances(
    images: ArrayLike | Sequence[NDArray[Any]],
    *,
    masks: Sequence[NDArray[np.bool_] | None] | None = None,
    instrument: Mapping[str, ArrayLike] | None = None,
    oriented: bool = False,
) -> Nuisances:
    """Measure from the images what no column tells.

    Parameters
    ----------
    images : array-like (N, H, W) or (N, C, H, W), or a sequence of arrays (H, W) or (C, H, W)
        Native pixels, NaN where blank; sizes may differ. Row 0 is the bottom.
    masks : sequence of arrays of bool, (H, W), or None, optional
        True = valid.
    instrument : mapping of str to array-like, (N,), optional
        Handed through, as is `oriented`.
    oriented : bool
        Whether orientation is meant to be learned.

    Returns
    -------
    Nuisances
        Position angles of elongated objects from the moments of everything that stands out, direction of the brightest
        companion, total S/N, r50 in pixels as size, and the level (mean of the bands) as background.
    """
    stack = [np.asarray(image) for image in images]  # type: ignore[union-attr, unused-ignore]
    valid = [None] * len(stack) if masks is None else list(masks)
    if len(valid) != len(stack):
        msg = f"masks must have one entry per image, {len(stack)}; got {len(valid)}."
        raise ShapeError(msg)
    out = np.full((5, len(stack)), np.nan)
    rows: dict[tuple[int, ...], list[int]] = {}
    for i, image in enumerate(stack):
        rows.setdefault(image.shape, []).append(i)
    for same in rows.values():
        for i in range(0, len(same), 256):  # a few hundred images of one size at a time
            part = same[i : i + 256]
            shapes, level = _shapes(np.stack([stack[j] for j in part]), [valid[j] for j in part])
            pa = np.where(is_elongated(shapes), shapes.pa_deg, np.nan)
            out[:, part] = [pa, shapes.companion_pa_deg, shapes.snr, shapes.r50, level]
    return Nuisances(out[0], out[1], instrument or {}, out[2], out[3], out[4], oriented)


def _shapes(stack: NDArray[Any], valid: list[NDArray[np.bool_] | None]) -> tuple[Shapes, Float]:
    """Shapes and mean level of images of one size."""
    noise = [estimate_noise(image, mask) for image, mask in zip(stack, valid, strict=True)]
    level, sigma = (np.array([getattr(n, key) for n in noise], dtype=np.float64) for key in ("level", "sigma"))
    full = np.ones(stack.shape[-2:], dtype=bool)
    mask = np.array([full if m is None else m for m in valid])
    return measure_shapes(stack, level=level, sigma=sigma, mask=mask), level.mean(1)


def audit_nuisances(
    z: ArrayLike, nuisances: Nuisances, *, group: ArrayLike | None = None, seed: int = 0
) -> tuple[Reading, ...]:
    """Probe the vectors for each nuisance that is known.

    Parameters
    ----------
    z : array-like, (N, D), float
        Vectors, finite.
    nuisances : Nuisances
        Columns of N entries each.
    group : array-like, (N,), optional
        Objects of one group share a fold.
    seed : int
        Seed of the folds.

    Returns
    -------
    tuple of Reading
        One or more per column that was given, audited or with the reason why not.
    """
    x = np.asarray(z, dtype=np.float64)
    who = np.arange(len(x)) if group is None else np.asarray(group)
    audit = _Audit(x, who, seed)
    found: list[Reading] = []
    for name, column, harmonics in (
        ("position angle (2PA)", nuisances.position_angle_deg, 2),
        ("position angle (4PA)", nuisances.position_angle_deg, 4),
        ("companion angle", nuisances.companion_angle_deg, 1),
    ):
        if column is not None:
            angle = harmonics * np.radians(_floats(column, len(x), name))
            pair = np.stack([np.cos(angle), np.sin(angle)], 1)
            found.append(audit.regress(name, pair, judged=not nuisances.oriented))
    found.extend(audit.classify(f"instrument {name}", column) for name, column in nuisances.instrument.items())
    for name, column in (("S/N", nuisances.snr), ("size", nuisances.size), ("background", nuisances.background)):
        if column is not None:
            found.append(audit.regress(name, _ranks(_floats(column, len(x), name)), judged=False))
    return tuple(found)


@dataclass(frozen=True, eq=False)
class _Audit:
    """Vectors, groups and seed that all probes share."""

    x: Float
    group: NDArray[Any]
    seed: int

    def regress(self, name: str, target: Float, *, judged: bool) -> Reading:
        good = np.isfinite(target).all(1)
        n = int(good.sum())
        t = target[good]
        gap = _gap(n, "objects with a known value") or (
            "" if np.ptp(t, axis=0).max() > 1e-6 else "all values are equal"
        )
        if not gap and len(np.unique(self.group[good])) < N_FOLDS:
            gap = f"fewer than {N_FOLDS} groups"
        if gap:
            return Reading(name, n, np.nan, np.nan, judged, gap)
        fold = folds(np.zeros(n), n_folds=N_FOLDS, group=self.group[good], seed=self.seed)
        return Reading(name, n, linear_r2(self.x[good], t, fold=fold), _share(self.x[good], t), judged)

    def classify(self, name: str, column: ArrayLike) -> Reading:
        """Read a column of names; values with fewer objects (or groups) than folds are left out."""
        label = _names(column, len(self.x), name)
        good = label != ""
        for value in np.unique(label):
            if len(np.unique(self.group[label == value])) < N_FOLDS:
                good &= label != value
        n, classes = int(good.sum()), np.unique(label[good])
        gap = "fewer than two values that occur often enough" if len(classes) < 2 else _gap(n, "objects")
        if gap:
            return Reading(name, n, np.nan, np.nan, True, gap)
        fold = folds(label[good], n_folds=N_FOLDS, group=self.group[good], seed=self.seed)
        probe = linear_probe(self.x[good], label[good], fold=fold, balanced=True)
        chance = 1.0 / len(classes)
        hot = (label[good][:, None] == classes[:-1]).astype(np.float64)
        score = (probe.balanced_accuracy - chance) / (1.0 - chance)
        return Reading(name, n, score, _share(self.x[good], hot), True)


def _gap(n: int, what: str) -> str:
    return "" if n >= MIN_AUDITED else f"{n} {what}, {MIN_AUDITED} are needed"


def _floats(column: ArrayLike, n: int, name: str) -> Float:
    """Read a numeric column, None as NaN."""
    value = np.array([np.nan if v is None else v for v in np.asarray(column, dtype=object).ravel()], dtype=np.float64)
    if value.shape != (n,):
        msg = f"the column of {name} must have one entry per vector, ({n},); got {np.shape(column)}."
        raise ShapeError(msg)
    return value


def _names(column: ArrayLike, n: int, name: str) -> NDArray[np.str_]:
    """Read a column of names; None, NaN and blanks become empty."""
    value = np.asarray(column, dtype=object)
    if value.shape != (n,):
        msg = f"the column of {name} must have one entry per vector, ({n},); got {value.shape}."
        raise ShapeError(msg)
    return np.array(["" if v is None or v != v else str(v).strip() for v in value], dtype=np.str_)


def _ranks(value: Float) -> Float:
    """Ranks from 0 to 1 of the finite values, ties shared, as a target (N, 1)."""
    good = np.isfinite(value)
    rank = np.full(len(value), np.nan)
    rank[good] = (rankdata(value[good]) - 0.5) / max(int(good.sum()), 1)
    return rank[:, None]


def _share(x: Float, t: Float) -> float:
    """Fraction of the variance of the vectors explained by the targets, adjusted for their number."""
    n, k = t.shape
    centred, q = x - x.mean(0), np.linalg.qr(t - t.mean(0))[0]
    total = float((centred**2).sum())
    if total == 0:
        return float("nan")
    left = 1.0 - float(((q.T @ centred) ** 2).sum()) / total
    return float(max(0.0, 1.0 - left * (n - 1) / (n - k - 1)))
