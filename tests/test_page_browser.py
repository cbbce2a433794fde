"""The page in a real browser, from a real server: what an observer does and sees."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from PIL import Image

import explore_server as small
from explore_server import EVIL, N
from morphospace.explore.explore import explore, open_scene
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


def _state(tab: Any, key: str) -> Any:
    return tab.evaluate(
        f"(() => {{ const v = morphospace.store.state.{key}; return v && v.buffer ? Array.from(v) : v }})()"
    )


def _until(tab: Any, what: str) -> None:
    """Wait for an expression of the page; the content policy forbids Playwright's own way, which is eval."""
    script = f"""(async () => {{
        for (let i = 0; i < 800; i++) {{
            if ({what}) return true;
            await new Promise((r) => setTimeout(r, 10));
        }}
        return false;
    }})()"""
    done = tab.evaluate(script)
    assert done, what


def _at(tab: Any, row: int) -> tuple[float, float]:
    x, y = tab.evaluate(f"morphospace.map.screenOf({row})")
    box = tab.locator(".stage").bounding_box()
    return box["x"] + x, box["y"] + y


def _is_map(tab: Any, at: tuple[float, float]) -> bool:
    return bool(tab.evaluate(f"document.elementFromPoint({at[0]}, {at[1]})?.closest('.stage') !== null"))


def _colours(png: bytes) -> int:
    return len(np.unique(np.asarray(Image.open(io.BytesIO(png)).convert("RGB")).reshape(-1, 3), axis=0))


def test_map_is_drawn_coloured_and_hover_shows_the_cutout(opened: Opener) -> None:
    tab = opened()
    _until(tab, "morphospace.map.stats.complete > 0")
    assert _colours(tab.locator(".stage").screenshot()) > 20
    assert tab.locator(".chip").count() == 3
    tab.mouse.move(*_at(tab, 7))
    sync_api.expect(tab.locator(".hover .id")).to_have_text("obj-07")
    sync_api.expect(tab.locator(".hover .value")).to_contain_text("groups")
    _until(tab, "!document.querySelector('.hover .thumb').classList.contains('waiting')")


def test_legend_switches_categories_and_every_colour_can_be_chosen(opened: Opener) -> None:
    tab = opened()
    tab.locator(".chip").first.click()
    assert _state(tab, "off.size") == 1
    for value in ("snr", "kind", "@anomaly:odd", "@density:three", ""):
        tab.locator("header label", has_text="Colour").locator("select").select_option(value)
        _until(tab, f"morphospace.store.state.colour === {json.dumps(value)}")
        legend = tab.locator(".legend")
        if value == "kind":
            sync_api.expect(legend).to_contain_text("disk <i>")
        elif value:
            sync_api.expect(legend.locator(".colour-bar")).to_be_visible()
        else:
            sync_api.expect(legend).to_be_hidden()


def test_chosen_object_shows_picture_sky_columns_and_neighbours(opened: Opener) -> None:
    tab = opened()
    tab.mouse.click(*_at(tab, 4))
    panel = tab.locator("#panel-object")
    sync_api.expect(panel.locator("h2")).to_have_text("obj-04")
    sync_api.expect(panel.locator(".strip li")).to_have_count(12)
    sync_api.expect(panel.locator(".caption")).to_contain_text("12 × 12 px")
    sync_api.expect(panel).to_contain_text("10 00 09.60 −30 00 00.0")
    links = [link.get_attribute("href") for link in panel.locator("a.out").all()]
    assert len(links) == 3
    assert all("150.04" in link for link in links)
    assert {link.get_attribute("rel") for link in panel.locator("a.out").all()} == {"noreferrer noopener"}
    before = panel.locator(".picture").screenshot()
    for key, value in (("curve", "linear"), ("ramp", "magma")):
        panel.locator(f"[data-key={key}]").select_option(value)
    panel.locator("[data-key=clip]").fill("3")
    sync_api.expect(panel.locator(".caption")).to_contain_text("3 to")
    assert panel.locator(".picture").screenshot() != before


def test_hostile_text_is_shown_as_text(opened: Opener) -> None:
    tab = opened("#row=0")
    sync_api.expect(tab.locator("#panel-object")).to_contain_text(EVIL)
    assert tab.locator("i, b").count() == 0


