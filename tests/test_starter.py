"""The starter: the small encoder that comes with the package."""

import numpy as np
import pytest

from morphospace.runs import STARTER, Run
from morphospace.sky.simulate import simulate, write_sky
from morphospace.space.embed import embed
from morphospace.space.search import search


def test_is_under_a_megabyte_and_names_no_path():
    assert sum(file.stat().st_size for file in STARTER.iterdir()) < 1_000_000
    assert "path" not in Run.open("starter").config["data"]


def test_says_what_it_is():
    assert "simulated" in (STARTER / "README.md").read_text(encoding="utf-8")
    assert Run.open("starter").health["verdict"] == "HEALTHY"


def test_holds_the_encoder_alone():
    assert all(name.startswith("encoder.") for name in Run.open("starter").tensors())


@pytest.mark.parametrize("average", [None, "d4"])
def test_embeds_and_finds_the_kind_it_is_asked_for(average, tmp_path):
    sky = simulate(["disc", "double"], 60, size=(40, 72), seed=99, snr=(20, 60))
    store = write_sky(sky, tmp_path / "a.cutouts")
    emb = embed("starter", store, out=tmp_path / "a.emb", average=average)
    assert np.isfinite(emb.vectors).all()
    kind = dict(zip(sky.ids, sky.factors["kind"], strict=True))
    hits = [search(emb, name, k=3) for name in sky.ids]
    right = np.mean([kind[name] == kind[hit] for name, found in zip(sky.ids, hits, strict=True) for hit in found.ids])
    assert right > 0.75  # chance is a half
