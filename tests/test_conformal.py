"""Conformal sets and intervals: the promise holds, on the whole and in groups, and cannot be had by cheating."""

from __future__ import annotations

import itertools
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import softmax
from scipy.stats import binom

from morphospace.errors import ConfigError, DataError, MissingDependencyError, NotFittedError, ShapeError
from morphospace.science.conformal import ConformalIntervals, ConformalSets
from morphospace.science.coverage import Grouping, achieved, least_objects


def classified(n: int, seed: int, shares=(0.6, 0.3, 0.1), signal: float = 1.0):
    """Probabilities of a mediocre, overconfident classifier, true classes, and S/N that says how hard an object is."""
    rng = np.random.default_rng(seed)
    y = rng.choice(len(shares), n, p=shares)
    snr = rng.uniform(2, 20, n)
    z = rng.normal(size=(n, len(shares)))
    z[np.arange(n), y] += signal * np.sqrt(snr / 5)
    return softmax(3 * (z + 0.5 * np.log(shares)), axis=1), y, snr


def within_chance(hits: int, n: int, coverage: float, level: float = 1e-4) -> bool:
    """Tell whether a number of hits is what a coverage gives by chance."""
    return binom.ppf(level / 2, n, coverage) <= hits <= binom.ppf(1 - level / 2, n, coverage)


# the promise


@pytest.mark.parametrize("coverage", [0.5, 0.8, 0.9, 0.95])
@pytest.mark.parametrize("by_class", [False, True])
def test_sets_hold_the_truth_as_often_as_asked(coverage, by_class):
    """One new object for each of many calibrations: independent draws, so that the bounds are binomial."""
    n, hits = 400, 0
    for seed in range(n):
        p, y, _ = classified(121, seed, shares=(0.5, 0.5))
        sets = ConformalSets(coverage, by_class=by_class).calibrate(p[:120], y[:120]).predict(p[120:])
        hits += sets[0, y[120]]
    exact = np.floor((1 - coverage) * 121 + 1e-9) / 121  # p-values are steps: what is promised without classes
    assert within_chance(hits, n, coverage if by_class else 1 - exact)


def test_every_class_is_covered_by_class_and_the_rare_one_is_not_otherwise():
    found = {True: [], False: []}
    for seed in range(40):
        p, y, _ = classified(1200, seed)
        for by_class in found:
            sets = ConformalSets(0.9, by_class=by_class).calibrate(p[:600], y[:600]).predict(p[600:])
            inside = sets[np.arange(600), y[600:]]
            found[by_class].append([inside[y[600:] == c].mean() for c in range(3)])
    assert np.abs(np.mean(found[True], axis=0) - 0.9).max() < 0.02
    assert np.mean(found[False], axis=0)[2] < 0.85


def test_every_group_of_a_column_is_covered_and_without_groups_the_faint_are_not():
    grouped, plain = [], []
    for seed in range(40):
        p, y, snr = classified(1200, seed)
        group = Grouping.of(snr[:600], bins=3).codes(snr[600:])
        sets = ConformalSets(0.9).calibrate(p[:600], y[:600], by=snr[:600], bins=3).predict(p[600:], by=snr[600:])
        grouped.append([a.coverage for a in achieved(sets, y[600:], group=group)[1:]])
        sets = ConformalSets(0.9).calibrate(p[:600], y[:600]).predict(p[600:])
        plain.append([a.coverage for a in achieved(sets, y[600:], group=group)[1:]])
    assert np.abs(np.mean(grouped, axis=0) - 0.9).max() < 0.015
    assert np.mean(plain, axis=0)[0] < 0.87


@pytest.mark.parametrize("sigma", [False, True])
def test_intervals_hold_the_truth_as_often_as_asked_in_every_group(sigma):
    found, width = [], []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        hard = rng.uniform(0.5, 3, 800)
        guess = rng.normal(size=800)
        y = guess + hard * rng.standard_t(3, 800)
        given = {"sigma": hard[:400]} if sigma else {}
        new = {"sigma": hard[400:]} if sigma else {}
        intervals = ConformalIntervals(0.8).calibrate(guess[:400], y[:400], by=hard[:400], bins=2, **given)
        low_high = intervals.predict(guess[400:], by=hard[400:], **new)
        code = Grouping.of(hard[:400], bins=2).codes(hard[400:])
        found.append([a.coverage for a in achieved(low_high, y[400:], group=code)])
        width.append((low_high[:, 1] - low_high[:, 0]).std())
    assert np.abs(np.mean(found, axis=0) - 0.8).max() < 0.015
    assert np.mean(width) > 0.1


# known answers


def naive_p(cal, score):
    """(number of calibration scores at least as large + 1) / (n + 1): Vovk+ 2005, eq. 2.20, in words."""
    return (sum(1 for c in cal if c >= score) + 1) / (len(cal) + 1)


