"""Reading a trained space: reconstructions, traversals, paths, deblending, components, comparisons."""

from __future__ import annotations

import itertools

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import norm
from sklearn.metrics import silhouette_samples

from linear_space import AS_IT_IS, DIM, MEANS, SIDE, Linear, LinearMixture, embeddings, linear, stored
from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.learn.prepare import Preparation
from morphospace.sky.stretch import Stretch
from morphospace.space.embeddings import Embeddings
from morphospace.space.generate import (
    Gaussians,
    assign,
    compare_labels,
    compare_votes,
    components,
    deblend,
    grid,
    inverse_map,
    nested_cuts,
    reconstruct,
    tour,
    traverse,
)
from morphospace.space.generating.deblend import count_companions
from morphospace.space.generating.path import shortest_order
from morphospace.space.generating.reconstruct import robust_scores
from morphospace.space.kept import kept


class Flat(LinearMixture):
    """Two latents."""

    def __init__(self, bands=1, *, side=SIDE):
        Linear.__init__(self, bands, side=side, dim=2)

    def mixture(self):
        full = LinearMixture.mixture(self)
        return type(full)(full.log_weights, full.means[:, :2], full.log_variances[:, :2])


@pytest.fixture(scope="module")
def decoder():
    return linear()


@pytest.fixture(scope="module")
def emb(decoder):
    return embeddings(decoder, 300)


# reconstructions


@pytest.fixture
def broken(tmp_path, decoder):
    """Images that the method makes exactly, but for a little noise, one spike and one that is all noise."""
    z, _ = decoder.mixture().draw(60)
    rng = np.random.default_rng(0)
    images = decoder.images(z) + rng.normal(0, 0.01, (60, 1, SIDE, SIDE)) * rng.uniform(0.7, 1.3, (60, 1, 1, 1))
    images[7, 0, 3, 3] += 40
    images[9] += rng.normal(0, 8, (1, SIDE, SIDE))
    return stored(tmp_path / "b.cutouts", images), images


def test_error_is_what_the_decoder_cannot_make(broken, decoder) -> None:
    cutouts, images = broken
    found = reconstruct(decoder, cutouts)
    matrix = Linear().matrix.weight.detach().numpy().astype(np.float64)
    flat = images.reshape(60, -1).astype(np.float32)
    left = flat - flat @ matrix @ matrix.T
    np.testing.assert_allclose(found.errors, (left**2).mean(axis=1), rtol=1e-3)
    assert found.ids == tuple(cutouts.ids)
    best, worst = found.best(3), found.worst(3)
    assert best.errors.tolist() == sorted(found.errors)[:3]
    assert worst.ids[:2] in (("o7", "o9"), ("o9", "o7"))
    np.testing.assert_allclose(worst.residuals, worst.images - worst.decoded)
    np.testing.assert_allclose((worst.residuals**2).mean(axis=(1, 2, 3)), worst.errors, rtol=1e-4)


def test_artefacts_are_named_with_the_reason(broken, decoder) -> None:
    found = reconstruct(decoder, broken[0]).artefacts()
    reasons = dict(zip(found["id"].to_pylist(), found["reason"].to_pylist(), strict=True))
    assert reasons == {"o7": "a small part is not reconstructed", "o9": "all of it is reconstructed badly"}
    assert found["score"].to_pylist() == sorted(found["score"].to_pylist(), reverse=True)
    with pytest.raises(ConfigError, match="positive number of sigmas; got 0"):
        reconstruct(decoder, broken[0]).artefacts(above=0)


def test_scores_are_robust_sigmas_of_the_logarithm() -> None:
    errors = np.exp(np.random.default_rng(0).normal(2, 0.3, 20_000))
    scores = robust_scores(errors)
    assert np.median(scores) == pytest.approx(0, abs=1e-12)
    assert scores.std() == pytest.approx(1, rel=0.03)
    np.testing.assert_array_equal(robust_scores(np.ones(5)), 0)
    assert np.isfinite(robust_scores(np.zeros(5))).all()


