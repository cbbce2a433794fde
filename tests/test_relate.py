"""What the axes of a space mean: planted relations are found, chance is not, and the page is whole and safe."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from scipy.stats import binom, spearmanr

from morphospace.cli import main
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.science.association import canonical, knn_r2, linear_r2_clipped, mean_by_group, spearman_tests
from morphospace.science.axial import is_axial
from morphospace.science.relate import relate
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.space.embeddings import Embeddings

EVIL = "<script>alert('x')</script>"


def space(n: int = 150, dim: int = 5, seed: int = 0, out=None, **columns) -> Embeddings:
    """Vectors whose principal components are their coordinates, nearly."""
    z = np.random.default_rng(seed).normal(size=(n, dim)) * np.arange(dim, 0, -1)
    return Embeddings.from_arrays(out, [f"o{i}" for i in range(n)], z, columns)


def planted(emb: Embeddings, noise: int = 8, seed: int = 1) -> pa.Table:
    """A table with `size`, which grows with the first coordinate, `none` of noise, and columns that cannot be used."""
    rng = np.random.default_rng(seed)
    n = len(emb)
    size = np.exp(emb.vectors[:, 0] / 8 + 0.1 * rng.normal(size=n))
    columns = {"id": emb.ids, "size": size, **{f"noise_{i}": rng.normal(size=n) for i in range(noise)}}
    columns |= {"flat": np.ones(n), "rare": np.where(np.arange(n) < 10, 1.0 * np.arange(n), np.nan)}
    return pa.table({**columns, "name": emb.ids, "shape_flags": np.arange(n)})


# rank correlations


def test_correlations_are_those_of_scipy_with_ties_and_gaps():
    rng = np.random.default_rng(0)
    axes = rng.normal(size=(90, 3))
    v = np.round(axes[:, 1] + rng.normal(size=90), 0)
    v[::7] = np.nan
    found = spearman_tests(axes, v, permutations=500, rng=rng)
    known = np.isfinite(v)
    assert found.n == known.sum()
    for c in range(3):
        other = spearmanr(axes[known, c], v[known])
        assert found.rho[c] == pytest.approx(other.statistic)
        assert found.p[c] == pytest.approx(other.pvalue, abs=0.03)
        assert found.low[c] < found.rho[c] < found.high[c]


def test_p_of_chance_is_even():
    rng = np.random.default_rng(0)
    p = [
        spearman_tests(rng.normal(size=(40, 1)), np.round(rng.exponential(2, 40)), permutations=199, rng=rng).p[0]
        for _ in range(300)
    ]
    for level in (0.05, 0.2, 0.5):
        low, high = binom.ppf([1e-4, 1 - 1e-4], 300, level)
        assert low <= np.sum(np.array(p) <= level) <= high


def test_intervals_hold_the_true_correlation():
    r, rng = 0.6, np.random.default_rng(1)
    truth = 6 / np.pi * np.arcsin(r / 2)  # of two normal variables
    hits = 0
    for _ in range(100):
        x = rng.normal(size=(120, 1))
        y = r * x[:, 0] + np.sqrt(1 - r**2) * rng.normal(size=120)
        found = spearman_tests(x, y, permutations=10, rng=rng)
        hits += found.low[0] <= truth <= found.high[0]
    assert hits >= binom.ppf(1e-3, 100, 0.93)


# canonical correlations, R2


def test_canonical_correlations_are_those_of_the_eigenproblem():
    """Hotelling 1936: the squares are the eigenvalues of Sxx^-1 Sxy Syy^-1 Syx."""
    rng = np.random.default_rng(0)
    shared = rng.normal(size=(400, 2))
    x = np.column_stack([shared + 0.5 * rng.normal(size=(400, 2)), rng.normal(size=(400, 2))])
    y = np.column_stack([shared @ [[1.0, 0.3], [0.2, 1.0]] + 0.5 * rng.normal(size=(400, 2)), rng.normal(size=400)])
    found = canonical(x, y, np.arange(400) % 5)
    ranks = np.argsort(np.argsort(y, axis=0), axis=0)
    s = np.cov(np.column_stack([x, ranks]).T)
    product = np.linalg.solve(s[:4, :4], s[:4, 4:]) @ np.linalg.solve(s[4:, 4:], s[4:, :4])
    eigen = np.sort(np.linalg.eigvals(product).real)[::-1][:3]
    np.testing.assert_allclose(found.fitted, np.sqrt(np.clip(eigen, 0, 1)), atol=1e-6)
    assert found.held_out[1] > 0.6 > 0.25 > abs(found.held_out[2])
    assert np.abs(found.loadings[2, :2]).max() < 0.25


def test_canonical_correlations_of_chance_are_held_to_nothing():
    rng = np.random.default_rng(0)
    found = canonical(rng.normal(size=(150, 20)), rng.normal(size=(150, 10)), np.arange(150) % 5)
    assert found.fitted[0] > 0.45
    assert abs(found.held_out[0]) < 0.25


def test_a_column_that_is_another_adds_no_pair():
    rng = np.random.default_rng(0)
    y = rng.normal(size=(100, 2))
    found = canonical(rng.normal(size=(100, 4)), np.column_stack([y, y[:, 0], np.ones(100)]), np.arange(100) % 5)
    assert len(found.fitted) == 2
    assert np.isfinite(found.loadings).all()


def test_r2_is_one_of_a_law_and_none_of_chance():
    rng = np.random.default_rng(0)
    z, fold = rng.normal(size=(300, 3)), np.arange(300) % 5
    assert linear_r2_clipped(z, z @ [1.0, 2.0, -1.0], fold) > 0.98
    assert abs(linear_r2_clipped(z, rng.normal(size=300), fold)) < 0.1
    angle = z[:, 0] / np.linalg.norm(z, axis=1)
    assert knn_r2(z, np.abs(angle), fold) > 0.7 > 0.1 > linear_r2_clipped(z, np.abs(angle), fold)


def test_means_of_groups_leave_out_what_is_not_known():
    v = np.array([[1.0, 5.0], [3.0, np.nan], [7.0, np.nan], [np.nan, np.nan]])
    group = np.array([1, 1, 0, 2])
    np.testing.assert_array_equal(mean_by_group(v, group), [[7, np.nan], [2, 5], [np.nan, np.nan]])


# relate


def test_several_images_of_an_object_are_one_object():
    """Chance among 40 objects, each seen ten times, is chance still: with rows for objects nearly all pairs stood."""
    stand = tests = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        who = np.repeat(np.arange(40), 10)
        z = rng.normal(size=(40, 3))[who] + 0.05 * rng.normal(size=(400, 3))
        columns = {"group": [f"g{i}" for i in who], **{f"q{k}": rng.normal(size=40)[who] for k in range(4)}}
        emb = Embeddings.from_arrays(None, [f"o{i}" for i in range(400)], z, columns)
        found = relate(emb, components=2, columns=[f"q{k}" for k in range(4)])
        stand, tests = stand + sum(found.table["stands"].to_pylist()), tests + len(found.table)
        assert set(found.table["n"].to_pylist()) == {40}
        assert found.about["distinct"] == 40
        once = relate(emb.keep(range(0, 400, 10)), components=2, columns=["q0"]).table.to_pylist()[0]
        assert abs(found.table.to_pylist()[0]["spearman"]) == pytest.approx(abs(once["spearman"]), abs=0.1)
    assert stand <= 2, f"{stand} of {tests}"


@pytest.mark.parametrize("name", ["pa_deg", "pa_asymmetry_deg", "PA", "petro_posang", "position_angle"])
def test_position_angles_are_put_on_a_circle(name):
    rng = np.random.default_rng(0)
    angle = rng.uniform(-10, 10, 200)  # about north, so that the number jumps by 180
    z = np.column_stack([5 * np.sin(np.deg2rad(2 * angle)), rng.normal(size=(200, 2)) * 0.2])
    emb = Embeddings.from_arrays(
        None, [f"o{i}" for i in range(200)], z, {name: angle % 180, "r50": rng.normal(size=200)}
    )
    found = relate(emb, components=1)
    assert found.about["angles"] == [name]
    pairs = {p["quantity"]: p for p in found.table.to_pylist()}
    assert set(pairs) == {f"cos 2 {name}", f"sin 2 {name}", "r50"}
    assert abs(pairs[f"sin 2 {name}"]["spearman"]) > 0.95
    assert abs(spearmanr(found.components[:, 0], angle % 180).statistic) < 0.9


def test_other_numbers_are_no_position_angles():
    degrees = np.array([1.0, 90.0, 170.0])
    assert is_axial("pa_deg", degrees / 100)
    for name, v in (
        ("spa", degrees),
        ("paper", degrees),
        ("pa", degrees / 100),
        ("pa_deg", degrees * 10),
        ("pa_deg", np.full(3, np.nan)),
        ("azimuth_deg", degrees),
    ):
        assert not is_axial(name, v), name


def test_relate_finds_what_is_there_and_no_more():
    emb = space()
    found = relate(emb, planted(emb), components=3)
    stands = [(p["component"], p["quantity"]) for p in found.table.to_pylist() if p["stands"]]
    assert stands == [(1, "size")]
    assert found.table.num_rows == 3 * 9
    best = found.quantities.to_pylist()[0]
    assert best["quantity"] == "size"
    assert best["linear_r2"] > 0.5
    assert found.about["left_out"] == {"flat": "constant", "rare": "known of 10 objects only"}
    first = found.table.to_pylist()[0]
    assert first["spearman"] > 0.8
    assert first["low"] < first["spearman"] < first["high"]
    rho = spearmanr(found.components[:, 0], planted(emb)["size"].to_numpy()).statistic
    assert rho == pytest.approx(first["spearman"])
    assert found.canonical["correlation"][0].as_py() > 0.7
    assert "size" in found.canonical["quantities"][0].as_py()
    assert "3 components, 9 quantities, 1 pairs stand" in repr(found)


def test_chance_stands_no_more_often_than_the_level():
    """Benjamini and Hochberg 1995: of chance alone, any stands in at most that fraction of runs."""
    any_stands = 0
    for seed in range(12):
        emb = space(60, 3, seed)
        rng = np.random.default_rng(100 + seed)
        noise = pa.table({"id": emb.ids, **{f"q{i}": rng.normal(size=60) for i in range(3)}})
        any_stands += bool(np.any(relate(emb, noise, components=2, level=0.2).table["stands"].to_numpy()))
    assert any_stands <= binom.ppf(1 - 1e-3, 12, 0.2)


def test_a_seed_gives_the_same_and_rows_may_come_in_any_order():
    emb = space(80, 3)
    table = planted(emb, noise=2)
    one, two = relate(emb, table, components=2), relate(emb, table, components=2)
    assert one.table.equals(two.table)
    turned = relate(emb, table.take(np.random.default_rng(0).permutation(80)), components=2)
    assert turned.table.equals(one.table)


def test_columns_of_the_embeddings_serve_without_a_table_and_vectors_may_be_missing():
    z = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    z[3] = np.nan
    columns = {
        "redshift": np.arange(80.0),
        "certain": np.arange(80) % 2 == 0,
        "ra": np.arange(80.0),
        "flags": np.arange(80),
    }
    emb = Embeddings.from_arrays(None, [f"o{i}" for i in range(80)], z, columns)
    found = relate(emb, components=2)
    assert sorted(found.quantities["quantity"].to_pylist()) == ["certain", "redshift"]
    assert np.isnan(found.components[3]).all()
    assert found.about["objects"] == 79
    assert relate(emb, columns=["ra"], components=1).quantities["quantity"].to_pylist() == ["ra"]


def test_several_tables_and_ambiguous_rows():
    emb = space(60, 3)
    one = pa.table({"id": [*emb.ids, "o0"], "a": np.arange(61.0)})
    two = pa.table({"id": emb.ids, "b": np.arange(60.0)})
    found = relate(emb, [one, two], components=1)
    n = dict(zip(found.quantities["quantity"].to_pylist(), found.quantities["n"].to_pylist(), strict=True))
    assert n == {"a": 59, "b": 60}


# the page


class Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append((tag, dict(attrs)))


def pictured(path, ids) -> Cutouts:
    rng = np.random.default_rng(0)
    with CutoutsWriter(path) as writer:
        for name in ids:
            writer.append(Cutout(name, rng.normal(size=(1, 16, 16)).astype(np.float32)))
    return Cutouts.open(path)


def test_page_is_whole_safe_and_beside_it_lie_the_tables(tmp_path):
    ids = [f"<img src=x onerror=alert({i})>" for i in range(40)]
    z = np.random.default_rng(0).normal(size=(40, 3))
    emb = Embeddings.from_arrays(tmp_path / "a&b.emb", ids, z)
    table = pa.table({"id": ids, EVIL: z[:, 0] * 2, "flat&": np.zeros(40)})
    found = relate(emb, table, components=2, cutouts=pictured(tmp_path / "c.cutouts", ids), out=tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    reader = Reader()
    reader.feed(page)
    images = [attrs for tag, attrs in reader.tags if tag == "img"]
    assert len(images) == 2 * 2 * 5
    assert all((i["src"] or "").startswith("data:image/jpeg;base64,") and i["alt"] in ids for i in images)
    assert not any(tag in ("script", "link", "iframe") or "onerror" in attrs for tag, attrs in reader.tags)
    assert "http" not in re.sub(r"base64,[^\"]*", "", page)
    assert "&lt;script&gt;" in page
    assert "flat&amp;" in page
    kept = pq.read_table(tmp_path / "r.parquet")
    assert kept.equals(found.table)
    assert json.loads(kept.schema.metadata[b"morphospace"])["used"] == 40
    assert (tmp_path / "r.csv").read_text().startswith('"component","quantity","n","spearman"')


def test_page_without_pictures_names_the_objects(tmp_path):
    emb = space(60, 3)
    relate(emb, planted(emb, noise=22), components=1, out=tmp_path / "r.html")
    page = (tmp_path / "r.html").read_text("utf-8")
    assert "<img" not in page
    assert "3 weaker quantities" in page
    assert len(set(re.findall(r"\bo\d+\b", page))) == 10


def test_verb(tmp_path, capsys):
    emb = space(60, 3, out=tmp_path / "s.emb")
    pq.write_table(planted(emb, noise=2), tmp_path / "t.parquet")
    call = [
        "relate",
        str(tmp_path / "s.emb"),
        "--table",
        str(tmp_path / "t.parquet"),
        "--out",
        str(tmp_path / "r.html"),
    ]
    assert main([*call, "--components", "2", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["stand"] >= 1
    assert told["quantities"][0]["quantity"] == "size"
    assert main(call) == 1
    assert "is there already" in capsys.readouterr().err
    assert main([*call, "--overwrite", "--quiet"]) == 0
    assert "PC 1" in capsys.readouterr().out


# bad input


@pytest.mark.parametrize(
    "options, error, words",
    [
        ({"components": 0}, ConfigError, "components of relate must be at least 1; got 0"),
        ({"level": 1.0}, ConfigError, "level of relate must be between 0 and 1"),
        ({"permutations": 5}, ConfigError, "at least 100; got 5"),
        ({"columns": ["sise"]}, ConfigError, "unknown column 'sise'.*size"),
        ({"columns": ["name"]}, DataError, "no column of numbers|no numbers"),
        ({"columns": ["flat"]}, DataError, "nothing to relate the space to .flat: constant"),
        ({"out": "r.png"}, ConfigError, r"name of a page, e.g. relate.html; got 'r.png'"),
    ],
)
def test_bad_options_are_told(options, error, words):
    emb = space()
    table = planted(emb).rename_columns([c if c != "name" else "label" for c in planted(emb).column_names])
    options = {**options, **({"columns": ["label"]} if options.get("columns") == ["name"] else {})}
    with pytest.raises(error, match=words):
        relate(emb, table, **options)


def test_spaces_that_say_nothing_are_told(tmp_path):
    few = space(10)
    with pytest.raises(DataError, match="at least 30 objects with a vector; embeddings in memory have 10"):
        relate(few, pa.table({"id": few.ids, "a": np.arange(10.0)}))
    same = Embeddings.from_arrays(None, [f"o{i}" for i in range(40)], np.ones((40, 3)), {"a": np.arange(40.0)})
    with pytest.raises(DataError, match="all vectors of embeddings in memory are equal"):
        relate(same, components=1)
    (tmp_path / "r.csv").write_text("mine")
    with pytest.raises(StoreError, match=r"r.csv' is there already"):
        relate(same, components=1, out=tmp_path / "r.html")
