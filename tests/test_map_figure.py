"""The map as a figure: what lies where, nothing over another, colours, masked thumbnails."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgb
from PIL import Image

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.space.cluster import cluster
from morphospace.space.embeddings import Embeddings
from morphospace.space.figures import save_figure
from morphospace.space.map_colours import GREY, colours_of
from morphospace.space.map_figure import plot_map, spread_out
from morphospace.space.masked import masked_thumbs
from morphospace.space.project import Projection, project

N = 60


@pytest.fixture
def emb():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 5))
    x[9] = np.nan
    names = [f"id{i}" for i in range(N)]
    size = rng.lognormal(size=N)
    size[3] = np.nan
    kind = [["spiral", "ring", "$\\frac{broken$"][i % 3] for i in range(N - 1)] + [None]
    columns = {"size": size, "kind": kind, "many": list(range(N)), "good": [i % 2 == 0 for i in range(N)]}
    return Embeddings.from_arrays(None, names, x, {**columns, "lists": [[1.0]] * N})


@pytest.fixture
def thumbs():
    rng = np.random.default_rng(1)
    return [rng.integers(1, 255, (8 + i % 5, 12), dtype=np.uint8) for i in range(N)]


def pixels(figure, tmp_path):
    with Image.open(save_figure(figure, tmp_path / "f.png")) as picture:
        return np.asarray(picture.convert("RGB"))


def at(xy, method="tsne"):
    """A projection with these coordinates."""
    emb = Embeddings.from_arrays(None, [f"id{i}" for i in range(len(xy))], xy)
    told = {"metric": "cosine", "perplexity": 30.0}
    return Projection(tuple(emb.ids), np.asarray(xy, float), np.empty(0), method, told, emb)


# ---- the figure


def test_map_shows_all_rows_as_thumbnails_or_dots(emb, thumbs, tmp_path):
    asked = []

    def some(rows):
        asked.extend(rows)
        return [thumbs[r] for r in rows]

    figure = plot_map(project(emb), some, color=cluster(emb, k=3, resamples=0).labels, title="A map of $x_")
    (ax,) = figure.axes
    assert ax.get_xlabel().startswith("PC 1 (")
    assert len(ax.collections[0].get_offsets()) + len(asked) == N - 1  # the row without a vector is left out
    assert len(set(asked)) == len(asked) > 10
    assert 9 not in asked
    assert [t.get_text()[:2] for t in ax.get_legend().get_texts()] == ["0 ", "1 ", "2 ", "no"]
    assert pixels(figure, tmp_path).std() > 5


def test_map_without_pictures_has_a_dot_for_each(emb, tmp_path):
    figure = plot_map(project(emb), color="size")
    ax, bar = figure.axes
    assert len(ax.collections[0].get_offsets()) == N - 1
    assert not ax.images
    assert bar.get_ylabel() == "size"
    assert pixels(figure, tmp_path).std() > 5


def test_map_tells_how_it_was_made():
    ax = plot_map(at(np.random.default_rng(0).normal(size=(30, 2)))).axes[0]
    assert ax.get_xlabel() == "t-SNE of 30 objects, cosine metric, perplexity 30"


def test_map_takes_bad_and_degenerate_input(emb, thumbs, tmp_path):
    with pytest.raises(ShapeError, match="two axes"):
        plot_map(project(emb, dims=1), thumbs)
    with pytest.raises(ShapeError, match="color must be one value for each of the 60 rows; got 3"):
        plot_map(project(emb), thumbs, color=np.zeros(3, int))
    point = Embeddings.from_arrays(None, ["a", "b"], np.ones((2, 3)))
    assert pixels(plot_map(project(point), thumbs), tmp_path).std() > 0
    line = Embeddings.from_arrays(None, ["a", "b", "c"], np.outer([1, 2, 3], [1, 0, 0]))
    assert pixels(plot_map(project(line), thumbs), tmp_path).std() > 0


@pytest.mark.parametrize("suffix", ["pdf", "svg"])
def test_map_keeps_vectors_in_a_vector_file(emb, tmp_path, suffix):
    path = save_figure(plot_map(project(emb), color="kind", title="Shapes"), tmp_path / f"m.{suffix}")
    text = path.read_bytes()
    assert b"<image" not in text
    assert b"/Subtype /Image" not in text
    assert len(text) > 5000


def test_map_paints_each_thumbnail_where_its_object_is():
    xy = np.array([[0.0, 0.0], [10.0, 0.0], [0.0, 5.0], [10.0, 5.0]])
    flat = [np.full((10, 10), value, np.uint8) for value in (50, 100, 150, 200)]
    ax = plot_map(at(xy), flat).axes[0]
    canvas, (left, right, bottom, top) = ax.images[0].get_array(), ax.images[0].get_extent()
    for (x, y), thumb in zip(xy, flat, strict=True):
        column = int((x - left) / (right - left) * canvas.shape[1])
        row = int((top - y) / (top - bottom) * canvas.shape[0])
        assert canvas[row, column].tolist() == [thumb[0, 0]] * 3 + [255]


def painted(tile, colour):
    """The middle of the map's canvas for one object with this picture and colour."""
    canvas = plot_map(at(np.array([[0.0, 0.0], [9.0, 9.0]])), [tile, tile], color=colour).axes[0].images[0].get_array()
    return canvas[canvas[:, :, 3].any(axis=1)][:, canvas[:, :, 3].any(axis=0)]


