"""Figures: what they show, that they take any name, and that they leave matplotlib as it was."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure
from PIL import Image

from morphospace.errors import DataError, StoreError
from morphospace.space.embeddings import Embeddings
from morphospace.space.figures import legible, plot_hits, save_figure
from morphospace.space.search import search

N = 60


@pytest.fixture
def emb():
    x = np.random.default_rng(0).normal(size=(N, 5))
    x[9] = np.nan
    names = [f"id{i}" for i in range(N)]
    names[1:4] = ["$\\frac{broken$", "名前 🌌\nwith\x1b[31m control", "x" * 200]
    return Embeddings.from_arrays(None, names, x)


@pytest.fixture
def thumbs():
    rng = np.random.default_rng(1)
    return [rng.integers(1, 255, (8 + i % 5, 12), dtype=np.uint8) for i in range(N)]


def pixels(figure, tmp_path):
    with Image.open(save_figure(figure, tmp_path / "f.png")) as picture:
        return np.asarray(picture.convert("RGB"))


def test_hits_are_drawn_with_their_names(emb, thumbs, tmp_path):
    hits = [search(emb, "id0", k=4), search(emb, "$\\frac{broken$", k=2), search(emb, emb.vectors[5], k=3)]
    figure = plot_hits(hits, thumbs, title="Nearest $x_")
    assert len(figure.axes) == 5 + 3 + 4
    texts = [t.get_text() for ax in figure.axes for t in ax.texts]
    assert "id0" in texts
    assert "a vector" in texts
    assert hits[0].ids[0][:17] in legible(" ".join(texts)) or hits[0].ids[0] in emb.ids[1:4]
    assert any(t.startswith(f"{hits[0].similarities[0]:.3f}") for t in texts)
    assert "100.00 %" not in " ".join(texts)
    drawn = figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(drawn[:, :, 0], thumbs[0])
    np.testing.assert_array_equal(figure.axes[1].images[0].get_array()[:, :, 0], thumbs[hits[0].rows[0]])
    assert pixels(figure, tmp_path).std() > 5


def test_hits_ask_for_the_rows_they_show(emb, thumbs):
    asked = []

    def some(rows):
        asked.append(list(rows))
        return [thumbs[r] for r in rows]

    hits = search(emb, ["id0", "id5"], k=3)
    plot_hits([hits], some)
    assert asked == [[0, *hits.rows.tolist()]]


def test_nothing_to_draw_is_said(emb, thumbs):
    with pytest.raises(DataError, match="no hit to draw"):
        plot_hits([], thumbs)
    with pytest.raises(DataError, match="no hit to draw"):
        plot_hits([search(emb, "id0", where="id == 'nobody'")], thumbs)


@given(st.text(max_size=20))
def test_legible_keeps_the_length(text):
    assert len(legible(text)) == len(text)
    assert legible("GG Tau β 1″") == "GG Tau β 1″"


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_save_figure(tmp_path, suffix):
    figure = Figure(figsize=(1, 1))
    path = save_figure(figure, tmp_path / "new" / f"f.{suffix}")
    assert path.stat().st_size > 100
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    save_figure(figure, path)  # a figure of before is replaced
    with pytest.raises(StoreError, match=r"must end in \.png"):
        save_figure(figure, tmp_path / "f.gif")
    with pytest.raises(StoreError, match="cannot be written"):
        save_figure(figure, path / "inside.png")


def test_pyplot_is_never_imported():
    code = "import sys, morphospace.space.map_figure; print('matplotlib.pyplot' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