def test_lasso_box_and_table_select_and_the_selection_is_taken_away(opened: Opener, tmp_path: Path) -> None:
    tab = opened()
    box = tab.locator(".stage").bounding_box()
    tab.keyboard.press("b")
    tab.mouse.move(box["x"] + 60, box["y"] + 4)
    tab.mouse.down()
    tab.mouse.move(box["x"] + box["width"] - 4, box["y"] + box["height"] - 4, steps=4)
    tab.mouse.up()
    whole = _state(tab, "selection")
    assert len(whole) > N // 2
    tab.keyboard.press("l")
    x, y = _at(tab, whole[0])
    tab.keyboard.down("Alt")  # takes away
    tab.mouse.move(x - 6, y - 6)
    tab.mouse.down()
    for dx, dy in ((6, -6), (6, 6), (-6, 6), (-6, -6)):
        tab.mouse.move(x + dx, y + dy, steps=3)
    tab.mouse.up()
    tab.keyboard.up("Alt")
    assert whole[0] not in _state(tab, "selection")
    tab.keyboard.press("t")
    tab.locator("#main-table [data-position='3']").click()
    tab.locator("#main-table [data-position='5']").click(modifiers=["Control"])
    assert (5 in _state(tab, "selection")) != (5 in whole)
    tab.evaluate("morphospace.store.set({selection: Uint32Array.of(2, 9), panel: 'selection'})")
    with tab.expect_download() as download:
        tab.locator("#panel-selection").get_by_text("Parquet", exact=True).click()
    download.value.save_as(tmp_path / "two.parquet")
    assert pq.read_table(tmp_path / "two.parquet")["id"].to_pylist() == ["obj-02", "obj-09"]


def test_table_is_sorted_and_filtered_and_a_bad_filter_is_a_sentence(opened: Opener) -> None:
    tab = opened("#view=table")
    tab.locator("[role=columnheader] button", has_text="snr").click()
    tab.locator("[role=columnheader] button", has_text="snr").click()
    sync_api.expect(tab.locator("#main-table [data-position='0'] .id")).to_have_text("obj-39")
    tab.locator(".where").fill("snr > 35")
    tab.keyboard.press("Enter")
    sync_api.expect(tab.locator(".status-text")).to_contain_text("4 match the filter")
    sync_api.expect(tab.locator("#main-table [data-position]")).to_have_count(4)
    tab.locator(".where").fill("nonsense > 3")
    tab.keyboard.press("Enter")
    sync_api.expect(tab.locator(".notice.bad")).to_contain_text("nonsense")
    assert tab.locator(".where").get_attribute("aria-invalid") == "true"


def test_query_by_examples_follows_yes_and_no(opened: Opener) -> None:
    tab = opened("#row=4")
    tab.locator("#panel-object .actions button").first.click()
    panel = tab.locator("#panel-query")
    sync_api.expect(panel.locator("p[role=status]")).to_contain_text("most similar first")
    first = panel.locator(".strip .id").all_inner_texts()
    tab.evaluate("morphospace.store.set({unlike: [5]})")
    sync_api.expect(panel.locator(".unlike .example")).to_have_count(1)
    names = "[...document.querySelectorAll('#panel-query .strip .id')].map((e) => e.textContent)"
    _until(tab, f"{names}.length && {names}.join() !== {json.dumps(','.join(first))}")


def test_clusters_anomalies_and_what_makes_two_alike(opened: Opener) -> None:
    tab = opened("#panel=clusters&row=4")
    sync_api.expect(tab.locator("#panel-clusters .cluster")).to_have_count(3)
    tab.locator("#panel-clusters .cluster .text-button").first.click()
    assert len(_state(tab, "selection")) > 0
    tab.locator("#tab-odd").click()
    sync_api.expect(tab.locator(".odd").first).to_contain_text("nearest is")
    tab.locator("#tab-object").click()
    card = tab.locator("#panel-object .strip li").first
    card.hover()
    card.get_by_label("What makes them alike?").click()
    sync_api.expect(tab.locator("dialog[open]")).to_contain_text("Orange", timeout=30_000)


def test_labels_by_keys_are_kept_and_taken_back(opened: Opener, served: small.Page) -> None:
    tab = opened("#panel=label")
    tab.get_by_label("Name of the new set").fill("mine")
    tab.locator("#panel-label form button").click()
    sync_api.expect(tab.locator("#panel-label .current")).to_contain_text("obj-")
    tab.locator("#panel-label").focus()
    for key in ("5", "0"):
        before = tab.locator("#panel-label .current").inner_text()
        tab.keyboard.press(key)
        sync_api.expect(tab.locator("#panel-label .current")).not_to_have_text(before)
    sync_api.expect(tab.locator("#panel-label p[role=status]")).to_have_text(f"2 of {N} labelled.")
    tab.keyboard.press("u")
    sync_api.expect(tab.locator("#panel-label p[role=status]")).to_have_text(f"1 of {N} labelled.")
    kept = served.get("/api/labels/mine").json()["labels"]
    assert [label["value"] for label in kept] == [5]


