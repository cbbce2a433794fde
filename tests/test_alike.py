"""What makes a pair alike: known answers with an encoder that sees one corner, and the similarity of embed."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from morphospace.cli import main
from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.learn import train as train_module
from morphospace.learn.encoders import encoder
from morphospace.learn.health import Health, Verdict
from morphospace.learn.views import views
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.sky.stretch import Stretch
from morphospace.space.alike import alike, plot_alike
from morphospace.space.embed import Embedder, embed
from morphospace.space.figures import save_figure
from small_runs import Own, fit, small

SIDE = 16


@pytest.fixture(autouse=True, scope="module")
def _no_doctor():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "doctor", lambda *_, **__: Health(Verdict.UNKNOWN, (), {}))
        yield


def written(path, images, **known):
    with CutoutsWriter(path) as writer:
        for i, image in enumerate(images):
            at = {"level": (0.0,) * len(image), "sigma": (1.0,) * len(image), **known}
            writer.append(Cutout(id=f"n{i}", image=image, **at))
    return Cutouts.open(path)


@pytest.fixture(scope="module")
def cuts(tmp_path_factory):
    rng = np.random.default_rng(0)
    images = rng.normal(0, 1, (4, 1, SIDE, SIDE)).astype("f4")
    images[:, :, 10:14, 2:6] += 30  # what all have
    images[1, :, 2:5, 10:13] += 30
    return written(tmp_path_factory.mktemp("cuts") / "a.cutouts", images)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    looks = views(size=SIDE, scale="pixel")
    return fit(
        tmp_path_factory.mktemp("run") / "light", small(network=encoder("light")), Own(24, sides=(SIDE,)), views=looks
    )


class Parts(nn.Module):
    """Sums of the four quarters: a vector that a test can follow by hand."""

    def forward(self, x):
        h = x.shape[-1] // 2
        quarters = [x[..., :h, :h], x[..., :h, h:], x[..., h:, :h], x[..., h:, h:]]
        return torch.stack([q.sum(dim=(1, 2, 3)) for q in quarters], dim=1)


@pytest.fixture
def by_hand(run):
    kernel = Embedder(run)
    kernel.method.encoder = Parts()
    kernel._mean, kernel._precision = torch.zeros(4).double(), torch.eye(4).double()
    kernel.method.outputs = lambda x: {"vector": kernel.method.encoder(x)}
    return kernel


def test_similarity_is_that_of_the_embeddings(run, cuts, tmp_path):
    for average in (None, "d4"):
        emb = embed(run, cuts, out=tmp_path / f"{average}.emb", average=average)
        a, b = emb.vectors[0].astype(float), emb.vectors[1].astype(float)
        found = alike(run, cuts, a="n0", b="n1", average=average)
        assert found.similarity == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b), abs=1e-5)
        assert (found.a.id, found.b.id) == ("n0", "n1")
        assert found.a.change.shape == found.b.change.shape == (SIDE, SIDE)
        assert found.a.view.shape == (1, SIDE, SIDE)
        assert found.patch == 2
        assert found.a.pixels == 1.0


def test_maps_are_those_of_covering_by_hand(by_hand, cuts):
    """Every patch covered in a loop, in float64, with the quarters' sums."""
    patch, step = 4, 2
    found = alike(by_hand, cuts, a="n0", b="n1", patch=patch)
    views_ = [heat.view[0].astype(float) for heat in (found.a, found.b)]

    def vector(v):
        h = SIDE // 2
        return np.array([v[:h, :h].sum(), v[:h, h:].sum(), v[h:, :h].sum(), v[h:, h:].sum()])

    def cosine(v, w):
        return float(v @ w / np.linalg.norm(v) / np.linalg.norm(w))

    for this, heat in enumerate((found.a, found.b)):
        other = vector(views_[1 - this])
        total, count = np.zeros((SIDE, SIDE)), np.zeros((SIDE, SIDE))
        for top in range(step - patch, SIDE, step):
            for left in range(step - patch, SIDE, step):
                place = (slice(max(0, top), top + patch), slice(max(0, left), left + patch))
                covered = views_[this].copy()
                covered[place] = 0.0  # the level of noise units after asinh
                total[place] += cosine(vector(views_[this]), other) - cosine(vector(covered), other)
                count[place] += 1
        assert (count == 4).all()
        np.testing.assert_allclose(heat.change, total / count, atol=1e-5)


