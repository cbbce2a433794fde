"""Mixtures: equal to the equations written naively, to scikit-learn and to sampling, and finite everywhere."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.mixture import GaussianMixture

from morphospace.errors import DataError
from morphospace.learn.mixture import (
    Mixture,
    bounded,
    kl_mixture,
    kl_normal,
    log_density,
    log_joint,
    log_responsibilities,
    responsibilities,
)
from morphospace.learn.mixture_start import MOST_COMPONENTS, fit_mapped, fit_mixture, fit_rounded


def some_mixture(k=3, d=4, seed=0, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    weights = rng.dirichlet(np.ones(k))
    parts = (np.log(weights), rng.normal(0, 2, (k, d)), rng.normal(0, 1, (k, d)))
    return Mixture(*(torch.tensor(p, dtype=dtype) for p in parts))


def some_posteriors(n=5, d=4, seed=1, dtype=torch.float64):
    rng = np.random.default_rng(seed)
    return tuple(torch.tensor(rng.normal(0, s, (n, d)), dtype=dtype) for s in (2.0, 1.0))


def naive_joint(mixture, m, v=None):
    """log pi_c + E log N(z; mu_c, s2_c): Jiang et al. 2017, appendix, in loops."""
    log_pi, mu, log_s2 = (t.tolist() for t in mixture)
    out = []
    for i in range(len(m)):
        row = []
        for c in range(len(log_pi)):
            total = log_pi[c]
            for j in range(len(mu[c])):
                s2 = math.exp(log_s2[c][j])
                away = (float(m[i, j]) - mu[c][j]) ** 2 + (0.0 if v is None else float(v[i, j]))
                total -= 0.5 * (math.log(2 * math.pi) + math.log(s2) + away / s2)
            row.append(total)
        out.append(row)
    return np.array(out)


def naive_kl(mixture, m, v, gamma):
    """Design of this house, section 6; Jiang et al. 2017, section 3."""
    log_pi, mu, log_s2 = (t.tolist() for t in mixture)
    out = []
    for i in range(len(m)):
        total = 0.0
        for c in range(len(log_pi)):
            g = float(gamma[i, c])
            for j in range(len(mu[c])):
                s2 = math.exp(log_s2[c][j])
                total += 0.5 * g * (math.log(s2) + float(v[i, j]) / s2 + (float(m[i, j]) - mu[c][j]) ** 2 / s2)
            if g > 0:
                total -= g * (log_pi[c] - math.log(g))
        for j in range(m.shape[1]):
            total -= 0.5 * (1 + math.log(float(v[i, j])))
        out.append(total)
    return np.array(out)


SHAPES = [(1, 1, 1), (4, 3, 2), (7, 5, 12), (3, 20, 1)]


@pytest.mark.parametrize("n, d, k", SHAPES)
def test_log_joint_is_the_equation(n, d, k):
    mixture, (m, lv) = some_mixture(k, d), some_posteriors(n, d)
    np.testing.assert_allclose(log_joint(mixture, m), naive_joint(mixture, m), rtol=1e-10)
    np.testing.assert_allclose(log_joint(mixture, m, lv), naive_joint(mixture, m, lv.exp()), rtol=1e-10)


@pytest.mark.parametrize("n, d, k", SHAPES)
def test_the_divergence_is_the_equation(n, d, k):
    mixture, (m, lv) = some_mixture(k, d), some_posteriors(n, d)
    gamma = torch.tensor(np.random.default_rng(2).dirichlet(np.ones(k), n))
    found = kl_mixture(mixture, m, lv, gamma.log())
    assert found.dimensions.shape == (n, d)
    expected = naive_kl(mixture, m, lv.exp(), gamma)
    np.testing.assert_allclose(found.dimensions.sum(dim=1) + found.component, expected, rtol=1e-9, atol=1e-9)


def test_responsibilities_and_density_are_those_of_scikit_learn():
    mixture = some_mixture(5, 3)
    theirs = GaussianMixture(5, covariance_type="diag")
    theirs.weights_ = mixture.log_weights.exp().numpy()
    theirs.means_ = mixture.means.numpy()
    theirs.covariances_ = mixture.log_variances.exp().numpy()
    theirs.precisions_cholesky_ = 1 / np.sqrt(theirs.covariances_)
    z = some_posteriors(50, 3)[0]
    np.testing.assert_allclose(responsibilities(mixture, z), theirs.predict_proba(z.numpy()), rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(log_density(mixture, z), theirs.score_samples(z.numpy()), rtol=1e-9)


def test_the_divergence_is_what_sampling_finds():
    mixture, (m, lv) = some_mixture(3, 2), some_posteriors(1, 2)
    gamma = torch.tensor([[0.2, 0.5, 0.3]], dtype=torch.float64)
    torch.manual_seed(0)
    z = m + torch.exp(0.5 * lv) * torch.randn(400_000, 2, dtype=torch.float64)
    log_q = torch.distributions.Normal(m, torch.exp(0.5 * lv)).log_prob(z).sum(dim=1, keepdim=True)
    each = log_q + gamma.log() - log_joint(mixture, z)  # (S, k)
    expected = float((each * gamma).sum(dim=1).mean())
    found = kl_mixture(mixture, m, lv, gamma.log())
    assert float(found.dimensions.sum() + found.component.sum()) == pytest.approx(expected, rel=5e-3)


def test_the_divergence_from_one_standard_component_is_that_of_the_plain_autoencoder():
    m, lv = some_posteriors(6, 3)
    zero = torch.zeros(1, 3, dtype=torch.float64)
    standard = Mixture(torch.zeros(1, dtype=torch.float64), zero, zero)
    found = kl_mixture(standard, m, lv, torch.zeros(6, 1, dtype=torch.float64))
    torch.testing.assert_close(found.dimensions, kl_normal(m, lv))
    torch.testing.assert_close(found.component, torch.zeros(6, dtype=torch.float64))


def test_the_divergence_of_a_normal_is_that_of_torch():
    m, lv = some_posteriors(6, 3)
    theirs = torch.distributions.kl_divergence(
        torch.distributions.Normal(m, torch.exp(0.5 * lv)),
        torch.distributions.Normal(torch.zeros_like(m), torch.ones_like(m)),
    )
    torch.testing.assert_close(kl_normal(m, lv), theirs)


@given(st.integers(0, 10_000))
def test_responsibilities_with_a_variance_make_the_divergence_smallest(seed):
    mixture, (m, lv) = some_mixture(4, 3, seed), some_posteriors(5, 3, seed + 1)
    best = log_responsibilities(mixture, m, lv)  # whose exponential may round to 0
    other = torch.tensor(np.random.default_rng(seed).dirichlet(np.ones(4), 5)).log()
    least, more = (kl_mixture(mixture, m, lv, g) for g in (best, other))
    least, more = (kl.dimensions.sum(dim=1) + kl.component for kl in (least, more))
    assert bool((least <= more + 1e-9).all())
    entropy = 0.5 * (1 + math.log(2 * math.pi) + lv).sum(dim=1)
    torch.testing.assert_close(least, -log_joint(mixture, m, lv).logsumexp(dim=1) - entropy)


@pytest.mark.parametrize("far", [0.0, 30.0, 1e4, 1e8])
def test_far_points_have_finite_responsibilities_and_gradients(far):
    mixture = Mixture(*(t.float() for t in some_mixture()))
    m = torch.full((3, 4), far, requires_grad=True)
    lv = torch.zeros(3, 4)
    log_gamma = log_responsibilities(mixture, m, lv)
    torch.testing.assert_close(log_gamma.exp().sum(dim=1), torch.ones(3))
    found = kl_mixture(mixture, m, lv, log_gamma)
    (found.dimensions.sum() + found.component.sum()).backward()
    assert torch.isfinite(m.grad).all()


def test_a_component_without_weight_costs_nothing_and_is_never_chosen():
    mixture = some_mixture()._replace(log_weights=torch.tensor([0.0, -1e9, -1e9], dtype=torch.float64))
    m, lv = some_posteriors()
    log_gamma = log_responsibilities(mixture, m, lv)
    torch.testing.assert_close(log_gamma[:, 0].exp(), torch.ones(5, dtype=torch.float64))
    assert torch.isfinite(kl_mixture(mixture, m, lv, log_gamma).component).all()


@pytest.mark.parametrize("spread", [1.0, 5.0])
def test_the_spread_of_logarithms_is_limited(spread):
    mixture = some_mixture(4, 3)
    m, lv = some_posteriors(50, 3)
    free, held = (responsibilities(mixture, m, lv, spread=s) for s in (0.0, spread))
    width = held.log().amax(dim=1) - held.log().amin(dim=1)
    assert float(width.max()) <= spread + 1e-9
    assert bool((free.argmax(dim=1) == held.argmax(dim=1)).all())
    narrow = (free.log().amax(dim=1) - free.log().amin(dim=1)) < spread
    torch.testing.assert_close(held[narrow], free[narrow])
    torch.testing.assert_close(held.sum(dim=1), torch.ones(50, dtype=torch.float64))


def test_views_of_one_image_share_their_component():
    """gamma_c is proportional to pi_c prod_v N(z_v; mu_c, s2_c), in loops."""
    mixture, (m, lv) = some_mixture(4, 3), some_posteriors(6, 3)
    joint = naive_joint(mixture, m, lv.exp())
    log_pi = mixture.log_weights.numpy()
    expected = np.zeros((3, 4))
    for i in range(3):
        row = [joint[i, c] + joint[i + 3, c] - log_pi[c] for c in range(4)]
        expected[i] = np.array(row) - np.logaddexp.reduce(row)
    np.testing.assert_allclose(log_responsibilities(mixture, m, lv, views=2), expected, rtol=1e-9)
    twice = m[:3].repeat(2, 1)
    once = responsibilities(mixture._replace(log_weights=torch.zeros(4)), m[:3])
    again = log_responsibilities(mixture._replace(log_weights=torch.zeros(4)), twice, views=2).exp()
    torch.testing.assert_close(again, once.square() / once.square().sum(dim=1, keepdim=True))


def test_gradients_are_right():
    mixture = some_mixture(3, 2)
    m, lv = some_posteriors(3, 2)

    def bound(log_weights, means, log_variances, mean, log_variance):
        now = Mixture(log_weights, means, log_variances)
        found = kl_mixture(now, mean, log_variance, log_responsibilities(now, mean, log_variance, spread=9.0))
        return found.dimensions.sum() + found.component.sum()

    assert torch.autograd.gradcheck(bound, [t.clone().requires_grad_() for t in (*mixture, m, lv)])


def test_bounds_are_smooth_and_never_crossed():
    raw = torch.tensor([-1e6, -50.0, -3.0, 0.0, 2.0, 50.0, 1e6], requires_grad=True)
    held = bounded(raw, -12.0, 6.0)
    assert float(held.detach().min()) >= -12
    assert float(held.detach().max()) <= 6
    torch.testing.assert_close(held[2:5], raw[2:5], atol=0.02, rtol=0.0)
    held.sum().backward()
    assert torch.isfinite(raw.grad).all()
    assert float(bounded(torch.tensor(-15.0), -12.0, 6.0)) > -12
    near = torch.tensor(-13.0, requires_grad=True)
    bounded(near, -12.0, 6.0).backward()
    assert float(near.grad) > 0.1
    assert bounded(torch.zeros(2, dtype=torch.bfloat16), -12, 6).dtype == torch.float32


# the start


def blobs(n=600, k=3, d=4, apart=10.0, seed=0):
    rng = np.random.default_rng(seed)
    label = rng.permutation(np.arange(n) % k)
    return (rng.normal(size=(k, d)) * apart)[label] + rng.normal(size=(n, d)), label


@pytest.mark.parametrize("k", [3, "auto"])
def test_blobs_are_found(k):
    z, label = blobs()
    found = fit_mixture(z, k, seed=0)
    assert found.means.shape == (3, 4)
    chosen = responsibilities(found, torch.from_numpy(z).float()).argmax(dim=1).numpy()
    assert all(len(np.unique(chosen[label == c])) == 1 for c in range(3))
    assert len(np.unique(chosen)) == 3
    assert float(found.log_weights.exp().sum()) == pytest.approx(1)
    assert bool((found.log_weights.diff() <= 0).all())
    again = fit_mixture(z, k, seed=0)
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))


def test_the_number_of_components_is_limited():
    found = fit_mixture(np.random.default_rng(0).uniform(size=(400, 2)) * 100, "auto", seed=0)
    assert 1 <= len(found.means) <= MOST_COMPONENTS


def test_vectors_that_are_all_equal_give_a_finite_start():
    found = fit_mixture(np.ones((40, 3)), 2, seed=0)
    assert all(bool(torch.isfinite(t).all()) for t in found)
    rounded = fit_rounded(np.ones((40, 3)), 2, seed=0)
    assert all(bool(torch.isfinite(t).all()) for t in (*rounded.mixture, rounded.centre, rounded.axes))


def test_kinds_that_are_no_balls_are_found_on_the_map():
    """Two rings, one through the other: no Gaussians part them, neighbours do."""
    rng = np.random.default_rng(0)
    label = np.arange(400) % 2
    angle = rng.uniform(0, 2 * np.pi, 400)
    zero = np.zeros(400)
    rings = (
        np.stack((np.cos(angle), np.sin(angle), zero), axis=1),
        np.stack((1 + np.cos(angle), zero, np.sin(angle)), axis=1),
    )
    z = np.where(label[:, None] == 0, *rings) + rng.normal(0, 0.02, (400, 3))
    found = fit_mapped(z, 2, seed=0)
    y = (z - found.centre.numpy()) @ found.axes.numpy().T
    middle = np.array([y[label == c].mean(axis=0) for c in (0, 1)])
    apart = np.abs(found.mixture.means.numpy()[:, None] - middle).max(axis=2)
    assert sorted(apart.argmin(axis=1)) == [0, 1]
    assert apart.min(axis=1).max() < 0.2


def test_long_thin_kinds_are_found_where_diagonal_gaussians_cut_across():
    """Two clouds, 60 times as long as wide, side by side along a diagonal."""
    rng = np.random.default_rng(0)
    label = np.arange(600) % 2
    along, across = rng.normal(0, 30, 600), rng.normal(0, 0.5, 600) + 8 * label
    z = np.stack((along + across, along - across, rng.normal(size=600)), axis=1) + 100

    def right(found, vectors):
        chosen = responsibilities(found, torch.from_numpy(vectors).float()).argmax(dim=1).numpy()
        return max((chosen == label).mean(), (chosen != label).mean())

    assert right(fit_mixture(z, 2, seed=0), z) < 0.8
    rounded = fit_rounded(z, 2, seed=0)
    y = (z - rounded.centre.numpy()) @ rounded.axes.numpy().T
    assert right(rounded.mixture, y) == 1.0
    pooled = sum(np.cov(y[label == c].T) for c in (0, 1)) / 2
    np.testing.assert_allclose(pooled, np.eye(3), atol=0.1)


@pytest.mark.parametrize("n, k, least", [(49, 10, 50), (9, "auto", 10)])
def test_too_few_images_are_named(n, k, least):
    if k != "auto":
        with pytest.raises(DataError, match=f"there are {n}"):
            fit_rounded(np.zeros((n, 2)), k, seed=0)
    with pytest.raises(
        DataError, match=rf"a mixture of {k} components needs at least {least} images .* there are {n}. Lower k"
    ):
        fit_mixture(np.zeros((n, 2)), k, seed=0)
