"""inject: how faint an object may be and still be found, by simulated objects in the user's own noise."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError
from morphospace.runs import Run
from morphospace.science.blank_sky import BlankSky, blank_skies
from morphospace.science.completeness import Cell, Completeness
from morphospace.science.templates import TEMPLATES, make_templates
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Sample
from morphospace.sky.stacks import Stack, sample_stack
from morphospace.space.embed import Embedder
from morphospace.space.embeddings import Embeddings, check_same_space
from morphospace.space.index import ExactIndex

__all__ = ["Classifier", "inject", "injected", "peak_in_sigma"]

#: Gives the class of each vector, (N, D) to N.
Classifier = Callable[[NDArray[np.float32]], Sequence[str]]

SNR = (2.0, 3.0, 5.0, 7.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0)
_PARTS = (20, 10, 5)  # of the shorter side, the half-light radii by default
_LARGEST = 0.3  # of the shorter side: a larger object would not be in the picture
_OBJECTS = 16  # different ones of each kind
_SKIES = 200  # pictures whose noise is used
_ROWS = 5_000  # of the store, embedded where no embeddings are given
_BATCH = 128
_BEAM_PX = 2.5  # where the pictures do not say theirs

F32 = NDArray[np.float32]


@dataclass(frozen=True)
class _Plan:
    """What is asked for, checked."""

    kinds: tuple[str, ...]
    snr: tuple[float, ...]
    sizes: tuple[float, ...]
    n: int
    k: int
    beam_px: float
    seed: int


@dataclass(frozen=True)
class _Judge:
    """The run's space with the user's objects in it."""

    kernel: Embedder
    index: ExactIndex
    classifier: Classifier | None

    def vectors(self, samples: Iterator[Sample], total: int, bar: tqdm[Any]) -> F32:
        """Embed samples, (N, D)."""
        found: list[F32] = []
        stacks: list[Stack] = []
        for row, sample in enumerate(samples):
            stacks.append(sample_stack(sample, row))
            if len(stacks) == _BATCH or row == total - 1:
                found.append(self.kernel.vectors(stacks))
                bar.update(len(stacks))
                stacks = []
        return np.concatenate(found)

    def classes(self, vectors: F32) -> NDArray[np.str_]:
        """Classify vectors; empty without a classifier."""
        given = [] if self.classifier is None else self.classifier(vectors)
        return np.array([str(name) for name in given], dtype=str)


def inject(
    run: Run | str | Path,
    cutouts: Cutouts,
    *,
    embeddings: Embeddings | None = None,
    classifier: Classifier | None = None,
    kinds: Sequence[str] = (),
    snr: Sequence[float] = (),
    sizes: Sequence[float] = (),
    n: int = 40,
    k: int = 12,
    seed: int = 0,
) -> Completeness:
    """Measure how often simulated objects in the user's own noise are found again, against S/N and size.

    Rings, doubles and spirals are put into the noise of the user's pictures and embedded by the run. Found by search: a
    query by a bright, noise-free object of the same kind and size (another one) has it among the `k` nearest, in
    competition with all objects of the store. Found by the classifier: it gets the class that most noise-free objects of
    its kind and size get.

    Parameters
    ----------
    run : Run or path
        A finished run, or ``"starter"``.
    cutouts : Cutouts
        The user's pictures: their noise, and what the search has to tell the injected from.
    embeddings : Embeddings, optional
        Of these cutouts by this run; by default up to 5,000 of them, drawn at random, are embedded here.
    classifier : callable, optional
        Gives the class of each of (N, D) vectors.
    kinds : sequence of str
        ``"ring"``, ``"double"``, ``"spiral"``; by default all three.
    snr : sequence of float, > 0
        Brightest pixel of the object over the noise of a pixel; by default ten from 2 to 100. Pictures without any object
        are always added, as S/N 0.
    sizes : sequence of float
        Half-light radii in pixels; by default 1/20, 1/10 and 1/5 of the shorter side of the pictures.
    n : int, >= 1
        Objects for each kind, size and S/N.
    k : int, >= 1
        Hits that one would look at.
    seed : int

    Returns
    -------
    Completeness

    Raises
    ------
    DataError
        If the pictures have no noise (sigma 0), or there are not more than `k` of them.
    ConfigError
        If an option is out of range, or a kind unknown.

    Notes
    -----
    The noise is the blank sky of up to 200 pictures (`morphospace.science.blank_sky`); noise of the objects' own photons is
    not added. Level and sigma of an injected picture are measured in it, as they are of any picture. In several bands the
    object has in each the flux that is drawn, in units of that band's sigma.
    """
    rng = np.random.default_rng(seed)
    if not len(cutouts):
        msg = f"'{cutouts.path}' has no cutouts whose noise could be used."
        raise DataError(msg)
    skies = blank_skies(cutouts, _SKIES, rng)
    plan = _planned(kinds, snr, sizes, (n, k, seed), skies)
    kernel = Embedder(run if isinstance(run, Run) else Run.open(run), average=_average(embeddings))
    judge = _Judge(kernel, _others(kernel, cutouts, embeddings, plan, rng), classifier)
    cells: list[Cell] = []
    steps = len(plan.kinds) * len(plan.sizes)
    with tqdm(total=steps * (_OBJECTS + plan.n * len(plan.snr)), desc="inject", unit="image", disable=None) as bar:
        for kind in plan.kinds:
            for size in plan.sizes:
                cells += _cells(kind, size, plan, skies, judge, bar)
    about = {
        "run": str(kernel.run.path),
        "space_id": kernel.space_id,
        "cutouts": cutouts.fingerprint,
        "n_searched": int(judge.index.valid.sum()),
        "k": k,
        "n": n,
        "seed": seed,
        "noise": {"own": sum(not sky.drawn for sky in skies), "drawn": sum(sky.drawn for sky in skies)},
        "beam_px": plan.beam_px,
    }
    return Completeness.of(cells, about)


def injected(sky: BlankSky, light: F32, snr: float, *, noisy: bool = True) -> F32:
    """Put an object into the middle of a picture's noise.

    Parameters
    ----------
    sky : BlankSky
    light : ndarray, (C, S, S)
        Brightest pixel 1; what lies outside of the picture is cut off.
    snr : float
        Brightest pixel, in the sigma of the band.
    noisy : bool
        Without noise there is the level and the object alone.

    Returns
    -------
    ndarray, (C, H, W)
        In the type of the picture's pixels, rounded and cut to their range where they are integers. NaN where the
        picture has no pixel, if they are floats.
    """
    image = np.asarray(sky.level)[:, None, None] + (sky.noise if noisy else np.zeros_like(sky.noise))
    place, part = _middle(image.shape, light.shape)
    image[place] += (snr * sky.sigma)[:, None, None] * light[part]
    kind = sky.cutout.image.dtype
    if kind.kind in "iu":
        limits = np.iinfo(kind)
        return np.asarray(np.clip(np.rint(image), limits.min, limits.max).astype(kind))
    image[:, ~sky.valid] = np.nan
    return image.astype(np.float32)


def peak_in_sigma(image: NDArray[Any], sky: BlankSky) -> float:
    """Measure the S/N of an injected object: the brightest pixel of what was added to the noise, in sigma."""
    added = image.astype(np.float64) - sky.level[:, None, None] - sky.noise
    return float(np.nanmax(added / sky.sigma[:, None, None]))


def _middle(shape: tuple[int, ...], light: tuple[int, ...]) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Give where the middle of one frame lies in another: slices of the image and of the light."""
    place, part = [slice(None)], [slice(None)]
    for side, own in zip(shape[1:], light[1:], strict=True):
        first = (side - own) // 2
        place.append(slice(max(0, first), min(side, first + own)))
        part.append(slice(max(0, -first), max(0, -first) + min(side, first + own) - max(0, first)))
    return tuple(place), tuple(part)


