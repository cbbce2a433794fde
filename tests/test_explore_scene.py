"""What the page is made of: maps, columns, pixels, north and east, sheets, the page as one file, ports, the notebook."""

from __future__ import annotations

import base64
import io
import json
import logging
import math
import re
import socket
import threading
import time
import urllib.request
import warnings

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.wcs import WCS
from astropy.wcs.utils import pixel_to_skycoord, skycoord_to_pixel
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from sklearn.decomposition import PCA

import explore_server as small
import morphospace as ms
from explore_server import EVIL, N
from morphospace.cli import main
from morphospace.errors import ConfigError, DataError, ShapeError, StoreError
from morphospace.explore import app, maps, serve, standalone
from morphospace.explore.columns import describe, encode
from morphospace.explore.explore import explore, open_scene
from morphospace.explore.maps import crowding, principal_axes, scaled
from morphospace.explore.pixels import orientation, pixels_of, shrunk
from morphospace.explore.results import describe_clusters
from morphospace.explore.sprites import sheet
from morphospace.explore.standalone import page_data, write_page
from morphospace.explore.widget import map_widget
from morphospace.sky.cutouts import Cutout, CutoutsWriter
from morphospace.space.density import density
from morphospace.space.embeddings import Embeddings
from morphospace.space.kept import keep


@pytest.fixture
def stores(tmp_path, monkeypatch):
    monkeypatch.setattr(app, "STATIC", small.static(tmp_path))
    monkeypatch.setattr("morphospace.explore.explore.STATIC", tmp_path / "static")
    cuts = small.write_cutouts(tmp_path / "a.cutouts")
    return small.embeddings(tmp_path / "a.emb", cuts), cuts


def vectors(n, d=5, seed=0):
    return Embeddings.from_arrays(None, [str(i) for i in range(n)], np.random.default_rng(seed).normal(size=(n, d)))


# ---- maps


@pytest.mark.parametrize("n", [3, 50, 700])
def test_principal_axes_are_those_of_scikit_learn(monkeypatch, n):
    monkeypatch.setattr(maps, "_ROWS_AT_ONCE", 128)
    emb = vectors(n)
    wanted = PCA(2).fit_transform(emb.vectors.astype(float))
    found = principal_axes(emb)
    assert np.abs(np.abs(found) - np.abs(wanted)).max() < 1e-6


def test_principal_axes_leave_out_rows_without_vector():
    x = np.random.default_rng(0).normal(size=(20, 1))
    x[3] = np.nan
    found = principal_axes(Embeddings.from_arrays(None, [str(i) for i in range(20)], x))
    assert np.isnan(found[3]).all()
    assert np.allclose(np.delete(found[:, 1], 3), 0)  # vectors of one dimension lie on a line
    with pytest.raises(DataError, match="no row of embeddings in memory has a vector"):
        principal_axes(Embeddings.from_arrays(None, ["a"], [[np.nan]]))


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=1, max_size=30),
    st.floats(1e-3, 1e3),
)
def test_scaled_fills_the_square_and_keeps_proportions(points, factor):
    places = np.array(points) * factor
    found = scaled("a", "pca", places)
    assert np.abs(found.xy).max() <= 1 + 1e-6
    assert np.allclose(found.put(places), found.xy, atol=1e-6)
    if np.ptp(places) > 1e-3:
        assert np.ptp(found.xy, axis=0).max() == pytest.approx(2, abs=1e-5) or np.ptp(places, axis=0).max() < 1e-9


def test_crowding_of_many_agrees_with_density_of_all(monkeypatch):
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(size=(600, 4)) * 0.1 + [5, 0, 0, 0], rng.normal(size=(300, 4))])
    x[7] = np.nan
    emb = Embeddings.from_arrays(None, [str(i) for i in range(900)], x)
    exact = crowding(emb)
    assert np.array_equal(exact, density(emb).astype("f4"), equal_nan=True)
    monkeypatch.setattr(maps, "_MOST_COMPARED", 100)
    monkeypatch.setattr(maps, "_N_DRAWN", 300)
    monkeypatch.setattr(maps, "_ROWS_AT_ONCE", 256)
    some = crowding(emb)
    assert np.isnan(some[7])
    good = np.isfinite(some)
    assert np.corrcoef(some[good], exact[good])[0, 1] > 0.9
    assert (some[good].min(), some[good].max()) == (0, 1)


# ---- columns