def test_what_both_have_makes_them_alike_and_what_one_has_does_not(by_hand, cuts):
    found = alike(by_hand, cuts, a="n0", b="n1")
    y, x = np.unravel_index(np.argmax(found.a.change), (SIDE, SIDE))
    assert 10 <= y < 14
    assert 2 <= x < 6
    assert found.b.change[2:5, 10:13].min() < 0 < found.b.change[10:14, 2:6].max()
    shown = found.shown()
    assert max(shown[0].max(), shown[1].max()) == 1
    assert min(shown[0].min(), shown[1].min()) == 0


def test_both_directions_are_the_same_question(run, cuts):
    one, other = alike(run, cuts, a="n0", b="n1"), alike(run, cuts, a="n1", b="n0")
    np.testing.assert_allclose(one.a.change, other.b.change, atol=1e-6)
    np.testing.assert_allclose(one.b.change, other.a.change, atol=1e-6)


def test_an_object_is_alike_to_itself(run, cuts):
    found = alike(run, cuts, a="n2", b="n2")
    assert found.similarity == pytest.approx(1, abs=1e-6)
    assert found.a.change.min() >= -1e-6


@pytest.mark.parametrize("scale", ["image", "object"])
def test_maps_tell_how_many_pixels_they_stand_for(tmp_path, scale):
    looks = views(size=8, scale=scale)
    run = fit(tmp_path / "run", small(network=encoder("light")), Own(24, sides=(SIDE,)), views=looks)
    yy, xx = np.mgrid[:32, :32] - 15.5
    blob = 40 * np.exp(-(yy**2 + xx**2) / 18)
    cuts = written(tmp_path / "b.cutouts", [blob[None].astype("f4")] * 2)
    heat = alike(run, cuts, a="n0", b="n1").a
    assert heat.change.shape == (8, 8)
    assert heat.pixels == 4.0 if scale == "image" else 0.2 < heat.pixels < 10


@pytest.mark.parametrize("kind", ["percentile", "zscale"])
def test_stretches_with_limits_of_each_image_are_covered_with_the_median(tmp_path, cuts, kind):
    looks = views(size=SIDE, scale="pixel")
    looks = replace(looks, prepare=replace(looks.prepare, stretch=Stretch(kind)))
    run = fit(tmp_path / "run", small(network=encoder("light")), Own(24, sides=(SIDE,)), views=looks)
    found = alike(run, cuts, a="n0", b="n1")
    assert np.isfinite(found.a.change).all()
    assert found.a.change.any()


def test_bad_input_is_told_in_a_sentence(run, cuts, tmp_path):
    with pytest.raises(DataError, match="'n00' is no id in the cutouts; did you mean 'n"):
        alike(run, cuts, a="n0", b="n00")
    with pytest.raises(ConfigError, match=r"patch must be from 1 to 16, .*; got 0\."):
        alike(run, cuts, a="n0", b="n1", patch=0)
    with pytest.raises(ConfigError, match="average must be 'd4' or nothing"):
        alike(run, cuts, a="n0", b="n1", average="d8")
    two = written(tmp_path / "two.cutouts", np.ones((2, 2, SIDE, SIDE), "f4"))
    with pytest.raises(ShapeError, match="has 2 bands and run"):
        alike(run, two, a="n0", b="n1")


def test_a_picture_is_drawn(run, cuts, tmp_path, capsys):
    out = save_figure(plot_alike(alike(run, cuts, a="n0", b="n1")), tmp_path / "alike.png")
    assert out.read_bytes()[:4] == b"\x89PNG"
    words = ["alike", str(run.path), str(cuts.path), "n0", "n1", "--picture", str(tmp_path / "cli.png")]
    assert main(words) == 0
    assert "cosine similarity" in capsys.readouterr().out
    assert main([*words, "--json", "--overwrite"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert np.shape(told["a"]["change"]) == (SIDE, SIDE)
    assert main(words) == 1
    assert "is there already" in capsys.readouterr().err
