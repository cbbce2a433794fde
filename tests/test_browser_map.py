"""The map in a browser: colours, hover, thumbnails, selecting, filters, the table, the gallery, links that restore."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow.compute as pc
import pytest

from browser import EVIL, K, Looker, N, Opener, Space, colours, expect
from morphospace.space.embeddings import Embeddings
from morphospace.space.kept import kept

pytest_plugins = ["browser_pages"]


def _chip_of(looker: Looker, row: int) -> int:
    """Which chip of the legend has the colour that an object has on the map (where it is a little transparent)."""
    swatches = looker.tab.locator(".chip .swatch").evaluate_all(
        "all => all.map(e => getComputedStyle(e).backgroundColor)"
    )
    known = np.array([[int(part) for part in colour[4:-1].split(",")] for colour in swatches])
    return int(np.abs(known - looker.colour_of(row)).sum(axis=1).argmin())


def test_map_shows_each_object_in_the_colour_of_its_cluster_class_or_value(look: Opener, space: Space) -> None:
    looker = look()
    expect(looker.tab.locator(".chip")).to_have_count(K)
    edge = looker.outermost()
    label = kept(Embeddings.open(space.emb), "clusters")["groups"].table["label"][edge].as_py()
    assert _chip_of(looker, edge) == label
    looker.colour("KIND")
    kinds = ["disc", "double", "galaxy"]
    expect(looker.tab.locator(".chip-name")).to_have_text(kinds)
    assert kinds[_chip_of(looker, edge)] == Embeddings.open(space.emb).table(["KIND"])["KIND"][edge].as_py()
    seen = looker.map_colours()
    for name in ("EXPTIME", "odd", "how common, on tsne"):
        looker.colour(name)
        expect(looker.tab.locator(".legend-title")).to_contain_text(name)
        expect(looker.tab.locator(".colour-bar")).to_be_visible()
        before, seen = seen, looker.map_colours()
        assert len(seen) > 50  # a ramp, not classes
        assert seen != before
    looker.colour("EXPTIME")
    expect(looker.tab.locator(".bar-ends")).to_contain_text("1,480")  # all but the uttermost
    before = looker.map_colours()
    looker.tab.get_by_role("button", name="Reverse the colour map").click()
    turned = looker.map_colours()
    assert turned != before
    looker.tab.locator(".legend").get_by_role("combobox").select_option("magma")
    assert looker.map_colours() not in (before, turned)


def test_legend_hides_a_class_and_the_objects_go_from_the_map(look: Opener) -> None:
    looker = look("#colour=KIND")
    edge = looker.outermost()
    assert looker.colour_of(edge).tolist() != looker.drawn()[0, 0].tolist()
    chip = looker.tab.locator(".chip").nth(_chip_of(looker, edge))
    chip.click()
    expect(chip).to_have_attribute("aria-pressed", "false")
    assert looker.colour_of(edge).tolist() == looker.drawn()[0, 0].tolist()


def test_hover_shows_the_cutout_and_its_value(look: Opener, space: Space) -> None:
    looker = look()
    edge = looker.outermost()
    looker.tab.mouse.move(*looker.place(edge))
    card = looker.tab.locator(".hover")
    expect(card.locator(".id")).to_have_text(space.ids[edge])
    expect(card.locator(".value")).to_contain_text("groups")
    expect(card.locator(".thumb.waiting")).to_have_count(0)
    assert len(colours(card.locator(".thumb").screenshot())) > 50
    looker.tab.mouse.move(5, 5)
    expect(card).to_be_hidden()


def test_thumbnails_become_points_when_zoomed_and_the_map_moves(look: Opener) -> None:
    looker = look()
    whole = looker.map_colours()
    x, y = looker.place(looker.outermost())
    few = len(colours(looker.stage.screenshot()))
    looker.tab.mouse.move(x, y)
    for _ in range(5):
        looker.tab.mouse.wheel(0, -300)
    looker.until("morphospace.map.overlay.pictures.length > 2")
    looker.tab.mouse.move(5, 5)
    looker.until("morphospace.map.overlay.pictures.every((row) => morphospace.ctx.thumbs.get(row))")
    assert len(colours(looker.stage.screenshot())) > 3 * few
    looker.tab.get_by_role("button", name="Pictures on the map").click()
    assert len(colours(looker.stage.screenshot())) < 2 * few
    before = looker.place(0)
    looker.drag((x, y), (x + 80, y + 30))
    assert looker.place(0) == pytest.approx((before[0] + 80, before[1] + 30), abs=2)
    looker.tab.get_by_role("button", name="Whole map").click()
    looker.until("morphospace.map.camera.zoom === 1")
    assert looker.map_colours() == whole


def test_box_lasso_and_table_select(look: Opener, space: Space) -> None:
    looker = look()
    status = looker.tab.locator(".status-text")
    box = looker.stage.bounding_box()
    left, top = box["x"], box["y"]
    looker.tab.get_by_role("button", name="Box (B)").click()
    looker.drag((left + 60, top + 2), (left + box["width"] - 2, top + box["height"] - 2))
    expect(status).to_contain_text(f"{N} selected")
    edge = looker.outermost()
    x, y = looker.place(edge)
    around = [(x - 9, y - 9), (x + 5, y - 9), (x + 5, y + 9), (x - 9, y + 9), (x - 9, y - 9)]
    looker.tab.keyboard.press("l")
    looker.tab.keyboard.down("Alt")
    looker.drag(*around)
    looker.tab.keyboard.up("Alt")
    expect(status).not_to_contain_text(f"{N} selected")
    looker.drag(*around)
    expect(looker.panel.locator("h2")).to_contain_text("selected")
    expect(looker.panel.locator(".strip .id", has_text=space.ids[edge])).to_be_visible()
    looker.tab.keyboard.press("t")
    looker.panel.get_by_role("button", name="Clear").click()
    rows = looker.tab.get_by_role("grid").locator("[data-position]")
    rows.nth(3).click(modifiers=["Control"])
    rows.nth(6).click(modifiers=["Shift"])
    expect(status).to_contain_text("4 selected")
    expect(rows.nth(5)).to_have_attribute("aria-selected", "true")
    looker.panel.get_by_role("button", name="Invert").click()
    expect(status).to_contain_text(f"{N - 4} selected")


def test_table_is_sorted_by_a_heading(look: Opener, space: Space) -> None:
    looker = look("#view=table")
    grid = looker.tab.get_by_role("grid")
    heading = grid.get_by_role("columnheader").filter(has_text="EXPTIME")
    heading.get_by_role("button").click()
    heading.get_by_role("button").click()
    expect(heading).to_have_attribute("aria-sort", "descending")
    expect(grid.locator("[data-position='0'] .id")).to_have_text(space.ids[-1])
    heading.get_by_role("button").click()
    expect(grid.locator("[data-position='0']")).to_contain_text(EVIL)  # a header's text, not a tag


def test_filter_is_that_of_the_command_line(look: Opener, space: Space) -> None:
    looker = look()
    table = Embeddings.open(space.emb).table(["KIND", "EXPTIME"])
    n = pc.sum(pc.and_(pc.equal(table["KIND"], "disc"), pc.greater(table["EXPTIME"], 500))).as_py()
    everything = looker.map_colours()
    looker.filter("KIND == 'disc' and EXPTIME > 500")
    expect(looker.tab.locator(".status-text")).to_contain_text(f"{n} match the filter")
    looker.tab.keyboard.press("Escape")
    looker.filter("EXPTIME > 1e9")
    expect(looker.tab.locator(".status-text")).to_contain_text("0 match the filter")
    assert len(looker.map_colours()) == 1  # paper
    looker.fine.append("400 (Bad Request)")
    looker.filter("nonsense > 3")
    expect(looker.tab.get_by_role("alert")).to_contain_text("nonsense")
    expect(looker.tab.get_by_label("Filter, as")).to_have_attribute("aria-invalid", "true")
    looker.tab.get_by_role("button", name="Clear the filter").click()
    expect(looker.tab.locator(".status-text")).to_have_text(f"{N} objects")
    assert looker.map_colours() == everything


def test_gallery_shows_every_picture_and_sorts_them(look: Opener, space: Space) -> None:
    looker = look("#view=gallery")
    tiles = looker.tab.get_by_role("listbox", name="Pictures").get_by_role("option")
    expect(looker.tab.locator(".tile")).to_have_count(N)
    expect(looker.tab.locator(".tile.waiting")).to_have_count(0)
    assert len(colours(tiles.first.screenshot())) > 100
    looker.tab.get_by_label("Order").select_option(label="EXPTIME")
    expect(looker.tab.get_by_role("listbox", name="Pictures")).not_to_have_attribute("aria-busy", "true")
    tiles.first.click()
    expect(looker.panel.locator("h2")).to_have_text(space.ids[-1])
    looker.tab.get_by_role("button", name="Select", exact=True).click()
    tiles.nth(1).click()
    tiles.nth(2).click()
    expect(looker.tab.locator(".status-text")).to_contain_text("2 selected")
    looker.tab.get_by_role("combobox", name="Show").select_option("selection")
    expect(looker.tab.locator(".tile")).to_have_count(2)


def test_table_loses_no_click_while_the_server_is_slow(look: Opener, space: Space) -> None:
    held: list[Any] = []
    looker = look("#view=table", routes={"**/api/table": lambda route: held.append(route)})
    grid = looker.tab.get_by_role("grid")
    grid.locator("[data-position='3']").click()  # unsorted, a line is known by its place
    expect(looker.panel.locator("h2")).to_have_text(space.ids[3])
    grid.focus()
    looker.tab.keyboard.press("End")
    looker.tab.keyboard.press("Shift+Enter")
    expect(looker.tab.locator(".status-text")).to_contain_text(f"{N - 3} selected")
    heading = grid.get_by_role("columnheader").filter(has_text="EXPTIME").get_by_role("button")
    heading.click()
    heading.click()
    grid.locator("[data-position='0']").click()  # sorted, only the server knows
    expect(looker.panel.locator("h2")).to_have_text(space.ids[3])
    for route in held:
        route.continue_()
    expect(looker.panel.locator("h2")).to_have_text(space.ids[-1])


def test_gallery_says_that_a_new_order_is_under_way(look: Opener) -> None:
    held: list[Any] = []
    looker = look("#view=gallery", routes={"**/api/column/EXPTIME": lambda route: held.append(route)})
    pictures = looker.tab.get_by_role("listbox", name="Pictures")
    looker.tab.get_by_label("Order").select_option(label="EXPTIME")
    expect(pictures).to_have_attribute("aria-busy", "true")
    for route in held:
        route.continue_()
    expect(pictures).not_to_have_attribute("aria-busy", "true")


def test_link_restores_the_view_elsewhere(look: Opener, space: Space) -> None:
    looker = look()
    looker.tab.get_by_role("combobox", name="Map", exact=True).select_option(label="three, 3-D")
    looker.tab.get_by_label("Axes").select_option("12")
    looker.colour("EXPTIME")
    looker.filter("EXPTIME > 100")
    expect(looker.tab.locator(".status-text")).to_contain_text("139 match the filter")
    looker.tab.get_by_role("tab", name="Table").click()
    looker.tab.locator("[data-position='0']").click()
    looker.tab.locator("[data-position='4']").click(modifiers=["Control"])
    looker.panel.get_by_label("Stretch").select_option("log")
    looker.tab.get_by_role("tab", name="Map").click()
    looker.tab.get_by_role("button", name="Zoom in").click()
    looker.until("location.hash.includes('at=') && location.hash.includes('pix=')")
    again = look(looker.tab.url)
    expect(again.tab.get_by_label("Axes")).to_have_value("12")
    expect(again.tab.get_by_role("combobox", name="Colour", exact=True)).to_have_value("EXPTIME")
    expect(again.tab.locator(".status-text")).to_contain_text("139 match the filter · 1 selected")
    expect(again.panel.locator("h2")).to_have_text(space.ids[11])
    expect(again.panel.get_by_label("Stretch")).to_have_value("log")
    assert again.place(20) == pytest.approx(looker.place(20), abs=1)
    assert again.map_colours() == looker.map_colours()
