"""The judge of bench_project: its figures are those of scikit-learn where it looks at all objects."""

from __future__ import annotations

import argparse

import numpy as np
import pytest
from sklearn.manifold import trustworthiness
from sklearn.neighbors import NearestNeighbors

from test_bench_search import load


def test_quality_is_trustworthiness_and_share_of_neighbours(monkeypatch):
    bench = load("bench_project", monkeypatch)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(150, 6)).astype(np.float32)
    for y in (x[:, :2], rng.normal(size=(150, 2)).astype(np.float32)):
        kept, trust = bench.quality(x, y, 0)
        assert trust == pytest.approx(trustworthiness(x, y, n_neighbors=15), abs=1e-9)
        near = [NearestNeighbors(n_neighbors=15).fit(z).kneighbors(return_distance=False) for z in (x, y)]
        assert kept == pytest.approx(np.mean([len(set(a) & set(b)) / 15 for a, b in zip(*near, strict=True)]), abs=1e-9)
    assert bench.quality(x, x, 0) == (1, 1)


def test_quality_of_a_sample_is_near_that_of_all(monkeypatch):
    bench = load("bench_project", monkeypatch)
    x = np.random.default_rng(0).normal(size=(600, 5)).astype(np.float32)
    whole = bench.quality(x, x[:, :2], 0)
    monkeypatch.setattr(bench, "SAMPLE", 200)
    assert bench.quality(x, x[:, :2], 0) == pytest.approx(whole, abs=0.03)


def test_made_vectors_are_of_a_seed_and_those_of_a_store_are_jittered(monkeypatch, tmp_path):
    bench = load("bench_project", monkeypatch)
    a, b = (bench.made(80, 12, np.random.default_rng(3)) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    bench.Embeddings.from_arrays(tmp_path / "a.emb", [str(i) for i in range(80)], a)
    options = argparse.Namespace(seed=0, emb=str(tmp_path / "a.emb"), dim=12)
    assert bench.vectors_of(options, 40).shape == (40, 12)
    many = bench.vectors_of(options, 300)
    assert len(np.unique(many, axis=0)) == 300
    assert (
        np.linalg.norm(many[:, None] - a[None], axis=2).min(axis=1).mean()
        < np.linalg.norm(a - a.mean(0), axis=1).mean()
    )
