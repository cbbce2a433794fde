"""The odd ones: a planted one ranks first, scores are those of their definitions, reasons are true."""

from __future__ import annotations

import math
import re

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.cli import main
from morphospace.cli.odd import anomalies_command, ask_command
from morphospace.cli.options import State
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.space import anomaly
from morphospace.space.anomaly import METHODS, anomalies
from morphospace.space.embeddings import Embeddings
from morphospace.space.kept import kept
from morphospace.space.labels import Labels


def held(x, out=None, **columns):
    return Embeddings.from_arrays(out, [f"o{i}" for i in range(len(x))], x, columns)


def crowd(n=300, dim=6, seed=0):
    """A crowd in one direction, and one object, number 17, in another."""
    x = np.random.default_rng(seed).normal(size=(n, dim)) * 0.2 + 2 * np.eye(dim)[0]
    x[17] = 2 * np.eye(dim)[3]
    return x


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("method", METHODS)
def test_a_planted_one_ranks_first(method, metric):
    x = crowd()
    emb = held(x, error=np.where(np.arange(300) == 17, 9.0, np.random.default_rng(0).random(300)))
    found = anomalies(emb, method, metric=metric)
    assert found.top(1).tolist() == [17]
    assert found.ranks[17] == 1
    assert sorted(found.ranks) == list(range(1, 301))
    assert (np.diff(found.scores[found.top(300)]) <= 0).all()
    nearest = f"o{naive_neighbours(x, metric)[17][0][1]}"
    assert found.reasons[17].startswith(f"nearest is '{nearest}' at ")
    assert "farther than for 99.3 % of all" in found.reasons[17]  # 299 of 301


def naive_neighbours(x, metric):
    """All distances, 1 - similarity, pair by pair, sorted."""
    if metric == "cosine":
        u = [row / math.sqrt(sum(v * v for v in row)) for row in x]
        distance = lambda a, b: 1 - float(a @ b)  # noqa: E731
    else:
        u = (x - x.mean(axis=0)) / x.std(axis=0, ddof=1)
        distance = lambda a, b: float(((a - b) ** 2).sum()) / (2 * x.shape[1])  # noqa: E731
    return [sorted((distance(u[i], u[j]), j) for j in range(len(x)) if j != i) for i in range(len(x))]


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("k", [1, 4])
def test_knn_is_the_distance_to_the_kth(metric, k):
    x = np.random.default_rng(3).normal(size=(40, 5))
    found = anomalies(held(x), "knn", k=k, metric=metric)
    want = naive_neighbours(x.astype(np.float32).astype(np.float64), metric)
    np.testing.assert_allclose(found.scores, [row[k - 1][0] for row in want], rtol=1e-4)
    for i in range(40):
        told = re.match(r"nearest is '(\w+)' at ([\d.e-]+), farther than for ([\d.]+) % of all", found.reasons[i])
        assert told[1] == f"o{want[i][0][1]}"
        assert float(told[2]) == pytest.approx(want[i][0][0], rel=6e-3)
        share = np.mean([row[0][0] < want[i][0][0] for row in want])
        assert float(told[3]) == pytest.approx(100 * share, abs=3)
        names = re.findall(r"'(\w+)'", found.reasons[i])
        assert names == [f"o{j}" for _, j in want[i][: min(k, 3)]]


def test_lof_is_that_of_the_paper():
    """Breunig et al. 2000, definitions 3 to 7, on unit vectors; no ties."""
    x = np.random.default_rng(5).normal(size=(30, 3))
    k, near = 4, naive_neighbours(x, "cosine")
    near = [[(math.sqrt(2 * d), j) for d, j in row] for row in near]
    k_distance = [row[k - 1][0] for row in near]
    density = [k / sum(max(d, k_distance[j]) for d, j in row[:k]) for row in near]
    want = [sum(density[j] for _, j in row[:k]) / k / density[i] for i, row in enumerate(near)]
    np.testing.assert_allclose(anomalies(held(x), "lof", k=k).scores, want, rtol=1e-3)


def test_equal_objects_count_once_in_lof():
    """More of them than neighbours would be infinitely dense, and all around them infinitely odd."""
    x = crowd()
    alone = anomalies(held(x), "lof")
    copies = np.vstack([x, np.repeat(x[3:4], 30, axis=0)])
    found = anomalies(held(copies), "lof")
    np.testing.assert_allclose(found.scores[:300], alone.scores, rtol=1e-5)
    assert (found.scores[300:] == found.scores[3]).all()
    assert found.top(1).tolist() == [17]
    assert sorted(found.ranks.tolist()) == list(range(1, 331))
    assert re.match(r"'o3\d\d' is equal to it, .* times as dense as it does itself", found.reasons[3])
    equal = anomalies(held(np.ones((20, 4))), "lof", k=5)
    assert (equal.scores == 1).all()
    few = anomalies(held(np.vstack([np.ones((20, 4)), np.eye(4)])), "lof")  # fewer places than neighbours
    assert np.isfinite(few.scores).all()