def test_other_bands_and_empty_stores_are_refused(tmp_path, decoder) -> None:
    with pytest.raises(ShapeError, match="'o0' has 2 bands and this method was trained on 1"):
        reconstruct(decoder, stored(tmp_path / "two.cutouts", np.ones((1, 2, SIDE, SIDE))))
    with pytest.raises(DataError, match="no image to reconstruct"):
        reconstruct(decoder, stored(tmp_path / "none.cutouts", np.ones((0, 1, SIDE, SIDE))))


# traversals and grids


@pytest.mark.parametrize("base", ["zero", "mean"])
def test_a_traversal_changes_one_latent_only(decoder, base) -> None:
    found = traverse(decoder, latents=[2, 0], base=base, steps=5, extent=2)
    mean, sigma = decoder.spread()
    middle = mean if base == "mean" else np.zeros(DIM)
    matrix = Linear().matrix.weight.detach().numpy()
    back = found.images.reshape(2, 5, -1) @ matrix  # the latents, since the columns are orthonormal
    for row, latent in enumerate((2, 0)):
        np.testing.assert_allclose(
            back[row][:, latent], middle[latent] + np.linspace(-2, 2, 5) * sigma[latent], atol=1e-4
        )
        others = [i for i in range(DIM) if i != latent]
        np.testing.assert_allclose(back[row][:, others], np.tile(middle[others], (5, 1)), atol=1e-4)
    np.testing.assert_array_equal(found.latents, [2, 0])
    expected = sigma[[2, 0]] * np.sqrt(np.mean(np.linspace(-2, 2, 5) ** 2) / SIDE**2)
    np.testing.assert_allclose(found.change, expected, rtol=1e-4)


def test_all_latents_come_in_the_order_of_what_they_change(decoder) -> None:
    found = traverse(decoder)
    assert sorted(found.latents.tolist()) == list(range(DIM))
    assert (np.diff(found.change) <= 0).all()
    assert found.images.shape == (DIM, 9, 1, SIDE, SIDE)


