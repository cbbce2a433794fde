"""The verdict on simulated spaces of every kind of failure, and the nuisance audit."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphospace.errors import DataError, ShapeError
from morphospace.learn import health as health_module
from morphospace.learn.health import Health, Verdict, check_health
from morphospace.learn.nuisance import MIN_AUDITED, Nuisances, audit_nuisances, measure_nuisances

N = 400


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def healthy(rng, n=N, d=32, classes=3):
    """Classes in a space whose 32 axes fall off slowly."""
    y = np.arange(n) % classes
    z = rng.normal(size=(n, d)) * 0.95 ** np.arange(d) + 2.0 * np.eye(classes, d)[y]
    return z.astype(np.float32), y


def projected(z, rng, p=16):
    return (z @ rng.normal(size=(z.shape[1], p))).astype(np.float32)


def said(health, *words):
    return any(all(w in sentence for w in words) for sentence in health.sentences)


# ---------------------------------------------------------------- the verdict


def test_a_healthy_space(rng):
    z, y = healthy(rng)
    noise = rng.normal(size=z.shape)
    h = check_health(
        z, projections=projected(z, rng), labels=y, baselines={"pixel-PCA": noise, "untrained": noise[:, :4]}
    )
    assert h.verdict is Verdict.HEALTHY
    assert abs(h.figures["mean_cosine"]) < 0.3
    assert h.figures["effective_rank"] > 15
    assert h.figures["linear_balanced_accuracy"] > 0.8
    assert h.figures["linear_minus_pixel-PCA_low"] > 0
    assert said(h, "far from collapse")
    assert said(h, "Against pixel-PCA", "95 % intervals")


def test_collapsed_projections_although_the_features_have_a_rank(rng):
    """What misled the effective rank (37 for the collapsed model): noise about one point fills all dimensions."""
    z = (5.0 + 1e-3 * rng.normal(size=(N, 64))).astype(np.float32)
    h = check_health(z, projections=(3.0 + 1e-4 * rng.normal(size=(N, 16))))
    assert h.figures["effective_rank"] > 37
    assert h.figures["mean_cosine"] > 0.999
    assert h.verdict is Verdict.COLLAPSED
    assert "answers all images alike" in h.sentences[0]


@pytest.mark.parametrize(
    "make, where",
    [
        (lambda rng: np.full((N, 16), 2.5), "a point"),
        (lambda rng: np.zeros((N, 16)), "a point"),
        (lambda rng: np.outer(rng.normal(size=N), np.ones(16)) + 1, "a line"),
    ],
)
def test_collapsed_vectors_without_projections(rng, make, where):
    h = check_health(make(rng))
    assert h.verdict is Verdict.COLLAPSED
    assert said(h, f"they lie on {where}")
    assert said(h, "No projections were given")


def test_projections_on_a_line_through_zero_are_collapsed(rng):
    """Half of them opposite to the others: the mean cosine is 0, and yet there is one number left."""
    z, _ = healthy(rng)
    h = check_health(z, projections=np.outer(rng.normal(size=N), np.ones(8)))
    assert abs(h.figures["mean_cosine"]) < 0.1
    assert h.verdict is Verdict.COLLAPSED
    assert said(h, "projections fill 1.0 of 8")


def test_dimensional_collapse_is_poor(rng):
    plane = rng.normal(size=(N, 2)) @ rng.normal(size=(2, 64)) + 0.01 * rng.normal(size=(N, 64))
    h = check_health(plane, projections=rng.normal(size=(N, 16)))
    assert h.verdict is Verdict.POOR
    assert 1.5 < h.figures["effective_rank"] < 2.5
    assert said(h, "fewer than 4")


def test_nearly_collapsed_projections_are_poor(rng):
    z, _ = healthy(rng)
    p = rng.normal(size=(N, 16)) + 3.5
    h = check_health(z, projections=p)
    assert 0.9 <= h.figures["mean_cosine"] < 0.95
    assert h.verdict is Verdict.POOR


def test_positive_vectors_alone_are_no_collapse(rng):
    """After a ReLU all cosines are high; only those of projections are judged."""
    z = np.maximum(rng.normal(size=(N, 64)) + 3, 0)
    assert check_health(z).verdict is Verdict.HEALTHY
    assert "mean_cosine" not in check_health(z).figures


def test_two_dimensions_are_not_called_lost(rng):
    h = check_health(rng.normal(size=(N, 2)))
    assert h.verdict is Verdict.HEALTHY
    assert said(h, "so few dimensions are not judged")


def test_vectors_that_know_nothing_of_the_labels_are_poor(rng):
    y = np.arange(N) % 2
    h = check_health(rng.normal(size=(N, 16)), labels=y)
    assert h.verdict is Verdict.POOR
    assert said(h, "not above chance")


def test_vectors_below_a_baseline_are_poor(rng):
    z, y = healthy(rng)
    weak = z + 2.0 * rng.normal(size=z.shape)
    h = check_health(weak, labels=y, baselines={"untrained encoder": z})
    assert h.verdict is Verdict.POOR
    assert said(h, "Against untrained encoder", "less was learned")
    assert h.figures["linear_minus_untrained encoder_high"] < 0


def test_vectors_equal_to_a_baseline_are_not_condemned(rng):
    z, y = healthy(rng)
    h = check_health(z, labels=y, baselines={"untrained encoder": z})
    assert h.verdict is Verdict.HEALTHY
    assert said(h, "not shown to be better")


def test_unknown_and_rare_labels_are_left_out(rng):
    z, y = healthy(rng)
    names = np.array(["FRI", "FRII", "hybrid"], dtype=object)[y]
    names[:20], names[20:30], names[30:40], names[40:43] = None, float("nan"), "", "wide"
    h = check_health(z, labels=names)
    assert h.figures["n_labelled"] == N - 43
    assert said(h, "left out", "wide")
    assert h.verdict is Verdict.HEALTHY
    few = check_health(z, labels=np.where(np.arange(N) < 30, names, None))
    assert said(few, "Labels are not used")
    assert "linear_accuracy" not in few.figures


def test_too_few_vectors_give_no_verdict(rng):
    z, y = healthy(rng, n=12)
    h = check_health(z, projections=z, labels=y)
    assert h.verdict is Verdict.UNKNOWN
    assert h.sentences == ("12 vectors are too few for a verdict: at least 50 are needed, 38 more.",)
    assert check_health(np.zeros((0, 4))).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_is_broken(rng, bad):
    z, _ = healthy(rng)
    p = projected(z, rng)
    z[3, 4] = z[7, 1] = bad
    h = check_health(z, projections=p)
    assert h.verdict is Verdict.BROKEN
    assert h.figures["n_broken_vectors"] == 2
    assert "2 of 400 vectors hold NaN or infinity" in h.sentences[0]
    p[:] = bad
    assert said(check_health(z, projections=p), "400 of 400 projections")


def test_many_vectors_are_sampled(rng, monkeypatch):
    monkeypatch.setattr(health_module, "MAX_VECTORS", 150)
    z, y = healthy(rng)
    pa = rng.uniform(0, 180, N)
    n = Nuisances(position_angle_deg=pa, snr=pa, instrument={"camera": y})
    h = check_health(z, labels=y, nuisances=n, group=np.arange(N), baselines={"pca": z[:, 8:12]})
    assert h.figures["n_vectors"] == N
    assert h.figures["n_labelled"] == 150
    assert h.verdict is Verdict.HEALTHY


def test_the_verdict_does_not_change_from_call_to_call(rng):
    z, y = healthy(rng)
    assert check_health(z, labels=y, seed=4) == check_health(z, labels=y, seed=4)


@given(st.integers(0, 100), st.floats(1e-3, 1e3))
def test_scale_does_not_change_the_verdict_on_spread(seed, scale):
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(60, 8)) * np.linspace(0, 1, 8) ** rng.integers(0, 12)
    p = rng.normal(size=(60, 8)) + rng.choice([0, 3.3, 30])
    a, b = check_health(z, projections=p), check_health(z * scale, projections=p * scale)
    assert a.verdict is b.verdict
    assert a.figures == pytest.approx(b.figures, rel=1e-4)


def test_lengths_must_fit(rng):
    z, y = healthy(rng)
    with pytest.raises(ShapeError, match="labels must have one row per vector, 400; got 399"):
        check_health(z, labels=y[:-1])
    with pytest.raises(ShapeError, match="projections must be"):
        check_health(z, projections=z[:, 0])
    with pytest.raises(ShapeError, match=r"columns of nuisances must have one entry per vector, \(400,\)"):
        check_health(z, nuisances=Nuisances(snr=[1.0]))


# ---------------------------------------------------------------- on paper


def test_json_round_trip(rng):
    z, y = healthy(rng)
    h = check_health(z, projections=projected(z, rng), labels=y)
    back = Health.from_json(h.to_json())
    assert back == h
    assert back.verdict is Verdict.HEALTHY
    assert json.loads(h.to_json())["verdict"] == "HEALTHY"


@given(
    st.sampled_from(list(Verdict)),
    st.lists(st.text()),
    st.dictionaries(st.text(), st.floats(allow_nan=False, allow_infinity=False)),
)
def test_any_health_survives_json(verdict, sentences, figures):
    h = Health(verdict, tuple(sentences), figures)
    assert Health.from_json(h.to_json()) == h


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"verdict": "FINE", "sentences": [], "figures": {}}', '{"figures": 1}']
)
def test_other_json_is_refused(text):
    with pytest.raises(DataError, match="no health verdict"):
        Health.from_json(text)


def test_text_begins_with_the_verdict_and_fits_the_terminal(rng):
    z, y = healthy(rng)
    lines = check_health(z, labels=y).text(width=60).splitlines()
    assert lines[0] == "HEALTHY"
    assert lines[1].startswith("  - ")
    assert max(map(len, lines)) <= 60


def test_what_decided_comes_first(rng):
    z = rng.normal(size=(N, 8)) + 30.0
    h = check_health(rng.normal(size=(N, 32)), projections=z, labels=np.arange(N) % 2)
    assert h.verdict is Verdict.COLLAPSED
    assert "alike" in h.sentences[0]
    assert "not above chance" in h.sentences[1]  # POOR


# ---------------------------------------------------------------- the audit


def angled(rng, harmonic, weight, n=600, d=16, period=180):
    """Vectors that carry one harmonic of an angle beside noise."""
    angle = rng.uniform(0, period, n)
    z = rng.normal(size=(n, d))
    z[:, 0] += weight * np.cos(harmonic * np.radians(angle))
    z[:, 1] += weight * np.sin(harmonic * np.radians(angle))
    return z, angle


def reading(found, name):
    (one,) = (r for r in found if r.name == name)
    return one


def test_position_angle_is_read_where_it_is(rng):
    z, pa = angled(rng, 2, 20.0)
    found = audit_nuisances(z, Nuisances(position_angle_deg=pa))
    two, four = reading(found, "position angle (2PA)"), reading(found, "position angle (4PA)")
    assert two.score > 0.95
    assert two.share > 0.9
    assert abs(four.score) < 0.1  # orthogonal to it
    assert four.share < 0.02
    assert two.n == 600
    z, pa = angled(rng, 4, 20.0)
    found = audit_nuisances(z, Nuisances(position_angle_deg=pa))
    assert reading(found, "position angle (4PA)").score > 0.95
    assert reading(found, "position angle (2PA)").score < 0.1


def test_score_of_a_noisy_angle_is_its_signal_over_all(rng):
    """Variance of the signal 1/2 beside noise 1 in each of 2 of 16 axes: R2 = 1/3, share = 1/17."""
    z, pa = angled(rng, 2, 1.0, n=4000)
    two = reading(audit_nuisances(z, Nuisances(position_angle_deg=pa)), "position angle (2PA)")
    assert two.score == pytest.approx(1 / 3, abs=0.03)
    assert two.share == pytest.approx(0.06 * 1 / (1 + 0.06) * 1.0, abs=0.06)


def test_share_is_nil_by_chance(rng):
    z, _ = healthy(rng, n=60)
    found = audit_nuisances(z, Nuisances(snr=rng.normal(size=60), instrument={"a": rng.integers(0, 4, 60)}))
    assert all(r.share < 0.03 for r in found)
    assert all(r.score < 0.3 for r in found)


def test_a_dominant_angle_makes_a_space_poor_unless_it_is_wanted(rng):
    z, pa = angled(rng, 2, 6.0)
    h = check_health(z, nuisances=Nuisances(position_angle_deg=pa))
    assert h.verdict is Verdict.POOR
    assert said(h, "Position angle (2PA) is well readable", "average='d4'")
    oriented = check_health(z, nuisances=Nuisances(position_angle_deg=pa, oriented=True))
    assert oriented.verdict is Verdict.HEALTHY
    assert said(oriented, "2PA", "reported, not judged")


def test_a_readable_but_faint_angle_is_said_and_does_not_decide(rng):
    z, pa = angled(rng, 2, 3.0, d=64)
    h = check_health(z, nuisances=Nuisances(position_angle_deg=pa))
    assert h.figures["score_position angle (2PA)"] > 0.5
    assert h.figures["share_position angle (2PA)"] < 0.25
    assert h.verdict is Verdict.HEALTHY
    assert said(h, "well readable")


def test_companion_direction_counts_the_full_circle(rng):
    z, direction = angled(rng, 1, 6.0, period=360)
    assert reading(audit_nuisances(z, Nuisances(companion_angle_deg=direction)), "companion angle").score > 0.9
    assert check_health(z, nuisances=Nuisances(companion_angle_deg=direction)).verdict is Verdict.POOR


def test_instruments_are_judged_and_physics_is_not(rng):
    z, _ = healthy(rng)
    camera = np.array(["ACA", "12m"])[np.arange(N) // 2 % 2]
    z[:, 5] += 20.0 * (camera == "ACA")
    h = check_health(z, nuisances=Nuisances(instrument={"array": camera}))
    assert h.verdict is Verdict.POOR
    assert h.figures["score_instrument array"] > 0.95
    assert said(h, "Instrument array is well readable", "sorts the space")
    z, _ = healthy(rng)
    depth = z[:, 5] ** 3  # readable by its order alone
    h = check_health(z, nuisances=Nuisances(snr=depth, size=depth, background=depth))
    assert h.verdict is Verdict.HEALTHY
    for name in ("S/N", "Size", "Background"):
        assert said(h, name, "well readable", "reported, not judged")


def test_the_audit_says_what_it_could_not_do(rng):
    z, _ = healthy(rng)
    pa = np.where(np.arange(N) < 30, 45.0, np.nan)
    few = [None] * 380 + ["VLA"] * 18 + ["GMRT"] * 2
    n = Nuisances(position_angle_deg=pa, instrument={"telescope": few}, size=np.ones(N), companion_angle_deg=[None] * N)
    found = audit_nuisances(z, n)
    assert reading(found, "position angle (2PA)").gap == f"30 objects with a known value, {MIN_AUDITED} are needed"
    assert reading(found, "companion angle").n == 0
    assert "fewer than two values" in reading(found, "instrument telescope").gap
    assert reading(found, "size").gap == "all values are equal"
    assert all(np.isnan(r.score) for r in found)
    h = check_health(z, nuisances=n)
    assert h.verdict is Verdict.HEALTHY
    assert said(h, "Not audited: instrument telescope")
    assert all(np.isfinite(v) for v in h.figures.values())


def test_groups_share_a_fold_in_the_audit(rng):
    """Ten copies of each object: without groups any quantity is read by recognising the copy."""
    z = np.repeat(rng.normal(size=(60, 200)), 10, axis=0)
    z += 1e-3 * rng.normal(size=z.shape)
    snr = np.repeat(rng.normal(size=60), 10)
    group = np.repeat(np.arange(60), 10)
    alone = audit_nuisances(z, Nuisances(snr=snr))[0].score
    grouped = audit_nuisances(z, Nuisances(snr=snr), group=group)[0].score
    assert alone > 0.9
    assert grouped < 0.3
    few = audit_nuisances(z, Nuisances(snr=snr, instrument={"a": group % 2}), group=group // 20)
    assert few[-1].gap == "fewer than 5 groups"


def test_columns_of_other_lengths_are_named(rng):
    z, _ = healthy(rng)
    with pytest.raises(ShapeError, match="the column of size"):
        audit_nuisances(z, Nuisances(size=[1, 2]))
    with pytest.raises(ShapeError, match="the column of instrument band"):
        audit_nuisances(z, Nuisances(instrument={"band": ["r"]}))


# ---------------------------------------------------------------- from images


def elongated(pa, size=48, flux=4000.0):
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    t = np.radians(pa + 90)
    u, v = x * np.cos(t) + y * np.sin(t), -x * np.sin(t) + y * np.cos(t)
    return flux * np.exp(-0.5 * (u / 5) ** 2 - 0.5 * (v / 2) ** 2) / (20 * np.pi)


def test_nuisances_are_measured_from_images_of_any_size(rng):
    pas = rng.uniform(0, 180, 40)
    images = [
        elongated(pa, size=48 + 8 * (i % 2)) + rng.normal(3, 1, (48 + 8 * (i % 2),) * 2) for i, pa in enumerate(pas)
    ]
    images = [image if i % 3 else image[None].astype(np.float32) for i, image in enumerate(images)]
    masks = [None, np.ones(images[1].shape[-2:], dtype=bool)] + [None] * 38
    n = measure_nuisances(images, masks=masks, instrument={"camera": ["a"] * 40}, oriented=True)
    pa, snr, background = (np.asarray(v) for v in (n.position_angle_deg, n.snr, n.background))
    error = np.abs((pa - pas + 90) % 180 - 90)
    assert np.isfinite(pa).all()
    assert error.max() < 10
    np.testing.assert_allclose(background, 3, atol=0.4)
    assert (snr > 30).all()
    assert np.isnan(np.asarray(n.companion_angle_deg)).mean() > 0.9
    assert n.instrument == {"camera": ["a"] * 40}
    assert n.oriented


def test_blank_images_have_no_nuisances():
    n = measure_nuisances(np.stack([np.full((16, 16), np.nan), np.zeros((16, 16))]))
    for column in (n.position_angle_deg, n.companion_angle_deg, n.snr, n.size):
        assert np.isnan(np.asarray(column)).all()
    np.testing.assert_array_equal(np.asarray(n.background), [np.nan, 0])
    with pytest.raises(ShapeError, match="one entry per image, 2; got 1"):
        measure_nuisances(np.zeros((2, 8, 8)), masks=[None])


def test_an_encoder_of_pixels_is_caught_reading_orientation(rng):
    """From images to verdict: raw pixels of one elongated shape at all angles know nothing but the angle."""
    pas = rng.uniform(0, 180, 300)
    images = np.stack([elongated(pa, size=24) for pa in pas]) + rng.normal(0, 0.3, (300, 24, 24))
    n = measure_nuisances(images)
    h = check_health(images.reshape(300, -1), nuisances=n)
    assert h.figures["score_position angle (2PA)"] > 0.9
    assert h.verdict is Verdict.POOR