def test_forest_tells_the_cuts_behind_its_score():
    found = anomalies(held(crowd()), "forest")
    cuts, usual = (float(v) for v in re.search(r"([\d.]+) random cuts .* where ([\d.]+)", found.reasons[17]).groups())
    n = 256
    c = 2 * (sum(1 / i for i in range(1, n))) - 2 * (n - 1) / n  # Liu et al. 2008, eq. 1, the harmonic number exact
    assert found.scores[17] == pytest.approx(2 ** (-cuts / c), abs=0.005)
    assert cuts < usual


def test_same_seed_same_forest():
    x = crowd()
    one, again, other = (anomalies(held(x), "forest", seed=s).scores for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("method", ["knn", "forest", "lof"])
def test_rows_without_a_vector_have_no_rank(method):
    x = crowd()
    x[5], x[9] = np.nan, 0.0
    found = anomalies(held(x), method)
    assert found.ranks[[5, 9]].tolist() == [0, 0]
    assert np.isnan(found.scores[[5, 9]]).all()
    assert found.reasons[5] is None
    assert found.table()["rank"].to_pylist()[5] is None
    assert sorted(np.delete(found.ranks, [5, 9])) == list(range(1, 299))
    assert not {5, 9} & set(found.top(400).tolist())


def test_rows_without_an_error_have_no_rank():
    error = np.arange(300.0)
    error[4] = np.nan
    found = anomalies(held(crowd(), error=error), "error")
    assert found.ranks[4] == 0
    assert found.top(2).tolist() == [299, 298]
    assert "it is drawn with error 299, where 150 is usual" in found.reasons[299]


def test_equal_objects_are_said_to_be_equal():
    x = crowd()
    x[40:70] = x[40]
    x[80:82] = [0, 0, 0, 0, 1.0, 0]
    for method in ("knn", "lof", "forest"):
        found = anomalies(held(x), method, k=3)
        assert np.isfinite(found.scores).all()
        assert re.match(r"'o8[01]' is equal to it, then", found.reasons[80])
        assert "'o80'" not in found.reasons[80]


@pytest.mark.parametrize("method", ["knn", "lof"])
def test_of_very_many_a_sample_is_compared(method, monkeypatch):
    monkeypatch.setattr(anomaly, "_MOST_COMPARED", 100)
    found = anomalies(held(crowd()), method)
    assert found.n_compared == 100
    assert found.top(1).tolist() == [17]
    assert np.isfinite(found.scores).all()


def test_lof_of_a_sample_counts_no_object_as_its_own_neighbour(monkeypatch):
    x = np.random.default_rng(5).normal(size=(40, 3))
    monkeypatch.setattr(anomaly, "_MOST_COMPARED", 30)
    some = anomaly._Among(x.astype(np.float32), 4, "cosine", 0).some
    found = anomalies(held(x), "lof", k=4).scores
    monkeypatch.undo()
    np.testing.assert_allclose(found[some], anomalies(held(x[some]), "lof", k=4).scores, rtol=1e-4)


@settings(max_examples=15)
@given(st.integers(3, 25), st.integers(0, 9), st.integers(0, 30))
def test_as_many_reasons_as_asked_for_go_to_the_first_ranks(n, seed, explain):
    x = np.random.default_rng(seed).normal(size=(n, 3))
    found = anomalies(held(x), k=1, explain=explain)
    told = {i for i in range(n) if found.reasons[i] is not None}
    assert told == set(found.top(explain).tolist())


def test_ranks_are_kept_with_the_embeddings(tmp_path):
    emb = held(crowd(), tmp_path / "c.emb")
    found = anomalies(emb, "forest")
    found.save(emb)
    found.save(emb, "again")
    with pytest.raises(StoreError, match=r"forest\.parquet' is there already"):
        found.save(emb)
    found.save(emb, overwrite=True)
    assert list(kept(emb, "anomalies")) == ["again", "forest"]
    table = kept(emb, "anomalies")["forest"].table
    assert table.column_names == ["id", "rank", "score", "reason"]
    assert table["rank"].to_pylist() == found.ranks.tolist()
    assert table["reason"].to_pylist() == list(found.reasons)
    assert kept(emb, "anomalies")["forest"].about["method"] == "forest"


def test_names_from_files_cannot_steer_a_terminal():
    ids = [f"o{i}" for i in range(299)] + ["\x1b[31mred\n"]
    emb = Embeddings.from_arrays(None, ids, crowd())
    found = anomalies(emb)
    assert not re.search(r"[\x00-\x09\x0b-\x1f]", str(found))
    assert all("\n" not in (reason or "") for reason in found.reasons)


def test_bad_input_is_told_in_a_sentence():
    emb = held(crowd())
    with pytest.raises(ConfigError, match="unknown method 'forrest' of anomalies; did you mean 'forest'"):
        anomalies(emb, "forrest")
    with pytest.raises(ConfigError, match="metric must be"):
        anomalies(emb, metric="dot")
    with pytest.raises(ConfigError, match=r"k must be from 1 to 299, .*; got 300\."):
        anomalies(emb, k=300)
    with pytest.raises(ConfigError, match=r"explain must be 0 or more; got -1\."):
        anomalies(emb, explain=-1)
    with pytest.raises(DataError, match="have no column 'error'"):
        anomalies(emb, "error")
    with pytest.raises(DataError, match="column 'error' of embeddings in memory must hold numbers"):
        anomalies(held(crowd(), error=["x"] * 300), "error")
    with pytest.raises(DataError, match="anomalies need three rows with a vector; embeddings in memory have 2"):
        anomalies(held(np.eye(2)))


# the command line


def test_anomalies_on_the_command_line(tmp_path, capsys):
    held(crowd(), tmp_path / "c.emb")
    assert main(["anomalies", str(tmp_path / "c.emb"), "--method", "lof", "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("   1  o17: ")
    assert len(lines) == 5
    assert list(kept(Embeddings.open(tmp_path / "c.emb"), "anomalies")) == ["lof"]
    assert main(["anomalies", str(tmp_path / "c.emb"), "--method", "lof", "-k", "5"]) == 1
    assert "lof.parquet' is there already; choose another name or give overwrite" in capsys.readouterr().err
    assert kept(Embeddings.open(tmp_path / "c.emb"), "anomalies")["lof"].about["k"] == 10
    assert main(["anomalies", str(tmp_path / "c.emb"), "--method", "lof", "-k", "5", "--overwrite"]) == 0
    assert kept(Embeddings.open(tmp_path / "c.emb"), "anomalies")["lof"].about["k"] == 5
    result = CliRunner().invoke(anomalies_command, [str(tmp_path / "c.emb"), "--json", "--top", "2"], obj=State())
    assert result.exit_code == 0
    assert '"id": "o17", "rank": 1' in result.output


def test_asking_on_the_command_line(tmp_path, capsys):
    emb = str(tmp_path / "c.emb")
    held(crowd(), emb)
    assert main(["ask", emb, "odd"]) == 1
    assert "no label set 'odd': there is none yet; give --new, or --classes, to make it" in capsys.readouterr().err
    assert main(["ask", emb, "odd", "--new", "--give", "o17", "5", "--give", "o3", "0", "-n", "4"]) == 0
    assert "2 labels are too few to learn from" in capsys.readouterr().out
    give = [word for i in range(20, 40) for word in ("--give", f"o{i}", "0")]
    assert main(["ask", emb, "odd", *give, "-n", "4"]) == 0
    assert "all scores in" in capsys.readouterr().out
    assert kept(Embeddings.open(emb), "scores")["odd"].about["n_labels"] == 22
    assert main(["ask", emb, "odd", "--undo", "20"]) == 0
    assert main(["ask", emb, "odd", "--export", str(tmp_path / "odd.csv")]) == 0
    assert (tmp_path / "odd.csv").read_text().count("\n") == 3
    assert main(["ask", emb, "new", "--new", "--give", "o3", "1", "--give", "nobody", "1"]) == 1
    assert main(["ask", emb, "od", "--give", "o3", "1"]) == 1
    assert "no label set 'od': there is 'odd'; give --new" in capsys.readouterr().err
    with Labels(Embeddings.open(emb)) as labels:
        assert [one.name for one in labels.sets()] == ["odd"]
    assert main(["ask", emb, "odd", "--give", "o3", "7"]) == 1
    assert "takes whole numbers from 0" in capsys.readouterr().err
    assert main(["ask", emb, "odd", "--give", "o3", "²"]) == 1  # a digit, and no number
    assert "takes whole numbers from 0" in capsys.readouterr().err
    assert main(["ask", emb, "kinds", "--classes", "ring", "--classes", "ball", "--give", "o3", "ring"]) == 0
    assert main(["ask", emb, "kinds", "--wanted", "rings"]) == 1
    assert "did you mean 'ring'" in capsys.readouterr().err
    result = CliRunner().invoke(ask_command, [emb, "kinds", "--json", "--wanted", "ball"], obj=State())
    assert '"method": "cold"' in result.output