def test_dropped_file_gets_a_star_and_no_image_a_sentence(opened: Opener) -> None:
    tab = opened()
    stream = io.BytesIO()
    fits.PrimaryHDU(small.cutout(7).image[0]).writeto(stream)
    tab.set_input_files(
        "#drop-input", {"name": "<b>new.fits", "mimeType": "application/fits", "buffer": stream.getvalue()}
    )
    sync_api.expect(tab.locator("#panel-object h2")).to_have_text("<b>new.fits")
    sync_api.expect(tab.locator("#panel-object .strip .id").first).to_have_text("obj-07")
    assert tab.evaluate("morphospace.map.overlay.droppedPlace")[0] == pytest.approx(
        tab.evaluate("morphospace.map.xy[14]"), abs=0.2
    )
    tab.set_input_files("#drop-input", {"name": "bad.fits", "mimeType": "application/fits", "buffer": b"hello"})
    sync_api.expect(tab.locator(".notice.bad")).to_contain_text("bad.fits")


def test_link_restores_the_view(opened: Opener) -> None:
    tab = opened()
    tab.evaluate(
        "morphospace.store.set({colour: 'snr', chosen: 6, selection: Uint32Array.of(1, 30), axes: [1, 2], where: 'snr > 3'})"
    )
    tab.evaluate("morphospace.map.setCamera({x: 0.2, y: 0.1, zoom: 3})")
    _until(tab, "location.hash.includes('at=') && location.hash.includes('sel=')")
    again = opened(tab.url)
    for key, value in (
        ("colour", "snr"),
        ("chosen", 6),
        ("selection", [1, 30]),
        ("axes", [1, 2]),
        ("where", "snr > 3"),
    ):
        assert _state(again, key) == value
    assert again.evaluate("morphospace.map.camera") == {"x": 0.2, "y": 0.1, "zoom": 3}


def test_pictures_appear_on_the_map_and_in_the_gallery(opened: Opener) -> None:
    tab = opened()
    _until(tab, "morphospace.map.overlay.pictures.length > 3")  # so few objects show theirs at once
    tab.keyboard.press("p")
    _until(tab, "!morphospace.store.state.thumbs")
    tab.keyboard.press("g")
    _until(tab, "document.querySelectorAll('.tile').length === 40 && !document.querySelector('.tile.waiting')")
    tab.locator("#main-gallery .scroller").focus()
    for key in ("ArrowRight", "ArrowRight", "Space", "Enter"):
        tab.keyboard.press(key)
    assert _state(tab, "selection") == [2]
    assert _state(tab, "chosen") == 2


def test_keyboard_alone_reaches_an_object(opened: Opener) -> None:
    tab = opened()
    tab.keyboard.press("Tab")
    tab.keyboard.press("Enter")  # skips to the map
    for key in ("ArrowLeft", "+", "Enter"):
        tab.keyboard.press(key)
    assert _state(tab, "chosen") >= 0
    sync_api.expect(tab.locator("div.only-read[role=status]")).to_contain_text("obj-")
    tab.keyboard.press("?")
    sync_api.expect(tab.locator("dialog[open]")).to_contain_text("lasso")


def test_dark_and_narrow_have_all_in_sight(opened: Opener) -> None:
    tab = opened(width=390, color_scheme="dark", has_touch=True)
    assert tab.locator("body").get_attribute("data-theme") == "dark"
    assert tab.evaluate("document.documentElement.scrollWidth") <= 390
    tab.touchscreen.tap(*next(at for at in (_at(tab, row) for row in range(N)) if _is_map(tab, at)))
    sync_api.expect(tab.locator("#panel-object h2")).to_be_visible()
    tab.locator("#tab-object").click()
    sync_api.expect(tab.locator("#panel-object")).to_be_hidden()


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


def test_exported_file_needs_no_server(opened: Opener, served: small.Page, tmp_path: Path) -> None:
    made = tmp_path / "page.html"
    explore(served.scene.emb, served.scene.cuts, export=made)
    tab = opened(made.as_uri() + "#row=4")
    sync_api.expect(tab.locator("#panel-object .strip li")).to_have_count(12)
    sync_api.expect(tab.locator("#panel-object .caption")).to_contain_text("12 × 12 px")
    assert tab.locator(".where").is_hidden()
    assert tab.locator("[role=tab]").all_inner_texts() == [
        "Map",
        "Gallery",
        "Table",
        "Object",
        "Selection",
        "Query",
        "Clusters",
        "Odd ones",
    ]
    tab.keyboard.press("g")
    _until(tab, "document.querySelectorAll('.tile').length === 40 && !document.querySelector('.tile.waiting')")
