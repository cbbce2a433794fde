"""One object in a browser: its pixels, sky, columns and kin; queries, dropped files, clusters and the odd ones."""

from __future__ import annotations

import base64
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from browser import EVIL, SIDE, TILTED, K, Looker, N, Opener, Space, colours, expect
from morphospace.space.embeddings import Embeddings
from morphospace.space.kept import kept
from morphospace.space.search import search

pytest_plugins = ["browser_pages"]


def _picture(looker: Looker) -> np.ndarray:
    """The pixels of the picture that is shown, (H, W, 4)."""
    return looker.pixels(looker.panel.locator("canvas.picture").first)


def test_stretch_limits_colour_map_and_bands_change_the_pixels(look: Opener) -> None:
    looker = look("#row=3")
    panel = looker.panel
    expect(panel.locator(".caption")).to_contain_text(f"{SIDE} × {SIDE} px")
    seen = [_picture(looker)]

    def changed() -> None:
        now = _picture(looker)
        assert all((now != before).any() for before in seen)
        seen.append(now)

    for curve in ("linear", "sqrt", "log"):
        panel.get_by_label("Stretch").select_option(curve)
        changed()
    for name, value in (("Low %", "30"), ("High %", "90"), ("Clip", "2")):
        panel.get_by_label(name).fill(value)
        changed()
    assert panel.get_by_label("Colour map").is_disabled()  # three bands are a colour picture
    assert not _is_grey(seen[-1])
    panel.get_by_label("Bands").select_option(label="band 1")
    changed()
    assert _is_grey(seen[-1])
    panel.get_by_label("Colour map").select_option("magma")
    changed()
    assert not _is_grey(seen[-1])
    panel.get_by_label("Reverse").check()
    changed()
    panel.get_by_role("button", name="Reset").click()
    assert (_picture(looker) == seen[0]).all()
    expect(panel.get_by_label("Bands")).to_have_value(re.compile(r"^\d,\d,\d$"))


def _is_grey(pixels: np.ndarray) -> bool:
    inner = pixels[20:-60, 20:-60, :3].astype(int)
    return bool((np.ptp(inner, axis=2) <= 2).all())


def test_limits_out_of_order_are_refused(look: Opener) -> None:
    looker = look("#row=3")
    expect(looker.panel.locator(".caption")).to_contain_text("px")
    before = _picture(looker)
    looker.panel.get_by_label("Low %").fill("99.9")
    expect(looker.panel.get_by_label("Low %")).to_have_attribute("aria-invalid", "true")
    assert (_picture(looker) == before).all()