@given(st.integers(0, 1000), st.booleans(), st.booleans())
def test_p_values_are_those_of_the_definition(seed, by_class, ties):
    p, y, snr = classified(160, seed, shares=(0.5, 0.5))
    if ties:
        p = np.round(p, 1)
    cal = slice(0, 120)
    bright = np.where(snr > 10, "bright", "faint")
    found = ConformalSets(0.5, by_class=by_class).calibrate(p[cal], y[cal], by=bright[cal]).p_values(p, by=bright)
    score = 1 - p[np.arange(160), y]
    for i in range(120, 160):
        for c in range(2):
            same = [j for j in range(120) if bright[j] == bright[i] and (not by_class or y[j] == c)]
            assert found[i, c] == pytest.approx(naive_p([score[j] for j in same], 1 - p[i, c]))


def test_intervals_are_the_quantile_of_the_residuals():
    residual = np.arange(1.0, 20)  # 19: the 18th smallest for 90 %
    found = ConformalIntervals(0.9).calibrate(np.zeros(19), residual).predict([0.0, 5.0, np.nan])
    np.testing.assert_allclose(found[:2], [[-18, 18], [-13, 23]])
    assert np.isnan(found[2]).all()


def test_the_least_number_is_enough_and_one_less_is_not():
    assert [least_objects(c) for c in (0.5, 0.8, 0.9, 0.95, 0.99)] == [1, 4, 9, 19, 99]
    guess = np.zeros(9)
    assert np.isfinite(ConformalIntervals(0.9).calibrate(guess, np.arange(9.0)).predict([0.0])).all()
    p = np.column_stack([np.linspace(0.6, 0.9, 9), np.linspace(0.4, 0.1, 9)])
    sets = ConformalSets(0.9).calibrate(p, np.zeros(9, int)).predict([[0.5, 0.5], [0.7, 0.3]])
    assert sets.tolist() == [[False, False], [True, False]]  # sets may be empty
    with pytest.raises(DataError, match=r"has 8 calibration objects, but coverage 0.9 needs at least 9"):
        ConformalIntervals(0.9).calibrate(guess[1:], guess[1:])


def test_sets_grow_with_coverage():
    p, y, _ = classified(600, 3)
    nested = [ConformalSets(c).calibrate(p[:300], y[:300]).predict(p[300:]) for c in (0.5, 0.7, 0.9, 0.95)]
    assert all((a <= b).all() for a, b in itertools.pairwise(nested))
    order = np.random.default_rng(0).permutation(300)
    again = ConformalSets(0.9).calibrate(p[:300][order], y[:300][order]).predict(p[300:])
    assert (again == nested[2]).all()


def test_achieved_counts():
    sets = np.array([[True, False], [True, True], [False, False], [False, True]])
    whole, a, b = achieved(sets, [0, 1, 1, 0], group=["a", "a", "b", "b"])
    assert (whole.n, whole.coverage, whole.size, whole.empty) == (4, 0.5, 1.0, 0.25)
    assert (a.group, a.coverage, b.coverage, b.empty) == ("a", 1.0, 0.0, 0.5)
    assert a.low < 0.2
    assert a.high == 1.0
    assert b.low == 0.0
    assert achieved(np.array([[0.0, 1.0], [2.0, 3.0]]), [1.0, 1.0])[0].coverage == 0.5


# groups


def test_groups_of_numbers_are_even_and_missing_values_are_one():
    values = np.append(np.arange(100.0), np.nan)
    groups = Grouping.of(values, bins=4)
    assert np.bincount(groups.codes(values)).tolist() == [25, 25, 25, 25, 1]
    assert groups.labels[-1] == "missing"
    assert len(groups.names) == 4
    assert Grouping.of(np.full(10, 2.0)).names == ("all",)
    names = Grouping.of(np.array(["b", "a", None], dtype=object))
    assert names.names == ("a", "b")
    assert names.codes(["a", "c"]).tolist() == [0, -1]


def test_a_new_group_is_promised_everything(caplog):
    p, y, _ = classified(100, 0)
    survey = np.array(["FIRST"] * 100)
    sets = ConformalSets(0.8).calibrate(p, y, by=survey)
    assert sets.predict(p[:2], by=["LoTSS", "LoTSS"]).all()
    assert "2 of 2 objects are in groups that were not calibrated" in caplog.text
    intervals = ConformalIntervals(0.8).calibrate(p[:, 0], p[:, 1], by=survey)
    assert np.isinf(intervals.predict([0.0], by=["LoTSS"])).all()


# order of work, saving, bad input