@pytest.mark.parametrize(
    ("values", "kind", "rest"),
    [
        ([1.0, math.nan, 3.0, None], "number", (2, 1.0, 3.0)),
        ([1, 2, None, 4], "number", (1, 1.0, 4.0)),
        ([math.inf, 1.0, 2.0, 3.0], "number", (1, 1.0, 3.0)),
        ([None] * 4, "text", (4, None, None)),
        (["b", "a", "b", None], "category", (1, None, None)),
        ([True, False, None, True], "category", (1, None, None)),
        ([f"name {i}" for i in range(100)], "text", (0, None, None)),
    ],
)
def test_kind_of_a_column_is_found(values, kind, rest):
    n = len(values)
    emb = Embeddings.from_arrays(None, [str(i) for i in range(n)], np.zeros((n, 2)), {"c": pa.array(values)})
    found = describe(emb, "c")
    assert found.kind == kind
    assert (found.n_missing, found.min, found.max) == rest
    if kind == "category":
        encoded = encode(emb, found)
        back = [None if c < 0 else encoded.categories[c] for c in encoded.values]
        assert back == [v if v is None else str(v).lower() if isinstance(v, bool) else v for v in values]


def test_lists_and_bytes_are_not_columns_of_the_page(stores):
    emb, cuts = stores
    assert "bands" in emb.columns
    assert "bands" not in open_scene(emb, cuts).columns


# ---- pixels


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
def test_shrunk_keeps_the_mean(height, width, new_height, new_width):
    plane = np.random.default_rng(height).normal(size=(height, width)).astype("f4")
    found = shrunk(plane, (new_width, new_height))
    assert found.shape == (new_height, new_width)
    assert found.mean() == pytest.approx(plane.mean(), abs=1e-4)


def test_shrunk_is_the_mean_of_valid_pixels():
    plane = np.arange(36, dtype="f4").reshape(6, 6)
    plane[0, 0] = plane[4:, 4:] = np.nan
    found = shrunk(plane, (3, 3))
    assert found[0, 0] == pytest.approx(np.nanmean(plane[:2, :2]))
    assert np.isnan(found[2, 2])
    assert found[1, 2] == pytest.approx(plane[2:4, 4:].mean())


def test_pixels_are_masked_and_not_clipped():
    image = np.array([[[-5, 300], [7, 2**30]]], dtype=np.int32)
    mask = np.array([[True, False], [True, True]])
    found = pixels_of(Cutout("a", image, mask=mask), 64).flux
    assert found.dtype == np.float32
    assert np.array_equal(found, [[[-5, np.nan], [7, 2**30]]], equal_nan=True)


@pytest.mark.parametrize("angle", [0, 33, 170, -100])
@pytest.mark.parametrize("flipped", [False, True])
@pytest.mark.parametrize("galactic", [False, True])
def test_north_is_where_astropy_has_it(angle, flipped, galactic):
    cards = small.sky_header(angle, flipped=flipped, galactic=galactic)
    one = Cutout("a", np.zeros((1, 30, 20)), wcs=cards, pixel_scale_arcsec=1.0, hdu="0")
    wcs = WCS(cards)
    centre = pixel_to_skycoord(9.5, 14.5, wcs).icrs
    ends = [centre, *(centre.directional_offset_by(a * u.deg, 0.5 * u.arcsec) for a in (0, 90))]
    x, y = np.array([skycoord_to_pixel(end, wcs) for end in ends]).T
    north = math.degrees(math.atan2(x[0] - x[1], y[1] - y[0]))
    found = orientation(one)
    assert abs((found["north_deg"] - north + 180) % 360 - 180) < 0.01
    assert found["east_left"] == ((x[1] - x[0]) * (y[2] - y[0]) - (y[1] - y[0]) * (x[2] - x[0]) > 0)
    assert (found["row0"], found["scale_arcsec"]) == ("bottom", 1.0)


def test_broken_wcs_costs_only_the_compass(caplog):
    found = orientation(Cutout("a", np.zeros((1, 4, 4)), wcs="CTYPE1  = 'nothing'".ljust(80)))
    assert found == {"north_deg": None, "east_left": None, "scale_arcsec": None, "row0": "top"}


# ---- sheets


def test_sheet_keeps_proportions_and_leaves_gaps_black():
    stream = io.BytesIO()
    Image.fromarray(np.full((10, 40, 3), 200, np.uint8)).save(stream, "JPEG", quality=95)
    found = np.asarray(Image.open(io.BytesIO(sheet([stream.getvalue(), None], 32))).convert("L"), dtype=int)
    assert found.shape == (32, 64)
    assert found[12:20, 4:28].min() > 180
    assert max(found[:10].max(), found[22:].max(), found[:, 34:].max()) < 20


