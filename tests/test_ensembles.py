"""Monte-Carlo dropout, deep ensembles and what their disagreement says."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.science.ensembles import credible_sets, deep_ensemble, ensemble_classes, ensemble_values, mc_dropout


def head(p: float = 0.5, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(p), nn.Linear(32, 3))


def test_passes_differ_by_dropout_only_and_the_network_stays_as_it_was():
    model = head().train()
    model[1].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    modes = [m.training for m in model.modules()]
    state = torch.get_rng_state()
    x = torch.randn(50, 4, generator=torch.Generator().manual_seed(1))
    passes = mc_dropout(model, x, times=400, seed=3)
    assert passes.shape == (400, 50, 3)
    assert passes.dtype == np.float32
    assert passes.std(0).min() > 0
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():  # the last layer is linear: the mean of the passes is that without dropout
        plain = model.eval()(x).numpy()
    np.testing.assert_allclose(passes.mean(0), plain, atol=6 * passes.std(0).max() / np.sqrt(400))


def test_a_seed_gives_the_same_passes_and_blocks_do_not_matter_without_dropout():
    x = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32)
    one, two = mc_dropout(head(), x, times=3, seed=1), mc_dropout(head(), x, times=3, seed=1)
    assert (one == two).all()
    assert (one != mc_dropout(head(), x, times=3, seed=2)).any()


def test_no_dropout_is_refused():
    with pytest.raises(DataError, match="Sequential has no dropout layer"):
        mc_dropout(head(p=0.0), np.zeros((2, 4)))
    with pytest.raises(ConfigError, match="times must be at least 2; got 1"):
        mc_dropout(head(), np.zeros((2, 4)), times=1)


def test_an_ensemble_runs_each_member_in_evaluation():
    members = [head(seed=s).train() for s in range(3)]
    x = np.random.default_rng(0).normal(size=(1500, 4)).astype(np.float32)
    found = deep_ensemble(members, x)
    assert found.shape == (3, 1500, 3)
    assert all(m.training for m in members)
    with torch.no_grad():
        np.testing.assert_allclose(found[1], members[1].eval()(torch.from_numpy(x)).numpy(), atol=1e-6)
    with pytest.raises(ConfigError, match="at least 2 members; got 1"):
        deep_ensemble(members[:1], x)


def naive_entropy(p):
    return -sum(v * np.log(v) for v in p if v > 0)


@given(st.integers(0, 1000), st.integers(1, 5), st.integers(2, 4))
def test_entropies_are_those_of_the_definition(seed, m, k):
    p = np.random.default_rng(seed).dirichlet(np.ones(k), (m, 6))
    found = ensemble_classes(p)
    for i in range(6):
        assert found.total[i] == pytest.approx(naive_entropy(p[:, i].mean(0)))
        assert found.aleatoric[i] == pytest.approx(np.mean([naive_entropy(p[j, i]) for j in range(m)]))
    np.testing.assert_allclose(found.total, found.aleatoric + found.epistemic, atol=1e-12)


def test_disagreement_is_epistemic_and_agreement_aleatoric():
    disagree = ensemble_classes([[[1.0, 0.0]], [[0.0, 1.0]]])
    assert (disagree.aleatoric[0], disagree.epistemic[0]) == (0, pytest.approx(np.log(2)))
    agree = ensemble_classes([[[0.5, 0.5]], [[0.5, 0.5]]])
    assert (agree.aleatoric[0], agree.epistemic[0]) == (pytest.approx(np.log(2)), 0)


def test_values_are_the_moments_of_an_even_mixture():
    mean, sigma = np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([[1.0, 2.0], [3.0, 2.0]])
    found = ensemble_values(mean, sigma)
    draws = np.random.default_rng(0).normal(mean[:, 0], sigma[:, 0], (400_000, 2)).ravel()
    assert found.mean.tolist() == [1, 1]
    assert found.total[0] == pytest.approx(draws.var(), rel=0.02)
    assert found.epistemic.tolist() == [1, 0]
    assert ensemble_values(mean).aleatoric.tolist() == [0, 0]


def test_credible_sets_hold_the_probability_asked_for_and_no_more_than_needed():
    p = np.array([[0.5, 0.3, 0.2], [0.95, 0.03, 0.02], [0.1, 0.2, 0.7]])
    assert credible_sets(p, 0.8).tolist() == [[True, True, False], [True, False, False], [False, True, True]]
    assert credible_sets(p, 0.81).sum() == 3 + 1 + 2
    with pytest.raises(ConfigError, match="coverage must lie between"):
        credible_sets(p, 1.0)


def test_bad_input_is_told():
    with pytest.raises(ShapeError, match=r"must be \(M, N, K\)"):
        ensemble_classes([[0.5, 0.5]])
    with pytest.raises(ShapeError, match=r"must be \(M, N\)"):
        ensemble_values([0.5, 0.5])