def _cells(kind: str, size: float, plan: _Plan, skies: Sequence[BlankSky], judge: _Judge, bar: tqdm[Any]) -> list[Cell]:
    bands = len(skies[0].level)
    lights = make_templates(kind, _OBJECTS, radius_px=size, beam_px=plan.beam_px, bands=bands, seed=plan.seed)
    # one stream for each kind and size: a grid that is made longer keeps what it had
    rng = np.random.default_rng([plan.seed, *kind.encode(), round(1000 * size)])
    hosts = rng.integers(len(skies), size=len(lights))
    bright = max(plan.snr)
    clean = (_sample(skies[h], light, bright, noisy=False) for h, light in zip(hosts, lights, strict=True))
    queries = judge.vectors(clean, len(lights), bar)
    others = [np.sort(scores) for scores in _similarities(judge.index, queries)]
    wanted = _most(judge.classes(queries))
    found: list[Cell] = []
    empty = math.nan  # share of pictures without an object that get the class; the first S/N is 0
    for snr in plan.snr:
        objects, hosts = rng.integers(len(lights), size=plan.n), rng.integers(len(skies), size=plan.n)
        asked = (objects + rng.integers(1, len(lights), size=plan.n)) % len(lights)  # never the same object
        turns = rng.integers(4, size=plan.n)
        samples = (
            _sample(skies[h], np.rot90(lights[o], t, (1, 2)), snr, noisy=True)
            for o, h, t in zip(objects, hosts, turns, strict=True)
        )
        vectors = judge.vectors(samples, plan.n, bar)
        rank = _ranks(vectors, queries[asked], [others[q] for q in asked])
        matched = snr * np.median([np.sqrt((lights[o].astype(np.float64) ** 2).sum()) for o in objects])
        where = (kind, size, snr, float(matched), plan.n)
        chance = min(1.0, plan.k / (len(others[0]) + 1))
        found.append(Cell("search", *where, int((rank <= plan.k).sum()), chance, float(np.median(rank))))
        if wanted is not None:
            right = int((judge.classes(vectors) == wanted).sum())
            empty = right / plan.n if snr == 0 else empty
            found.append(Cell("classifier", *where, right, empty, math.nan))
    return found