def test_thumbnails_that_curation_drew_are_read(tmp_path):
    sky = ms.simulate("mixed", 70, size=20, seed=1)
    ms.write_fits(sky, tmp_path / "fits")
    cuts = ms.curate(tmp_path / "fits", out=tmp_path / "b.cutouts")
    order = np.random.default_rng(0).permutation(len(cuts))
    ids = [cuts.ids[i] for i in order]
    scene = open_scene(
        Embeddings.from_arrays(None, [*ids, "other"], np.random.default_rng(0).normal(size=(len(ids) + 1, 3))), cuts
    )
    assert any("1 of" in note and "no picture" in note for note in scene.notes)
    found = scene.sprites.pictures(np.arange(len(ids) + 1))
    from morphospace.sky.thumbs import load_thumbs

    assert found[:-1] == load_thumbs(cuts, order)
    assert found[-1] is None


# ---- what does not fit


def test_stores_that_do_not_belong_together(stores, tmp_path):
    emb, _ = stores
    with CutoutsWriter(tmp_path / "other.cutouts") as writer:
        writer.append(Cutout("somebody else", np.zeros((1, 4, 4))))
    with pytest.raises(DataError, match=r"'a.emb' and cutouts 'other.cutouts' do not belong together"):
        explore(emb, tmp_path / "other.cutouts", browser=False)
    with pytest.raises(DataError, match="hold no rows"):
        explore(Embeddings.from_arrays(None, [], np.zeros((0, 3))), browser=False)
    with pytest.raises(StoreError, match="no store of embeddings"):
        explore(tmp_path / "nothing.emb")
    with pytest.raises(ShapeError, match=f"one value for each of the {N} rows"):
        explore(emb, color=[1, 2])


def test_store_that_is_being_written_is_told(stores):
    emb, cuts = stores
    for path in (emb.path, cuts.path):
        file = path / "_manifest.json"
        file.write_text(json.dumps(json.loads(file.read_text()) | {"complete": False}))
    notes = open_scene(emb.path, cuts.path).notes
    assert [note.split("'")[1] for note in notes[:2]] == ["a.emb", "a.cutouts"]
    assert all("is being written" in note and f"{N} rows so far" in note for note in notes[:2])


def test_results_of_other_rows_are_not_shown(stores):
    emb, cuts = stores
    table = pa.table({"id": emb.ids, "x": np.arange(N), "y": np.arange(N)})
    path = keep(emb, "maps", "old", table, {"method": "umap"})
    scene = open_scene(emb, cuts)
    assert [m["name"] for m in scene.maps] == ["old"]
    other = small.embeddings(None, cuts)
    other.path = emb.path
    other.provenance["space_id"] = "another"
    scene = open_scene(other, cuts)
    assert [(m["name"], m["fresh"]) for m in scene.maps] == [("pca", True), ("old", False)]
    with pytest.raises(Exception, match="made for other rows"):
        scene.map("old")
    keep(emb, "maps", "whole", table, {"method": "umap"})
    path.write_bytes(b"no parquet")
    scene = open_scene(emb, cuts)
    assert any("is damaged" in note for note in scene.notes)
    assert [m["name"] for m in scene.maps] == ["whole"]


def test_tables_of_results_stay_on_the_disk(tmp_path):
    """A million rows in 50 clusters are 200 MB."""
    n, k = 50_000, 20
    emb = Embeddings.from_arrays(tmp_path / "a.emb", [str(i) for i in range(n)], np.zeros((n, 2), np.float32))
    labels = np.arange(n) % k
    columns = {f"p_{c}": np.random.default_rng(c).random(n, dtype=np.float32) for c in range(k)}
    keep(emb, "clusters", "many", pa.table({"id": emb.ids, "label": labels, **columns}), {})
    before = pa.total_allocated_bytes()
    scene = open_scene(emb, None)
    assert scene.column("@cluster:many").values.tolist() == labels.tolist()
    told = describe_clusters(scene, "many")["clusters"]
    assert [one["n"] for one in told] == [n // k] * k
    assert told[3]["mean_probability"] == pytest.approx(float(columns["p_3"][labels == 3].mean()), abs=1e-6)
    assert pa.total_allocated_bytes() - before < 1_000_000  # the table has 4 MB


# ---- the page as one file


def data_in(page: str) -> dict:
    found = re.findall(r'<script type="application/json" id="morphospace-data">(.*?)</script>', page, re.DOTALL)
    assert len(found) == 1
    return json.loads(found[0])


def decoded(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), kind)


