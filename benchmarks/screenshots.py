"""Pictures of the page of explore for the docs: the same scenes on any embeddings, light, dark and narrow.

Needs playwright and a Chromium. Maps, clusters and odd ones are shown where they were kept before (``morphospace project
EMB --method tsne``, ``cluster --method gmm``, ``anomalies``). Example:

    python benchmarks/screenshots.py demo/galaxies.emb demo/galaxies.cutouts --name demo
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from _browser import chromium, opened, serving

WIDE, NARROW = (1280, 800), (390, 780)
MOST_BYTES = 150_000


def map_scene(tab: Any, row: int) -> None:
    """Show the map with an object chosen."""


def zoom_scene(tab: Any, row: int) -> None:
    """Zoom in until pictures stand for points."""
    x, y = tab.evaluate(f"morphospace.map.screenOf({row})")
    box = tab.get_by_role("application").bounding_box()
    tab.mouse.move(box["x"] + x, box["y"] + y)
    for _ in range(4):
        tab.mouse.wheel(0, -300)
    tab.mouse.move(box["x"] + 5, box["y"] + 5)
    tab.wait_for_timeout(1500)


def lasso_scene(tab: Any, row: int) -> None:
    """Draw around the chosen object and show what is selected."""
    x, y = tab.evaluate(f"morphospace.map.screenOf({row})")
    box = tab.get_by_role("application").bounding_box()
    x, y = box["x"] + x, box["y"] + y
    tab.keyboard.press("l")
    tab.mouse.move(x - 60, y - 60)
    tab.mouse.down()
    for dx, dy in ((70, -50), (90, 40), (10, 80), (-70, 50), (-60, -60)):
        tab.mouse.move(x + dx, y + dy, steps=6)
    tab.mouse.up()


SCENES: dict[str, tuple[str, Callable[[Any, int], None]]] = {
    "map": ("", map_scene),
    "zoom": ("panel=clusters", zoom_scene),
    "selection": ("panel=selection", lasso_scene),
    "gallery": ("view=gallery&panel=odd", map_scene),
    "query": ("panel=query&like={row}", map_scene),
    "table": ("view=table&panel=label", map_scene),
}


def main() -> None:
    """Take the pictures that are asked for."""
    given = _arguments()
    given.out.mkdir(parents=True, exist_ok=True)
    with serving(given.embeddings, given.cutouts) as server, chromium() as browser:
        for theme in given.themes.split(","):
            for scene in given.scenes.split(","):
                narrow = scene.endswith("-narrow")
                size = NARROW if narrow else WIDE
                link, act = _scene(scene.removesuffix("-narrow"), given)
                tab = opened(
                    browser, server.url + link, size, color_scheme=theme, device_scale_factor=2 if narrow else 1
                )
                act(tab, given.row)
                tab.wait_for_load_state("networkidle")
                tab.wait_for_timeout(1500)
                _save(tab.screenshot(), given.out / f"explore-{given.name}-{scene}-{theme}.webp")
                tab.context.close()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embeddings", type=Path)
    parser.add_argument("cutouts", type=Path)
    parser.add_argument("--name", required=True, help="second part of the names of the files")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder (docs/images)")
    parser.add_argument("--row", type=int, default=0, help="number of the object that is chosen")
    parser.add_argument("--view", default="", help="further parts of the link, e.g. colour=redshift")
    parser.add_argument("--scenes", default="map", help=f"of {', '.join(SCENES)}; with -narrow 390 pixels wide")
    parser.add_argument("--themes", default="light,dark", help="light, dark or both")
    parser.add_argument("--png", action="store_true", help="PNG, to look at, in place of WebP")
    return parser.parse_args()


def _scene(name: str, given: argparse.Namespace) -> tuple[str, Callable[[Any, int], None]]:
    link, act = SCENES[name]
    parts = [f"row={given.row}", link.format(row=given.row), given.view]
    return f"#{'&'.join(part for part in parts if part)}", act


def _save(png: bytes, path: Path) -> None:
    """Write WebP of at most 150 kB."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    for quality in (90, 80, 70, 60, 50, 40):
        stream = io.BytesIO()
        picture.save(stream, "WEBP", quality=quality, method=6)
        if stream.tell() <= MOST_BYTES:
            break
    path.write_bytes(stream.getvalue())
    print(f"{path}  {picture.width} x {picture.height}  {stream.tell() / 1000:.0f} kB")


if __name__ == "__main__":
    main()
