"""What an observer does and takes away in a browser: labels, exports, SAMP, the page as one file, the notebook."""

from __future__ import annotations

import csv
import io
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from astropy.io.votable import parse_single_table
from astropy.table import Table
from astropy.utils.exceptions import AstropyDeprecationWarning

from browser import EVIL, K, Looker, N, Opener, Space, colours, expect
from morphospace.explore.app import STATIC
from morphospace.explore.explore import explore
from morphospace.explore.widget import map_widget
from morphospace.space.embeddings import Embeddings
from morphospace.space.labels import Labels

pytest_plugins = ["browser_pages"]


def _on_disk(space: Space, name: str) -> dict[str, Any]:
    """The labels of a set as another process reads them while the server runs."""
    with Labels(Embeddings.open(space.emb)) as labels:
        return dict(labels.values(name))


def _sets(space: Space) -> list[str]:
    with Labels(Embeddings.open(space.emb)) as labels:
        return [one.name for one in labels.sets()]


def _csv(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text(), newline="")))


def _new_set(looker: Looker, space: Space, name: str, classes: str = "") -> Any:
    """Make a set and wait for the first object that is offered for it."""
    panel = looker.open_panel("Label")
    current = panel.locator(".current")
    if _sets(space):  # the first of them is opened by itself
        expect(current).not_to_be_empty()
    before = current.text_content()
    if not panel.get_by_label("Name of the new set").is_visible():
        panel.get_by_text("New set").click()
    panel.get_by_label("Name of the new set").fill(name)
    panel.locator("form").get_by_label("Kind").select_option("class" if classes else "interest")
    if classes:
        panel.get_by_label("Class names").fill(classes)
    with looker.tab.expect_response(re.compile(f"/labels/{name}/next")) as offered:
        panel.get_by_role("button", name="Make it").click()
    expect(panel.get_by_role("combobox", name="Set", exact=True)).to_have_value(name)
    ids = [space.ids[row] for row in offered.value.json()["rows"]]
    expect(current).to_have_text(next(each for each in ids if each != before))
    return panel


def _label(looker: Looker, key: str) -> str:
    """Press a key and wait for the next object; the one that was labelled."""
    current = looker.panel.locator(".current")
    name = str(current.inner_text())
    looker.tab.keyboard.press(key)
    expect(current).not_to_have_text(name)
    return name


def test_labels_by_keys_are_on_disk_at_once_and_are_taken_back(look: Opener, space: Space) -> None:
    looker = look()
    panel = _new_set(looker, space, "interest")
    progress = panel.locator("p[role=status]")
    panel.focus()
    given = {}
    for count, key in enumerate("503", start=1):
        given[_label(looker, key)] = int(key)
        expect(progress).to_have_text(f"{count} of {N} labelled.")
        assert _on_disk(space, "interest") == given
    looker.tab.keyboard.press("u")
    expect(progress).to_have_text(f"2 of {N} labelled.")
    *kept, last = given
    expect(panel.locator(".current")).to_have_text(last)  # the one taken back is asked again
    assert list(_on_disk(space, "interest")) == kept
    looker.tab.keyboard.press("ArrowRight")
    expect(panel.locator(".current")).not_to_have_text(last)
    assert list(_on_disk(space, "interest")) == kept
    panel.get_by_role("button", name="Undo").click()
    expect(progress).to_have_text(f"1 of {N} labelled.")