def test_page_in_one_file_holds_all(stores, tmp_path):
    emb, cuts = stores
    path = explore(emb, cuts, export=tmp_path / "out" / "page.html")
    text = path.read_text("utf-8")
    before, after = small.SINGLE.split("<!--MORPHOSPACE-DATA-->")
    assert text.startswith(before)
    assert text.endswith(after)
    assert "alert" in text
    assert EVIL not in text
    assert text.count("</script>") == 2  # the data's own, and the page's
    data = data_in(text)
    assert data["rows"][0]["object"] == EVIL
    assert "someone" not in text  # folders are nobody's business
    assert data["rows"][2]["source"] == "2.fits"
    scene = open_scene(emb, cuts)
    assert np.array_equal(decoded(data["maps"]["pca"], "<f4"), scene.map("pca").xy.ravel(), equal_nan=True)
    assert data["space"]["export"] is True
    kind = data["columns"]["kind"]
    assert [kind["categories"][c] for c in decoded(kind["data"], "<i2")[:2]] == ["ring", "disk <i>"]
    unit = decoded(data["vectors"]["data"], "<f2").reshape(N, small.D).astype(float)
    assert np.allclose(np.linalg.norm(unit[:-1], axis=1), 1, atol=2e-3)
    assert np.isnan(unit[-1]).all()


def test_pixels_in_one_file_are_those_of_the_store(stores):
    emb, cuts = stores
    data = page_data(open_scene(emb, cuts))
    pixels = data["pixels"]
    bands, height, width = pixels["shape"]
    steps = decoded(pixels["data"], "<u2").reshape(N, bands, height, width).astype(float)
    assert (bands, height, width) == (1, 64, 64)
    for row in (0, 1, 7):
        low, high = pixels["lo"][row], pixels["hi"][row]
        flux = np.where(steps[row, 0] == 65535, np.nan, low + steps[row, 0] / 65534 * (high - low))
        wanted = shrunk(small.cutout(row).image[0], (64, 64))
        assert np.array_equal(np.isnan(flux), np.isnan(wanted))
        assert np.nanmax(np.abs(flux - wanted)) <= (high - low) / 65534
    assert data["meta"][0]["orientation"]["scale_arcsec"] == 1.0
    assert data["meta"][0]["full_shape"] == (1, 12, 12)
    first = Image.open(io.BytesIO(base64.b64decode(data["thumbs"]["sprites"][0].partition(",")[2])))
    assert first.size == (16 * 48, 3 * 48)


def test_oblong_image_lies_in_the_middle(tmp_path):
    with CutoutsWriter(tmp_path / "a.cutouts") as writer:
        writer.append(Cutout("a", np.full((1, 10, 20), 3.0)))
        writer.append(Cutout("b", np.arange(400.0).reshape(1, 20, 20)))
    cuts = ms.Cutouts.open(tmp_path / "a.cutouts")
    data = page_data(open_scene(Embeddings.from_arrays(None, cuts.ids, np.eye(2)), cuts))
    steps = decoded(data["pixels"]["data"], "<u2").reshape(2, 64, 64)
    assert (steps[0, :16] == 65535).all()
    assert (steps[0, 16:48] == 0).all()
    assert (steps[0, 48:] == 65535).all()
    assert data["meta"][0]["full_shape"] == (1, 20, 20)


