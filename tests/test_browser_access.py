"""Who can use the page: by keys alone, with a screen reader, in the light and in the dark, wide and narrow."""

from __future__ import annotations

import re

import numpy as np
import pytest

from browser import N, Opener, Space, expect

pytest_plugins = ["browser_pages"]

CONTROLS = "button|link|combobox|textbox|checkbox|spinbutton|slider|tab|img|dialog"
WIDTHS = [(1280, 800), (390, 780)]
VIEWS = [
    "",
    "view=gallery",
    "view=table",
    "panel=selection&sel=1.2.3",
    "panel=query&like=4",
    "panel=clusters",
    "panel=odd",
]


def test_keys_alone_find_an_object_select_it_and_ask_for_more(look: Opener, space: Space) -> None:
    looker = look()
    press = looker.tab.keyboard.press
    press("Tab")
    press("Enter")  # the link past the header
    expect(looker.stage).to_be_focused()
    for key in ("ArrowLeft", "ArrowUp", "+", "Enter"):
        press(key)
    expect(looker.panel.locator("h2")).to_contain_text("sim-")
    name = looker.panel.locator("h2").inner_text()
    expect(looker.tab.locator("[aria-live=polite]")).to_contain_text(name)
    press("s")
    expect(looker.tab.locator(".status-text")).to_contain_text("1 selected")
    press("y")
    expect(looker.tab.get_by_role("tab", name="Query")).to_have_attribute("aria-selected", "true")
    expect(looker.panel.locator(".like .example")).to_have_count(1)
    press("g")
    expect(looker.tab.locator(".tile.waiting")).to_have_count(0)
    looker.tab.get_by_role("listbox", name="Pictures").focus()
    for key in ("ArrowRight", "ArrowRight", "ArrowDown", "ArrowUp", "Space"):
        press(key)
    expect(looker.tab.locator(".status-text")).to_contain_text("2 selected")
    press("t")
    looker.tab.get_by_role("grid").focus()
    for key in ("ArrowDown", "ArrowDown", "ArrowDown", "Enter"):
        press(key)
    expect(looker.tab.locator("[data-position='3']")).to_have_class(re.compile("chosen"))
    press("/")
    expect(looker.tab.get_by_label(re.compile("^Filter"))).to_be_focused()
    looker.tab.keyboard.type("EXPTIME < 100")
    press("Enter")
    expect(looker.tab.locator(".status-text")).to_contain_text("10 match the filter")
    looker.tab.get_by_role("tab", name="Table").focus()
    press("ArrowLeft")
    expect(looker.tab.get_by_role("tab", name="Gallery")).to_be_focused()
    expect(looker.tab.get_by_role("tab", name="Gallery")).to_have_attribute("aria-selected", "true")
    press("?")
    expect(looker.tab.get_by_role("dialog", name="Keyboard")).to_contain_text("lasso")
    press("Escape")
    expect(looker.tab.get_by_role("dialog")).to_have_count(0)
    press("Escape")
    press("Escape")
    expect(looker.tab.locator(".status-text")).not_to_contain_text("selected")


@pytest.mark.parametrize(
    "where", ["row=4", "view=gallery&panel=clusters", "view=table&panel=odd", "panel=query&like=4"]
)
def test_every_control_has_a_name_and_landmarks_are_there(look: Opener, where: str) -> None:
    looker = look(f"#{where}")
    looker.tab.wait_for_load_state("networkidle")
    tree = looker.tab.locator("body").aria_snapshot()
    nameless = re.findall(
        r"^\s*- (?:button|link|combobox|textbox|checkbox|spinbutton|slider|tab|img|dialog)(?: \[.*\])?:?$", tree, re.M
    )
    assert nameless == []
    for landmark in ("banner", "main", "complementary", "contentinfo"):
        assert f"- {landmark}" in tree
    assert looker.tab.locator("html").get_attribute("lang") == "en"
    doubled = looker.tab.evaluate(
        "(() => { const all = [...document.querySelectorAll('[id]')].map((e) => e.id);"
        " return all.filter((id, i) => all.indexOf(id) !== i) })()"
    )
    assert doubled == []
    pointing = looker.tab.evaluate(
        "[...document.querySelectorAll('[aria-controls],[aria-labelledby],[aria-describedby]')].flatMap((e) =>"
        " ['aria-controls', 'aria-labelledby', 'aria-describedby'].map((a) => e.getAttribute(a)))"
        ".filter((id) => id && !document.getElementById(id))"
    )
    assert pointing == []