def _sample(sky: BlankSky, light: F32, snr: float, *, noisy: bool) -> Sample:
    sample: Sample = {
        "image": injected(sky, light, snr, noisy=noisy),
        "id": sky.cutout.id,
        "mask": None if sky.valid.all() else sky.valid,
        "pixel_scale_arcsec": sky.cutout.pixel_scale_arcsec,
        "beam": sky.cutout.beam,
    }
    if not noisy:  # there is no noise to measure
        sample["level"], sample["sigma"] = sky.level.astype(np.float32), sky.sigma.astype(np.float32)
    return sample


def _similarities(index: ExactIndex, queries: F32) -> Iterator[NDArray[np.float64]]:
    rows = np.flatnonzero(index.valid)
    for query in queries:
        yield index.similarities(rows, query[None])[:, 0]


def _ranks(vectors: F32, queries: F32, others: Sequence[NDArray[np.float64]]) -> NDArray[np.int64]:
    """Rank each vector among the others, by its cosine to its query; 1 is the best, and equals come last."""
    one, two = vectors.astype(np.float64), queries.astype(np.float64)
    length = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        own = (one * two).sum(axis=1) / length
    better = [
        len(scores) - (0 if not np.isfinite(s) else int(np.searchsorted(scores, s, side="left")))
        for s, scores in zip(own, others, strict=True)
    ]
    return np.array(better, dtype=np.int64) + 1


def _most(classes: NDArray[np.str_]) -> str | None:
    names, counts = np.unique(classes, return_counts=True)
    return str(names[counts.argmax()]) if len(names) else None


def _average(embeddings: Embeddings | None) -> Any:  # noqa: ANN401 - what the embeddings were made with
    return None if embeddings is None else embeddings.provenance.get("average")


def _others(
    kernel: Embedder, cutouts: Cutouts, embeddings: Embeddings | None, plan: _Plan, rng: np.random.Generator
) -> ExactIndex:
    """Index the user's own objects."""
    if embeddings is not None:
        made = Embeddings.from_arrays(None, ["own"], np.ones((1, embeddings.dim)), provenance=kernel.provenance())
        check_same_space(embeddings, made)
        index = embeddings.index()
    else:
        index = ExactIndex()
        rows = np.sort(rng.permutation(len(cutouts))[:_ROWS])
        for batch in kernel.run_through(cutouts.keep(rows)):
            vectors = batch["vector"].flatten().to_numpy().reshape(batch.num_rows, -1)
            index.add(batch["id"].to_pylist(), vectors)
    n_valid = int(index.valid.sum())
    if n_valid <= plan.k:
        msg = f"k={plan.k} hits of {n_valid} objects say nothing; give a larger store, or a smaller k."
        raise DataError(msg)
    return index


def _planned(
    kinds: Sequence[str],
    snr: Sequence[float],
    sizes: Sequence[float],
    numbers: tuple[int, int, int],
    skies: Sequence[BlankSky],
) -> _Plan:
    n, k, seed = numbers
    unknown = [kind for kind in kinds if kind not in TEMPLATES]
    if unknown:
        msg = f"kinds: unknown kind of object '{unknown[0]}'{nearest(unknown[0], list(TEMPLATES))}"
        raise ConfigError(msg)
    side = float(np.median([min(sky.valid.shape) for sky in skies]))
    radii = tuple(sizes) or tuple(round(side / part, 1) for part in _PARTS)
    wrong = [r for r in radii if not 1 <= r <= _LARGEST * side]
    if wrong:
        msg = (
            f"sizes must be from 1 to {_LARGEST * side:.1f} pixels ({_LARGEST:g} of the side of the pictures); "
            f"got {wrong[0]:g}."
        )
        raise ConfigError(msg)
    if any(not (math.isfinite(s) and s > 0) for s in snr):
        msg = f"snr must be positive numbers; got {list(snr)}. Pictures without an object are added by themselves."
        raise ConfigError(msg)
    for name, value in (("n", n), ("k", k)):
        if value < 1:
            msg = f"{name} must be at least 1; got {value}."
            raise ConfigError(msg)
    different = {len(sky.level) for sky in skies}
    if len(different) > 1:
        msg = f"the pictures have different numbers of bands ({sorted(different)}); give a selection with the same."
        raise DataError(msg)
    beams = [math.sqrt(b[0] * b[1]) / s.cutout.pixel_scale_arcsec for s in skies for b in [s.cutout.beam] if b[0] > 0]
    known = [beam for beam in beams if math.isfinite(beam)]
    beam = float(np.median(known)) if known else _BEAM_PX
    levels = (0.0, *sorted({float(s) for s in snr or SNR}))
    return _Plan(tuple(kinds) or tuple(TEMPLATES), levels, tuple(float(r) for r in radii), n, k, beam, seed)