def test_page_in_one_file_has_its_limits(stores, tmp_path, monkeypatch):
    emb, cuts = stores
    monkeypatch.setattr(standalone, "_PIXEL_BYTES", 1000)
    data = page_data(open_scene(emb, cuts))
    assert "pixels" not in data
    assert any("no pixels" in note for note in data["space"]["notes"])
    assert "thumbs" not in page_data(open_scene(emb, None))
    monkeypatch.setattr(standalone, "MOST_OBJECTS", N - 1)
    with pytest.raises(ConfigError, match=rf"up to {N - 1} objects and embeddings 'a.emb' have {N}"):
        explore(emb, cuts, export=tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()


def test_page_is_not_overwritten_unasked(stores, tmp_path):
    emb, cuts = stores
    (tmp_path / "page.html").write_text("mine")
    with pytest.raises(StoreError, match="is there already"):
        explore(emb, cuts, export=tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text() == "mine"
    explore(emb, cuts, export=tmp_path / "page.html", overwrite=True)
    assert data_in((tmp_path / "page.html").read_text("utf-8"))["space"]["n"] == N


@pytest.mark.parametrize(("file", "text"), [("single.html", "<html>"), ("single.html", None)])
def test_installation_without_built_page_is_a_sentence(stores, tmp_path, file, text):
    (tmp_path / "static" / file).unlink()
    if text is not None:
        (tmp_path / "static" / file).write_text(text)
    with pytest.raises(StoreError, match="install morphospace again"):
        write_page(open_scene(*stores), tmp_path / "x.html", tmp_path / "static")


@pytest.mark.parametrize("text", ["<html>", None])
def test_server_without_built_page_is_a_sentence(stores, tmp_path, text):
    (tmp_path / "static" / "index.html").unlink()
    if text is not None:
        (tmp_path / "static" / "index.html").write_text(text)
    with pytest.raises(StoreError, match="install morphospace again"):
        explore(*stores, port=0, browser=False)


# ---- the verb


def test_port_in_use_gives_way_to_the_next(caplog):
    with serve.bind(0) as first:
        port = first.getsockname()[1]
        with serve.bind(port) as second:
            assert port < second.getsockname()[1] < port + 50
            assert second.getsockname()[0] == "127.0.0.1"
        assert f"port {port} is in use; trying {port + 1}" in caplog.text


def test_port_is_free_again_once_a_page_has_ended():
    with serve.bind(0) as listening:
        port = listening.getsockname()[1]
        with socket.create_connection((serve.HOST, port)) as client:
            listening.accept()[0].close()  # the server ends first: its side of the connection lingers
            assert client.recv(1) == b""
    with serve.bind(port) as again:
        assert again.getsockname()[1] == port


def test_port_out_of_range_or_none_free(monkeypatch):
    for port in (-1, 70_000):
        with pytest.raises(ConfigError, match="port must be from 0 to 65535"):
            serve.bind(port)
    monkeypatch.setattr(serve, "_TRIES", 1)
    with serve.bind(0) as first, pytest.raises(StoreError, match="give another with port="):
        serve.bind(first.getsockname()[1])


def test_explore_serves_until_it_is_stopped_and_opens_the_browser(stores, monkeypatch, caplog):
    caplog.set_level(logging.INFO, "morphospace")
    opened, servers = [], []
    monkeypatch.setattr(serve.webbrowser, "open", lambda address: opened.append(address) or True)
    original = serve._Server.__init__
    monkeypatch.setattr(serve._Server, "__init__", lambda self, *a: (servers.append(self), original(self, *a))[1])
    thread = threading.Thread(target=explore, args=stores, kwargs={"port": 0})
    thread.start()
    for _ in range(500):
        if opened:
            break
        time.sleep(0.02)
    with urllib.request.urlopen(f"{opened[0]}api/space") as answer:
        assert json.load(answer)["n"] == N
    servers[0].should_exit = True
    thread.join(10)
    assert not thread.is_alive()
    assert re.search(rf"showing {N} objects at http://127.0.0.1:\d+/ - Ctrl-C ends it", caplog.text)
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", int(opened[0].split(":")[2][:-1])), timeout=1):  # noqa: PT011
        pass


def test_command_writes_the_page(stores, tmp_path, capsys):
    emb, cuts = stores
    out = tmp_path / "page.html"
    assert main(["explore", str(emb.path), str(cuts.path), "--export", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"page": str(out)}
    assert main(["explore", str(emb.path), str(cuts.path), "--export", str(out)]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["explore", str(cuts.path)]) == 1
    assert "holds cutouts, not embeddings" in capsys.readouterr().err
    assert main(["explore", str(emb.path), "--port", "99999", "--no-browser"]) == 1


def test_room_can_be_called_as_the_verb():
    import morphospace.explore as room

    with pytest.raises(StoreError, match="no store of embeddings"):
        room("/nowhere/at/all")
    with pytest.raises(StoreError, match="no store of embeddings"):
        ms.explore("/nowhere/at/all")


# ---- the notebook


def test_widget_holds_the_map_and_the_selection(stores, tmp_path):
    pytest.importorskip("anywidget")
    (tmp_path / "static" / "widget.js").write_text("export default { render() {} }")
    from morphospace.explore import widget

    widget._widget_class.cache_clear()
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of ipykernel, without a notebook
        patch.setattr(widget, "STATIC", tmp_path / "static")
        shown = map_widget(*stores, color="snr", height=300)
        assert (shown.color, shown.height, shown.selection, shown.chosen) == ("snr", 300, [], -1)
        assert shown.data["space"]["n"] == N
        json.dumps(shown.data, allow_nan=False)  # how it reaches the notebook
        shown.selection = [3, 1]
        assert shown.get_state("selection") == {"selection": [3, 1]}
        assert map_widget(*stores, color=list(range(N))).color == "@color"
        with pytest.raises(ConfigError, match="coloured by 'snrr'; did you mean 'snr'"):
            map_widget(*stores, color="snrr")
        with pytest.raises(ConfigError, match="height must be at least 100"):
            map_widget(*stores, height=5)
    widget._widget_class.cache_clear()