@pytest.mark.parametrize("by_class", [False, True])
def test_saved_sets_give_the_same_without_crepes(monkeypatch, by_class):
    p, y, snr = classified(900, 1)
    sets = ConformalSets(0.8, by_class=by_class).calibrate(p[:600], y[:600], by=snr[:600], bins=2)
    monkeypatch.setitem(sys.modules, "crepes", None)
    again = ConformalSets.from_state(*sets.state())
    assert (again.p_values(p[600:], by=snr[600:]) == sets.p_values(p[600:], by=snr[600:])).all()
    with pytest.raises(MissingDependencyError, match=r"morphospace\[conformal\]"):
        sets.calibrate(p[:600], y[:600])


def test_saved_intervals_give_the_same():
    guess = np.linspace(0, 1, 50)
    made = ConformalIntervals(0.8).calibrate(guess, guess**2, sigma=guess + 1)
    again = ConformalIntervals.from_state(*made.state())
    assert (again.predict(guess, sigma=guess + 1) == made.predict(guess, sigma=guess + 1)).all()


@pytest.mark.parametrize("made", [ConformalSets(), ConformalIntervals()])
def test_nothing_goes_before_calibration(made):
    with pytest.raises(NotFittedError, match="not calibrated"):
        made.predict(np.full((2, 2), 0.5))
    with pytest.raises(NotFittedError, match="nothing to save"):
        made.state()


@pytest.mark.parametrize("coverage", [0.0, 1.0, -0.1, 90, float("nan")])
def test_coverage_must_be_a_fraction(coverage):
    with pytest.raises(ConfigError, match="coverage must lie between 0 and 1, both excluded; got"):
        ConformalSets(coverage)


def test_coverage_in_per_cent_is_understood():
    with pytest.raises(ConfigError, match=r"got 90; did you mean 0.9\?"):
        ConformalIntervals(90)


def test_objects_of_the_training_are_refused_by_id():
    p, y, _ = classified(20, 0)
    ids = [f"J{i}" for i in range(20)]
    with pytest.raises(DataError, match=r"2 of 20 calibration objects were trained on, e.g. 'J3'"):
        ConformalSets(0.8).calibrate(p, y, ids=ids, trained_ids=["J3", "J7", "J99"])
    with pytest.raises(DataError, match="were trained on"):
        ConformalIntervals(0.8).calibrate(p[:, 0], p[:, 1], ids=ids, trained_ids=["J3"])


def test_a_class_with_too_few_is_named_with_the_number_needed():
    p, _, _ = classified(100, 0, shares=(0.5, 0.5))
    y = np.r_[np.zeros(97, int), np.ones(3, int)]
    with pytest.raises(DataError, match=r"class 1 has 3 calibration objects, but coverage 0.9 needs at least 9"):
        ConformalSets(0.9, by_class=True).calibrate(p, y)
    with pytest.raises(DataError, match=r"group 'b' has 1 calibration objects"):
        ConformalSets(0.9).calibrate(p, y, by=["a"] * 99 + ["b"])


@pytest.mark.parametrize(
    "bad, error, words",
    [
        (lambda p, y: (p[:, 0], y), ShapeError, r"must be \(N, K\)"),
        (lambda p, y: (p * 2, y), DataError, "add up to 1"),
        (lambda p, y: (np.where(p > 0.9, np.nan, p), y), DataError, "hold NaN or infinity"),
        (lambda p, y: (p, y[:-1]), ShapeError, "one class for each of the 100 objects"),
        (lambda p, y: (p, y + 1), DataError, "between 0 and 2"),
        (lambda p, y: (p, y.astype(str)), DataError, "numbers of the classes"),
        (lambda p, y: (p[:0], y[:0]), DataError, "no object"),
    ],
)
def test_bad_input_of_sets_is_told(bad, error, words):
    p, y, _ = classified(100, 0)
    with pytest.raises(error, match=words):
        ConformalSets(0.8).calibrate(*bad(p, y))


def test_bad_input_of_intervals_is_told():
    x = np.arange(30.0)
    with pytest.raises(DataError, match="1 of 30 values of y are NaN"):
        ConformalIntervals(0.8).calibrate(x, np.where(x == 3, np.nan, x))
    with pytest.raises(DataError, match="y must hold numbers; got <U"):
        ConformalIntervals(0.8).calibrate(x, x.astype(str))
    with pytest.raises(DataError, match="1 of 30 values of sigma are not above 0"):
        ConformalIntervals(0.8).calibrate(x, x, sigma=x)
    made = ConformalIntervals(0.8).calibrate(x, x, sigma=x + 1)
    with pytest.raises(ConfigError, match="calibrated with sigma"):
        made.predict(x)
    with pytest.raises(ConfigError, match="has no groups"):
        made.predict(x, sigma=x + 1, by=x)
