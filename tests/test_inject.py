"""inject: known answers at both ends, the asked S/N, the noise left as it was, intervals and limits against their papers."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy import ndimage, stats

from morphospace.cli import main
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.runs import Run
from morphospace.science.blank_sky import blank_skies, blank_sky
from morphospace.science.completeness import Cell, Completeness, crossing, plot_completeness, wilson
from morphospace.science.inject import _ranks, inject, injected, peak_in_sigma
from morphospace.science.predictor import Predictor
from morphospace.science.templates import TEMPLATES, half_light_radius, make_templates
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.sky.noise import estimate_noise
from morphospace.space.embed import embed

SIDE, LEVEL, SIGMA = 32, 7.0, 3.0


def noise(seed, shape=(1, SIDE, SIDE), *, blur=0.0):
    field = np.random.default_rng(seed).normal(size=(shape[0], shape[1] + 16, shape[2] + 16))
    if blur:
        field = ndimage.gaussian_filter(field, (0, blur, blur))
    return field[:, 8:-8, 8:-8] / field.std()


def store(path, images, **known):
    with CutoutsWriter(path) as writer:
        for i, image in enumerate(images):
            estimate = estimate_noise(image)
            told = {"level": tuple(map(float, estimate.level)), "sigma": tuple(map(float, estimate.sigma)), **known}
            writer.append(Cutout(f"n{i}", image, **told))
    return Cutouts.open(path)


@pytest.fixture(scope="module")
def blank(tmp_path_factory):
    """Pictures of nothing but noise: an injected one of S/N 0 is one more of them."""
    images = [(LEVEL + SIGMA * noise(i)).astype(np.float32) for i in range(150)]
    return store(tmp_path_factory.mktemp("blank") / "blank.cutouts", images)


@pytest.fixture(scope="module")
def run():
    return Run.open("starter")


@pytest.fixture(scope="module")
def found(run, blank):
    return inject(run, blank, kinds=["ring", "double"], snr=[1, 3, 100], sizes=[5], n=60, k=10)


def cells(found, **wanted):
    return [row for row in found.table.to_pylist() if all(row[key] == value for key, value in wanted.items())]


# known answers


def test_inject_finds_bright_objects_always(found):
    for cell in cells(found, snr=100):
        assert cell["found"] == cell["n"] == 60
        assert cell["rank"] == 1


def test_inject_finds_pictures_without_an_object_as_often_as_chance(found):
    # both kinds: 120 pictures, 10 of 151 places each
    empty = cells(found, snr=0)
    total = sum(cell["found"] for cell in empty)
    assert empty[0]["chance"] == pytest.approx(10 / 151)
    # the queries are few, and pictures share one: the spread is wider than binomial, by no more than the 16 queries
    assert total <= 120 * 10 / 151 + 4 * math.sqrt(120 * 10 / 151 * 4)


def test_ranks_of_vectors_that_say_nothing_are_uniform():
    rng = np.random.default_rng(0)
    own, queries, others = rng.normal(size=(4000, 8)), rng.normal(size=(4000, 8)), rng.normal(size=(99, 8))
    units = others / np.linalg.norm(others, axis=1, keepdims=True)
    scores = [np.sort(units @ (q / np.linalg.norm(q))) for q in queries]
    ranks = _ranks(own, queries, scores)
    assert ranks.min() == 1
    assert ranks.max() == 100
    # the rate at which k = 12 of 99 others find it is k / (N + 1)
    assert stats.binomtest(int((ranks <= 12).sum()), 4000, 12 / 100).pvalue > 1e-3


def test_a_vector_without_direction_ranks_last():
    assert _ranks(np.zeros((1, 3)), np.ones((1, 3)), [np.linspace(-1, 1, 7)]).tolist() == [8]


def test_completeness_rises_with_snr_within_its_errors(found):
    for kind in ("ring", "double"):
        curve = sorted(cells(found, kind=kind), key=lambda cell: cell["snr"])
        for fainter, brighter in itertools.pairwise(curve):
            assert brighter["high"] >= fainter["low"]


def test_inject_is_the_same_again_and_another_with_another_seed(run, blank):
    one, again, other = (inject(run, blank, kinds=["ring"], snr=[5], sizes=[5], n=8, seed=s).table for s in (1, 1, 2))
    assert one.equals(again)
    assert not one.equals(other)


def test_inject_takes_embeddings_and_tells_a_classifier(run, blank, tmp_path):
    emb = embed(run, blank, out=tmp_path / "b.emb")
    seen = []

    def by_first(vectors):
        seen.append(vectors.shape)
        return ["there"] * len(vectors)

    both = inject(run, blank, embeddings=emb, classifier=by_first, kinds=["ring"], snr=[100], sizes=[5], n=6, k=3)
    assert [row["by"] for row in both.table.to_pylist()] == ["search", "classifier", "search", "classifier"]
    assert cells(both, by="classifier", snr=100)[0]["completeness"] == 1
    assert cells(both, by="classifier", snr=100)[0]["chance"] == 1  # empty pictures get the class as well
    assert {shape[1] for shape in seen} == {emb.dim}
    assert both.about["n_searched"] == len(blank)


# what is injected


@pytest.mark.parametrize("snr", [0.5, 4.0, 50.0])
def test_injected_flux_has_the_asked_snr(blank, snr):
    rng = np.random.default_rng(1)
    for sky in blank_skies(blank, 5, rng):
        light = make_templates("ring", 1, radius_px=6, beam_px=2.5, bands=1, seed=0)[0]
        image = injected(sky, light, snr)
        assert image.dtype == np.float32
        assert peak_in_sigma(image, sky) == pytest.approx(snr, abs=1e-4)
        added = image - sky.level[:, None, None] - sky.noise
        assert added.sum() == pytest.approx(snr * sky.sigma[0] * light.sum(), rel=1e-3)


def test_injected_without_noise_is_level_and_object_alone(blank):
    sky = blank_skies(blank, 1, np.random.default_rng(1))[0]
    light = np.zeros((1, 5, 5), np.float32)
    light[0, 2, 2] = 1
    image = injected(sky, light, 10, noisy=False)
    assert image.max() == pytest.approx(sky.level[0] + 10 * sky.sigma[0], rel=1e-6)
    assert np.unravel_index(image.argmax(), image.shape) == (0, 15, 15)
    assert (image == np.float32(sky.level[0])).sum() == SIDE * SIDE - 1


def test_injected_keeps_whole_numbers_and_cuts_what_is_too_large():
    pixels = np.clip(np.rint(120 + 10 * noise(3)), 0, 255).astype(np.uint8)
    sky = blank_sky(Cutout("eight bit", pixels), np.random.default_rng(0))
    image = injected(sky, np.ones((1, 50, 50), np.float32), 100.0)
    assert image.dtype == np.uint8
    assert image.shape == (1, SIDE, SIDE)
    assert (image == 255).all()


@pytest.mark.parametrize("kind", TEMPLATES)
@pytest.mark.parametrize("radius", [4.0, 9.0])
def test_templates_have_the_asked_size_and_peak(kind, radius):
    lights = make_templates(kind, 4, radius_px=radius, beam_px=2.5, bands=2, seed=3)
    for light in lights:
        assert light.shape[0] == 2
        assert light.max() == 1
        assert light.min() >= 0
        assert half_light_radius(light.mean(axis=0)) == pytest.approx(radius, rel=0.15)


def test_half_light_radius_of_a_gaussian():
    y, x = np.indices((101, 101)) - 50
    light = np.exp(-(x**2 + y**2) / (2 * 8.0**2))
    assert half_light_radius(light) == pytest.approx(8 * math.sqrt(2 * math.log(2)), rel=0.01)


# the noise


@pytest.mark.parametrize("blur", [0.0, 1.2])
def test_blank_sky_keeps_the_statistics_of_the_noise(blur):
    sigmas, neighbours, spreads = [], [], []
    for seed in range(12):
        plain = 5 + 2 * noise(seed, (1, 64, 64), blur=blur)
        image = plain.copy()
        y, x = np.indices((64, 64)) - 31
        image[0] += 200 * np.exp(-(x**2 + y**2) / (2 * 5.0**2))
        sky = blank_sky(Cutout("one", image), np.random.default_rng(seed))
        assert not sky.drawn
        covered = sky.noise[0, 20:44, 20:44].astype(float)  # where the source was
        sigmas.append(covered.std())
        neighbours.append((covered[:, 1:] * covered[:, :-1]).mean() / covered.var())
        spreads.append(sky.sigma[0] / plain.std())
        assert np.abs(sky.noise).max() < 5.5 * 2
        assert sky.level[0] == pytest.approx(5, abs=0.5)
    wanted = np.mean([(f[:, 1:] * f[:, :-1]).mean() for f in (noise(s, (1, 64, 64), blur=blur)[0] for s in range(12))])
    assert np.mean(sigmas) == pytest.approx(2, rel=0.05)
    assert np.mean(spreads) == pytest.approx(1, rel=0.03)
    assert np.mean(neighbours) == pytest.approx(wanted, abs=0.07)


def test_noise_is_drawn_where_a_picture_is_full():
    # all but a frame of 8 pixels is covered by an object
    rng = np.random.default_rng(0)
    plain = 2 * noise(1, (1, 64, 64), blur=1.2)
    image = plain.copy()
    image[0, 6:58, 6:58] += 100
    image[0, 6:58, 6:58] += 300 * rng.random((52, 52))
    sky = blank_sky(Cutout("full", image, level=(0.0,), sigma=(2.0,)), rng)
    assert sky.drawn
    assert np.isfinite(sky.noise).all()
    assert sky.noise.std() == pytest.approx(sky.sigma[0], rel=0.01)


def test_pixels_that_are_missing_stay_missing():
    image = noise(4).astype(np.float32)
    image[0, :5] = np.nan
    mask = np.ones((SIDE, SIDE), bool)
    mask[:, :3] = False
    sky = blank_sky(Cutout("holes", image, mask=mask), np.random.default_rng(0))
    assert np.isfinite(sky.noise).all()
    out = injected(sky, np.ones((1, 9, 9), np.float32), 5)
    assert np.isnan(out[0, :5]).all()
    assert np.isnan(out[0, :, :3]).all()
    assert np.isfinite(out[0, 5:, 3:]).all()


def test_pictures_without_noise_are_refused(tmp_path, run):
    flat = [np.zeros((1, SIDE, SIDE), np.float32) for _ in range(4)]
    assert blank_sky(Cutout("flat", flat[0]), np.random.default_rng(0)) is None
    with pytest.raises(DataError, match=r"none of 4 pictures of '.*' has noise to inject into"):
        inject(run, store(tmp_path / "flat.cutouts", flat))


# intervals and limits


@pytest.mark.parametrize(("found_", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (37, 40), (0, 1)])
def test_wilson_interval_is_the_shares_that_a_score_test_allows(found_, n):
    # Wilson 1927: both ends p solve (found/n - p)^2 = z^2 p (1 - p) / n
    z = stats.norm.ppf(0.975)
    share = found_ / n
    low, high = wilson(found_, n)
    half = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    assert float(low) == pytest.approx(max(0, centre - half), abs=1e-12)
    assert float(high) == pytest.approx(min(1, centre + half), abs=1e-12)
    for end in (float(low), float(high)):
        assert (share - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / n, abs=1e-9)


def test_crossing_interpolates_in_log_snr():
    snr, share = np.array([0.0, 1.0, 10.0, 100.0]), np.array([0.3, 0.0, 0.4, 1.0])
    assert crossing(snr, share, np.ones(4), 0.2) == pytest.approx(math.sqrt(10))
    assert crossing(snr, share, np.ones(4), 0.7) == pytest.approx(10 * math.sqrt(10))
    assert math.isnan(crossing(snr, share / 2, np.ones(4), 0.7))
    assert crossing(snr, np.ones(4), np.ones(4), 0.9) == 1.0


def test_crossing_joins_what_falls():
    snr, share = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 0.8, 0.6, 1.0])
    # the two in the middle are 0.7 on the nearest curve that never falls
    assert crossing(snr, share, np.ones(4), 0.7) == pytest.approx(2.0)


def test_limits_and_sentences_tell_what_the_grid_shows():
    steps = [(0, 1), (5, 4), (10, 20), (50, 40)]
    cells_ = [Cell("search", "ring", 4.0, s, 3 * s, 40, f, 0.1, 5.0) for s, f in steps]
    never = [Cell("search", "double", 4.0, s, 3 * s, 40, 2, 0.1, 90.0) for s, _ in steps]
    told = Completeness.of(cells_ + never, {})
    ring = [row for row in told.limits.to_pylist() if row["kind"] == "ring"]
    assert ring[0]["snr"] == pytest.approx(10.0)
    assert ring[0]["low"] < 10 < ring[0]["high"]
    assert 10 < ring[1]["snr"] < 50
    assert told.sentences[0].startswith("rings of half-light radius 4 px, search: 50 % from S/N 10.0 (")
    assert "100 % at S/N 50 (median rank 5), 2 % of empty pictures." in told.sentences[0]
    assert "50 % are not reached up to S/N 50; 90 % are not reached up to S/N 50; 5 % at S/N 50" in told.sentences[1]


def test_completeness_of_nothing_is_refused():
    with pytest.raises(DataError, match="no completeness of no objects"):
        Completeness.of([], {})


def test_completeness_is_written_as_table_and_figure(found, tmp_path):
    folder = found.save(tmp_path / "faint")
    table = pq.read_table(folder / "completeness.parquet")
    assert table.drop_columns([]).to_pylist() == found.table.to_pylist()
    assert json.loads(table.schema.metadata[b"morphospace"])["k"] == 10
    assert (folder / "completeness.csv").read_text().splitlines()[0].startswith('"by","kind","size_px","snr"')
    assert (folder / "limits.csv").stat().st_size
    assert (folder / "completeness.png").read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(StoreError, match="is there already"):
        found.save(folder)
    found.save(folder, overwrite=True)


def test_figure_has_a_panel_for_each_kind_and_a_line_for_each_size(found):
    figure = plot_completeness(found)
    assert [ax.get_title() for ax in figure.axes] == ["rings", "doubles"]
    drawn = [line for line in figure.axes[0].lines if line.get_label() == "5 px"]
    assert [line.get_xdata().tolist() for line in drawn] == [[1, 3, 100]]


# bad input


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kinds": ["rings"]}, r"unknown kind of object 'rings'; did you mean 'ring'\?"),
        ({"sizes": [20]}, r"sizes must be from 1 to 9\.6 pixels .*; got 20"),
        ({"snr": [0.0]}, r"snr must be positive numbers; got \[0\.0\]"),
        ({"n": 0}, "n must be at least 1; got 0"),
        ({"k": 0}, "k must be at least 1; got 0"),
    ],
)
def test_options_out_of_range_are_told(run, blank, options, message):
    with pytest.raises(ConfigError, match=message):
        inject(run, blank, **options)


def test_a_store_smaller_than_k_is_refused(run, blank):
    with pytest.raises(DataError, match="k=12 hits of 9 objects say nothing"):
        inject(run, blank.keep(range(9)))
    with pytest.raises(DataError, match="has no cutouts whose noise could be used"):
        inject(run, blank.keep([]))


def test_embeddings_of_another_run_are_refused(run, blank, tmp_path):
    emb = embed(run, blank, out=tmp_path / "other.emb", average="d4")
    emb.provenance["average"] = None  # as if it were of another run
    with pytest.raises(DataError, match="distances between the two mean nothing"):
        inject(run, blank, embeddings=emb)


# the command


def test_doctor_injects(run, blank, tmp_path, capsys):
    given = ["starter", str(blank.path), "--inject", "--out", str(tmp_path / "faint"), "--kinds", "ring"]
    status = main(["doctor", *given, "--snr", "50", "--sizes", "5", "-n", "4", "-k", "3", "--json", "--quiet"])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    told = json.loads(printed.out)
    assert told["limits"][0]["kind"] == "ring"
    assert len(told["sentences"]) == 2
    assert (tmp_path / "faint" / "completeness.png").is_file()


def test_doctor_injects_for_a_predictor_that_was_saved(run, blank, tmp_path, capsys):
    emb = embed(run, blank, out=tmp_path / "b.emb")
    labels = {name: "odd" if int(name[1:]) % 2 else "even" for name in emb.ids}
    Predictor("knn").fit(emb, labels).save(tmp_path / "p.safetensors")
    given = ["starter", str(blank.path), "--inject", "--classifier", str(tmp_path / "p.safetensors"), "--kinds", "ring"]
    more = ["--embeddings", str(emb.path), "--snr", "50", "--sizes", "5", "-n", "4", "-k", "3", "--json", "--quiet"]
    status = main(["doctor", *given, *more])
    printed = capsys.readouterr()
    assert status == 0, printed.err
    assert {limit["by"] for limit in json.loads(printed.out)["limits"]} == {"search", "classifier"}


@pytest.mark.parametrize(
    ("given", "message"),
    [(["--out", "x"], "--out goes with --inject"), (["--sizes", "3"], "--sizes goes with --inject")],
)
def test_options_of_injection_without_it_are_bad_usage(run, blank, given, message, capsys):
    assert main(["doctor", "starter", str(blank.path), *given]) == 2
    assert message in capsys.readouterr().err


def test_injection_without_cutouts_is_bad_usage(run, capsys):
    assert main(["doctor", "starter", "--inject"]) == 2
    assert "--inject needs the cutouts whose noise it uses" in capsys.readouterr().err
