"""Probabilities that mean what they say: temperature, reliability, calibration error, Brier score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax

from morphospace.errors import ConfigError, DataError, NotFittedError, ShapeError
from morphospace.science.calibration import Temperature, brier_score, calibration_error, reliability_curve


def drawn(n: int, seed: int, k: int = 3):
    """Logits and classes that are drawn from their very softmax: perfectly calibrated."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 1.5, (n, k))
    y = (rng.random((n, 1)) > np.cumsum(softmax(logits, axis=1), axis=1)).sum(1)
    return logits, np.minimum(y, k - 1)


@pytest.mark.parametrize("factor", [0.3, 1.0, 2.5, 10.0])
def test_temperature_recovers_a_known_factor(factor):
    logits, y = drawn(20_000, 0)
    found = Temperature().fit(factor * logits, y)
    assert found.value == pytest.approx(factor, rel=0.05)
    p = found.apply(factor * logits)
    assert (p.argmax(1) == logits.argmax(1)).all()
    if factor > 2:
        assert calibration_error(p, y) < 0.02 < calibration_error(softmax(factor * logits, axis=1), y)


def test_temperature_takes_log_probabilities_and_shifted_logits_alike():
    logits, y = drawn(500, 1)
    one = Temperature().fit(2 * logits, y)
    other = Temperature().fit(np.log(softmax(2 * logits, axis=1)) + 5, y)
    assert one.value == pytest.approx(other.value, rel=1e-4)
    assert Temperature(one.value).apply(logits).tolist() == one.apply(logits).tolist()


def test_temperature_of_a_perfect_classifier_is_the_least():
    found = Temperature().fit([[1.0, 0.0], [0.0, 1.0]], [0, 1])
    assert 1 / 1100 < found.value < 1 / 20


def test_temperature_keeps_its_order_of_work():
    with pytest.raises(NotFittedError, match="call fit"):
        Temperature().apply([[0.0, 1.0]])
    with pytest.raises(ConfigError, match="finite and above 0; got 0"):
        Temperature(0)
    with pytest.raises(DataError, match=r"1 of 2 calibration objects were trained on, e.g. 'b'"):
        Temperature().fit([[0.0, 1.0], [1.0, 0.0]], [0, 1], ids=["a", "b"], trained_ids=["b"])
    with pytest.raises(ShapeError, match="ids must name each of the 2"):
        Temperature().fit([[0.0, 1.0], [1.0, 0.0]], [0, 1], ids=["a"])
    with pytest.raises(DataError, match="1 of 2 rows of the logits hold NaN"):
        Temperature().fit([[np.nan, 1.0], [1.0, 0.0]], [0, 1])
    with pytest.raises(ShapeError, match="logits must be"):
        Temperature().fit([0.0, 1.0], [0, 1])


def naive_ece(p, y, bins):
    """Guo+ 2017, eq. 3, with loops; bins are (low, high]."""
    total = 0.0
    for m in range(bins):
        inside = [i for i in range(len(p)) if m / bins < max(p[i]) <= (m + 1) / bins]
        if inside:
            acc = sum(int(np.argmax(p[i])) == y[i] for i in inside) / len(inside)
            conf = sum(max(p[i]) for i in inside) / len(inside)
            total += len(inside) / len(p) * abs(acc - conf)
    return total


@given(st.integers(0, 1000), st.integers(2, 5), st.integers(1, 20))
def test_calibration_error_is_that_of_the_definition(seed, k, bins):
    logits, y = drawn(60, seed, k)
    p = softmax(2 * logits, axis=1)
    assert calibration_error(p, y, bins=bins) == pytest.approx(naive_ece(p.tolist(), y.tolist(), bins), abs=1e-12)


def test_closed_forms():
    sure = np.array([[1.0, 0.0]] * 4)
    assert calibration_error(sure, [0, 0, 0, 0]) == 0
    assert calibration_error(sure, [0, 0, 0, 1]) == pytest.approx(0.25)
    assert brier_score(sure, [0, 0, 0, 0]).score == 0
    assert brier_score(sure, [1, 1, 1, 1]).score == 2
    even = brier_score(np.full((4, 2), 0.5), [0, 0, 1, 1])
    assert (even.score, even.reliability, even.resolution, even.uncertainty, even.within) == (0.5, 0, 0, 0.5, 0)


def test_reliability_curve_counts():
    p = np.array([[0.9, 0.1], [0.95, 0.05], [0.4, 0.6]])
    curve = reliability_curve(p, [0, 1, 1], bins=2)
    assert curve.n.tolist() == [0, 3]
    assert np.isnan(curve.accuracy[0])
    assert curve.confidence[1] == pytest.approx(0.8166667)
    assert curve.accuracy[1] == pytest.approx(2 / 3)
    assert curve.error == pytest.approx(0.15)
    assert reliability_curve(p, [0, 1, 1], bins=1).n.tolist() == [3]


@given(st.integers(0, 1000), st.integers(2, 5), st.integers(1, 20))
def test_brier_is_the_mean_square_and_its_parts_add_up(seed, k, bins):
    logits, y = drawn(80, seed, k)
    p = softmax(2 * logits, axis=1)
    found = brier_score(p, y, bins=bins)
    naive = sum(sum((p[i][c] - (y[i] == c)) ** 2 for c in range(k)) for i in range(80)) / 80
    assert found.score == pytest.approx(naive)
    assert found.score == pytest.approx(found.reliability - found.resolution + found.uncertainty + found.within)
    assert min(found.reliability, found.resolution, found.uncertainty) >= 0


def test_brier_of_few_distinct_probabilities_has_nothing_within():
    p1 = np.repeat([0.1, 0.4, 0.8], 20)
    y = (np.random.default_rng(0).random(60) < p1).astype(int)
    found = brier_score(np.column_stack([1 - p1, p1]), y, bins=10)
    assert found.within == pytest.approx(0, abs=1e-12)
    by_hand = sum(20 / 60 * 2 * (v - y[p1 == v].mean()) ** 2 for v in (0.1, 0.4, 0.8))
    assert found.reliability == pytest.approx(by_hand)


def test_bad_input_is_told():
    p = np.full((4, 2), 0.5)
    with pytest.raises(ConfigError, match="bins must be at least 1; got 0"):
        calibration_error(p, [0, 1, 0, 1], bins=0)
    with pytest.raises(DataError, match="row 0 adds up to 2; give those of a softmax"):
        brier_score(4 * p / 2, [0, 1, 0, 1])
    with pytest.raises(DataError, match="between 0 and 1, the columns"):
        brier_score(p, [0, 1, 0, 2])
