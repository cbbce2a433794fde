"""The page in a real browser: Debian's Chromium, a server of its own process, and a small space of simulated skies."""

from __future__ import annotations

import base64
import contextlib
import importlib
import io
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from PIL import Image

sync_api: Any = None
with contextlib.suppress(ImportError):  # for developers only
    sync_api = importlib.import_module("playwright.sync_api")
N, K = 150, 4
EVIL = "<script>alert(1)</script>"
TILTED = 5  # the row whose image lies at an angle to the sky
SIDE = 40
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
ARGS = [
    "--no-sandbox",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


expect: Any = sync_api and sync_api.expect
if sync_api is not None:
    expect.set_options(timeout=20_000)  # a busy machine


def can_look() -> None:
    """Skip what needs a browser where there is none."""
    if sync_api is None:
        pytest.skip("needs playwright: pip install 'morphospace[dev]'")
    if CHROMIUM is None:
        pytest.skip("needs Chromium on this machine: apt-get install chromium")


class Space(NamedTuple):
    """Stores on disk, and a file that is in none of them."""

    emb: Path
    cuts: Path
    new: Path
    ids: list[str]


class Served(NamedTuple):
    """A running server."""

    url: str
    pid: int


@contextlib.contextmanager
def serving(emb: Path, cuts: Path, environment: Mapping[str, str]) -> Iterator[Served]:
    """Run ``morphospace explore`` in a process of its own for the length of a block."""
    command = [str(Path(sys.executable).with_name("morphospace")), "explore", str(emb), str(cuts)]
    process = subprocess.Popen(
        [*command, "--no-browser", "--port", "0"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            if address := re.search(r"http://127\.0\.0\.1:\d+/", line):
                yield Served(address[0], process.pid)
                return
        pytest.fail(f"explore ended before it served: {said}")
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()


@contextlib.contextmanager
def launched(*more: str) -> Iterator[Any]:
    """Start Chromium with a new profile for the length of a block."""
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=[*ARGS, *more])
        yield browser
        browser.close()


_DRAWN = """async (canvas) => {
    for (const _ of [1, 2]) await new Promise((done) => requestAnimationFrame(done));
    return canvas.toDataURL();
}"""


class Looker:
    """An observer at the page: what is done is done by mouse, keys and names that a screen reader reads."""

    def __init__(self, tab: Any, fine: list[str]) -> None:
        self.tab = tab
        self.fine = fine
        """Parts of what the console may say."""
        self.abroad: list[str] = []
        """Addresses of other hosts that were asked for."""

    @property
    def panel(self) -> Any:
        """The panel at the side that is seen."""
        return self.tab.locator("aside [role=tabpanel]:not([hidden])")

    @property
    def stage(self) -> Any:
        return self.tab.get_by_role("application")

    def open_panel(self, name: str) -> Any:
        self.tab.get_by_role("tab", name=re.compile(f"^{name}")).click()
        return self.panel

    def colour(self, name: str) -> None:
        self.tab.get_by_role("combobox", name="Colour", exact=True).select_option(label=name)

    def place(self, row: int) -> tuple[float, float]:
        """Where an object lies in the window."""
        x, y = self.tab.evaluate(f"morphospace.map.screenOf({row})")
        box = self.stage.bounding_box()
        return box["x"] + x, box["y"] + y

    def is_map(self, at: tuple[float, float]) -> bool:
        """Tell whether a place of the window shows the map and nothing over it."""
        return bool(
            self.tab.evaluate("([x, y]) => Boolean(document.elementFromPoint(x, y)?.closest('.stage'))", list(at))
        )

    def outermost(self) -> int:
        """Row that lies at the edge of the map, so that nothing is drawn over it."""
        return int(
            self.tab.evaluate(
                "(() => { const {xy} = morphospace.map; let best = 0;"
                " for (let i = 1; i < xy.length / 2; i++) if (xy[2 * i] < xy[2 * best]) best = i; return best })()"
            )
        )

    def drag(self, *corners: tuple[float, float]) -> None:
        mouse = self.tab.mouse
        mouse.move(*corners[0])
        mouse.down()
        for corner in corners[1:]:
            mouse.move(*corner, steps=4)
        mouse.up()

    def filter(self, where: str) -> None:
        field = self.tab.get_by_label(re.compile("^Filter"))
        field.fill(where)
        field.press("Enter")

    def pixels(self, canvas: Any) -> np.ndarray:
        """What a canvas holds, (H, W, 3), without what lies over it."""
        return _pixels(base64.b64decode(canvas.evaluate(_DRAWN).split(",")[1]))

    def drawn(self) -> np.ndarray:
        """The points of the map as they are drawn, (H, W, 3)."""
        return self.pixels(self.tab.locator("canvas.points"))

    def map_colours(self) -> set[tuple[int, ...]]:
        return _distinct(self.drawn())

    def colour_of(self, row: int) -> np.ndarray:
        """The colour that the map shows at the place of an object."""
        x, y = self.tab.evaluate(f"morphospace.map.screenOf({row})")
        return np.array(self.drawn()[int(y), int(x)], dtype=int)

    def until(self, what: str) -> None:
        """Wait until a JavaScript expression holds; the page's policy forbids the eval that Playwright would use."""
        held = self.tab.evaluate(
            f"(async () => {{ for (let i = 0; i < 1500; i++) {{ if ({what}) return true;"
            " await new Promise((done) => setTimeout(done, 10)) } return false })()"
        )
        assert held, what


def _pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def _distinct(pixels: np.ndarray) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.unique(pixels.reshape(-1, 3), axis=0).tolist()}


def colours(png: bytes) -> set[tuple[int, ...]]:
    """All colours of a picture."""
    return _distinct(_pixels(png))


Opener = Callable[..., Looker]
