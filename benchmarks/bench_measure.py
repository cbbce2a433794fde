"""Measures of shape against statmorph on real galaxies with the same segmentation: speed, and agreement figure by figure."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy.stats import spearmanr

from _env import arguments, print_environment, report, set_threads
from morphospace.learn.memory import keep_freed_memory
from morphospace.science.measure import measure
from morphospace.science.morphometry.flags import BAD
from morphospace.science.morphometry.galaxies import measure_galaxies
from morphospace.science.morphometry.segmentation import Segmentation, main_labels, segment
from morphospace.science.morphometry.stamps import Images, cut_stamps
from morphospace.sky.noise import estimate_noise
from morphospace.sky.simulate import simulate

TARGET_RATIO, TARGET_RHO, TARGET_DIFFERENCE = 100.0, 0.98, 2.0
BLOCK = 512
MANY = 4000
#: Ours: statmorph's.
NAMES = {
    **{"x_centroid": "xc_centroid", "y_centroid": "yc_centroid", "ellipticity": "ellipticity_centroid"},
    **{"elongation": "elongation_centroid", "pa_deg": "orientation_centroid"},
    **{"x_asymmetry": "xc_asymmetry", "y_asymmetry": "yc_asymmetry"},
    **{"ellipticity_asymmetry": "ellipticity_asymmetry", "elongation_asymmetry": "elongation_asymmetry"},
    **{"pa_asymmetry_deg": "orientation_asymmetry"},
    **{"flux_circ": "flux_circ", "flux_ellip": "flux_ellip", "r_petro_circ": "rpetro_circ"},
    **{"r_petro_ellip": "rpetro_ellip", "r20": "r20", "r50": "r50", "r80": "r80", "concentration": "concentration"},
    **{"asymmetry": "asymmetry", "smoothness": "smoothness", "gini": "gini", "m20": "m20"},
    **{"gini_m20_bulge": "gini_m20_bulge", "gini_m20_merger": "gini_m20_merger", "snr_per_pixel": "sn_per_pixel"},
    **{"sky_mean": "sky_mean", "sky_median": "sky_median", "sky_sigma": "sky_sigma"},
}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--images", type=Path, help="folder of pictures; simulated galaxies without it")
    parser.add_argument("--objects", type=int, default=2000, help="objects")
    parser.add_argument("--repeats", type=int, default=3, help="times that all are measured, for the clock")
    parser.add_argument("--kept", type=Path, help="JSON file in which statmorph's figures are kept between runs")
    parser.add_argument("--cores", type=int, default=2, help="processes that measure, for the clock")
    options = parser.parse_args()
    if options.quick:
        options.objects, options.repeats = min(options.objects, 6), 1
    keep_freed_memory()
    set_threads(options.threads)
    print_environment(objects=options.objects, seed=options.seed)

    images, segment_s = make_images(options)
    n = len(images.planes)
    found, seconds = clock_verb(images, options)
    seconds_same = clock_galaxies(images, options.repeats)
    keys = {
        "objects": n,
        "segmentation_ms_each": 1000 * segment_s / n,
        "cores": options.cores,
        "objects_per_s": n / seconds,
        "objects_per_s_a_core_statmorph_figures": n / seconds_same,
    }
    theirs = statmorph_figures(images, options.kept)
    if theirs is None:
        report([], options.json, **keys, statmorph="not installed")
        return
    spent = float(np.mean([row["seconds"] for row in theirs]))
    rows, unflagged = compare(found, theirs)
    missed = [row["figure"] for row in rows if not row["met"]]
    report(
        rows,
        options.json,
        **keys,
        statmorph_objects_per_s=1 / spent,
        ratio=n / seconds * spent,
        ratio_a_core_statmorph_figures=n / seconds_same * spent,
        target_ratio=TARGET_RATIO,
        unflagged=unflagged,
        bad_for_statmorph_only=count(found, theirs, ours=False),
        bad_for_us_only=count(found, theirs, ours=True),
        missed=", ".join(missed) or "none",
    )


def make_images(options) -> tuple[Images, float]:
    planes = read_pictures(options) if options.images else simulated(options)
    noise = [estimate_noise(plane[None]) for plane in planes]
    planes = np.stack([plane - each.level[0] for plane, each in zip(planes, noise, strict=True)])
    valid = np.ones(planes.shape, bool)
    start = time.perf_counter()
    labels = np.stack([segment(*pair, Segmentation()) for pair in zip(planes, valid, strict=True)])
    seconds = time.perf_counter() - start
    main = main_labels(labels, planes)
    sigma = np.array([each.sigma[0] for each in noise], np.float64)[:, None, None]
    return Images(planes, valid, labels, main, sigma), seconds


def read_pictures(options) -> list[np.ndarray]:
    files = sorted(p for p in options.images.iterdir() if p.suffix.lower() in (".jpg", ".jpeg", ".png"))
    chosen = np.random.default_rng(options.seed).permutation(len(files))[: options.objects]
    pictures = [np.asarray(Image.open(files[i]).convert("RGB"), np.float32) for i in chosen]
    return [picture.mean(axis=-1) for picture in pictures]


def simulated(options) -> list[np.ndarray]:
    sky = simulate("galaxy", n=options.objects, size=64, seed=options.seed)
    return [np.asarray(sky.image(row), np.float32).reshape(-1, 64, 64).mean(axis=0) for row in range(len(sky))]


def clock_verb(images: Images, options) -> tuple[dict[str, np.ndarray], float]:
    """Measure all as users do, all figures by processes on the cores; give figures and the median of the seconds.

    Fewer objects than `MANY` are measured several times in a call, so that its start weighs what it weighs for many.
    """
    n = len(images.planes)
    times_over = 1 if options.quick else max(1, MANY // n)
    samples = [
        {"id": f"{turn}.{i}", "image": images.planes[i][None], "level": np.zeros(1), "sigma": images.noise[i].ravel()}
        for turn in range(times_over)
        for i in range(n)
    ]
    labels = {f"{turn}.{i}": images.labels[i] for turn in range(times_over) for i in range(n)}
    torch.set_num_threads(options.cores)
    times = []
    for _ in range(options.repeats):
        start = time.perf_counter()
        found = measure(samples, labels=labels)
        times.append((time.perf_counter() - start) / times_over)
    return {name: found[name][:n] for name in found.table.column_names[1:]}, float(np.median(times))


def clock_galaxies(images: Images, repeats: int) -> float:
    """Median of the processor's seconds, in one thread, for the figures that statmorph has too."""
    torch.set_num_threads(1)
    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        for first in range(0, len(images.planes), BLOCK):
            block = Images(*(field[first : first + BLOCK] for field in images))
            for stamps in cut_stamps(block, dtype=torch.float32, device=torch.device("cpu")):
                measure_galaxies(stamps)
        times.append(time.process_time() - start)
    return float(np.median(times[1:]))


