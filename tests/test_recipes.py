"""Recipes: the calls they print are the calls they are, and what is said goes before them."""

from __future__ import annotations

import ast

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from scipy import ndimage

import morphospace as ms
from morphospace.config import arguments_from
from morphospace.errors import ConfigError
from morphospace.sky.curate import LEFT_OUT, curate
from morphospace.sky.intake import Intake
from morphospace.sky.recipes import RECIPES, find_recipe, recipe_calls, with_recipe


def radio_map(places, *, seed, shape=(200, 200), beam_px=5.0):
    noise = np.random.default_rng(seed).standard_normal([n + 80 for n in shape])
    noise = ndimage.gaussian_filter(noise, beam_px / 2.3548)[40:-40, 40:-40]
    y, x = np.indices(shape)
    image = noise / noise.std()
    for at_y, at_x, peak in places:
        image += peak * np.exp(-((y - at_y) ** 2 + (x - at_x) ** 2) / (2 * 6**2))
    response = np.exp(-((y - 100) ** 2 + (x - 100) ** 2) / (2 * 70**2))
    return np.where(response > 0.2, 1e-4 * image / response, np.nan).astype(np.float32)


@pytest.mark.parametrize("name", RECIPES)
def test_the_calls_printed_are_the_recipe(name):
    calls = {}
    for node in ast.walk(ast.parse(recipe_calls(name, source="a b/", out="c.cutouts"))):
        if isinstance(node, ast.Call):
            keywords = {k.arg: k.value for k in node.keywords}
            calls[node.func.attr] = {
                key: value.id if isinstance(value, ast.Name) else ast.literal_eval(value)
                for key, value in keywords.items()
            }
            if node.func.attr == "curate":
                assert ast.literal_eval(node.args[0]) == "a b/"
    recipe = RECIPES[name]
    made = {"detect": ms.Detection(**calls["Detection"]), "intake": Intake(**calls.get("Intake", {}))}
    assert calls["curate"].pop("out") == "c.cutouts"
    assert {key: made.get(value, value) for key, value in calls["curate"].items()} == recipe.arguments
    assert calls["views"] == recipe.views
    assert ms.views(**recipe.views).prepare.stretch is not None


@pytest.mark.parametrize("name", RECIPES)
def test_an_empty_table_becomes_the_recipe_as_a_config_reads_it(name):
    table = with_recipe(name, {"source": "maps/", "out": "x.cutouts"})
    arguments = arguments_from(table, curate, "curate")
    recipe = RECIPES[name]
    assert arguments.pop("out") == "x.cutouts"
    assert arguments.pop("source") == "maps/"
    assert arguments == recipe.arguments


def test_what_is_said_goes_before_the_recipe_key_by_key():
    table = {"size": 64, "detect": {"peak_sigma": 7.0}}
    filled = with_recipe("alma-discs", table)
    assert filled["size"] == 64
    assert filled["detect"]["peak_sigma"] == 7.0
    assert filled["detect"]["method"] == "dbscan"
    assert table == {"size": 64, "detect": {"peak_sigma": 7.0}}
    assert with_recipe("alma-discs", {"detect": "none"})["detect"] == "none"
    assert RECIPES["alma-discs"].arguments["size"] == 100


def test_an_unknown_recipe_is_answered_with_the_nearest():
    for asked in (find_recipe, recipe_calls, lambda name: with_recipe(name, {})):
        with pytest.raises(ConfigError, match="no recipe 'alma-disks'; did you mean 'alma-discs'"):
            asked("alma-disks")


def test_alma_discs_cuts_one_square_a_disc_and_reports_maps_of_noise(tmp_path):
    maps = {
        "one": radio_map([(90, 110, 20.0)], seed=1),
        "two": radio_map([(70, 80, 25.0), (130, 120, 15.0)], seed=2),
        "noise": radio_map([], seed=3),
    }
    for name, image in maps.items():
        fits.writeto(tmp_path / f"{name}.fits", image)
    cuts = ms.curate(tmp_path, out=tmp_path / "discs.cutouts", **RECIPES["alma-discs"].arguments)
    places = {row["id"]: (row["y"], row["x"]) for row in cuts.table(["id", "x", "y"]).to_pylist()}
    assert sorted(places) == ["one#0000", "two#0000", "two#0001"]
    assert places["one#0000"] == pytest.approx((90, 110), abs=2)
    assert cuts.read([0])[0].image.shape == (1, 100, 100)
    left = pq.read_table(cuts.path / LEFT_OUT).to_pylist()
    assert [(row["id"], row["reason"]) for row in left] == [("noise", "no source stands out of the field")]


def test_clouds_cuts_structures_of_their_own_size(tmp_path):
    y, x = np.indices((256, 256))
    image = np.random.default_rng(0).normal(5.0, 0.1, (256, 256))
    image += 3 * np.exp(-(((y - 60) / 12) ** 2 + ((x - 60) / 30) ** 2) / 2)
    image += 2 * np.exp(-((y - 180) ** 2 + (x - 190) ** 2) / (2 * 8**2))
    fits.writeto(tmp_path / "cloud.fits", image.astype(np.float32))
    cuts = ms.curate(tmp_path / "cloud.fits", out=tmp_path / "clouds.cutouts", **RECIPES["clouds"].arguments)
    sides = [cutout.image.shape[-1] for cutout in cuts.read(range(len(cuts)))]
    assert len(cuts) == 2
    assert 100 < sides[0] < 250
    assert 40 < sides[1] < 100