def test_spread_of_a_mixture_is_that_of_its_samples(decoder) -> None:
    z, _ = decoder.mixture().draw(50_000)
    mean, sigma = decoder.spread()
    np.testing.assert_allclose(mean, z.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(sigma, z.std(axis=0), rtol=0.02)


@pytest.mark.parametrize(
    "options", [{"latents": [3]}, {"steps": 1}, {"extent": 0}, {"base": "median"}, {"extent": float("nan")}]
)
def test_options_of_a_traversal_are_checked(decoder, options) -> None:
    with pytest.raises(ConfigError, match=r"latent 3 is not there: there are 3|a traversal needs"):
        traverse(decoder, **options)


def test_a_grid_decodes_the_quantiles_of_both_latents() -> None:
    flat = linear(Flat)
    found = grid(flat, steps=4)
    mean, sigma = flat.spread()
    expected = mean[0] + sigma[0] * norm.ppf((np.arange(4) + 0.5) / 4)
    np.testing.assert_allclose(found.x, expected)
    np.testing.assert_allclose(found.images[3, 1], flat.images(np.array([[found.x[1], found.y[3]]]))[0], atol=1e-5)
    with pytest.raises(ConfigError, match="needs a run with 2 latents and this method has 3"):
        grid(linear())
    with pytest.raises(ConfigError, match="steps >= 2; got 1"):
        grid(flat, steps=1)


def test_a_linear_map_is_undone_exactly(decoder, emb) -> None:
    found = inverse_map(decoder, emb, method="pca", steps=9)
    made = np.isfinite(found.images).all(axis=(2, 3, 4))
    assert 5 < made.sum() < 81  # nothing is decoded where no object is near
    x = emb.vectors.astype(np.float64)
    axes = np.linalg.svd(x - x.mean(axis=0), full_matrices=False)[2][:2]
    matrix = Linear().matrix.weight.detach().numpy()
    for row, column in np.argwhere(made)[:5]:
        back = found.images[row, column].reshape(-1) @ matrix - x.mean(axis=0)
        np.testing.assert_allclose(np.abs(axes @ back), np.abs([found.x[column], found.y[row]]), atol=1e-3)
        assert np.linalg.norm(back - axes.T @ (axes @ back)) < 1e-3  # in the plane
    with pytest.raises(ConfigError, match="got 'tsne'"):
        inverse_map(decoder, emb, method="tsne")
    with pytest.raises(DataError, match=r"needs 20 vectors .* have 5"):
        inverse_map(decoder, emb.keep(range(5)), method="pca")


@pytest.mark.slow
def test_a_umap_is_undone_near_its_objects(decoder) -> None:
    pytest.importorskip("umap")
    many = embeddings(decoder, 400)
    found = inverse_map(decoder, many, steps=6, seed=1)
    made = np.isfinite(found.images).all(axis=(2, 3, 4))
    assert made.any()
    back = found.images[made].reshape(made.sum(), -1) @ Linear().matrix.weight.detach().numpy()
    away = np.linalg.norm(back[:, None] - many.vectors[None], axis=2).min(axis=1)
    assert np.median(away) < 1.0


# embeddings that are not the run's


def test_embeddings_of_another_space_are_refused(decoder) -> None:
    other = Embeddings.from_arrays(None, ["a"], np.ones((1, 7)))
    with pytest.raises(DataError, match="they have 7 dimensions, the run 3"):
        tour(decoder, other)
    turned = Embeddings.from_arrays(None, ["a"], np.ones((1, 3)), provenance={"average": "d4"})
    with pytest.raises(DataError, match=r"averages over turned images .*no decoder"):
        components(decoder, turned)


# paths


@pytest.mark.parametrize("seed", range(12))
def test_the_order_is_the_shortest_of_all(seed) -> None:
    points = np.random.default_rng(seed).normal(size=(6, 3))

    def length(order):
        return np.linalg.norm(np.diff(points[list(order)], axis=0), axis=1).sum()

    best = min(itertools.permutations(range(6)), key=length)
    assert length(shortest_order(points)) == pytest.approx(length(best))


def test_points_on_a_line_are_visited_in_their_order() -> None:
    place = np.random.default_rng(0).permutation(25).astype(float)
    order = shortest_order(np.stack([place, 2 * place], axis=1))
    assert place[order].tolist() in (list(range(25)), list(range(24, -1, -1)))
    assert shortest_order(np.zeros((2, 2))).tolist() == [0, 1]
    assert shortest_order(np.zeros((1, 2))).tolist() == [0]
    assert sorted(shortest_order(np.zeros((5, 2))).tolist()) == list(range(5))


def test_a_tour_passes_the_most_typical_members(decoder, emb) -> None:
    found = tour(decoder, emb, steps=4)
    assert len(found.images) == 2 * 4 + 1
    assert found.stops.tolist() == [0, 4, 8]
    assert sorted(found.components.tolist()) == [0, 1, 2]
    p = decoder.mixture().responsibilities(emb.vectors)
    for component, name in zip(found.components, found.ids, strict=True):
        row = emb.row_of(name)
        assert p[row].argmax() == component
        assert np.abs(emb.vectors[row] - MEANS[component]).max() < 0.5
    np.testing.assert_allclose(found.latents[found.stops], emb.vectors[[emb.row_of(i) for i in found.ids]], rtol=1e-6)
    np.testing.assert_allclose(np.diff(found.latents[:5], axis=0), np.tile(found.latents[1] - found.latents[0], (4, 1)))
    np.testing.assert_allclose(found.images, decoder.images(found.latents))
    assert found.length == pytest.approx(np.linalg.norm(np.diff(found.latents[[0, 4, 8]], axis=0), axis=1).sum())
    assert tour(decoder, emb, components=[2, 0]).components.tolist() in ([0, 2], [2, 0])


def test_a_tour_that_leads_nowhere_is_refused(decoder, emb) -> None:
    with pytest.raises(ConfigError, match="component 9 is not there"):
        tour(decoder, emb, components=[0, 9])
    near = emb.keep(np.flatnonzero(emb.table(["drawn"])["drawn"].to_numpy() == 1))
    with pytest.raises(ConfigError, match="component 2 has no member among embeddings"):
        tour(decoder, near, components=[1, 2])
    with pytest.raises(ConfigError, match="there is 1 among"):
        tour(decoder, near)
    with pytest.raises(ConfigError, match="steps >= 1; got 0"):
        tour(decoder, emb, steps=0)
    with pytest.raises(ConfigError, match="a mixture of two components"):
        tour(decoder, emb, density=Gaussians.normal(3))


# deblending


@pytest.fixture
def pairs(tmp_path):
    """Objects at the centre, some with a companion in the corner; the method knows position by position."""
    side = 24
    y, x = np.mgrid[:side, :side]

    def blob(cx, cy, flux):
        return flux * np.exp(-0.5 * ((x - cx) ** 2 + (y - cy) ** 2) / 2.0)

    rng = np.random.default_rng(0)
    images = np.stack([blob(12, 12, 60 + 5 * i) + (i % 2) * blob(20, 20, 40) for i in range(8)])
    images = (images + rng.normal(0, 0.5, images.shape))[:, None]
    images[6] = rng.normal(0, 0.5, (1, side, side))  # nothing there
    preparation = Preparation(size=side, scale="pixel", units="none", stretch=Stretch("linear"))
    decoder = linear(preparation=preparation)
    cutouts = stored(tmp_path / "p.cutouts", images, sigma=(0.5,))
    vectors = np.array([[i + 0.1 * (i % 2), 0, 0] for i in range(8)], np.float32)
    return decoder, cutouts, Embeddings.from_arrays(None, cutouts.ids, vectors)


def test_the_neighbour_has_no_companion(pairs) -> None:
    decoder, cutouts, emb = pairs
    found = deblend(decoder, emb, cutouts=cutouts, name="o5", steps=3)
    # o6 shows nothing and o7, o3 have companions: o4 is the nearest that has none
    assert (found.neighbour, found.n_companions) == ("o4", 1)
    assert found.rank == 2
    assert found.path.ids == ("o5", "o4")
    assert len(found.path.images) == 4
    np.testing.assert_allclose(found.images, [c.image for c in cutouts.read([5, 4])], rtol=1e-5)
    assert found.distance == pytest.approx(1.1 / decoder.spread()[1][0], rel=1e-5)


def test_a_companion_that_touches_is_counted(tmp_path) -> None:
    y, x = np.mgrid[:40, :40]
    rng = np.random.default_rng(0)

    def blob(cx, flux, width):
        return flux * np.exp(-0.5 * ((x - cx) ** 2 + (y - 20) ** 2) / width**2)

    noise = rng.normal(0, 0.5, (4, 40, 40))
    images = [blob(20, 60, 3), blob(20, 60, 3) + blob(29, 50, 2.5), blob(20, 60, 3) + blob(36, 50, 1.5), 0 * x]
    counts = count_companions(
        stored(tmp_path / "t.cutouts", (np.stack(images) + noise)[:, None], sigma=(0.5,)), [0, 1, 2, 3]
    )
    np.testing.assert_array_equal(counts, [0, 1, 1, np.nan])


def test_what_cannot_be_deblended_is_told(pairs) -> None:
    decoder, cutouts, emb = pairs
    with pytest.raises(DataError, match="'o4' has no companion"):
        deblend(decoder, emb, cutouts=cutouts, name="o4")
    with pytest.raises(DataError, match="'o6' has nothing above the noise"):
        deblend(decoder, emb, cutouts=cutouts, name="o6")
    with pytest.raises(DataError, match="'o55' is no id"):
        deblend(decoder, emb, cutouts=cutouts, name="o55")
    with pytest.raises(DataError, match="each of the other 1 objects"):
        deblend(decoder, emb.keep([3, 5]), cutouts=cutouts, name="o5")
    with pytest.raises(DataError, match="'o6' is not in cutouts"):
        deblend(decoder, emb, cutouts=cutouts.keep([5]), name="o5")


# components


def test_labels_second_best_and_ignored_components(decoder, emb) -> None:
    found = components(decoder, emb)
    p = decoder.mixture().responsibilities(emb.vectors)
    np.testing.assert_allclose(found.probabilities, p, atol=1e-6)
    np.testing.assert_array_equal(found.labels, p.argmax(axis=1))
    np.testing.assert_array_equal(found.second, np.argsort(-p, axis=1)[:, 1])
    assert (found.labels == emb.table(["drawn"])["drawn"].to_numpy()).mean() > 0.97
    without = found.ignoring([0])
    own = found.labels == 0
    np.testing.assert_array_equal(without.labels[own], found.second[own])  # the second best, even where it rounds to 0
    np.testing.assert_array_equal(without.labels[~own], found.labels[~own])
    np.testing.assert_allclose(without.probabilities.sum(axis=1), 1, rtol=1e-5)
    assert (without.probabilities[:, 0] == 0).all()
    exact = p[:, 1] / (p[:, 1] + p[:, 2])
    np.testing.assert_allclose(without.probabilities[:, 1], exact, atol=1e-5)
    assert (found.ignoring([0]).ignoring([2]).labels == 1).all()
    assert (components(decoder, emb, ignore=[0, 2]).second == -1).all()


def test_ignoring_is_checked(decoder, emb) -> None:
    found = components(decoder, emb)
    with pytest.raises(ConfigError, match="component 5 is not there"):
        found.ignoring([5])
    with pytest.raises(ConfigError, match="all 3 components are ignored"):
        found.ignoring([0, 1, 2])


def test_counts_above_cuts_and_confusion(decoder, emb) -> None:
    found = components(decoder, emb)
    best, labels = found.probabilities.max(axis=1), found.labels
    counts = found.counts([0, 0.9, 1])
    for c in range(3):
        assert counts[c].tolist() == [int(((labels == c) & (best >= cut)).sum()) for cut in (0, 0.9, 1)]
    np.testing.assert_array_equal(counts[:, 0], found.sizes)
    np.testing.assert_allclose(found.confusion()[1], found.probabilities[labels == 1].mean(axis=0), rtol=1e-5)
    with pytest.raises(ConfigError, match=r"a probability from 0 to 1; got 1.5"):
        found.counts([1.5])


def test_silhouettes_are_scikit_learn_s(decoder, emb) -> None:
    found = components(decoder, emb)
    values = silhouette_samples(emb.vectors.astype(np.float64), found.labels)
    np.testing.assert_allclose(found.silhouettes(), [values[found.labels == c].mean() for c in range(3)], rtol=1e-6)
    assert np.isnan(components(decoder, emb, ignore=[0, 1]).silhouettes()).all()


def test_a_row_without_a_vector_belongs_to_none(decoder, emb) -> None:
    vectors = emb.vectors.copy()
    vectors[4] = np.nan
    some = Embeddings.from_arrays(None, emb.ids, vectors)
    for found in (components(decoder, some), components(decoder, some, ignore=[1])):
        assert found.labels[4] == -1
        assert np.isnan(found.probabilities[4]).all()
        assert found.sizes.sum() == 299
        assert found.table()["second"][4].as_py() == -1


def test_the_summary_has_a_line_for_each_component(decoder, emb) -> None:
    found = components(decoder, emb).summary()
    assert found["component"].to_pylist() == [0, 1, 2]
    np.testing.assert_allclose(found["weight"].to_numpy(), [0.5, 0.3, 0.2])
    assert sum(found["n"].to_pylist()) == 300
    overlaps = decoder.mixture().overlaps()
    assert found["overlap"][0].as_py() == pytest.approx(max(overlaps[0, 1], overlaps[0, 2]))
    assert all(name in emb for name in found["typical"].to_pylist())


def test_what_was_read_can_be_kept(decoder, emb, tmp_path) -> None:
    stored_emb = Embeddings.from_arrays(tmp_path / "a.emb", emb.ids, emb.vectors)
    found = components(decoder, stored_emb, ignore=[2])
    found.keep(stored_emb, "vade")
    back = kept(stored_emb, "clusters")["vade"]
    assert back.fresh
    assert back.about["ignored"] == [2]
    np.testing.assert_array_equal(back.table["label"].to_numpy(), found.labels)
    assert back.table.column_names == ["id", "label", "p_0", "p_1", "p_2"]


def test_new_images_are_assigned(tmp_path, decoder, emb) -> None:
    cutouts = stored(tmp_path / "n.cutouts", decoder.images(emb.vectors))
    found = assign(decoder, cutouts)
    np.testing.assert_array_equal(found.labels, components(decoder, emb).labels)
    np.testing.assert_allclose(found.vectors, emb.vectors, atol=1e-4)
    assert (assign(decoder, cutouts, ignore=[0]).labels > 0).all()
    with pytest.raises(DataError, match="no image to assign"):
        assign(decoder, cutouts.keep([]))


def test_without_a_mixture_there_are_no_components(emb, tmp_path) -> None:
    plain = linear(Linear)
    with pytest.raises(ConfigError, match="no density"):
        components(plain, emb)
    with pytest.raises(ConfigError, match=r"no mixture of several components \(Linear\)"):
        components(plain, emb, density=Gaussians.normal(3))
    fitted = components(plain, emb, density=Gaussians.fit(emb.vectors, k=3))
    assert len(set(fitted.labels.tolist())) == 3


# comparisons


def test_agreement_with_classes_counted_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 2, -1])
    found = compare_labels(labels, ["a", "a", "b", "b", "b", None, "a"])
    assert found.classes == ("a", "b")
    np.testing.assert_array_equal(
        found.counts, [[2, 1], [0, 2]] if len(found.counts) == 2 else [[2, 1], [0, 2], [0, 0]]
    )
    assert found.purity == pytest.approx(4 / 5)
    assert found.majority == pytest.approx(3 / 5)
    table = found.table()
    assert table["commonest"].to_pylist()[:2] == ["a", "b"]
    names = ["n", "purity", "component", "commonest"]  # as classes of a user may be called
    table = compare_labels(np.arange(4), names).table()
    assert table.column_names == ["component", "n", *(f"n_{name}" for name in sorted(names)), "commonest", "purity"]
    assert table["n"].to_pylist() == table["purity"].to_pylist() == [1] * 4
    assert compare_labels(np.array([0, 0, 1, 1]), [1, 1, 2, 2]).ami == pytest.approx(1)
    assert compare_labels(np.array([0, 0, 1, 1]), [5.0, 5.0, float("nan"), 2.0]).counts.sum() == 3


