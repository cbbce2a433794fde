"""Recipe alma-discs: simulated discs found in simulated ALMA maps, and false ones.

Maps of 150 to 400 pixels a side with noise that the beam correlates, divided by a Gaussian primary beam that need not
point at the middle, so that the noise rises towards the edge; blank where the beam's response falls below 0.2. One or
two discs each, brightest pixel at least 8 sigma of the noise at its place; and maps of noise alone. A disc is found
if exactly one source has its centroid within the disc; every other source is false.
"""

from __future__ import annotations

import logging
import time
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from _env import arguments, print_environment, report, set_threads
from morphospace.sky.detect import Detection, Source, find_sources
from morphospace.sky.recipes import RECIPES
from morphospace.sky.simulate import Sky, simulate

FWHM = 2.3548
FOUND, FALSE = 0.99, 0.01  # targets
SNR = (8.0, 60.0)
BEAM_PX = (3.0, 9.0)
SIZES = (40, 100)  # pixels, of the stamps of which discs fill a third to two thirds
RESPONSE = 0.2  # of the primary beam, below which maps end


class Map(NamedTuple):
    """One simulated map and the discs in it."""

    image: NDArray[np.float32]  # (1, H, W), NaN outside the primary beam
    beam_px: float
    discs: list[tuple[float, float, float]]  # x, y, radius of the light above 3 sigma


def alma_map(discs: Sky | None, beam_px: float, rng: np.random.Generator) -> Map:
    """Make one map with the discs given, which are noise-free and seen through the same beam."""
    side = int(np.exp(rng.uniform(np.log(150 if discs is None or len(discs) == 1 else 300), np.log(400))))
    y, x = np.indices((side, side))
    pointing = (side - 1) / 2 + side * rng.uniform(-0.1, 0.1, 2)
    width = side * rng.uniform(0.25, 0.6)  # sigma of the primary beam
    response = np.exp(-((y - pointing[0]) ** 2 + (x - pointing[1]) ** 2) / (2 * width**2))
    inside = response > RESPONSE
    noise = ndimage.gaussian_filter(rng.standard_normal((side + 80, side + 80)), beam_px / FWHM)[40:-40, 40:-40]
    noise /= noise.std() * response
    image, places = noise, []
    for row in range(0 if discs is None else len(discs)):
        light = _place(discs, row, side, inside, places, rng)
        peak = np.exp(rng.uniform(*np.log(SNR)))
        brightest = np.where(inside, light * response, 0).max()
        image = image + light * peak / brightest
        bright = light * response * peak / brightest >= 3
        middle = ndimage.center_of_mass(light)
        reach = max(float(np.hypot(*(np.argwhere(bright) - middle).T).max()), beam_px)
        places.append((middle[1], middle[0], reach))
    scale = 10 ** rng.uniform(-6, 0)  # Jy/beam
    blank = np.where(inside, image * scale, np.nan)
    return Map(blank[None].astype(np.float32), beam_px, places)


def _place(
    discs: Sky,
    row: int,
    side: int,
    inside: NDArray[np.bool_],
    others: list[tuple[float, float, float]],
    rng: np.random.Generator,
) -> NDArray[np.float64]:
    """Put one disc where the primary beam responds, apart from the others."""
    stamp = discs.image(row)[0].astype(np.float64)
    half = stamp.shape[0] // 2
    y, x = rng.permutation(np.argwhere(inside)).T
    good = (np.minimum(y, x) > half // 2) & (np.maximum(y, x) < side - half // 2)
    for other_x, other_y, reach in others:
        good &= np.hypot(x - other_x, y - other_y) > reach + 1.5 * half
    first = int(np.flatnonzero(good)[0])
    canvas = np.zeros((side + 2 * half, side + 2 * half))
    canvas[y[first] : y[first] + stamp.shape[0], x[first] : x[first] + stamp.shape[1]] = stamp
    return canvas[half:-half, half:-half]


def score(truth: Map, sources: list[Source]) -> tuple[int, int]:
    """Count the discs found and the sources that are false, a second one on the same disc among them."""
    claimed = []
    for source in sources:
        distances = [np.hypot(source.x - x, source.y - y) / reach for x, y, reach in truth.discs]
        claimed.append(int(np.argmin(distances)) if distances and min(distances) < 1 else -1)
    found = len(set(claimed) - {-1})
    return found, len(claimed) - found


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--discs", type=int, default=300, help="discs, one or two a map")
    parser.add_argument("--empty", type=int, default=100, help="maps of noise alone")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    set_threads(options.threads)
    n, n_empty = (12, 4) if options.quick else (options.discs, options.empty)
    print_environment(discs=n, empty=n_empty, seed=options.seed)
    detection = RECIPES["alma-discs"].arguments["detect"]
    rng = np.random.default_rng(options.seed)
    kinds = [2 if rng.random() < 0.2 else 1 for _ in range(n)]
    n_maps = int(np.searchsorted(np.cumsum(kinds), n)) + 1
    kinds = kinds[:n_maps]
    kinds[-1] -= sum(kinds) - n
    rows = [survey(name, some, detection, rng) for name, some in (("discs", kinds), ("noise", [0] * n_empty))]
    found = sum(int(row["found"]) for row in rows) / n
    false = sum(int(row["false"]) for row in rows) / max(sum(int(row["sources"]) for row in rows), 1)
    report(rows, options.json, found=found, false=false, targets_met=found >= FOUND and false <= FALSE)


def survey(name: str, kinds: list[int], detection: Detection, rng: np.random.Generator) -> dict[str, float | str]:
    """Make maps with the given numbers of discs and count what is found in them."""
    counts, seconds = np.zeros(3, dtype=int), []
    for number, n_discs in enumerate(kinds):
        beam_px = float(np.exp(rng.uniform(*np.log(BEAM_PX))))
        seed = int(rng.integers(2**31))
        discs = simulate("disc", n_discs, size=SIZES, snr=1e6, beam_px=beam_px, seed=seed) if n_discs else None
        truth = alma_map(discs, beam_px, rng)
        begin = time.perf_counter()
        mask = np.isfinite(truth.image[0])
        sources = find_sources(np.nan_to_num(truth.image), mask, detection, beam_px=truth.beam_px)
        seconds.append(time.perf_counter() - begin)
        found, false = score(truth, sources)
        counts += found, false, len(sources)
        if found < n_discs or false:
            logging.getLogger(__name__).info("%s %d: found %d of %d, %d false", name, number, found, n_discs, false)
    figures = dict(zip(("found", "false", "sources"), counts.tolist(), strict=True))
    return {"maps": name, "n": len(kinds), "discs": sum(kinds), **figures, "s a map": float(np.median(seconds))}


if __name__ == "__main__":
    main()
