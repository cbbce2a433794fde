"""Losses against slow float64 transcriptions of the papers' equations, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from morphospace.errors import ShapeError
from morphospace.learn.losses import (
    correlation_loss,
    covariance_loss,
    mean_cosine,
    negative_cosine,
    nt_xent,
    variance_loss,
)

sizes = st.tuples(st.integers(2, 7), st.integers(1, 6), st.integers(0, 2**31 - 1))


def draw(n, d, seed):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=(n, d))


def tensors(*arrays):
    return [torch.tensor(a, dtype=torch.float32) for a in arrays]


def cosine(a, b):
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def grill_2020_eq_2(q, z):
    """|| q/|q| - z/|z| ||^2 for one row each."""
    q, z = q / np.linalg.norm(q), z / np.linalg.norm(z)
    return float(((q - z) ** 2).sum())


def chen_2020_eq_1(p, q, temperature):
    """Algorithm 1: rows 2k - 1 and 2k are the views of object k; mean of l(i, j) over both orders."""
    z = [row for pair in zip(p, q, strict=True) for row in pair]
    total = 0.0
    for i in range(len(z)):
        j = i + 1 if i % 2 == 0 else i - 1
        others = sum(math.exp(cosine(z[i], z[k]) / temperature) for k in range(len(z)) if k != i)
        total -= math.log(math.exp(cosine(z[i], z[j]) / temperature) / others)
    return total / len(z)


def bardes_2022_eq_1(z, gamma, eps):
    """Mean over dimensions of max(0, gamma - S(z_j)), S = sqrt(Var + eps), the unbiased variance."""
    return sum(max(0.0, gamma - math.sqrt(np.var(z[:, j], ddof=1) + eps)) for j in range(z.shape[1])) / z.shape[1]


def bardes_2022_eq_3_and_4(z):
    n, d = z.shape
    mean = z.mean(axis=0)
    c = sum(np.outer(row - mean, row - mean) for row in z) / (n - 1)
    return sum(c[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d


@given(sizes)
def test_negative_cosine_is_grill_eq_2(size):
    p, q = draw(*size)
    expected = [grill_2020_eq_2(a, b) for a, b in zip(p, q, strict=True)]
    np.testing.assert_allclose(negative_cosine(*tensors(p, q)), expected, rtol=1e-4, atol=1e-5)


@given(sizes, st.floats(0.05, 2.0))
def test_nt_xent_is_chen_eq_1(size, temperature):
    p, q = draw(*size)
    expected = chen_2020_eq_1(p, q, temperature)
    assert float(nt_xent(*tensors(p, q), temperature=temperature)) == pytest.approx(expected, rel=1e-3, abs=1e-4)


@given(sizes, st.floats(0.2, 3.0))
def test_variance_loss_is_bardes_eq_1_and_2(size, target):
    p, _ = draw(*size)
    found = float(variance_loss(*tensors(p), target=target, eps=1e-3))
    assert found == pytest.approx(bardes_2022_eq_1(p, target, 1e-3), rel=1e-4, abs=1e-5)


@given(sizes)
def test_covariance_loss_is_bardes_eq_3_and_4(size):
    p, _ = draw(*size)
    assert float(covariance_loss(*tensors(p))) == pytest.approx(bardes_2022_eq_3_and_4(p), rel=1e-3, abs=1e-5)


@given(st.tuples(st.integers(3, 7), st.integers(1, 6), st.integers(0, 2**31 - 1)))
def test_correlation_loss_is_that_of_standardised_vectors(size):
    z, _ = draw(*size)
    n, d = z.shape
    scaled = [(column - column.mean()) / np.std(column, ddof=1) for column in z.T]
    c = [[float(a @ b) / (n - 1) for b in scaled] for a in scaled]
    expected = sum(c[i][j] ** 2 for i in range(d) for j in range(d) if i != j) / d
    assert float(correlation_loss(*tensors(z), eps=0.0)) == pytest.approx(expected, rel=1e-3, abs=1e-5)


def test_known_values_of_the_correlation():
    column = torch.randn(50, 1)
    copies = torch.cat((column, -3 * column, 100 * column + 7), dim=1)
    assert float(correlation_loss(copies)) == pytest.approx(2, rel=1e-3)  # D - 1 when all say the same
    apart = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
    assert float(correlation_loss(apart)) == pytest.approx(0, abs=1e-6)
    independent = torch.randn(200, 30)
    assert float(correlation_loss(independent)) == pytest.approx(29 / 199, rel=0.2)
    assert float(correlation_loss(torch.zeros(5, 3))) == 0


@given(sizes)
def test_mean_cosine_is_the_mean_over_pairs(size):
    p, _ = draw(*size)
    expected = np.mean([cosine(a, b) for i, a in enumerate(p) for j, b in enumerate(p) if i != j])
    assert float(mean_cosine(*tensors(p))) == pytest.approx(expected, abs=1e-5)


@given(sizes, st.randoms(use_true_random=False))
def test_a_joint_permutation_changes_no_loss(size, random):
    p, q = tensors(*draw(*size))
    order = list(range(len(p)))
    random.shuffle(order)
    for loss in (
        lambda a, b: negative_cosine(a, b).mean(),
        nt_xent,
        lambda a, _b: variance_loss(a),
        lambda a, _b: covariance_loss(a),
        lambda a, _b: correlation_loss(a),
        lambda a, _b: mean_cosine(a),
    ):
        torch.testing.assert_close(loss(p, q), loss(p[order], q[order]), rtol=1e-4, atol=1e-5)


@given(sizes, st.floats(1e-2, 1e2))
def test_length_of_the_vectors_does_not_matter_to_cosines(size, factor):
    p, q = tensors(*draw(*size))
    torch.testing.assert_close(negative_cosine(p * factor, q), negative_cosine(p, q), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(nt_xent(p * factor, q), nt_xent(p, q), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(mean_cosine(p * factor), mean_cosine(p), rtol=1e-4, atol=1e-5)


def test_known_values_of_negative_cosine():
    p = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    q = torch.tensor([[2.0, 0.0], [0.0, 3.0], [-1.0, 0.0], [1.0, 0.0]])
    assert negative_cosine(p, q).tolist() == pytest.approx([0, 2, 4, 2])


@pytest.mark.parametrize("n", [2, 5, 64])
def test_nt_xent_of_projections_that_say_nothing(n):
    p = torch.ones(n, 3)
    assert float(nt_xent(p, p)) == pytest.approx(math.log(2 * n - 1), rel=1e-6)


def test_nt_xent_is_lowest_where_the_pairs_belong_together():
    p = torch.eye(6)
    right, wrong = nt_xent(p, p), nt_xent(p, p.roll(1, 0))
    assert float(right) < 0.1 < float(wrong)


def test_known_values_of_the_rank_terms():
    spread = torch.tensor([[-3.0, 2.0], [3.0, 2.0]])  # variances 18 and 0
    assert float(variance_loss(spread, eps=0.0)) == pytest.approx(0.5)
    assert float(covariance_loss(torch.tensor([[1.0, 1.0], [-1.0, -1.0]]))) == pytest.approx(4.0)
    assert float(covariance_loss(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))) == 0


def test_mean_cosine_tells_a_collapse():
    assert float(mean_cosine(torch.ones(10, 4))) == pytest.approx(1)
    assert float(mean_cosine(torch.eye(10))) == pytest.approx(0, abs=1e-6)
    assert float(mean_cosine(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))) == pytest.approx(-1)
    assert float(mean_cosine(torch.zeros(5, 3))) == 0


@pytest.mark.parametrize(
    "loss",
    [
        lambda p: negative_cosine(p, torch.ones_like(p)).sum(),
        lambda p: nt_xent(p, torch.ones_like(p)),
        variance_loss,
        covariance_loss,
        correlation_loss,
    ],
    ids=["negative_cosine", "nt_xent", "variance", "covariance", "correlation"],
)
@pytest.mark.parametrize("start", ["collapsed", "zero", "random"])
def test_gradients_are_finite_even_at_a_collapse(loss, start):
    p = {"collapsed": torch.ones(4, 3), "zero": torch.zeros(4, 3), "random": torch.randn(4, 3)}[start]
    p.requires_grad_()
    loss(p).backward()
    assert torch.isfinite(p.grad).all()


def test_no_gradient_through_the_figure():
    assert not mean_cosine(torch.randn(4, 3, requires_grad=True)).requires_grad


def test_losses_of_half_precision_are_computed_in_float32():
    p = torch.randn(64, 16).bfloat16()
    for value in (negative_cosine(p, p), nt_xent(p, p), variance_loss(p), covariance_loss(p), mean_cosine(p)):
        assert value.dtype == torch.float32
    torch.testing.assert_close(nt_xent(p, p), nt_xent(p.float(), p.float()))


@pytest.mark.parametrize(
    "loss",
    [negative_cosine, nt_xent, *(lambda a, _b, f=f: f(a) for f in (variance_loss, covariance_loss, correlation_loss))],
)
def test_autocast_rounds_no_loss(loss):
    """A product of bf16 keeps three digits, too few for a cosine near 1."""
    p, q = torch.randn(64, 16), torch.randn(64, 16)
    plain = loss(p, q)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(loss(p, q), plain)
        assert (p @ q.T).dtype == torch.bfloat16  # the control: a product of one's own is rounded


@pytest.mark.parametrize("loss", [negative_cosine, nt_xent])
@pytest.mark.parametrize("shapes", [((4, 3), (4, 2)), ((4, 3), (5, 3)), ((4,), (4,)), ((2, 2, 2), (2, 2, 2))])
def test_shapes_that_do_not_fit_are_refused(loss, shapes):
    with pytest.raises(ShapeError, match=r"both projections must be \(B, P\) and alike; got"):
        loss(*(torch.zeros(s) for s in shapes))


def test_nt_xent_needs_something_to_contrast_with():
    with pytest.raises(ShapeError, match="at least 2; got 1"):
        nt_xent(torch.ones(1, 3), torch.ones(1, 3))
