"""Pictures of clusters and the verb: orientation and scale of stamps, escaped names, subject sets, the command line."""

from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image

from morphospace.cli import main
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.space.cluster import cluster, open_clusters
from morphospace.space.clustering.atlas import _corner, _grid, plot_atlas, write_atlas
from morphospace.space.clustering.gallery import write_gallery
from morphospace.space.clustering.stamps import BLANK, draw_picture, draw_stamp, frame_of
from morphospace.space.clustering.tables import compare
from morphospace.space.clustering.zooniverse import write_subject_sets
from morphospace.space.embeddings import Embeddings
from morphospace.space.kept import kept
from morphospace.space.tiles import find_rows, finder

EVIL = "<script>alert('1')</script>\"&"
N = 40


def header(angle=0.0, mirrored=False, scale=2.0, side=21, galactic=False):
    """Cards of a WCS whose north is `angle` degrees anticlockwise from up."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"] if galactic else ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 40.0], [(side + 1) / 2] * 2
    a = np.deg2rad(angle)
    turn = np.array([[np.cos(a), np.sin(a)], [-np.sin(a), np.cos(a)]])
    wcs.wcs.cd = np.diag([scale if mirrored else -scale, scale]) / 3600 @ turn
    return wcs.to_header().tostring()


def dots(side=21, **known):
    """A bright dot 6 pixels right of the middle, and a fainter one 4 pixels above it (row number higher)."""
    image = np.zeros((1, side, side), dtype=np.float32)
    middle = side // 2
    image[0, middle, middle + 6] = 100.0
    image[0, middle + 4, middle] = 2.5
    return Cutout("dots", image, level=(0.0,), sigma=(1.0,), **known)


def brightest(picture):
    return np.unravel_index(picture[:, :, 0].astype(float).argmax(), picture.shape[:2])


def test_fits_rows_run_upwards_and_picture_rows_downwards():
    for hdu, bright, faint in (("0", (10, 16), (6, 10)), ("", (10, 16), (14, 10))):
        one = dots(hdu=hdu)
        assert frame_of(one).kind == "pixel"
        for picture in (draw_stamp(one, frame_of(one), 21, 21), draw_picture(one, side=21)):
            assert brightest(picture) == bright
            assert picture[faint][0] > 100


@pytest.mark.parametrize("angle", [0, 30, 90, 180, -135])
@pytest.mark.parametrize("mirrored", [False, True])
def test_north_is_up_and_east_to_the_left(angle, mirrored):
    one = dots(hdu="0", wcs=header(angle, mirrored))
    frame = frame_of(one)
    assert frame.kind == "sky"
    assert frame.side == pytest.approx(42, rel=1e-4)
    wcs = WCS(fits.Header.fromstring(one.wcs))
    place, centre = wcs.pixel_to_world(16, 10), wcs.pixel_to_world(10, 10)
    east, north = centre.spherical_offsets_to(place)
    field, pixels = 42.0, 84  # 0.5 arcsec a pixel
    row, column = brightest(draw_stamp(one, frame, field, pixels))
    assert (pixels / 2 - column - 0.5) * 0.5 == pytest.approx(east.arcsec, abs=1.1)
    assert (pixels / 2 - row - 0.5) * 0.5 == pytest.approx(north.arcsec, abs=1.1)


def test_north_of_galactic_coordinates_is_that_of_icrs():
    plain, galactic = (frame_of(dots(hdu="0", wcs=header(galactic=g))) for g in (False, True))
    assert galactic.side == pytest.approx(plain.side, rel=1e-4)
    assert np.abs(galactic.matrix - plain.matrix).max() > 0.1


def test_scale_alone_and_what_lies_outside():
    one = dots(hdu="0", pixel_scale_arcsec=2.0)
    frame = frame_of(one)
    assert (frame.kind, frame.side) == ("scale", 42.0)
    picture = draw_stamp(one, frame, 84.0, 42)
    assert (picture[:9] == BLANK).all()
    assert tuple(int(i) for i in brightest(picture)) in {(20, 26), (20, 27), (21, 26), (21, 27)}
    spoilt = dots(hdu="0", pixel_scale_arcsec=2.0, wcs="CTYPE1  = 'RA---XYZ'".ljust(80))
    assert frame_of(spoilt).kind == "scale"
    blank = dots(hdu="0", mask=np.zeros((21, 21), dtype=bool))
    assert (draw_picture(blank, side=21) == BLANK).all()


def test_eight_bit_colours_are_as_they_are():
    image = np.zeros((3, 5, 5), dtype=np.uint8)
    image[0] = 200
    picture = draw_picture(Cutout("c", image), side=10)
    assert picture.shape == (10, 10, 3)
    assert (picture == [200, 0, 0]).all()
    turned = draw_picture(Cutout("c", image, wavelength_nm=(400.0, 500.0, 600.0)), side=5)
    assert (turned == [0, 0, 200]).all()  # the longest wavelength is red


# ---- pages


@pytest.fixture(scope="module")
def stores(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    rng = np.random.default_rng(0)
    ids = [f"../{EVIL}{i}" if i % 2 else f"=obj {i}" for i in range(N)]
    with CutoutsWriter(folder / "e.cutouts") as writer:
        for i, name in enumerate(ids):
            image = rng.normal(size=(1, 21, 21)).astype(np.float32)
            known = {"wcs": header(), "hdu": "0", "ra": 150.0, "dec": 40.0} if i % 4 else {}
            writer.append(Cutout(name, image, object=EVIL if i % 3 == 0 else None, source=f"{i}.fits", **known))
    kind = np.repeat([0, 1, 2], [20, 12, 8])
    vectors = 4 * np.eye(5)[kind] + 0.2 * rng.normal(size=(N, 5))
    columns = {"kind": np.array(["<b>a", "b", "c"])[kind], "one": ["x"] * N}
    Embeddings.from_arrays(folder / "e.emb", ids, vectors, columns)
    return folder


def opened(folder):
    return Embeddings.open(folder / "e.emb"), Cutouts.open(folder / "e.cutouts")


def test_gallery_shows_names_as_text_and_asks_for_nothing(stores, tmp_path):
    emb, cuts = opened(stores)
    found = cluster(emb, k=3, resamples=2)
    comparison = compare(found.labels, emb.table(["kind"])["kind"].to_pylist())
    page = write_gallery(emb, found, cuts, tmp_path / "x" / "page.html", comparison=comparison, label=EVIL)
    text = page.read_text("utf-8")
    assert "<script" not in text
    assert "<b>" not in text
    assert "&lt;script&gt;alert" in text
    assert "&lt;b&gt;a" in text
    assert not re.search(r"(?:src|href)=\"(?!data:image/jpeg;base64,|#)", text)
    assert "url(" not in text
    assert len(re.findall("<figure ", text)) == 12 + 12 + 12 + 8  # no random ones where the typical are all
    assert text.count("<section") == 3
    assert 'id="c2"' in text


def test_gallery_shows_what_is_in_no_cluster(stores, tmp_path):
    emb, cuts = opened(stores)
    found = cluster(emb, "hdbscan", min_size=14, resamples=0)
    assert (found.labels < 0).any()
    text = write_gallery(emb, found, cuts, tmp_path / "page.html").read_text("utf-8")
    assert "In no cluster" in text


def words_of(figure):
    return " ".join(text.get_text() for text in figure.axes[0].texts)


def test_atlas_is_one_page_that_says_what_is_not_known(stores, tmp_path):
    emb, cuts = opened(stores)
    found = cluster(emb, k=3, resamples=2)
    path = write_atlas(emb, found, cuts, tmp_path / "atlas.pdf")
    data = path.read_bytes()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", data)) == 1
    words = words_of(plot_atlas(emb, found, cuts))
    assert "asinh" in words
    assert "20″" in words  # half of 42 arcsec, rounded down
    assert re.search(r"\d+ without WCS and pixel scale are shown in pixels", words)
    assert "North is up" in words
    assert "20 objects, 50 %" in words
    sky = np.array([i % 4 != 0 for i in range(N)])
    known = emb.keep(sky)
    assert "North is up, east to the left, one scale for all." in words_of(
        plot_atlas(known, cluster(known, k=3, resamples=0), cuts)
    )
    unknown = emb.keep(~sky)
    words = words_of(plot_atlas(unknown, cluster(unknown, k=2, resamples=0), cuts))
    assert "No image has a WCS or a pixel scale" in words
    assert "10 px" in words


def test_atlas_of_many_clusters_fits_the_page(stores):
    emb, cuts = opened(stores)
    figure = plot_atlas(emb, cluster(emb, k=20, resamples=0), cuts)
    bottoms = [image.get_extent()[2] for image in figure.axes[0].images]
    rights = [image.get_extent()[1] for image in figure.axes[0].images]
    assert min(bottoms) > 0.9
    assert max(rights) < 8.27


@pytest.mark.parametrize("k", [1, 2, 3, 4, 5, 7, 11, 20, 60, 200])
def test_stamps_fill_the_page_and_do_not_overlap(k):
    grid = _grid(k)
    assert grid.lines >= 1
    assert 0 < grid.side <= 1.15
    assert 0.8 * grid.room <= grid.lines * grid.pitch <= grid.room + 1e-9
    assert k * grid.room == pytest.approx(11.69 - 1.25 - 1.05)
    places = [_corner(grid, c, i) for c in range(min(k, 2)) for i in range(grid.columns * grid.lines)]
    for i, (x, y) in enumerate(places):
        assert x + grid.side <= 8.27 - 0.55 + 1e-9
        assert y >= 1.05 - 1e-9
        for u, v in places[:i]:
            assert abs(u - x) >= grid.side or abs(v - y) >= grid.side


def test_atlas_without_a_cluster_is_refused(stores):
    emb, cuts = opened(stores)
    none = cluster(emb, "hdbscan", min_size=40, resamples=0)
    with pytest.raises(DataError, match="no cluster to draw"):
        plot_atlas(emb, none, cuts)
    with pytest.raises(DataError, match="not in the cutouts"):
        finder(cuts.keep([0]), emb)([0, 1])
    assert finder(cuts.keep([0]), emb)([0]).tolist() == [0]
    assert find_rows(cuts.keep([0, 2]), emb)[:4].tolist() == [0, -1, 1, -1]


def test_subject_sets_have_a_picture_for_each_line(stores, tmp_path):
    emb, cuts = opened(stores)
    found = cluster(emb, k=3, resamples=0)
    folders = write_subject_sets(emb, found, cuts, tmp_path / "sets", only=[1, 2])
    assert [folder.name for folder in folders] == ["cluster-1", "cluster-2"]
    for c, folder in zip((1, 2), folders, strict=True):
        with (folder / "manifest.csv").open(newline="") as file:
            lines = list(csv.DictReader(file))
        assert [line["#id"] for line in lines] == [emb.ids[row] for row in found.typical(c, N)]
        assert {line["#cluster"] for line in lines} == {str(c)}
        assert sorted(p.name for p in folder.iterdir()) == sorted([*(line["image"] for line in lines), "manifest.csv"])
        with Image.open(folder / lines[0]["image"]) as picture:
            assert picture.size == (504, 504)
        assert all(line["#ra"] in ("", "150.000000") for line in lines)
    with pytest.raises(StoreError, match="is there already"):
        write_subject_sets(emb, found, cuts, tmp_path / "sets", only=[2])
    with pytest.raises(StoreError, match="cluster-1' is there already"):  # of another result, for all one knows
        write_subject_sets(emb, found, cuts, tmp_path / "sets", only=[0])
    (tmp_path / "sets" / "cluster-notes").mkdir()
    write_subject_sets(emb, found, cuts, tmp_path / "sets", only=[2], overwrite=True)
    assert sorted(p.name for p in (tmp_path / "sets").iterdir()) == ["cluster-2", "cluster-notes"]
    with pytest.raises(ConfigError, match="no cluster 3"):
        write_subject_sets(emb, found, cuts, tmp_path / "sets", only=[3])


# ---- the verb


def test_the_verb_does_all_at_once(stores, tmp_path, capsys):
    emb, cuts = str(stores / "e.emb"), str(stores / "e.cutouts")
    pages = [
        "--gallery",
        str(tmp_path / "p.html"),
        "--atlas",
        str(tmp_path / "a.pdf"),
        "--zooniverse",
        str(tmp_path / "z"),
    ]
    asked = [
        "cluster",
        emb,
        "--method",
        "gmm",
        "-k",
        "3",
        "--labels",
        "kind",
        "--resamples",
        "2",
        "--cutouts",
        cuts,
        *pages,
    ]
    assert main([*asked, "--name", "mine"]) == 0
    out = capsys.readouterr().out
    assert "3 clusters of 40 objects" in out
    assert "purity 1.00, AMI 1.00, accuracy 1.00" in out
    assert (tmp_path / "p.html").exists()
    assert (tmp_path / "a.pdf").exists()
    assert len(list((tmp_path / "z").iterdir())) == 3
    assert open_clusters(Embeddings.open(emb), "mine").k == 3
    assert main(asked) == 1
    assert "there already" in capsys.readouterr().err
    assert main(["cluster", emb, "-k", "2", "--resamples", "0", "--name", "mine"]) == 1
    assert "mine.parquet' is there already; choose another name or give overwrite" in capsys.readouterr().err
    assert open_clusters(Embeddings.open(emb), "mine").k == 3
    again = ["cluster", emb, "-k", "2", "--resamples", "0", "--cutouts", cuts, *pages[4:], "--name", "new"]
    assert main(again) == 1
    assert "cluster-0' is there already" in capsys.readouterr().err
    assert "new" not in kept(Embeddings.open(emb), "clusters")
    assert main([*asked, "--overwrite", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["k"] == 3
    assert told["labels"]["ami"] == 1
    assert len(told["written"]) == 5
    assert open_clusters(Embeddings.open(emb), "gmm").sizes.tolist() == told["sizes"]


@pytest.mark.parametrize(
    "more,status,words",
    [
        (["--labels", "knd"], 1, "unknown column 'knd'"),
        (["--labels", "one"], 1, "from 2 to 200 different values to compare clusters with; got 1, 'x'"),
        (["-k", "90"], 1, "k must be from 2 to 40"),
        (["-k", "few"], 1, "must be a whole number or 'auto'; got 'few'"),
        (["--gallery", "p.html"], 2, "--gallery needs --cutouts"),
        (["--only", "1"], 2, "--only chooses"),
        (["--dims", "0"], 1, "dims must be 1 or more"),
        (["--name", "my own"], 1, "may be named by letters"),
        (["--method", "ward"], 1, "unknown cluster method 'ward'"),
    ],
)
def test_the_verb_refuses(stores, capsys, more, status, words):
    assert main(["cluster", str(stores / "e.emb"), "--resamples", "0", *more]) in (status, 2)
    said = capsys.readouterr().err
    assert words in said or "is not one of" in said
    assert "Traceback" not in said


def test_the_verb_ignores_clusters_and_chooses_k(stores, capsys):
    emb = str(stores / "e.emb")
    assert main(["cluster", emb, "--resamples", "0", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["k_asked"] == "auto"
    assert (
        main(["cluster", emb, "-k", "3", "--ignore", "0", "--ignore", "2", "--resamples", "0", "--json", "--overwrite"])
        == 0
    )
    told = json.loads(capsys.readouterr().out)
    assert told["k"] == 1
    assert told["ignored"] == [[0, 2]]
