"""Health of a space: a verdict in words, with the figures and reasons behind it."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from morphospace.errors import DataError, ShapeError
from morphospace.learn.compare import folds, paired_difference
from morphospace.learn.nuisance import Nuisances, Reading, audit_nuisances
from morphospace.learn.probe import Probe, knn_probe, linear_probe, majority_probe
from morphospace.learn.spread import effective_rank, mean_cosine, rankme

__all__ = ["Health", "Verdict", "check_health"]

Float = NDArray[np.float64]

MIN_VECTORS = 50  # fewer give no verdict
MAX_VECTORS = 20_000  # a random sample of so many is examined, so that probes stay a matter of seconds
COLLAPSED_COSINE = 0.95  # mean cosine of projections: 0.24 to 0.28 for a sound BYOL, 1.00 without predictor
POOR_COSINE = 0.9
COLLAPSED_RANK = 1.5  # all on a line or in a point; astromorph 0.1.2 ends at 1.4
POOR_RANK = 4.0  # BYOL on a few thousand images that learned less than pixels show: 2.6
READABLE = 0.5  # score of a nuisance that a probe reads well
FAINT = 0.1  # and below which it hardly does
DOMINANT_SHARE = 0.25  # of the variance, from which a nuisance sorts the space
N_FOLDS = 5


class Verdict(StrEnum):
    """What a space is good for, from best to worst; the worst finding decides."""

    HEALTHY = "HEALTHY"  # vectors are spread and, where labels exist, tell more than the baselines
    UNKNOWN = "UNKNOWN"  # too few vectors to say
    POOR = "POOR"  # something works, less than should
    COLLAPSED = "COLLAPSED"  # all images get nearly one vector or projection
    BROKEN = "BROKEN"  # vectors or projections hold NaN or infinity


_RANKING = list(Verdict)


@dataclass(frozen=True)
class Health:
    """Verdict on a space.

    Attributes
    ----------
    verdict : Verdict
        HEALTHY, UNKNOWN, POOR, COLLAPSED or BROKEN.
    sentences : tuple of str
        Reasons in words, those that decided the verdict first.
    figures : dict of str to float
        What was measured; a figure that could not be is absent.
    """

    verdict: Verdict
    sentences: tuple[str, ...]
    figures: dict[str, float]

    def to_json(self) -> str:
        """Write as JSON: an object with verdict, sentences and figures."""
        return json.dumps(
            {"verdict": str(self.verdict), "sentences": list(self.sentences), "figures": self.figures},
            indent=1,
            ensure_ascii=False,
            allow_nan=False,
        )

    @classmethod
    def from_json(cls, text: str) -> Health:
        """Read what `to_json` wrote.

        Raises
        ------
        DataError
            If the text is no such JSON.
        """
        try:
            raw: Any = json.loads(text)
            figures = {str(key): float(value) for key, value in raw["figures"].items()}
            return cls(Verdict(raw["verdict"]), tuple(str(s) for s in raw["sentences"]), figures)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            msg = f"this is no health verdict ({error}); run 'morphospace doctor RUN' to write a new one."
            raise DataError(msg) from None

    def text(self, *, width: int = 88) -> str:
        """Lay out for a terminal: the verdict, then one bullet per sentence."""
        bullets = (
            textwrap.fill(s, width, initial_indent="  - ", subsequent_indent="    ", break_on_hyphens=False)
            for s in self.sentences
        )
        return "\n".join([str(self.verdict), *bullets])


@dataclass
class _Findings:
    """Sentences with the verdict each would give, and figures."""

    said: list[tuple[Verdict, str]] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)

    def say(self, sentence: str, verdict: Verdict = Verdict.HEALTHY) -> None:
        self.said.append((verdict, sentence))

    def measure(self, name: str, value: float) -> float:
        if np.isfinite(value):
            self.figures[name] = float(value)
        return value

    def conclude(self) -> Health:
        order = sorted(self.said, key=lambda pair: -_RANKING.index(pair[0]))  # stable
        worst = order[0][0] if order else Verdict.HEALTHY
        return Health(worst, tuple(sentence for _, sentence in order), self.figures)


def check_health(
    z: ArrayLike,
    *,
    projections: ArrayLike | None = None,
    labels: ArrayLike | None = None,
    baselines: Mapping[str, ArrayLike] | None = None,
    nuisances: Nuisances | None = None,
    group: ArrayLike | None = None,
    seed: int = 0,
) -> Health:
    """Judge a space by its vectors and, where they are known, projections, labels and nuisances.

    Parameters
    ----------
    z : array-like, (N, D), float
        Vectors of images that were not used to choose anything. Of more than `MAX_VECTORS` a random sample is taken.
    projections : array-like, (N, P), float, optional
        Outputs of the projector for the same images. Without them collapse is judged by the vectors alone.
    labels : array-like, (N,), optional
        Classes; None, NaN and "" are unknown. Classes with fewer objects than folds are left out.
    baselines : mapping of str to array-like, (N, ...), optional
        Features to beat where labels exist: ``{"pixel-PCA": ..., "untrained encoder": ...}``.
    nuisances : Nuisances, optional
        For the audit; see `measure_nuisances`.
    group : array-like, (N,), optional
        Objects of one group share a fold.
    seed : int
        Seed of folds, sample and intervals.

    Returns
    -------
    Health

    Raises
    ------
    ShapeError
        If the lengths differ.

    Notes
    -----
    BROKEN: NaN or infinity. UNKNOWN: fewer than `MIN_VECTORS` vectors. COLLAPSED: mean cosine of the normalised
    projections >= `COLLAPSED_COSINE`, or effective rank of vectors or normalised projections < `COLLAPSED_RANK`. POOR:
    mean cosine >= `POOR_COSINE`; effective rank of the vectors < `POOR_RANK`; probes not above chance; k-NN and linear
    probe both at or below a baseline, one of them with its whole 95 % interval; an instrument or an angle that is read
    well and has at least `DOMINANT_SHARE` of the variance. Ranks are not judged below 4 dimensions. The effective rank
    alone does not show collapse, since the noise that is left can have many dimensions.
    """
    out = _Findings()
    arrays: dict[str, NDArray[Any]] = {"vectors": _matrix(z, "vectors")}
    if projections is not None:
        arrays["projections"] = _matrix(projections, "projections")
    n = len(arrays["vectors"])
    optional = {"labels": labels, "group": group} | {f"baseline {k}": v for k, v in (baselines or {}).items()}
    arrays |= {name: np.asarray(value) for name, value in optional.items() if value is not None}
    for name, value in arrays.items():
        if len(value) != n:
            msg = f"{name} must have one row per vector, {n}; got {len(value)}."
            raise ShapeError(msg)
    out.measure("n_vectors", n)
    out.measure("n_dimensions", arrays["vectors"].shape[1])
    if _broken(out, arrays) or _too_few(out, n):
        return out.conclude()
    rows = np.sort(np.random.default_rng(seed).permutation(n)[:MAX_VECTORS])
    sample = {name: value[rows] for name, value in arrays.items()}
    _judge_spread(out, sample["vectors"], sample.get("projections"))
    if "labels" in sample:
        _judge_probes(out, sample, seed)
    else:
        out.say("Without labels nobody can say whether the classes that you have in mind are told apart.")
    if nuisances is not None:
        readings = audit_nuisances(sample["vectors"], _take(nuisances, rows, n), group=sample.get("group"), seed=seed)
        for reading in readings:
            _judge_reading(out, reading)
    return out.conclude()


def _matrix(x: ArrayLike, name: str) -> NDArray[Any]:
    matrix = np.asarray(x)
    if matrix.ndim != 2:
        msg = f"{name} must be (N, D); got shape {matrix.shape}."
        raise ShapeError(msg)
    return matrix


def _broken(out: _Findings, arrays: Mapping[str, NDArray[Any]]) -> bool:
    """Count rows that are not finite."""
    for name in ("vectors", "projections"):
        bad = int((~np.isfinite(arrays[name])).any(1).sum()) if name in arrays else 0
        if bad:
            out.measure(f"n_broken_{name}", bad)
            n = len(arrays[name])
            what = "Look for NaN in the images, a learning rate too high, or a loss that became NaN."
            out.say(f"{bad} of {n} {name} hold NaN or infinity. {what}", Verdict.BROKEN)
    return bool(out.said)


def _too_few(out: _Findings, n: int) -> bool:
    if n < MIN_VECTORS:
        out.say(
            f"{n} vectors are too few for a verdict: at least {MIN_VECTORS} are needed, {MIN_VECTORS - n} more.",
            Verdict.UNKNOWN,
        )
    return n < MIN_VECTORS


def _judge_spread(out: _Findings, z: NDArray[Any], projections: NDArray[Any] | None) -> None:
    """Judge collapse and lost dimensions."""
    if projections is None:
        out.say("No projections were given, so collapse is judged by the vectors alone.")
    else:
        _judge_cosine(out, out.measure("mean_cosine", mean_cosine(projections)))
        norm = np.linalg.norm(projections, axis=1, keepdims=True)
        _judge_rank(out, projections / np.where(norm > 0, norm, 1.0), "projections")
    _judge_rank(out, z, "vectors")
    out.measure("rankme", rankme(z))


def _judge_cosine(out: _Findings, cosine: float) -> None:
    said = f"The mean cosine of the normalised projections of different images is {cosine:.2f}"
    if cosine >= COLLAPSED_COSINE:
        out.say(
            f"{said}: the network answers all images alike. Check that the views differ, that the target is a stopped "
            "copy and that the predictor learns; then lower the learning rate or add a variance-covariance term.",
            Verdict.COLLAPSED,
        )
    elif cosine >= POOR_COSINE:
        out.say(f"{said}, close to collapse (from {COLLAPSED_COSINE}).", Verdict.POOR)
    else:
        out.say(f"{said}, far from collapse (from {COLLAPSED_COSINE}).")


def _judge_rank(out: _Findings, x: NDArray[Any], name: str) -> None:
    rank, dimensions = effective_rank(x), x.shape[1]
    out.measure("effective_rank" if name == "vectors" else f"effective_rank_{name}", rank)
    said = f"The {name} fill {rank:.1f} of {dimensions} dimensions (effective rank)"
    if dimensions < POOR_RANK:
        out.say(f"{said}; so few dimensions are not judged.")
    elif rank < COLLAPSED_RANK:
        where = "a point" if rank == 0 else "a line"
        out.say(f"{said}: they lie on {where}, and neighbours mean little or nothing.", Verdict.COLLAPSED)
    elif name == "vectors" and rank < POOR_RANK:
        advice = "Train longer, on more images, or with a variance-covariance term."
        out.say(f"{said}, fewer than {POOR_RANK:.0f}: most of what tells shapes apart is lost. {advice}", Verdict.POOR)
    elif name == "vectors":
        out.say(f"{said}.")


def _judge_probes(out: _Findings, sample: Mapping[str, NDArray[Any]], seed: int) -> None:
    """Compare what probes read from the vectors with chance and with the baselines."""
    label = np.array(["" if v is None or v != v else str(v) for v in sample["labels"].astype(object)], dtype=np.str_)
    group = sample.get("group", np.arange(len(label)))
    rare = [c for c in np.unique(label) if c != "" and len(np.unique(group[label == c])) < N_FOLDS]
    good = (label != "") & ~np.isin(label, rare)
    y, who = label[good], group[good]
    out.measure("n_labelled", len(y))
    if rare:
        out.say(f"Classes with fewer than {N_FOLDS} separate objects are left out: {', '.join(rare)}.")
    if len(y) < MIN_VECTORS or len(np.unique(y)) < 2:
        out.say(f"Labels are not used: {MIN_VECTORS} objects in two classes are needed; {len(y)} remain.")
        return
    fold = folds(y, n_folds=N_FOLDS, group=who, seed=seed)
    ours = _probe_pair(out, sample["vectors"][good], y, fold, "")
    floor = out.measure("majority_accuracy", majority_probe(y, fold=fold).accuracy)
    chance = 1.0 / len(np.unique(y))
    read = ", ".join(f"{name} {p.balanced_accuracy:.3f} ({p.accuracy:.3f})" for name, p in ours.items())
    said = f"Balanced accuracy (accuracy) on {len(y)} labelled objects: {read}; chance {chance:.3f} ({floor:.3f})."
    guess = np.full(len(y), chance)
    above = [paired_difference(p.correct, guess, y=y, group=who, seed=seed).low > 0 for p in ours.values()]
    out.say(said if any(above) else f"{said} The probes are not above chance.", _worst(not any(above)))
    for name, value in sample.items():
        if name.startswith("baseline "):
            other = _probe_pair(out, value[good].reshape(len(y), -1), y, fold, name.removeprefix("baseline "))
            _judge_baseline(out, ours, other, (name.removeprefix("baseline "), y, who, seed))


def _worst(poor: bool) -> Verdict:
    return Verdict.POOR if poor else Verdict.HEALTHY


def _probe_pair(
    out: _Findings, x: NDArray[Any], y: NDArray[np.str_], fold: NDArray[np.intp], name: str
) -> dict[str, Probe]:
    """Run k-NN and linear probe; the linear one weighs classes equally, as the balanced accuracy does."""
    pair = {"k-NN": knn_probe(x, y, fold=fold), "linear": linear_probe(x, y, fold=fold, balanced=True)}
    for kind, probe in pair.items():
        suffix = f"_{name}" if name else ""
        out.measure(f"{kind}_balanced_accuracy{suffix}", probe.balanced_accuracy)
        out.measure(f"{kind}_accuracy{suffix}", probe.accuracy)
    return pair


def _judge_baseline(
    out: _Findings,
    ours: Mapping[str, Probe],
    other: Mapping[str, Probe],
    context: tuple[str, NDArray[np.str_], NDArray[Any], int],
) -> None:
    name, y, group, seed = context
    parts, gaps = [], []
    for kind, probe in ours.items():
        d = paired_difference(probe.correct, other[kind].correct, y=y, group=group, seed=seed)
        for key, value in d._asdict().items():
            out.measure(f"{kind}_minus_{name}_{key}", value)
        gaps.append(d)
        parts.append(f"{kind} {d.difference:+.3f} [{d.low:+.3f}, {d.high:+.3f}]")
    said = f"Against {name}, balanced accuracy differs by {', '.join(parts)} (95 % intervals)"
    worse = all(d.difference <= 0 for d in gaps) and any(d.high < 0 for d in gaps)
    better = any(d.low > 0 for d in gaps)
    conclusion = "" if better else ": less was learned than it shows" if worse else ": not shown to be better"
    out.say(f"{said}{conclusion}.", _worst(worse))


def _take(nuisances: Nuisances, rows: NDArray[np.intp], n: int) -> Nuisances:
    """Choose the same rows of every column."""

    def pick(column: ArrayLike | None) -> NDArray[Any] | None:
        if column is None:
            return None
        value = np.asarray(column, dtype=object)
        if value.shape != (n,):
            msg = f"columns of nuisances must have one entry per vector, ({n},); got {value.shape}."
            raise ShapeError(msg)
        return value[rows]

    instrument = {name: np.asarray(column, dtype=object)[rows] for name, column in nuisances.instrument.items()}
    angles = pick(nuisances.position_angle_deg), pick(nuisances.companion_angle_deg)
    return Nuisances(
        *angles,
        instrument,
        pick(nuisances.snr),
        pick(nuisances.size),
        pick(nuisances.background),
        oriented=nuisances.oriented,
    )


def _judge_reading(out: _Findings, r: Reading) -> None:
    """Say how well a nuisance is read, and whether that harms."""
    if r.gap:
        out.say(f"Not audited: {r.name} ({r.gap}).")
        return
    out.measure(f"score_{r.name}", r.score)
    out.measure(f"share_{r.name}", r.share)
    how = "well" if r.score >= READABLE else "partly" if r.score >= FAINT else "hardly"
    said = (
        f"{r.name[0].upper()}{r.name[1:]} is {how} readable by a linear probe (score {r.score:.2f} of 1, {r.n} objects) "
        f"and goes with {100 * r.share:.0f} % of the variance"
    )
    angle = "angle" in r.name
    if not r.judged:
        out.say(f"{said}; reported, not judged.")
    elif r.share >= DOMINANT_SHARE and r.score >= READABLE:
        advice = (
            "embed with average='d4' or rotate in the views" if angle else "compare objects of one kind, or match them"
        )
        out.say(f"{said}: it sorts the space; {advice}.", Verdict.POOR)
    else:
        out.say(f"{said}.")
