"""What the scripts that look at the page share: its server in a process of its own, and Chromium without a window."""

from __future__ import annotations

import contextlib
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from playwright.sync_api import sync_playwright

ARGS = [
    "--no-sandbox",
    "--enable-unsafe-swiftshader",  # WebGL without a graphics card
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


class Server(NamedTuple):
    """A running ``morphospace explore``."""

    url: str
    pid: int

    def peak_gib(self) -> float | None:
        """Largest resident memory so far, GiB; None where /proc is not there."""
        with contextlib.suppress(OSError):
            found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{self.pid}/status").read_text())
            return int(found[1]) / 2**20 if found else None
        return None


@contextlib.contextmanager
def serving(emb: Path, cuts: Path | None) -> Iterator[Server]:
    """Run the server for the length of a block."""
    command = [str(Path(sys.executable).with_name("morphospace")), "explore", str(emb), *([str(cuts)] if cuts else [])]
    process = subprocess.Popen([*command, "--no-browser", "--port", "0"], stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        said = ""
        for line in process.stderr:
            said += line
            if address := re.search(r"http://127\.0\.0\.1:\d+/", line):
                yield Server(address[0], process.pid)
                return
        sys.exit(f"explore ended before it served: {said}")
    finally:
        process.terminate()
        process.wait(20)
        process.stderr.close()


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """Start Chromium, with a new profile, for the length of a block."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        sys.exit("no Chromium here; apt-get install chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=ARGS)
        yield browser
        browser.close()


def opened(browser: Any, url: str, size: tuple[int, int], **options: Any) -> Any:
    """Open the page in a window of this size and wait until its map is there."""
    tab = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options).new_page()
    tab.set_default_timeout(120_000)
    tab.goto(url)
    tab.wait_for_selector("[data-ready=true]")
    return tab