def test_north_is_up_with_a_scale_bar_and_can_be_left_as_stored(look: Opener, space: Space) -> None:
    looker = look(f"#row={TILTED}")
    caption = looker.panel.locator(".caption")
    expect(caption).to_contain_text("px")
    turned = _picture(looker)
    looker.panel.get_by_label("North up").uncheck()
    expect(caption).to_contain_text("as stored")
    stored = _picture(looker)
    # the middle of the picture holds pixels alone; CROTA2 = 90 deg is a quarter turn
    middle = np.s_[100:-100, 100:-100, :3]
    assert (np.abs(np.rot90(stored, 1)[middle].astype(int) - turned[middle]).mean() < 3) or (
        np.abs(np.rot90(stored, -1)[middle].astype(int) - turned[middle]).mean() < 3
    )
    assert np.abs(stored[middle].astype(int) - turned[middle]).mean() > 3
    # the white scale bar near the lower left corner: pixels of 1 arcsec, so a bar of 10 arcsec is a quarter of 40 pixels
    side = len(turned)
    line = (turned[int(0.95 * side), : side // 2, :3] == 255).all(axis=1)
    assert line.sum() == pytest.approx(side * 10 / SIDE, abs=6)


def test_columns_position_and_hostile_header_are_shown_as_text(look: Opener, space: Space) -> None:
    looker = look("#row=0")
    panel = looker.panel
    expect(panel.locator("h2")).to_have_text(space.ids[0])
    expect(panel.locator("p", has_text=EVIL)).to_be_visible()
    for name, value in (("EXPTIME", "0"), ("KIND", None), ("pixel scale", "1″"), ("size", f"3 × {SIDE} × {SIDE}")):
        fact = panel.locator("dt", has_text=re.compile(f"^{name}$")).locator("xpath=following-sibling::dd[1]")
        expect(fact).to_have_text(value if value else re.compile("disc|galaxy|double"))
    known = Embeddings.open(space.emb).table(["ra", "dec"])
    expect(panel).to_contain_text(f"{known['ra'][0].as_py():.5f}°, {known['dec'][0].as_py():.5f}°")
    assert panel.locator("script, b, i").count() == 0


def test_links_open_elsewhere_and_only_when_clicked(look: Opener) -> None:
    looker = look("#row=8", abroad=True)
    links = looker.panel.get_by_role("link")
    expect(links).to_have_text(["Aladin", "SIMBAD", "Legacy viewer"])
    hosts = ["aladin.cds.unistra.fr", "simbad.cds.unistra.fr", "www.legacysurvey.org"]
    ra = looker.tab.evaluate("morphospace.ctx.rows.peek(8).ra").__format__(".6f")
    for link, host in zip(links.all(), hosts, strict=True):
        assert link.get_attribute("rel") == "noreferrer noopener"
        assert link.get_attribute("target") == "_blank"
        assert (link.get_attribute("href") or "").startswith(f"https://{host}/")
        assert ra in (link.get_attribute("href") or "")
        link.hover()
    assert looker.abroad == []
    with looker.tab.context.expect_page() as opened:
        links.first.click()
    opened.value.wait_for_load_state()
    assert [url.split("/")[2] for url in looker.abroad] == hosts[:1]
    assert opened.value.evaluate("[window.opener, document.referrer]") == [None, ""]


def test_neighbours_are_those_of_search_and_can_be_walked(look: Opener, space: Space) -> None:
    looker = look("#row=4")
    names = looker.panel.locator(".strip .id")
    hits = search(Embeddings.open(space.emb), space.ids[4], k=12)
    expect(names).to_have_text([name for name in hits.ids if name != space.ids[4]])
    expect(looker.panel.locator(".strip .waiting")).to_have_count(0)
    assert len(colours(looker.panel.locator(".strip .thumb").first.screenshot())) > 50
    second = names.nth(1).inner_text()
    looker.panel.locator(".strip .card").nth(1).click()
    expect(looker.panel.locator("h2")).to_have_text(second)


def test_query_follows_yes_and_no(look: Opener, space: Space) -> None:
    emb = Embeddings.open(space.emb)
    looker = look("#row=4")
    looker.panel.get_by_role("button", name="More like this (Y)").click()
    names = looker.panel.locator(".strip .id")
    expect(names).to_have_text(search(emb, space.ids[4], k=48).ids[:48])
    looker.panel.get_by_label("How many").fill("20")
    looker.panel.get_by_label("How many").press("Enter")
    expect(names).to_have_count(20)
    first = names.first.inner_text()
    looker.panel.locator(".strip li").first.hover()
    looker.panel.locator(".strip li").first.get_by_label("Less like this").click()
    expect(looker.panel.locator(".unlike .example")).to_have_count(1)
    expect(names).to_have_text(search(emb, space.ids[4], not_like=first, k=20).ids)
    looker.filter("KIND == 'disc'")
    expect(names).to_have_text(search(emb, space.ids[4], not_like=first, k=20, where="KIND == 'disc'").ids)
    looker.panel.get_by_role("button", name="Select them").click()
    expect(looker.tab.locator(".status-text")).to_contain_text("20 selected")


def test_what_makes_a_pair_alike_is_laid_over_the_pictures(look: Opener) -> None:
    looker = look("#row=4")
    card = looker.panel.locator(".strip li").first
    card.hover()
    card.get_by_label("What makes them alike?").click()
    dialog = looker.tab.get_by_role("dialog")
    expect(dialog).to_contain_text("Covering the pictures")
    plain = looker.pixels(dialog.locator("canvas").first)
    expect(dialog).to_contain_text("Orange: where", timeout=60_000)
    heated = looker.pixels(dialog.locator("canvas").first)
    assert (heated != plain).any()
    dialog.get_by_role("button", name="Close").click()
    expect(dialog).to_be_hidden()


def _drop(tab: Any, name: str, content: bytes) -> None:
    """Drag a file onto the page and let go."""
    carried = tab.evaluate_handle(
        """([name, text]) => {
            const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
            const carried = new DataTransfer();
            carried.items.add(new File([bytes], name));
            return carried;
        }""",
        [name, base64.b64encode(content).decode()],
    )
    tab.dispatch_event("body", "dragenter", {"dataTransfer": carried})
    expect(tab.get_by_text("Drop the image to see")).to_be_visible()
    tab.dispatch_event("body", "drop", {"dataTransfer": carried})


def test_dropped_file_is_placed_and_its_neighbours_are_shown(look: Opener, space: Space, tmp_path: Path) -> None:
    looker = look()
    looker.fine.append("400 (Bad Request)")  # what is no image is refused
    before = looker.pixels(looker.tab.locator("canvas.overlay"))
    _drop(looker.tab, space.new.name, space.new.read_bytes())
    panel = looker.panel
    expect(panel.locator("h2")).to_have_text("<b>new.fits", timeout=60_000)
    expect(panel.locator(".strip .id").first).to_have_text(space.ids[7])  # it is a copy of that one
    expect(panel.locator(".strip .note").first).to_have_text("1.000")
    expect(panel.locator(".caption")).to_contain_text(f"{SIDE} × {SIDE} px")
    assert _picture(looker).any()
    assert (looker.pixels(looker.tab.locator("canvas.overlay")) != before).any()  # the star
    assert looker.tab.locator("b").count() == 0
    table = tmp_path / "table.fits"
    fits.BinTableHDU.from_columns([fits.Column("a", "E", array=[1.0])]).writeto(table)
    for name, content in (("table.fits", table.read_bytes()), ("bad.fits", b"hello"), ("page.html", b"<html>")):
        _drop(looker.tab, name, content)
        expect(looker.tab.get_by_role("alert").last).to_contain_text(name)


def test_cluster_gallery_shows_members_and_selects_them(look: Opener, space: Space) -> None:
    looker = look()
    panel = looker.open_panel("Clusters")
    labels = kept(Embeddings.open(space.emb), "clusters")["groups"].table["label"].to_numpy()
    expect(panel.locator(".cluster")).to_have_count(K)
    expect(panel.locator(".cluster .waiting")).to_have_count(0)
    largest = int(np.bincount(labels).argmax())
    shown = panel.locator(".cluster").filter(has=looker.tab.get_by_role("heading", name=f"Cluster {largest}"))
    expect(panel.locator(".id", has_text="…")).to_have_count(0)
    typical = shown.locator(".id").all_text_contents()
    assert len(typical) == 12
    assert {labels[space.ids.index(name)] for name in typical} == {largest}
    shown.get_by_role("button", name="Select").click()
    expect(looker.tab.locator(".status-text")).to_contain_text(f"{(labels == largest).sum()} selected")
    panel.get_by_role("combobox", name="Members").select_option("random")
    expect(shown.locator(".id").first).not_to_have_text(typical[0])
    expect(panel.locator(".id", has_text="…")).to_have_count(0)
    random = shown.locator(".id").all_text_contents()
    assert random != typical
    assert {labels[space.ids.index(name)] for name in random} == {largest}
    panel.locator(".figures, summary").first.click()
    expect(panel).to_contain_text("silhouette")


def test_odd_ones_come_with_their_rank_and_reason(look: Opener, space: Space) -> None:
    looker = look()
    panel = looker.open_panel("Odd ones")
    table = kept(Embeddings.open(space.emb), "anomalies")["odd"].table
    ranks = table["rank"].to_numpy()
    oddest = int(ranks.argmin())
    first = panel.get_by_role("listitem").first
    expect(first).to_contain_text(space.ids[oddest])
    expect(first).to_contain_text(table["reason"][oddest].as_py())
    expect(panel.get_by_role("listitem")).to_have_count(50)
    panel.get_by_role("button", name="More").click()
    expect(panel.get_by_role("listitem")).to_have_count(100)
    first.get_by_role("button").click()
    expect(looker.open_panel("Object").locator("h2")).to_have_text(space.ids[oddest])
    assert N > 100
