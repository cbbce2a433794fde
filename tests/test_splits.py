"""Splits: classes even, objects whole, bad input refused."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.science.splits import check_members, even_folds, hold_out, object_groups
from morphospace.space.embeddings import Embeddings


def made(n, **columns):
    return Embeddings.from_arrays(None, [f"o{i}" for i in range(n)], np.zeros((n, 2)), columns)


@given(st.integers(0, 10_000), st.integers(2, 5), st.booleans())
@settings(max_examples=40, deadline=None)
def test_no_object_is_ever_on_both_sides(seed, n_folds, values):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(60, 120))
    group = rng.integers(0, n // 2, n)
    y = rng.normal(size=n) if values else np.array(["a", "b"])[group % 2]
    fold = even_folds(y, n_folds=n_folds, group=group, seed=seed)
    assert set(fold) == set(range(n_folds))
    assert all(len(set(fold[group == g])) == 1 for g in group)
    apart = hold_out(y, share=0.25, group=group, seed=seed)
    assert not set(group[apart]) & set(group[~apart])


@given(st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_positions_within_the_radius_stay_together(seed):
    rng = np.random.default_rng(seed)
    n = 40
    ra, dec = rng.uniform(0, 360, n), np.rad2deg(np.arcsin(rng.uniform(-1, 1, n)))
    ra, dec = np.concatenate([ra, ra]), np.concatenate([dec, np.clip(dec + 0.4 / 3600, -90, 90)])
    group = object_groups(made(2 * n, ra=ra, dec=dec, source=[f"{i}.fits" for i in range(2 * n)]))
    assert np.array_equal(group[:n], group[n:])
    fold = even_folds(np.tile(["a", "b"], n), group=group, n_folds=4, seed=seed)
    assert np.array_equal(fold[:n], fold[n:])


def test_groups_come_from_column_then_position_then_name():
    ra = [10.0, 10.0, np.nan, np.nan, 50.0]
    columns = {"ra": ra, "dec": [0.0, 0.0, np.nan, np.nan, 0.0], "object": ["x", "y", "M 51", "m51", None]}
    group = object_groups(made(5, **columns))
    assert group[0] == group[1]
    assert group[2] == group[3]
    assert len(set(group)) == 3
    by_column = object_groups(made(5, group=["a", "b", "b", None, None], **columns))
    assert by_column[1] == by_column[2]
    assert len(set(by_column)) == 4
    wide = object_groups(made(5, group=list("abcde"), **columns), radius_arcsec=41 * 3600.0)
    assert wide[0] == wide[4]


def test_folds_of_classes_are_even():
    y = np.repeat(["many", "few"], [90, 10])
    fold = even_folds(y, n_folds=5)
    assert [(y[fold == f] == "few").sum() for f in range(5)] == [2] * 5
    assert [(fold == f).sum() for f in range(5)] == [20] * 5


def test_folds_of_values_reach_from_low_to_high():
    y = np.random.default_rng(0).lognormal(size=500)
    fold = even_folds(y, n_folds=5)
    medians = [np.median(y[fold == f]) for f in range(5)]
    assert np.ptp(medians) < 0.25 * np.median(y)
    top = y > np.quantile(y, 0.9)
    assert all(8 <= (top & (fold == f)).sum() <= 12 for f in range(5))


def test_values_of_few_objects_can_be_dealt():
    assert sorted(even_folds(np.zeros(5), n_folds=5)) == [0, 1, 2, 3, 4]
    with pytest.raises(DataError, match=r"5 folds need as many separate objects; there are 3"):
        even_folds(np.arange(6.0), n_folds=5, group=[0, 0, 1, 1, 2, 2])


def test_one_class_and_a_class_of_two_are_told_with_numbers():
    with pytest.raises(DataError, match=r"all 9 labels are 'FRI'; a classifier needs at least two classes"):
        check_members(["FRI"] * 9)
    with pytest.raises(DataError, match=r"at least 3 separate objects here; 'ring' has 2\."):
        check_members(["ring"] * 2 + ["disc"] * 9)
    with pytest.raises(DataError, match=r"'ring' has 1"):  # two pictures of one
        check_members(["ring"] * 4 + ["disc"] * 4, group=[0, 0, 0, 0, 1, 2, 3, 4])
    with pytest.raises(DataError, match=r"at least 5 separate objects here; 'ring' has 4"):
        even_folds(["ring"] * 4 + ["disc"] * 9, n_folds=5)
    with pytest.raises(DataError, match="there are no labels"):
        check_members([])


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"share must be above 0 and at most 0\.5; got 0\.9"):
        hold_out(np.zeros(9), share=0.9)
    with pytest.raises(ShapeError, match="one class or value per object"):
        hold_out(np.zeros((9, 2)))
    with pytest.raises(ConfigError, match="radius_arcsec must be 0 or more; got -1"):
        object_groups(made(2), radius_arcsec=-1)
    with pytest.raises(ConfigError, match="no columns ra and dec"):
        object_groups(made(2), radius_arcsec=1)