def test_colour_frames_tints_or_edges_a_thumbnail():
    words = np.array(["a", "b"])
    rgb = colours_of(words, at(np.zeros((2, 2))).embeddings).rgb
    opaque = painted(np.full((20, 20), 90, np.uint8), words)
    drawn = {tuple(c) for c in opaque[opaque[:, :, 3] > 0][:, :3].tolist()}
    assert drawn == {(90, 90, 90), *(tuple(np.rint(255 * c).astype(int).tolist()) for c in rgb)}
    grey = np.zeros((40, 40, 4), np.uint8)
    grey[10:30, 10:30] = [140, 140, 140, 255]
    tinted = painted(grey, words)
    assert np.abs(tinted[tinted[:, :, 3] == 255][:, :3].astype(int) - 255 * rgb[0] * (140 / 255 / 0.6)).min() < 3
    red = grey.copy()
    red[:, :, 1:3] = 0
    edged = painted(red, words)
    solid = edged[edged[:, :, 3] > 200][:, :3].astype(int)
    assert (np.abs(solid - [140, 0, 0]).max(axis=1) < 5).any()  # the object keeps its colour
    assert (np.abs(solid - 255 * rgb[0]).max(axis=1) < 60).any()  # and has an edge of the other
    assert edged[:2, :2, 3].max() == 0


@settings(max_examples=30)
@given(st.integers(1, 300), st.integers(0, 99))
def test_spread_out_points_do_not_overlap_and_leave_no_room(n, seed):
    xy = np.random.default_rng(seed).normal(size=(n, 2))
    chosen = spread_out(xy, 0.3, 0.27)
    apart = np.abs(xy[:, None] - xy[chosen][None]).max(axis=2)
    among = apart[chosen]
    among[np.diag_indices(len(chosen))] = np.inf
    assert len(chosen) == 1 or among.min() >= 0.27
    assert (apart.min(axis=1) < 0.27).all()  # each other point would overlap one that was taken


# ---- colours


def test_numbers_make_a_scale(emb):
    found = colours_of("size", emb)
    scale, ramp = found.scale
    sizes = emb.table(["size"])["size"].to_numpy()
    assert (scale.vmin, scale.vmax) == pytest.approx(tuple(np.nanquantile(sizes, [0.02, 0.98])))
    assert found.rgb[3] == pytest.approx(GREY)  # NaN
    assert found.rgb[5] == pytest.approx(ramp(scale(sizes[5]))[:3])
    assert not found.legend
    assert colours_of("many", emb).scale is not None
    assert colours_of(np.ones(N), emb).scale[0].vmin == 0.5
    assert colours_of(np.full(N, np.nan), emb).scale is not None


def test_words_make_a_legend(emb):
    found = colours_of("kind", emb)
    assert [label for label, _ in found.legend] == ["$\\frac{broken$ (19)", "ring (20)", "spiral (20)", "none (1)"]
    assert found.rgb[0] == pytest.approx(found.legend[2][1])
    assert [label for label, _ in colours_of("good", emb).legend] == ["False (30)", "True (30)"]
    labels = np.arange(N) % 3 - 1
    assert [label for label, _ in colours_of(labels, emb).legend] == ["0 (20)", "1 (20)", "none (20)"]
    rare = np.array([f"k{min(i, 14):02d}" for i in range(N)])
    legend = colours_of(rare, emb).legend
    assert len(legend) == 13
    assert legend[-1] == ("other (3)", GREY)
    assert len({colour for _, colour in legend}) == 13
    assert colours_of(pa.array(rare).dictionary_encode().to_numpy(zero_copy_only=False), emb).legend == legend