def test_classes_train_a_score_that_colours_the_map_and_offers_the_next(
    look: Opener, space: Space, tmp_path: Path
) -> None:
    kinds = dict(zip(space.ids, Embeddings.open(space.emb).table(["KIND"])["KIND"].to_pylist(), strict=True))
    looker = look()
    panel = _new_set(looker, space, "kinds", "disc, other")
    expect(panel.locator(".label-button")).to_have_text(["1disc", "2other"])
    panel.focus()
    given = {}
    for _ in range(12):
        name = panel.locator(".current").inner_text()
        key = "1" if kinds[name] == "disc" else "2"
        given[_label(looker, key)] = "disc" if key == "1" else "other"
    expect(panel.get_by_label("Next objects").get_by_role("listitem")).not_to_have_count(0)
    panel.get_by_role("button", name="Score all objects").click()
    expect(looker.tab.locator(".notice")).to_contain_text("scored from 12 labels", timeout=60_000)
    expect(looker.tab.locator(".legend-title")).to_contain_text("score kinds")
    assert len(looker.map_colours()) > 50
    looker.tab.get_by_role("combobox", name="Colour", exact=True).select_option("@label:kinds")
    expect(looker.tab.locator(".chip-name")).to_have_text(["disc", "other", "none"])
    with looker.tab.expect_download() as download:
        panel.get_by_role("link", name="CSV").click()
    download.value.save_as(tmp_path / "labels.csv")
    rows = _csv(tmp_path / "labels.csv")
    assert {row["id"]: row["label"] for row in rows} == given == _on_disk(space, "kinds")
    with looker.tab.expect_download() as download:
        panel.get_by_role("link", name="VOTable").click()
    download.value.save_as(tmp_path / "labels.vot")
    assert len(parse_single_table(tmp_path / "labels.vot").to_table()) == 12


def test_selection_is_labelled_at_once(look: Opener, space: Space) -> None:
    looker = look("#sel=1.1.1")  # rows 1, 2, 3
    panel = _new_set(looker, space, "three")
    panel.get_by_role("button", name="Label the selection").click()
    looker.tab.get_by_role("dialog").get_by_role("button", name="4", exact=True).click()
    expect(panel.locator("p[role=status]")).to_have_text(f"3 of {N} labelled.")
    assert _on_disk(space, "three") == dict.fromkeys(space.ids[1:4], 4)


def test_selection_is_saved_as_it_is_named(look: Opener, space: Space, tmp_path: Path) -> None:
    looker = look("#sel=0.1.a&panel=selection")  # rows 0, 1, 11
    wanted = [space.ids[row] for row in (0, 1, 11)]
    read = {
        "CSV": lambda path: [row["id"] for row in _csv(path)],
        "VOTable": lambda path: [str(name) for name in parse_single_table(path).to_table()["id"]],
        "FITS": lambda path: [str(name) for name in Table.read(path, format="fits")["id"]],
        "Parquet": lambda path: pq.read_table(path)["id"].to_pylist(),
    }
    for name, ids in read.items():
        with looker.tab.expect_download() as download:
            looker.panel.get_by_role("button", name=name, exact=True).click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        assert ids(path) == wanted
    rows = _csv(next(tmp_path.glob("*.csv")))
    assert rows[0]["object"] == EVIL  # as it stands in the header


@pytest.fixture
def topcat(space: Space) -> Iterator[list[dict[str, str]]]:
    """A hub where the server looks for one, and a program on it that takes tables; what it was sent."""
    with warnings.catch_warnings():  # astropy 8 asks to use pyvo.samp in its place
        warnings.simplefilter("ignore", AstropyDeprecationWarning)
        from astropy.samp import SAMPHubServer, SAMPIntegratedClient
    lock = space.emb.with_name("hub")
    got: list[dict[str, str]] = []
    hub = SAMPHubServer(web_profile=False, addr="127.0.0.1", lockfile=str(lock))
    hub.start()
    client = SAMPIntegratedClient(name="TOPCAT", addr="127.0.0.1")
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("SAMP_HUB", f"std-lockurl:{lock.as_uri()}")
        client.connect()
    client.bind_receive_notification("table.load.votable", lambda key, sender, kind, params, extra: got.append(params))
    yield got
    client.disconnect()
    hub.stop()


def test_selection_goes_to_topcat_by_samp(look: Opener, space: Space, topcat: list[dict[str, str]]) -> None:
    looker = look("#sel=5.4&panel=selection")
    looker.panel.get_by_role("button", name="Send to TOPCAT").click()
    expect(looker.tab.locator(".notice")).to_contain_text("Sent to TOPCAT")
    looker.until("true")
    for _ in range(200):
        if topcat:
            break
        looker.tab.wait_for_timeout(20)
    table = parse_single_table(Path(topcat[0]["url"].removeprefix("file://"))).to_table()
    assert [str(name) for name in table["id"]] == [space.ids[5], space.ids[9]]