def _contrast(a: list[float], b: list[float]) -> float:
    """Contrast of two colours, 1 to 21 (WCAG 2.2, relative luminance)."""

    def luminance(colour: list[float]) -> float:
        c = np.array(colour) / 255
        return float(np.dot([0.2126, 0.7152, 0.0722], np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)))

    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


_TEXTS = """[...document.querySelectorAll('header *, aside *, footer *, .legend *')].filter((e) =>
    e.offsetParent && !e.closest('svg, option') && !e.matches(':disabled, :disabled *')
    && [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim())).map((e) => {
    const parts = (colour) => colour.match(/[\\d.]+/g).map((v, i) => v * (i < 3 && colour.startsWith('color(') ? 255 : 1));
    let behind = e;
    while (behind && (parts(getComputedStyle(behind).backgroundColor)[3] ?? 1) < 0.5) behind = behind.parentElement;
    return [e.textContent, parts(getComputedStyle(e).color).slice(0, 3),
        behind ? parts(getComputedStyle(behind).backgroundColor).slice(0, 3) : [255, 255, 255]];
})"""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_text_can_be_read_and_the_theme_follows_the_system_until_changed(look: Opener, theme: str) -> None:
    looker = look("#row=4", color_scheme=theme)
    expect(looker.tab.locator("body")).to_have_attribute("data-theme", theme)
    looker.tab.wait_for_load_state("networkidle")
    texts = looker.tab.evaluate(_TEXTS)
    assert len(texts) > 30
    assert [(text, ink, paper) for text, ink, paper in texts if _contrast(ink, paper) < 4.5] == []
    paper = looker.drawn()[0, 0].mean()
    assert (paper > 200) == (theme == "light")
    looker.tab.get_by_role("button", name="Light or dark").click()
    assert (looker.drawn()[0, 0].mean() > 200) == (theme == "dark")
    looker.tab.reload()
    expect(looker.tab.locator("[data-ready=true]")).to_have_attribute(
        "data-theme", "dark" if theme == "light" else "light"
    )


@pytest.mark.parametrize("size", WIDTHS)
def test_nothing_sticks_out_at_any_width(look: Opener, size: tuple[int, int]) -> None:
    looker = look(size=size, has_touch=True)
    for view in VIEWS:
        looker.tab.evaluate(f"location.hash = 'row=4&{view}'")
        looker.tab.wait_for_timeout(150)
        if size[0] < 800:
            looker.tab.evaluate("morphospace.store.set({sheet: true})")
        assert looker.tab.evaluate("document.documentElement.scrollWidth") <= size[0]
        wide = looker.tab.evaluate(
            "[...document.querySelectorAll('header *, aside *')].filter((e) => e.offsetParent && !e.closest('.only-read, svg')"
            " && e.getBoundingClientRect().right > innerWidth + 1).map((e) => e.outerHTML.slice(0, 80))"
        )
        assert wide == [], view


def test_a_finger_chooses_zooms_and_opens_the_sheet(look: Opener, space: Space) -> None:
    looker = look(size=WIDTHS[1], has_touch=True)
    looker.tab.touchscreen.tap(*next(at for at in map(looker.place, range(N)) if looker.is_map(at)))
    expect(looker.panel.locator("h2")).to_contain_text("sim-")
    looker.tab.get_by_role("tab", name="Object").tap()
    expect(looker.tab.locator("#panel-object")).to_be_hidden()
    looker.tab.get_by_role("button", name="Zoom in").tap()
    looker.until("morphospace.map.camera.zoom > 1.5")
    looker.tab.get_by_role("tab", name="Gallery").tap()
    expect(looker.tab.locator(".tile").first).to_be_visible()
    looker.tab.get_by_role("button", name="Select", exact=True).tap()
    looker.tab.locator(".tile").nth(1).tap()
    expect(looker.tab.get_by_role("tab", name="Selection")).to_contain_text("1")
