"""The built page in the package: small, whole, asks no other host, and is what its sources give."""

from __future__ import annotations

import base64
import filecmp
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import morphospace

STATIC = Path(morphospace.__file__).parent / "explore" / "static"
PAGE = Path(__file__).parents[1] / "page"
BUILT = ["index.html", "single.html", "widget.js", "assets/page.js", "assets/page.css", "THIRD_PARTY.txt"]
LINKED = {"aladin.cds.unistra.fr", "simbad.cds.unistra.fr", "www.legacysurvey.org"}  # opened by a click only
NAMES = {"www.w3.org"}  # a namespace, not an address
SCRIPTS = ["assets/page.js", "widget.js", "single.html"]


def _text(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf8")


def test_page_has_its_files_and_no_more() -> None:
    assert sorted(str(p.relative_to(STATIC)) for p in STATIC.rglob("*") if p.is_file()) == sorted(BUILT)


def test_page_is_small() -> None:
    assert (STATIC / "assets/page.js").stat().st_size + (STATIC / "assets/page.css").stat().st_size < 400_000
    assert (STATIC / "single.html").stat().st_size < 400_000
    assert (STATIC / "widget.js").stat().st_size < 400_000


@pytest.mark.parametrize("name", BUILT[:-1])
def test_page_names_no_other_host(name: str) -> None:
    hosts = set(re.findall(r"(?:https?:|wss?:)?//([a-z0-9-]+(?:\.[a-z0-9-]+)+)", _text(name)))
    assert hosts <= LINKED | NAMES


@pytest.mark.parametrize("name", SCRIPTS)
def test_page_builds_no_code_and_no_markup_from_strings(name: str) -> None:
    for word in (
        "eval(",
        "new Function",
        "Function(",
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
    ):
        assert not re.search(rf"(?<![\w$]){re.escape(word)}", _text(name)), word
    assert "sourceMappingURL" not in _text(name)


def test_index_has_one_place_for_the_token_and_no_inline_script() -> None:
    html = _text("index.html")
    assert html.count("__MORPHOSPACE_TOKEN__") == 1
    assert re.findall(r"<script[^>]*>(.*?)</script>", html, flags=re.S) == [""]
    assert re.findall(r'(?:src|href)="([^"]+)"', html) == ["data:,", "./assets/page.js", "./assets/page.css"]


def test_single_file_allows_its_own_script_only() -> None:
    html = _text("single.html")
    assert html.count("<!--MORPHOSPACE-DATA-->") == 1
    (script,) = re.findall(r"<script>(.*?)</script>", html, flags=re.S)
    told = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)
    assert policy is not None
    assert f"script-src 'sha256-{told}'" in policy[1]
    assert "connect-src 'none'" in policy[1]
    assert "default-src 'none'" in policy[1]


def test_lock_file_names_no_registry() -> None:
    if not PAGE.is_dir():
        pytest.skip("the sources of the page are not beside this installation")
    lock = json.loads((PAGE / "package-lock.json").read_text(encoding="utf8"))
    assert not [name for name, package in lock["packages"].items() if "resolved" in package]


def _bundled() -> set[str]:
    """Packages that the sources import at run time: those of `dependencies`; the others build only."""
    return set(json.loads((PAGE / "package.json").read_text(encoding="utf8")).get("dependencies", {}))


def test_licences_of_what_is_bundled_are_told() -> None:
    if not PAGE.is_dir():
        pytest.skip("the sources of the page are not beside this installation")
    told = _text("THIRD_PARTY.txt")
    assert "viridis" in told
    for name in _bundled():
        assert name in told
    assert bool(_bundled()) != ("No package of others is bundled" in told)


def test_building_again_gives_the_committed_files(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None or not (PAGE / "node_modules" / "vite").is_dir():
        pytest.skip("needs Node and `npm ci` in page/")
    done = subprocess.run(
        [node, "build.mjs", str(tmp_path)], cwd=PAGE, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert filecmp.cmpfiles(STATIC, tmp_path, BUILT, shallow=False)[0] == BUILT
