"""The page where something is missing: WebGL, or an answer of the server."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import explore_server as small
from morphospace.explore.explore import open_scene
from morphospace.space.anomaly import anomalies
from morphospace.space.cluster import cluster
from morphospace.space.embed import embed
from morphospace.space.project import project

sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("needs a Chromium on this machine", allow_module_level=True)
ARGS = [
    "--no-sandbox", "--enable-unsafe-swiftshader", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--no-first-run",
]  # fmt: skip
READY = "[data-ready=true]"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[small.Page]:
    folder = tmp_path_factory.mktemp("page")
    cuts = small.write_cutouts(folder / "a.cutouts")
    emb = embed("starter", cuts, out=folder / "a.emb")
    project(emb, "pca", dims=3).save("three")
    cluster(emb, "kmeans", k=3).save(emb, "groups")
    anomalies(emb, "knn").save(emb, "odd")
    with small.page(open_scene(emb, cuts)) as running:
        yield running


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGS)
        yield launched
        launched.close()


Opener = Callable[..., Any]


@pytest.fixture
def opened(served: small.Page, browser: Any) -> Iterator[Opener]:
    """Open the page; after the test nothing may have been thrown in it, and no other host asked."""
    contexts: list[Any] = []
    wrong: list[str] = []

    def look(request: Any) -> None:
        if not request.url.startswith((f"http://127.0.0.1:{served.port}/", "blob:", "data:", "file:")):
            wrong.append(request.url)

    def go(where: str = "", *, width: int = 1280, ready: str = READY, **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 800}, accept_downloads=True, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("pageerror", lambda error: wrong.append(str(error)))
        tab.on("dialog", lambda dialog: wrong.append(dialog.message))
        tab.on("request", look)
        tab.goto(where if "://" in where else f"http://127.0.0.1:{served.port}/{where}")
        tab.wait_for_selector(ready)
        return tab

    yield go
    for context in contexts:
        context.close()
    assert wrong == []


def test_without_webgl_the_page_says_so_and_goes_on(opened: Opener) -> None:
    plain = """HTMLCanvasElement.prototype.getContext = ((old) => function (kind, ...more) {
        return kind.startsWith('webgl') ? null : old.call(this, kind, ...more);
    })(HTMLCanvasElement.prototype.getContext)"""
    tab = opened()
    tab.add_init_script(plain)
    tab.reload()
    sync_api.expect(tab.locator(".no-webgl")).to_contain_text("Gallery and table work as usual")
    tab.keyboard.press("g")
    sync_api.expect(tab.locator(".tile").first).to_be_visible()


def test_unanswered_space_is_no_blank_page(opened: Opener, served: small.Page) -> None:
    tab = opened()
    tab.route("**/api/space", lambda route: route.fulfill(status=503, json={"error": "the store is being written"}))
    tab.reload()
    sync_api.expect(tab.locator("[role=alert]")).to_contain_text("the store is being written")
