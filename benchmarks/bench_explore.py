"""The page of explore at full size in headless Chromium without a graphics card: a million points, 100,000 thumbnails.

Rows are those of real embeddings, repeated, with jitter: of the vectors a tenth of their spread, of the map a hundredth.
Thumbnails are those of the cutouts, repeated. With neither given, simulated skies stand in for them. The
server runs as users run it (``morphospace explore``); times are the browser's own, from the start of the navigation.

    python benchmarks/bench_explore.py --embeddings galaxies.emb --cutouts galaxies.cutouts
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from _browser import chromium, opened, serving
from _env import arguments, print_environment, report, set_threads
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.sky.simulate import simulate, write_sky
from morphospace.sky.thumbs import ThumbsWriter, load_thumbs
from morphospace.space.embed import embed
from morphospace.space.embeddings import Embeddings
from morphospace.space.kept import keep, kept
from morphospace.space.project import project

TARGETS = {"drawn_s": 5.0, "frames_per_s": 20.0, "server_gib": 1.5, "first_thumb_s": 1.0, "blank": 0.0}
SIZE = (1280, 800)
_ROWS_AT_ONCE = 20_000


def main() -> None:
    """Measure both and print them beside their targets."""
    parser = arguments(__doc__)
    parser.add_argument("--embeddings", type=Path, help="real ones; with a kept map t-SNE if there is one")
    parser.add_argument("--cutouts", type=Path, help="their store")
    parser.add_argument("--points", type=int, default=1_000_000, help="objects on the map")
    parser.add_argument("--thumbs", type=int, default=100_000, help="objects with thumbnails")
    parser.add_argument("--seconds", type=float, default=6.0, help="length of each movement and of each scroll")
    given = parser.parse_args()
    if given.quick:
        given.points, given.thumbs, given.seconds = 20_000, 2_000, 1.5
    set_threads(given.threads)
    print_environment(points=given.points, thumbs=given.thumbs, seed=given.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        emb, cuts = _real(given, folder)
        many = _repeated(emb, given.points, folder / "many.emb", given.seed)
        few = _repeated(emb, given.thumbs, folder / "few.emb", given.seed)
        pictures = _pictured(cuts, few, folder / "few.cutouts")
        rows = [*_points(many, given.seconds), *_gallery(few, pictures, given.seconds)]
    report(rows, given.json)


# ---- what is shown


def _real(given: Any, folder: Path) -> tuple[Embeddings, Cutouts]:
    if given.embeddings and given.cutouts:
        return Embeddings.open(given.embeddings), Cutouts.open(given.cutouts)
    cuts = write_sky(simulate("mixed", 400, size=48, seed=given.seed), folder / "skies.cutouts")
    return embed("starter", cuts, out=folder / "skies.emb"), cuts


def _repeated(emb: Embeddings, n: int, out: Path, seed: int) -> Path:
    """Write n rows: vectors and places of the real ones, in turn, with jitter, and one column."""
    rng = np.random.default_rng(seed)
    good = np.flatnonzero(np.isfinite(emb.vectors).all(axis=1))
    real = np.asarray(emb.vectors)[good]
    places = _places(emb)[good]
    row = np.arange(n) % len(good)
    vectors = np.empty((n, emb.dim), np.float32)
    for start in range(0, n, _ROWS_AT_ONCE):
        block = slice(start, min(n, start + _ROWS_AT_ONCE))
        vectors[block] = real[row[block]]
        vectors[block] += (0.1 * real.std(axis=0) * rng.standard_normal(vectors[block].shape)).astype(np.float32)
    ids = [f"object-{i:07d}" for i in range(n)]
    made = Embeddings.from_arrays(out, ids, vectors, {"snr": rng.lognormal(2, 1, n).astype(np.float32)})
    jittered = places[row] + 0.01 * places.std(axis=0) * rng.standard_normal((n, 2))
    table = pa.table({"id": pa.array(ids), "x": jittered[:, 0], "y": jittered[:, 1]})
    keep(made, "maps", "tsne", table, {"method": "tsne", "settings": {}})
    return out


def _places(emb: Embeddings) -> np.ndarray:
    maps = kept(emb, "maps")
    if "tsne" in maps:
        table = maps["tsne"].table
        return np.column_stack([table["x"].to_numpy(), table["y"].to_numpy()])
    return np.asarray(project(emb, "tsne").coordinates)


def _pictured(cuts: Cutouts, emb: Path, out: Path) -> Path:
    """Write a store for the repeated rows: pixels of a few, thumbnails of the real ones."""
    ids = Embeddings.open(emb).ids
    with CutoutsWriter(out) as writer:
        for i, name in enumerate(ids):
            writer.append(Cutout(name, np.full((1, 4, 4), i, np.float32)))
    store = Cutouts.open(out)
    keys = store.table(["id", "sha256"])
    real = load_thumbs(cuts, np.arange(min(len(cuts), len(ids))))
    with ThumbsWriter(out, resume=False) as thumbs:
        pairs = zip(keys["id"].to_pylist(), keys["sha256"].to_pylist(), strict=True)
        thumbs.extend([(name, digest, real[i % len(real)]) for i, (name, digest) in enumerate(pairs)])
    return out


# ---- what is measured

_DRAWN = """(async () => {
    while (!window.morphospace?.map.stats.complete) await new Promise((done) => setTimeout(done, 5));
    return morphospace.map.stats.complete / 1000;
})()"""
# each animation frame moves the map, and each drawing is waited for: what SwiftShader has not drawn does not count
_MOVE = """(async ([kind, seconds]) => {
    const { stage, renderer, stats } = morphospace.map;
    const box = stage.getBoundingClientRect();
    const at = { clientX: box.left + box.width / 3, clientY: box.top + box.height / 2 };
    const send = (Kind, name, more) => stage.dispatchEvent(new Kind(name, { ...at, ...more, bubbles: true, cancelable: true }));
    stage.setPointerCapture = () => undefined; // there is no such pointer
    const drawn = [], points = [];
    const before = renderer.onDraw;
    const byte = new Uint8Array(4);
    renderer.onDraw = () => {
        before();
        renderer.gl.readPixels(0, 0, 1, 1, renderer.gl.RGBA, renderer.gl.UNSIGNED_BYTE, byte);
        drawn.push(performance.now());
        points.push(stats.points);
    };
    if (kind === 'pan') send(PointerEvent, 'pointerdown', { pointerId: 1 });
    const start = performance.now();
    for (let k = 0, now = start; now < start + 1000 * seconds; k++) {
        const place = { clientX: at.clientX + 150 * Math.sin(k / 12), clientY: at.clientY + (k % 40) };
        if (kind === 'pan') send(PointerEvent, 'pointermove', { ...place, pointerId: 1 });
        else send(WheelEvent, 'wheel', { deltaY: (k / 25) & 1 ? 60 : -60 });
        now = await new Promise((done) => requestAnimationFrame(done));
    }
    if (kind === 'pan') send(PointerEvent, 'pointerup', { pointerId: 1 });
    renderer.onDraw = before;
    const from = drawn.findIndex((t) => t > start + 250 * seconds); // before, it finds how many points it can draw
    return { drawn: drawn.slice(from), points: points.slice(from) };
})"""


def _points(emb: Path, seconds: float) -> list[dict[str, Any]]:
    rows = []
    with serving(emb, None) as server, chromium() as browser:
        for start in ("first", "again"):
            tab = opened(browser, server.url, SIZE)
            rows.append(_row(f"map drawn, {start}", "drawn_s", tab.evaluate(_DRAWN)))
            if start == "first":
                tab.context.close()
        for kind in ("pan", "zoom"):
            seen = tab.evaluate(f"{_MOVE}({json.dumps([kind, seconds])})")
            gaps = np.diff(seen["drawn"])
            more = {"p95_ms": float(np.percentile(gaps, 95)), "points": int(np.median(seen["points"]))}
            rows.append(_row(f"{kind}, frames drawn a second", "frames_per_s", 1000 / float(gaps.mean()), **more))
            tab.wait_for_timeout(1000)
        tab.evaluate("morphospace.store.set({colour: 'snr'})")
        tab.wait_for_timeout(1000)
        tab.context.close()
        rows.append(_row("memory of the server, peak, GiB", "server_gib", server.peak_gib()))
    return rows


_FIRST = """(async (opened) => {
    const seen = {};
    const visible = () => {
        const box = document.querySelector('.gallery-view .scroller')?.getBoundingClientRect();
        return [...document.querySelectorAll('.tile')].filter((e) => {
            const at = e.getBoundingClientRect();
            return box && at.bottom > box.top && at.top < box.bottom;
        });
    };
    const start = opened ? 0 : performance.now();  // 0: of the navigation
    if (!opened) morphospace.store.set({ view: 'gallery' });
    for (;;) {
        await new Promise((done) => requestAnimationFrame(done));
        const tiles = visible();
        const waiting = tiles.filter((e) => e.classList.contains('waiting')).length;
        if (tiles.length && waiting < tiles.length) seen.first ??= (performance.now() - start) / 1000;
        if (tiles.length && !waiting) return { ...seen, all: (performance.now() - start) / 1000, n: tiles.length };
    }
})"""
_SCROLL = """(async ([step, pause, seconds]) => {
    const scroller = document.querySelector('.gallery-view .scroller');
    const seen = { steps: 0, tiles: 0, blank: 0, with_blank: 0, frames: 0 };
    const end = performance.now() + 1000 * seconds;
    while (performance.now() < end) {
        scroller.scrollTop += step * scroller.clientHeight;
        await new Promise((done) => setTimeout(done, pause));
        const box = scroller.getBoundingClientRect();
        const tiles = [...document.querySelectorAll('.tile')].filter((e) => {
            const at = e.getBoundingClientRect();
            return at.bottom > box.top && at.top < box.bottom;
        });
        const blank = tiles.filter((e) => e.classList.contains('waiting')).length;
        const wanted = Math.floor(box.height / 88) * Math.floor((box.width - 8) / 88);
        seen.steps++;
        seen.tiles += tiles.length;
        seen.blank += blank + Math.max(0, wanted - tiles.length);
        seen.with_blank += blank + Math.max(0, wanted - tiles.length) > 0;
    }
    return { ...seen, row: Math.max(...[...document.querySelectorAll('.tile')].map((e) => Number(e.dataset.position))) };
})"""
# pages of the window a step, milliseconds between steps: looking, leafing, flying
SPEEDS = {"looking": (0.25, 250), "leafing": (0.5, 250), "flying": (1.0, 200)}


def _gallery(emb: Path, cuts: Path, seconds: float) -> list[dict[str, Any]]:
    with serving(emb, cuts) as server, chromium() as browser:
        tab = opened(browser, server.url, SIZE)
        rows = _thumbs(tab, "gallery opened", opened=False)
        tab.context.close()
        tab = browser.new_context(viewport={"width": SIZE[0], "height": SIZE[1]}).new_page()
        tab.goto(f"{server.url}#view=gallery", wait_until="commit")
        rows += _thumbs(tab, "page opened at the gallery", opened=True)
        for name, (step, pause) in SPEEDS.items():
            tab.wait_for_timeout(1000)
            seen = tab.evaluate(f"{_SCROLL}([{step}, {pause}, {seconds}])")
            share = 100 * seen["blank"] / max(1, seen["tiles"])
            more = {"steps": seen["steps"], "steps_with_blank": seen["with_blank"], "cells": seen["tiles"]}
            rows.append(_row(f"blank cells, {name} ({step / pause * 1000:.1f} screens/s), %", "blank", share, **more))
        tab.context.close()
        rows.append(_row("memory of the server with thumbnails, peak, GiB", "server_gib", server.peak_gib()))
    return rows


def _thumbs(tab: Any, name: str, *, opened: bool) -> list[dict[str, Any]]:
    seen = tab.evaluate(f"{_FIRST}({json.dumps(opened)})")
    return [
        _row(f"{name}, first thumbnails", "first_thumb_s", seen["first"]),
        _row(f"{name}, all {seen['n']} in sight", "", seen["all"]),
    ]


def _row(what: str, target: str, value: float | None, **more: object) -> dict[str, Any]:
    return {"what": what, "value": value, "target": TARGETS.get(target), **more}


if __name__ == "__main__":
    main()