def statmorph_figures(images: Images, kept: Path | None) -> list[dict[str, float]] | None:
    """Measure one by one with statmorph, without its Sersic fits, or read what was kept."""
    if kept is not None and kept.exists():
        rows = json.loads(kept.read_text())
        if len(rows) == len(images.planes):
            return rows
        print(f"'{kept}' holds {len(rows)} objects and not {len(images.planes)}: measured again")
    try:
        from statmorph import statmorph
    except ImportError:
        return None
    # statmorph has no switch for its fits: what is not in its list is not evaluated
    statmorph._quantity_names[:] = [name for name in statmorph._quantity_names if not name.startswith("sersic")]
    rows = [one_statmorph(statmorph.SourceMorphology, images, row) for row in range(len(images.planes))]
    if kept is not None:
        kept.write_text(json.dumps(rows))
    return rows


def one_statmorph(source, images: Images, row: int) -> dict[str, float]:
    if images.main[row] == 0:
        return {"flag": 4, "seconds": 0.0, **dict.fromkeys(NAMES.values(), np.nan)}
    plane = images.planes[row].astype(np.float64)
    weight = np.full(plane.shape, max(float(images.noise[row, 0, 0]), 1e-9))
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = source(plane, images.labels[row], int(images.main[row]), weightmap=weight)
    seconds = time.process_time() - start
    return {"flag": int(found.flag), "seconds": seconds, **{name: float(found[name]) for name in NAMES.values()}}


def compare(found: dict[str, np.ndarray], theirs: list[dict[str, float]]) -> tuple[list[dict[str, object]], int]:
    good = np.array([row["flag"] == 0 for row in theirs]) & ((found["shape_flags"] & int(BAD)) == 0)
    rows = []
    for ours, other in NAMES.items():
        a = found[ours][good]
        b = np.array([row[other] for row in theirs])[good]
        if ours.endswith("_deg"):
            b = (np.degrees(b) - 90) % 180
            a = b + (a - b + 90) % 180 - 90  # the nearest of the equal angles
        spread = float(np.subtract(*np.percentile(b, [75, 25])))
        difference = np.abs(a - b)
        rho = float(spearmanr(a, b)[0])
        median = 100 * float(np.median(difference)) / spread
        rows.append(
            {
                "figure": ours,
                "Spearman": round(rho, 5),
                "median % of IQR": round(median, 4),
                "95th": round(100 * float(np.percentile(difference, 95)) / spread, 3),
                "met": rho >= TARGET_RHO and median <= TARGET_DIFFERENCE,
            }
        )
    return rows, int(good.sum())


def count(found: dict[str, np.ndarray], theirs: list[dict[str, float]], *, ours: bool) -> int:
    bad = (found["shape_flags"] & int(BAD)) != 0
    other = np.array([row["flag"] >= 2 for row in theirs])
    return int((bad & ~other).sum() if ours else (other & ~bad).sum())


if __name__ == "__main__":
    torch.set_grad_enabled(False)
    main()