def test_density_is_a_share_of_all_shapes(emb):
    found = colours_of("density", emb)
    assert (found.scale[0].vmin, found.scale[0].vmax) == (0, 100)
    assert "commoner" in found.name
    assert found.rgb[9] == pytest.approx(GREY)
    assert colours_of(None, emb).rgb == pytest.approx(np.tile(to_rgb("#8b93a1"), (N, 1)))


@pytest.mark.parametrize(
    "color,error,words",
    [
        ("sise", ConfigError, "unknown column 'sise'.*did you mean 'size'"),
        ("lists", ConfigError, "'lists' holds list<.*>, which has no colour"),
        (np.zeros((N, 2)), ShapeError, r"got shape \(60, 2\)"),
        (np.array([object()] * N), DataError, "must hold numbers or words"),
    ],
)
def test_what_has_no_colour_is_said(emb, color, error, words):
    with pytest.raises(error, match=words):
        colours_of(color, emb)


# ---- masked thumbnails


def store_of(path, *images, **known):
    with CutoutsWriter(path) as writer:
        for i, image in enumerate(images):
            writer.append(Cutout(f"id{i}", image, **known))
    cuts = Cutouts.open(path)
    return cuts, Embeddings.from_arrays(None, list(reversed(cuts.ids)), np.eye(len(cuts)) + 1)


def sky(*blobs, size=80, bands=1):
    image = np.random.default_rng(4).normal(size=(bands, size, size)).astype(np.float32)
    for y, x, height, width in blobs:
        image[:, y : y + height, x : x + width] += 50
    return image


def test_masked_thumbs_show_the_object_in_the_middle(tmp_path):
    one = sky((35, 30, 10, 20), (2, 2, 6, 6))  # with another in the corner
    cuts, emb = store_of(tmp_path / "a.cutouts", one, sky((38, 38, 4, 4), bands=3))
    colour, grey = masked_thumbs(cuts, emb)([0, 1])  # the embeddings are in another order
    assert grey.shape[2] == colour.shape[2] == 4
    assert 20 < max(grey.shape[:2]) < 32  # cropped to the object of 10 x 20 pixels
    opaque = grey[:, :, 3] == 255
    height, width = np.ptp(np.argwhere(opaque), axis=0) + 1
    assert (height, width) == (12, 22)  # and a pixel around
    assert grey[opaque][:, 0].mean() > 150
    assert grey[0, 0, 3] == grey[-1, -1, 3] == 0
    assert max(colour.shape[:2]) <= 16


def test_masked_thumbs_keep_both_lobes_and_the_right_way_up(tmp_path):
    lobes = sky((38, 15, 6, 6), (38, 59, 6, 6), (30, 59, 8, 2))
    cuts, emb = store_of(tmp_path / "a.cutouts", lobes, lobes, hdu="0")
    (thumb,) = masked_thumbs(cuts, emb)([0])
    opaque = np.argwhere(thumb[:, :, 3] == 255)
    assert np.ptp(opaque[:, 1]) + 1 == 52
    lower = opaque[opaque[:, 1] > thumb.shape[1] / 2, 0].mean()
    assert lower > opaque[opaque[:, 1] < thumb.shape[1] / 2, 0].mean()  # rows of FITS images run upwards


def test_masked_thumbs_of_blank_and_faint_images(tmp_path):
    blank = np.full((1, 20, 30), np.nan, np.float32)
    cuts, emb = store_of(tmp_path / "a.cutouts", blank, np.zeros((1, 20, 30), np.float32))
    faint, nothing = masked_thumbs(cuts, emb)([0, 1])
    assert nothing.shape == (20, 30, 4)
    assert nothing[:, :, 3].max() == 0
    assert faint[:, :, 3].min() == 255  # nothing stands out: shown whole
    other = Embeddings.from_arrays(None, ["absent"], [[1.0]])
    with pytest.raises(DataError, match=r"1 of 1 embeddings are not in the cutouts, e.g. 'absent'"):
        masked_thumbs(cuts, other)
