"""Rows of the same pixels and of the same place, found in any order."""

from __future__ import annotations

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from hypothesis import given
from hypothesis import strategies as st

from morphospace.sky.curation.groups import find_duplicates, group_by_name, group_by_position


def as_sets(groups):
    found = {}
    for row, group in enumerate(groups):
        found.setdefault(group, set()).add(row)
    return {frozenset(rows) for rows in found.values()}


def friends_of_friends(ra, dec, files, radius):
    """The same, slowly: SkyCoord's separations, and friends joined until nothing changes."""
    places = SkyCoord(ra, dec, unit="deg")
    groups = list(range(len(ra)))
    for i in range(len(ra)):
        for j in range(i):
            if files[i] != files[j] and places[i].separation(places[j]).arcsec <= radius:
                old, new = groups[i], groups[j]
                groups = [new if g == old else g for g in groups]
    return as_sets(groups)


def test_find_duplicates_names_the_id_that_sorts_first():
    ids = ["d", "b", "c", "a"]
    hashes = ["x", "x", "y", "x"]
    assert find_duplicates(ids, hashes) == {0: "a", 1: "a"}


@given(st.lists(st.integers(0, 5), max_size=20), st.randoms())
def test_duplicates_do_not_depend_on_the_order(pixels, random):
    rows = [(f"id{i:02d}", str(p)) for i, p in enumerate(pixels)]
    shuffled = random.sample(rows, len(rows))

    def found(rows):
        return {
            rows[row][0]: first
            for row, first in find_duplicates(*(zip(*rows, strict=True) if rows else ((), ()))).items()
        }

    assert found(rows) == found(shuffled)
    assert len(found(rows)) == len(pixels) - len(set(pixels))


@pytest.mark.parametrize("pole", [0.0, 90.0, -89.9999])
@pytest.mark.parametrize("seed", range(3))
def test_group_by_position_equals_friends_of_friends(seed, pole):
    rng = np.random.default_rng(seed)
    n = 40
    centre = SkyCoord(0, pole, unit="deg")  # right ascension on both sides of 0
    places = centre.directional_offset_by(rng.uniform(0, 360, n) * u.deg, 7 * np.sqrt(rng.random(n)) * u.arcsec)
    ra, dec = places.ra.deg, places.dec.deg
    twins = rng.integers(0, n, 6)  # some at the very same place, in the same file or in another
    ra, dec = np.append(ra, ra[twins]), np.append(dec, dec[twins])
    n += len(twins)
    files = [str(f) for f in rng.integers(0, 30, n)]
    found = as_sets(group_by_position(ra, dec, files, 1.0))
    assert found == friends_of_friends(ra, dec, files, 1.0)
    assert 1 < len(found) < n


@pytest.mark.parametrize(("distance", "together"), [(0.999, True), (1.0, True), (1.001, False)])
def test_the_radius_counts_to_its_end(distance, together):
    groups = group_by_position(np.array([10.0, 10.0]), np.array([0.0, distance / 3600]), ["a", "b"], 1.0)
    assert (groups[0] == groups[1]) is np.bool_(together)


def test_two_rows_of_one_file_are_two_objects_unless_another_file_joins_them():
    ra, dec = np.array([10.0, 10.0, 10.0]), np.array([0.0, 0.8, 0.4]) / 3600
    assert len(set(group_by_position(ra[:2], dec[:2], ["a", "a"], 1.0))) == 2
    assert len(set(group_by_position(ra, dec, ["a", "a", "b"], 1.0))) == 1


def test_rows_of_one_file_at_one_point_stay_apart_until_another_file_is_near():
    ra, dec = np.full(4, 10.0), np.array([0.0, 0.0, 0.0, 0.5]) / 3600
    assert len(set(group_by_position(ra[:3], dec[:3], ["a", "a", "a"], 1.0))) == 3
    assert len(set(group_by_position(ra[:3], dec[:3], ["a", "a", "b"], 1.0))) == 1
    assert len(set(group_by_position(ra, dec, ["a", "a", "a", "b"], 1.0))) == 1
    assert len(set(group_by_position(ra, dec, ["a", "a", "a", "a"], 1.0))) == 4


def test_rows_without_a_position_stay_alone():
    ra = np.array([np.nan, np.nan, 5.0, 5.0])
    groups = group_by_position(ra, np.where(np.isnan(ra), np.nan, 5.0), list("abcd"), 1.0)
    assert as_sets(groups) == {frozenset({0}), frozenset({1}), frozenset({2, 3})}
    assert len(set(group_by_position(np.full(3, np.nan), np.full(3, np.nan), list("abc"), 1.0))) == 3


def test_ten_thousand_images_of_one_place_are_one_group():
    n = 10_000
    files = [str(i) for i in range(n)]
    assert len(set(group_by_position(np.full(n, 77.0), np.full(n, -3.0), files, 1.0))) == 1


def test_group_by_name_joins_names_without_regard_to_case_and_spaces():
    groups = group_by_name(["GG Tau", None, "gg tau", "GGTAU", None, "M 51"], np.arange(6))
    assert as_sets(groups) == {frozenset({0, 2, 3}), frozenset({1}), frozenset({4}), frozenset({5})}
