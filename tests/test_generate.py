"""Drawing from a density, and whole catalogues on disk."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from linear_space import AS_IT_IS, DIM, MEANS, SIDE, SIGMAS, WEIGHTS, Linear, LinearMixture, linear, stored
from morphospace.errors import ConfigError, ShapeError, StoreError
from morphospace.learn.methods import SimCLR
from morphospace.learn.prepare import Preparation
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.sky.stretch import Stretch
from morphospace.space.generate import Decoder, Gaussians, generate, sample
from morphospace.space.generating import catalogue

MIXTURE = Gaussians(*(np.array(v) for v in (WEIGHTS, MEANS, SIGMAS)))


def test_samples_have_the_moments_of_the_mixture() -> None:
    z, component = MIXTURE.draw(60_000, seed=3)
    shares = np.bincount(component, minlength=3) / len(z)
    np.testing.assert_allclose(shares, WEIGHTS, atol=0.01)
    for c in range(3):
        own = z[component == c]
        np.testing.assert_allclose(own.mean(axis=0), MEANS[c], atol=0.03)
        np.testing.assert_allclose(own.std(axis=0), SIGMAS[c], rtol=0.03)


def test_chosen_components_share_the_weight_that_they_have() -> None:
    some = MIXTURE.only([2, 1])
    np.testing.assert_allclose(some.weights, [0.0, 0.6, 0.4])
    _, component = some.draw(20_000)
    np.testing.assert_allclose(np.bincount(component, minlength=3) / 20_000, [0, 0.6, 0.4], atol=0.015)


@pytest.mark.parametrize(
    ("components", "words"),
    [
        ((3,), "component 3 is not there: the mixture has 3, numbered from 0 to 2"),
        ((-1,), "component -1"),
        ((), "no comp"),
    ],
)
def test_a_component_that_is_not_there_is_named(components, words) -> None:
    with pytest.raises(ConfigError, match=words):
        MIXTURE.only(components)


def test_components_without_weight_cannot_be_drawn_from() -> None:
    with pytest.raises(ConfigError, match="components 1 have no weight"):
        Gaussians(np.array([1.0, 0.0]), np.zeros((2, 1)), np.ones((2, 1))).only([1])


@pytest.mark.parametrize("start, n", [(0, 700), (255, 2), (256, 256), (100, 600), (513, 0)])
def test_a_seed_is_one_endless_table(start, n) -> None:
    whole, names = MIXTURE.draw(1100, seed=5)
    part, own = MIXTURE.draw(n, seed=5, start=start)
    np.testing.assert_array_equal(part, whole[start : start + n])
    np.testing.assert_array_equal(own, names[start : start + n])
    assert not np.array_equal(MIXTURE.draw(10, seed=6)[0], whole[:10])


def test_responsibilities_are_those_of_bayes_written_out() -> None:
    z = np.random.default_rng(1).normal(0, 3, (20, 3))
    naive = np.empty((20, 3))
    for i, point in enumerate(z):
        for c in range(3):
            cov = np.diag(np.square(SIGMAS[c]))
            naive[i, c] = WEIGHTS[c] * multivariate_normal(MEANS[c], cov).pdf(point)
    np.testing.assert_allclose(np.exp(MIXTURE.log_joint(z)), naive, rtol=1e-9)
    np.testing.assert_allclose(
        MIXTURE.responsibilities(z), naive / naive.sum(axis=1, keepdims=True), rtol=1e-9, atol=1e-300
    )
    far = MIXTURE.responsibilities(np.full((1, 3), 1e4))
    assert np.isfinite(far).all()
    assert far.sum() == pytest.approx(1)


def test_responsibilities_agree_with_the_method_s_own() -> None:
    z, _ = MIXTURE.draw(50)
    theirs = LinearMixture().responsibilities(torch.from_numpy(z), None).numpy()
    np.testing.assert_allclose(MIXTURE.responsibilities(z), theirs, atol=1e-4)


def test_overlap_of_gaussians_is_the_integral_of_the_root_of_their_product() -> None:
    one = Gaussians(np.array([0.5, 0.5]), np.array([[0.0], [1.5]]), np.array([[1.0], [0.4]]))
    x = np.linspace(-12, 12, 200_001)
    pdf = [np.exp(-0.5 * ((x - m) / s) ** 2) / (s * np.sqrt(2 * np.pi)) for m, s in ((0, 1), (1.5, 0.4))]
    found = one.overlaps()
    assert found[0, 1] == pytest.approx(np.trapezoid(np.sqrt(pdf[0] * pdf[1]), x), rel=1e-6)
    np.testing.assert_allclose(np.diag(found), 1)
    np.testing.assert_allclose(found, found.T)


def test_latents_of_another_length_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"must be \(N, 3\).*\(5, 2\)"):
        MIXTURE.log_joint(np.zeros((5, 2)))
    with pytest.raises(ShapeError, match=r"must be \(N, 3\).*\(5, 2\)"):
        linear().decode(np.zeros((5, 2)))


def test_a_mixture_fitted_to_latents_finds_the_components() -> None:
    z, _ = MIXTURE.draw(3000)
    found = Gaussians.fit(np.vstack([z, np.full((1, 3), np.nan)]), k=3)
    np.testing.assert_allclose(found.weights, WEIGHTS, atol=0.04)
    np.testing.assert_allclose(found.means, MEANS, atol=0.15)
    np.testing.assert_allclose(found.sigmas, SIGMAS, atol=0.1)


# images


def test_images_are_the_decoded_latents_whatever_the_batch() -> None:
    whole = sample(linear(batch_size=256), 300, seed=2)
    parts = sample(linear(batch_size=7), 300, seed=2)
    np.testing.assert_array_equal(whole.latents, parts.latents)
    np.testing.assert_allclose(whole.images, parts.images, atol=1e-5)
    matrix = Linear().matrix.weight.detach().numpy()
    np.testing.assert_allclose(whole.images.reshape(300, -1), whole.latents @ matrix.T, atol=1e-5)
    assert whole.images.shape == (300, 1, SIDE, SIDE)


def test_a_few_components_only() -> None:
    assert set(sample(linear(), 50, components=[1]).components.tolist()) == {1}


def test_bfloat16_is_close_and_leaves_the_mixture_alone() -> None:
    exact, rough = sample(linear(), 20), sample(linear(numbers="bfloat16"), 20)
    np.testing.assert_array_equal(exact.latents, rough.latents)
    np.testing.assert_allclose(exact.images, rough.images, atol=0.1)
    assert not np.array_equal(exact.images, rough.images)


def test_n_and_seed_are_checked() -> None:
    with pytest.raises(ConfigError, match="n must be at least 1 and seed not negative; got 0 and 0"):
        sample(linear(), 0)


def test_without_a_density_a_mixture_must_be_given() -> None:
    with pytest.raises(ConfigError, match=r"plain autoencoder.*no density.*train a VAE or VaDE"):
        sample(linear(Linear), 5)
    given = sample(linear(Linear), 5, density=MIXTURE)
    np.testing.assert_array_equal(given.latents, MIXTURE.draw(5)[0])


def test_a_method_without_a_decoder_names_those_that_have_one() -> None:
    method = SimCLR(torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()))
    with pytest.raises(ConfigError, match=r"SimCLR, which has no decoder .*methods with one are AE.*VaDE"):
        Decoder(method, AS_IT_IS)


def test_a_size_that_the_decoder_cannot_make_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"makes images of 1 x 8 x 8 .* 1 x 16 x 16 were prepared"):
        Decoder(Linear(side=8), Preparation(size=16))


@pytest.mark.parametrize("options", [{"numbers": "float64"}, {"batch_size": 0}])
def test_options_of_a_decoder_are_checked(options) -> None:
    with pytest.raises(ConfigError, match=r"float64|batch_size must be at least 1; got 0"):
        linear(**options)


# a catalogue on disk


def test_a_catalogue_opens_and_its_latents_decode_to_its_images(tmp_path) -> None:
    decoder = linear()
    made = generate(decoder, tmp_path / "s.cutouts", n=300, seed=4)
    assert len(made) == 300
    table = made.table([*(f"z_{i}" for i in range(DIM)), "component"])
    z = np.stack([table[f"z_{i}"].to_numpy() for i in range(DIM)], axis=1)
    images = np.stack([c.image for c in made.read(range(300))])
    np.testing.assert_array_equal(images, decoder.images(z))
    expected, component = MIXTURE.draw(300, seed=4)
    np.testing.assert_allclose(z, expected, atol=1e-6)
    np.testing.assert_array_equal(table["component"].to_numpy(), component)
    assert made.ids[299] == "synthetic-000000299"


@pytest.mark.parametrize("kind", ["asinh", "log", "sqrt"])
def test_the_stretch_is_undone(tmp_path, kind) -> None:
    preparation = Preparation(size=SIDE, scale="pixel", units="noise", stretch=Stretch(kind, a=0.5))
    decoder = linear(preparation=preparation)
    made = generate(decoder, tmp_path / "s.cutouts", n=5)
    first = made.read([0])[0]
    z = np.array([[first.columns[f"z_{i}"] for i in range(DIM)]], np.float32)
    np.testing.assert_allclose(preparation.stretch(first.image), decoder.images(z)[0], atol=1e-5)
    assert (first.unit, first.level, first.sigma) == ("sigma", (0.0,), (0.0,))


def test_a_stretch_without_inverse_says_so_in_the_unit(tmp_path) -> None:
    decoder = linear(preparation=Preparation(size=SIDE, scale="pixel", stretch=Stretch("percentile")))
    assert generate(decoder, tmp_path / "s.cutouts", n=2).read([0])[0].unit == "stretched"
    with pytest.raises(ConfigError, match=r"'percentile' .* cannot be undone.*neither noise"):
        generate(decoder, tmp_path / "t.cutouts", n=2, noise=True)
    survey = stored(tmp_path / "real.cutouts", np.ones((2, 1, 8, 8)))
    with pytest.raises(ConfigError, match="cannot be undone"):
        generate(decoder, tmp_path / "t.cutouts", n=2, survey=survey)


def test_noise_in_units_of_sigma_has_sigma_one(tmp_path) -> None:
    decoder = linear(preparation=Preparation(size=SIDE, scale="pixel", units="noise", stretch=Stretch("linear")))
    clean = generate(decoder, tmp_path / "a.cutouts", n=100)
    noisy = generate(decoder, tmp_path / "b.cutouts", n=100, noise=True)
    away = np.stack([b.image - a.image for a, b in zip(clean.read(range(100)), noisy.read(range(100)), strict=True)])
    assert away.std() == pytest.approx(1, abs=0.02)
    assert away.mean() == pytest.approx(0, abs=0.03)
    assert noisy.read([0])[0].sigma == (1.0,)


def test_noise_of_unknown_strength_is_not_added(tmp_path) -> None:
    with pytest.raises(ConfigError, match="units 'none', in which noise has no known strength; give survey="):
        generate(linear(), tmp_path / "t.cutouts", n=2, noise=True)


def test_units_and_noise_of_a_survey(tmp_path) -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(100, 2, (3, 1, SIDE, SIDE))
    real[:, 0, 4, 4] = (150, 200, 400)
    survey = stored(tmp_path / "real.cutouts", real, level=(100.0,), sigma=(2.0,), unit="adu", hdu="0")
    decoder = linear(preparation=Preparation(size=SIDE, scale="pixel", units="range", stretch=Stretch("linear")))
    clean = generate(decoder, tmp_path / "a.cutouts", n=40, survey=survey)
    noisy = generate(decoder, tmp_path / "b.cutouts", n=40, survey=survey, noise=True)
    top = {"o0": 50.0, "o1": 100.0, "o2": 300.0}
    for one, other in zip(clean.read(range(40)), noisy.read(range(40)), strict=True):
        z = np.array([[one.columns[f"z_{i}"] for i in range(DIM)]], np.float32)
        np.testing.assert_allclose(
            one.image, 100 + top[one.columns["donor"]] * decoder.images(z)[0], rtol=1e-5, atol=1e-3
        )
        assert (one.unit, one.hdu, other.sigma) == ("adu", "0", (2.0,))
        assert (other.image - one.image).std() == pytest.approx(2, rel=0.4)
    assert len({c.columns["donor"] for c in clean.read(range(40))}) == 3


def test_eight_bits_are_divided_by_255(tmp_path) -> None:
    image = np.full((1, SIDE, SIDE), 10, np.uint8)
    image[0, 2, 2] = 200
    with CutoutsWriter(tmp_path / "p.cutouts") as writer:
        writer.append(Cutout("p", image, level=(10.0,), sigma=(0.0,)))
    decoder = linear(preparation=Preparation(size=SIDE, scale="pixel", units="range", stretch=Stretch("linear")))
    survey = Cutouts.open(tmp_path / "p.cutouts")
    one = generate(decoder, tmp_path / "a.cutouts", n=1, survey=survey).read([0])[0]
    z = np.array([[one.columns[f"z_{i}"] for i in range(DIM)]], np.float32)
    np.testing.assert_allclose(one.image, 10 + 255 * decoder.images(z)[0], rtol=1e-5, atol=1e-4)
    with pytest.raises(ConfigError, match="'p' of the survey has no noise"):
        generate(decoder, tmp_path / "b.cutouts", n=1, survey=survey, noise=True)


def test_a_survey_with_other_bands_is_refused(tmp_path) -> None:
    survey = stored(tmp_path / "real.cutouts", np.random.default_rng(0).normal(size=(2, 3, SIDE, SIDE)))
    with pytest.raises(ShapeError, match="has 3 bands and the run 1"):
        generate(linear(), tmp_path / "a.cutouts", n=2, survey=survey)


def test_an_interrupted_catalogue_goes_on_as_if_it_had_not_been(tmp_path, monkeypatch) -> None:
    decoder, out = linear(batch_size=16), tmp_path / "s.cutouts"
    whole = generate(decoder, tmp_path / "w.cutouts", n=100, noise=False, seed=9)
    original, calls = catalogue._cutouts, []

    def breaking(*args):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return original(*args)

    monkeypatch.setattr(catalogue, "_cutouts", breaking)
    with pytest.raises(KeyboardInterrupt):
        generate(decoder, out, n=100, seed=9)
    monkeypatch.undo()
    assert len(Cutouts.open(out)) == 48
    with pytest.raises(StoreError, match="resume=True"):
        generate(decoder, out, n=100, seed=9)
    resumed = generate(decoder, out, n=100, seed=9, resume=True)
    assert resumed.ids == whole.ids
    columns = ["image", "z_0", "component", "sha256"]
    assert resumed.table(columns).equals(whole.table(columns))
    longer = generate(decoder, out, n=130, seed=9, resume=True)
    assert longer.ids[:100] == whole.ids
    assert len(longer) == 130


def test_another_recipe_is_not_mixed_in(tmp_path) -> None:
    out = tmp_path / "s.cutouts"
    generate(linear(), out, n=5, seed=1)
    with pytest.raises(StoreError, match="was made with seed = 1, this call has 2"):
        generate(linear(), out, n=9, seed=2, resume=True)
    with pytest.raises(StoreError, match=r"components = \[0, 1, 2\], this call has \[1\]"):
        generate(linear(), out, n=9, seed=1, components=[1], resume=True)
    stored(tmp_path / "other.cutouts", np.ones((1, 1, 8, 8)))
    with pytest.raises(StoreError):
        generate(linear(), tmp_path / "other.cutouts", n=9, resume=True)
    assert len(generate(linear(), out, n=3, seed=2, overwrite=True)) == 3