def test_page_as_one_file_opens_from_disk_without_a_network(look: Opener, space: Space, tmp_path: Path) -> None:
    page = explore(space.emb, space.cuts, export=tmp_path / "page.html")
    assert page is not None
    looker = look(page.as_uri(), offline=True)
    expect(looker.tab.locator(".chip")).to_have_count(K)
    assert len(looker.map_colours()) > K
    looker.tab.mouse.click(*looker.place(looker.outermost()))
    names = looker.panel.locator(".strip .id")
    expect(names).to_have_count(12)
    picture = looker.pixels(looker.panel.locator("canvas.picture").first)
    looker.panel.get_by_label("Stretch").select_option("linear")
    assert (looker.pixels(looker.panel.locator("canvas.picture").first) != picture).any()
    assert len(colours(looker.panel.locator(".strip .thumb").first.screenshot())) > 50
    looker.colour("EXPTIME")
    expect(looker.tab.locator(".colour-bar")).to_be_visible()
    expect(looker.open_panel("Clusters").locator(".cluster")).to_have_count(K)
    expect(looker.open_panel("Odd ones").get_by_role("listitem").first).to_contain_text("nearest")
    looker.tab.keyboard.press("t")
    expect(looker.tab.get_by_role("grid").locator("[data-position='0']")).to_contain_text(EVIL)
    expect(looker.tab.get_by_role("tab", name="Label")).to_have_count(0)  # needs the server
    looker.tab.locator("[data-position='2']").click(modifiers=["Control"])
    looker.open_panel("Selection")
    with looker.tab.expect_download() as download:
        looker.panel.get_by_role("button", name="CSV", exact=True).click()
    assert space.ids[2] in Path(download.value.path()).read_text()


_NOTEBOOK = """<!doctype html><title>a cell of a notebook</title><div id="cell"></div>
<script type="module">
import widget from "./widget.js";
const traits = await (await fetch("./traits.json")).json();
const watching = {};
window.traits = traits;
window.give = (name, value) => { traits[name] = value; for (const act of watching[`change:${name}`] ?? []) act(); };
const model = {
  get: (name) => traits[name],
  set: (name, value) => { traits[name] = value; },
  on: (event, act) => (watching[event] ??= []).push(act),
  off: () => undefined,
  save_changes: () => { window.saved = (window.saved ?? 0) + 1; },
};
await widget.render({ model, el: document.getElementById("cell") });
document.body.dataset.ready = "true";
</script>"""


def test_widget_shows_the_map_and_shares_its_selection(look: Opener, served: Any, space: Space) -> None:
    pytest.importorskip("anywidget")
    made = map_widget(space.emb, space.cuts, color="EXPTIME", height=500)
    traits = {name: getattr(made, name) for name in ("data", "color", "height", "selection", "chosen")}
    files = {
        "notebook": ("text/html", _NOTEBOOK),
        "widget.js": ("text/javascript", (STATIC / "widget.js").read_text()),
        "traits.json": ("application/json", json.dumps(traits)),
    }

    def cell(route: Any) -> None:
        kind, body = files[route.request.url.rsplit("/", 1)[1]]
        route.fulfill(body=body, content_type=kind)

    looker = look("cell/notebook", routes={re.compile("/cell/"): cell})
    expect(looker.tab.locator(".legend-title")).to_have_text("EXPTIME")
    assert len(looker.map_colours()) > 50
    assert looker.tab.locator(".morphospace").bounding_box()["height"] == 500
    box = looker.stage.bounding_box()
    looker.tab.get_by_role("button", name="Box (B)").click()
    right, bottom = box["x"] + box["width"] - 2, box["y"] + box["height"] - 2
    looker.drag((box["x"] + 60, box["y"] + 2), (right, bottom))
    looker.until("window.saved > 0")
    assert len(looker.tab.evaluate("traits.selection")) > N / 2
    looker.tab.evaluate("give('selection', [3, 8])")
    expect(looker.tab.locator(".status-text")).to_contain_text("2 selected")
    looker.tab.evaluate("give('chosen', 8)")
    expect(looker.panel.locator("h2").first).to_have_text(re.compile("2 objects|sim-"))
    looker.open_panel("Object")
    expect(looker.panel.locator("h2")).to_have_text(space.ids[8])