def test_comparisons_are_checked() -> None:
    with pytest.raises(ShapeError, match="2 classes for labels of shape"):
        compare_labels(np.zeros(3, int), ["a", "b"])
    with pytest.raises(DataError, match="no object has both"):
        compare_labels(np.array([-1, 0]), ["a", None])
    with pytest.raises(DataError, match="votes must be numbers; column 'v' holds string"):
        compare_votes(np.zeros(2, int), pa.table({"v": ["x", "y"]}))
    with pytest.raises(ConfigError, match="no cut was given"):
        nested_cuts(np.zeros(2, int), pa.table({"v": [1, 2]}), [])


def test_mean_votes_of_components() -> None:
    votes = pa.table({"features": [0.2, 0.4, 0.9, None, 0.7], "n": [1, 2, 3, 4, 5]})
    found = compare_votes(np.array([0, 0, 1, 1, -1]), votes).to_pydict()
    assert found["component"] == [0, 1, -1]
    assert found["n"] == [2, 2, 4]
    np.testing.assert_allclose(found["features_mean"], [0.3, 0.9, 0.5])
    assert found["features_error"][0] == pytest.approx(np.std([0.2, 0.4], ddof=1) / np.sqrt(2))
    assert np.isnan(found["features_error"][1])
    np.testing.assert_allclose(found["n_mean"], [1.5, 3.5, 2.5])


def test_nested_cuts_keep_what_passed_all_before() -> None:
    table = pa.table({"features": [0.5, 0.6, 0.2, 0.9, 0.8], "edge": [0.1, 0.9, 0.1, 0.2, 0.1], "kind": list("abcab")})
    labels = np.array([0, 0, 0, 1, 1])
    found = nested_cuts(labels, table, ["features > 0.43", "edge < 0.3", "kind == 'a'"]).to_pydict()
    assert found["cut_1"] == [2, 2, 4]
    assert found["cut_2"] == [1, 2, 3]
    assert found["cut_3"] == [1, 1, 2]
    np.testing.assert_allclose(found["share"], [1 / 3, 1 / 2, 2 / 5])


def test_as_it_is_scales_nothing(tmp_path, decoder) -> None:
    image = np.random.default_rng(0).normal(size=(1, 1, SIDE, SIDE)).astype(np.float32)
    piece = next(decoder.encode(stored(tmp_path / "a.cutouts", image)))
    np.testing.assert_allclose(piece.x.numpy(), image)
    assert AS_IT_IS.units == "none"
