"""Embedding: the same vector whatever the batch, the order, the symmetry or the interruption."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
import torch

from morphospace.errors import ConfigError, DataError, NotFittedError, ShapeError, StoreError
from morphospace.learn import train as train_module
from morphospace.learn.data import collate_stacks
from morphospace.learn.encoders import encoder
from morphospace.learn.finish import reference_of
from morphospace.learn.health import Health, Verdict
from morphospace.learn.methods import BYOL, JOINT, SimCLR
from morphospace.learn.record import load_method, preparation_of
from morphospace.learn.views import plain_view, views
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.sky.stacks import COLUMNS, stacks
from morphospace.space import going_on
from morphospace.space.embed import Embedder, embed, symmetries
from morphospace.space.embeddings import Embeddings
from small_runs import LOOKS, Own, embed_until, failing, fit, kill_at_mark, process, small, tiny

SIDES = (16, 21, 30, 9)
SYMMETRIES = [(k, flip) for k in range(4) for flip in (False, True)]


def turned(image, k, flip):
    image = np.rot90(image, k, (-2, -1))
    return np.ascontiguousarray(image[..., ::-1] if flip else image)


def written(path, images, *, first=0, resume=False, **columns):
    kinds = {name: pa.array(values).type for name, values in columns.items()}
    with CutoutsWriter(path, columns=kinds, resume=resume) as writer:
        for i, image in enumerate(images):
            known = {"level": (3.0,) * len(image), "sigma": (1.0,) * len(image), "ra": float(i), "dec": -float(i)}
            own = {name: values[i] for name, values in columns.items()}
            mask = np.isfinite(image).all(axis=0) if image.dtype.kind == "f" and np.isnan(image).any() else None
            writer.append(Cutout(id=f"n{first + i}", image=image, mask=mask, object=f"NGC {i}", columns=own, **known))
    return Cutouts.open(path)


def images(n=30, seed=5, bands=1):
    return Own(n, bands=bands, seed=seed, sides=SIDES).images


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "doctor", lambda *_, **__: Health(Verdict.UNKNOWN, (), {}))
        looks = views("radio", size=16)
        return fit(
            tmp_path_factory.mktemp("run") / "light", small(network=encoder("light")), Own(40, sides=SIDES), views=looks
        )


@pytest.fixture(scope="module")
def own_run(tmp_path_factory):
    """A run of an encoder that is not one of morphospace's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train_module, "doctor", lambda *_, **__: Health(Verdict.UNKNOWN, (), {}))
        return fit(tmp_path_factory.mktemp("run") / "own")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return written(tmp_path_factory.mktemp("store") / "a.cutouts", images(), quality=list(range(30)))


@pytest.fixture(scope="module")
def embedded(run, store, tmp_path_factory):
    return embed(run, store, out=tmp_path_factory.mktemp("emb") / "a.emb", batch_size=8)


def vectors_by_hand(run, source, rows=None):
    """Image by image through the trained network."""
    method, preparation = load_method(run), preparation_of(run)
    with torch.no_grad():
        found = [
            method.encoder(plain_view(collate_stacks([stack], preparation), preparation))
            for stack in stacks(source, rows)
        ]
    return torch.cat(found).numpy()


# what a row gets


def test_vectors_are_those_of_the_trained_network_in_row_order(run, store, embedded):
    assert embedded.ids == [f"n{i}" for i in range(30)]
    assert embedded.dim == 128
    np.testing.assert_allclose(embedded.vectors, vectors_by_hand(run, store), atol=1e-5)
    assert np.ptp(embedded.vectors, axis=0).max() > 0.1


def test_columns_of_the_store_come_along_and_pixels_do_not(embedded, store):
    table = embedded.table()
    assert table["quality"].to_pylist() == list(range(30))
    assert table["object"].to_pylist() == [f"NGC {i}" for i in range(30)]
    assert table["ra"].to_pylist() == [float(i) for i in range(30)]
    assert table["sha256"].to_pylist() == store.table(["sha256"])["sha256"].to_pylist()
    assert not {"image", "mask", "variance", "shape", "dtype", "wcs", "level", "sigma"} & set(embedded.columns)


def test_where_the_vectors_came_from_is_written_with_them(run, embedded):
    assert embedded.space_id == run.space_id()
    told = embedded.provenance
    assert told["run"] == str(run.path)
    assert told["average"] is None
    assert told["preparation"] == run.config["preparation"]
    assert told["encoder"]["name"] == "light"


def test_novelty_is_the_mahalanobis_distance_to_the_training_vectors(run, embedded):
    reference = {k: v.double().numpy() for k, v in run.tensors("reference").items()}
    for vector, novelty in zip(embedded.vectors, embedded.table(["novelty"])["novelty"].to_pylist(), strict=True):
        away = vector.astype(np.float64) - reference["mean"]
        assert novelty == pytest.approx(float(np.sqrt(away @ reference["precision"] @ away)), rel=1e-3)


# what must not change a vector


@pytest.mark.parametrize("batch_size", [1, 7, 30, 1000])
def test_the_batch_size_does_not_matter(batch_size, run, store, embedded, tmp_path):
    other = embed(run, store, out=tmp_path / "b.emb", batch_size=batch_size)
    assert other.ids == embedded.ids
    np.testing.assert_allclose(other.vectors, embedded.vectors, atol=1e-5)


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_the_number_of_threads_does_not_matter(run, store, embedded, tmp_path, three_threads):
    assert (Embedder(run).workers, Embedder(run, batch_size=8).rows, Embedder(run, batch_size=256).rows) == (3, 8, 86)
    other = embed(run, store, out=tmp_path / "b.emb", batch_size=4)
    assert other.ids == embedded.ids
    np.testing.assert_allclose(other.vectors, embedded.vectors, atol=1e-5)
    assert torch.get_num_threads() == 3


def test_layers_are_read_in_threads_of_their_own(store, tmp_path, three_threads):
    """The hook that reads a layer sees whatever goes through it."""
    deep = fit(tmp_path / "deep", small(network=encoder("light"), layer="layer1"), Own(9, sides=SIDES))
    found = embed(deep, store, out=tmp_path / "a.emb", batch_size=2)
    np.testing.assert_allclose(found.vectors, vectors_by_hand(deep, store), atol=1e-5)


def test_an_own_encoder_is_used_by_one_thread(own_run, store, tmp_path, three_threads):
    kernel = Embedder(own_run, encoder=tiny(), batch_size=256)
    assert (kernel.workers, kernel.cores, kernel.rows) == (1, 3, 256)
    assert len(embed(own_run, store, out=tmp_path / "a.emb", encoder=tiny(), batch_size=4)) == 30


def test_the_row_order_does_not_matter(run, embedded, tmp_path):
    order = np.random.default_rng(0).permutation(30)
    given = images()
    with CutoutsWriter(tmp_path / "b.cutouts") as writer:
        for i in order.tolist():
            writer.append(Cutout(id=f"n{i}", image=given[i], level=(3.0,), sigma=(1.0,)))
    other = embed(run, Cutouts.open(tmp_path / "b.cutouts"), out=tmp_path / "b.emb", batch_size=8)
    assert other.ids == [f"n{i}" for i in order]
    np.testing.assert_allclose(other.vectors, embedded.vectors[order], atol=1e-5)


def test_samples_and_a_selection_of_a_store_get_the_same_vectors(run, store, embedded, tmp_path):
    samples = embed(run, Own(30, seed=5, sides=SIDES), out=tmp_path / "samples.emb", batch_size=8)
    np.testing.assert_allclose(samples.vectors, embedded.vectors, atol=1e-5)
    assert samples.columns == ["id", "novelty"]
    rows = [3, 4, 17, 29]
    kept = embed(run, store.keep(rows), out=tmp_path / "kept.emb")
    assert kept.ids == [f"n{i}" for i in rows]
    np.testing.assert_allclose(kept.vectors, embedded.vectors[rows], atol=1e-5)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16, np.float16, np.float64])
def test_the_type_of_the_pixels_does_not_matter_where_the_values_are_equal(dtype, run, tmp_path):
    given = [np.round(np.clip(im, 0, 50)) for im in images(6)]
    out = [
        embed(
            run, written(tmp_path / f"{d.__name__}.cutouts", [im.astype(d) for im in given]), out=tmp_path / d.__name__
        )
        for d in (np.float32, dtype)
    ]
    if dtype is np.uint8:  # pictures are divided by 255 in place of their brightest pixel
        assert np.isfinite(out[1].vectors).all()
    else:
        np.testing.assert_allclose(out[0].vectors, out[1].vectors, atol=1e-5)


def test_blank_masked_and_partly_missing_images_get_finite_vectors(run, tmp_path):
    given = images(6)
    given[1][:] = np.nan
    given[2][0, 3:5, 2:9] = np.nan
    given[3][:] = 0.0
    given[4][0, 0, 0] = np.inf
    found = embed(run, written(tmp_path / "a.cutouts", given), out=tmp_path / "a.emb", batch_size=4)
    assert np.isfinite(found.vectors).all()
    alone = embed(run, written(tmp_path / "b.cutouts", given[5:]), out=tmp_path / "b.emb")
    np.testing.assert_allclose(found.vectors[5], alone.vectors[0], atol=1e-5)


# the eight symmetries


@pytest.mark.parametrize("scale, value", [("pixel", None), ("image", None), ("object", 0.3)])
@pytest.mark.parametrize("size", [16, 17])
def test_d4_is_exact(scale, value, size, run, tmp_path):
    """To 1e-5 in float32, for odd, even and mixed sizes in one batch, resampled or not."""
    config = run.config
    config["preparation"] |= {"size": size, "scale": scale, "scale_value": value or 1.0}
    moved = Run(tmp_path / "run")
    moved.path.mkdir()
    moved.write_config(config)
    for name in ("weights", "reference"):
        os.link(run.path / f"{name}.safetensors", moved.path / f"{name}.safetensors")
    rng = np.random.default_rng(1)
    given = [
        rng.normal(3, 1, (1, *shape)).astype(np.float32) for shape in [(16, 16), (21, 21), (20, 33), (50, 41), (9, 10)]
    ]
    for image in given:
        image[0, 3 : image.shape[1] // 2, 3:6] += 30
    plain, averaged = (Embedder(moved, average=a) for a in (None, "d4"))

    def vectors(kernel, symmetry):
        source = Own(0)
        source.images = [turned(im, *symmetry) for im in given]
        return kernel.vectors(stacks(source))

    upright, alone = vectors(averaged, (0, False)), vectors(plain, (0, False))
    for symmetry in SYMMETRIES[1:]:
        np.testing.assert_allclose(vectors(averaged, symmetry), upright, atol=1e-5, rtol=1e-5)
        assert np.abs(vectors(plain, symmetry) - alone).max() > 1e-3  # the control


def test_d4_is_the_mean_over_the_eight_and_novelty_stays_that_of_the_upright_image(run, store, embedded, tmp_path):
    averaged = embed(run, store, out=tmp_path / "d4.emb", average="d4")
    method, preparation = load_method(run), preparation_of(run)
    block = collate_stacks(stacks(store, [4, 5]), preparation)
    x = plain_view(block, preparation)
    with torch.no_grad():
        eight = [method.encoder(torch.rot90(y, k, (-2, -1))) for y in (x, x.flip(-1)) for k in range(4)]
    np.testing.assert_allclose(averaged.vectors[4:6], torch.stack(eight).mean(dim=0), atol=1e-5)
    novelty = [e.table(["novelty"])["novelty"].to_numpy() for e in (averaged, embedded)]
    np.testing.assert_allclose(novelty[0], novelty[1], rtol=1e-4)
    assert averaged.space_id != embedded.space_id
    assert averaged.provenance["average"] == "d4"


def test_the_symmetries_are_seven_and_differ():
    x = torch.arange(12.0).reshape(3, 4)
    found = [x, *symmetries(x)]
    assert len(found) == 8
    assert len({(tuple(t.shape), tuple(t.flatten().tolist())) for t in found}) == 8


@pytest.mark.parametrize("changed", [{"rotate": False}, {"flip": False}, {"rotate": False, "flip": False}])
def test_oriented_runs_refuse_d4(changed, run, tmp_path):
    config = run.config
    config["views"] |= changed
    oriented = Run(tmp_path / "run")
    oriented.path.mkdir()
    oriented.write_config(config)
    with pytest.raises(ConfigError, match="trained with views that keep the orientation, so average='d4' would mix"):
        Embedder(oriented, average="d4")
    with pytest.raises(ConfigError, match="average must be 'd4' or nothing; got 'c4'"):
        Embedder(run, average="c4")


# going on


def test_interrupted_and_resumed_equals_uninterrupted(own_run, store, tmp_path, monkeypatch):
    monkeypatch.setattr(going_on, "SAVE_SECONDS", 0.0)
    whole = embed(own_run, store, out=tmp_path / "whole.emb", encoder=tiny(), batch_size=7)
    for at, error in ((1, KeyboardInterrupt()), (3, RuntimeError("gone"))):
        out = tmp_path / f"{at}.emb"
        with pytest.raises(type(error)):
            embed(own_run, store, out=out, encoder=failing(tiny(), error, at=at + 2), batch_size=7)
        done = len(Embeddings.open(out))
        assert done == 7 * at
        again = embed(own_run, store, out=out, encoder=tiny(), batch_size=7, resume=True)
        assert again.ids == whole.ids
        np.testing.assert_array_equal(again.vectors, whole.vectors)
        assert again.table().equals(whole.table())


def test_rows_by_which_a_store_has_grown_are_added(own_run, tmp_path):
    given = images(20)
    cutouts = written(tmp_path / "a.cutouts", given[:10])
    out = tmp_path / "a.emb"
    first = embed(own_run, cutouts, out=out, encoder=tiny(), batch_size=8)
    kept = first.vectors.copy()
    grown = written(tmp_path / "a.cutouts", given[10:], first=10, resume=True)
    more = embed(own_run, grown, out=out, encoder=tiny(), batch_size=8, resume=True)
    assert more.ids == [f"n{i}" for i in range(20)]
    np.testing.assert_array_equal(more.vectors[:10], kept)
    whole = embed(own_run, grown, out=tmp_path / "b.emb", encoder=tiny(), batch_size=8)
    np.testing.assert_allclose(more.vectors, whole.vectors, atol=1e-6)


@pytest.mark.parametrize("place", ["store", "samples"])
def test_images_go_again_with_those_they_went_with(place, run, store):
    """The last digits of a vector depend on its batch: resuming within one must not make another."""
    source = store if place == "store" else Own(30, seed=5, sides=SIDES)
    kernel, seen = Embedder(run, batch_size=8), []
    kernel.method.encoder.register_forward_hook(lambda _m, x, _z: seen.append(len(x[0])))
    found = [batch["id"].to_pylist() for batch in kernel.run_through(source, 10)]
    assert [name for ids in found for name in ids] == [
        f"{'n' if place == 'store' else 'own '}{i}" for i in range(10, 30)
    ]
    assert [len(ids) for ids in found] == [6, 8, 6]
    assert seen == [8, 8, 6]
    assert [b["id"].to_pylist() for b in kernel.run_through(source, 30)] == []


def test_resuming_what_is_complete_changes_nothing(own_run, store, tmp_path):
    out = tmp_path / "a.emb"
    whole = embed(own_run, store, out=out, encoder=tiny())
    again = embed(own_run, store, out=out, encoder=tiny(), resume=True)
    assert again.ids == whole.ids
    np.testing.assert_array_equal(again.vectors, whole.vectors)


def test_resuming_on_other_rows_is_refused(own_run, store, tmp_path):
    out = tmp_path / "a.emb"
    embed(own_run, store, out=out, encoder=tiny())
    with pytest.raises(StoreError, match="holds other rows than the beginning of these cutouts"):
        embed(own_run, store.keep(range(1, 30)), out=out, encoder=tiny(), resume=True)
    changed = written(tmp_path / "b.cutouts", images(30, seed=6), quality=list(range(30)))
    with pytest.raises(StoreError, match="holds other rows"):
        embed(own_run, changed, out=out, encoder=tiny(), resume=True)
    assert len(Embeddings.open(out)) == 30


def test_resuming_in_another_space_is_refused(run, own_run, store, tmp_path):
    out = tmp_path / "a.emb"
    embed(own_run, store, out=out, encoder=tiny())
    with pytest.raises(StoreError, match="distances between the two mean nothing"):
        embed(run, store, out=out, resume=True)
    with pytest.raises(StoreError, match="is there already"):
        embed(own_run, store, out=out, encoder=tiny())
    assert embed(run, store, out=out, overwrite=True).dim == 128


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is of posix")
def test_killed_and_resumed_equals_uninterrupted(own_run, store, tmp_path):
    whole = embed(own_run, store, out=tmp_path / "whole.emb", encoder=tiny(), batch_size=3)
    out = tmp_path / "killed.emb"

    kill_at_mark(process(embed_until, own_run.path, store.path, out, 6, tmp_path / "mark"), tmp_path / "mark")
    # two calls ask for the length of the vectors, four batches went before; the last of them may not be on disk yet
    assert len(Embeddings.open(out)) in (9, 12)
    again = embed(own_run, store, out=out, encoder=tiny(), batch_size=3, resume=True)
    assert again.ids == whole.ids
    np.testing.assert_array_equal(again.vectors, whole.vectors)
    assert again.table().equals(whole.table())


# the kernel


@pytest.mark.parametrize("batch_size", [4, 256])
def test_a_batch_of_any_length_gives_as_many_vectors(batch_size, run, store, embedded):
    kernel = Embedder(run, batch_size=batch_size)
    batch = next(iter(store.chunks()))
    found = kernel.embed_batch(batch)
    assert isinstance(found, pa.RecordBatch)
    assert found["id"].to_pylist() == batch["id"].to_pylist() == embedded.ids
    assert found["quality"].to_pylist() == batch["quality"].to_pylist()
    np.testing.assert_allclose(np.stack(found["vector"].to_numpy(zero_copy_only=False)), embedded.vectors, atol=1e-5)
    part = kernel.embed_batch(batch.slice(5, 3))
    assert part["id"].to_pylist() == ["n5", "n6", "n7"]
    np.testing.assert_allclose(
        np.stack(part["vector"].to_numpy(zero_copy_only=False)), embedded.vectors[5:8], atol=1e-5
    )


def test_a_batch_of_nothing_gives_nothing_of_the_same_columns(run, store):
    kernel = Embedder(run)
    batch = next(iter(store.chunks()))
    nothing, some = kernel.embed_batch(batch.slice(0, 0)), kernel.embed_batch(batch)
    assert len(nothing) == 0
    assert nothing.schema.equals(some.schema)


def test_embedding_nothing_gives_an_empty_store(run, tmp_path):
    for name, source in (("store", written(tmp_path / "a.cutouts", [])), ("samples", Own(0))):
        found = embed(run, source, out=tmp_path / name)
        assert len(found) == 0
        assert found.dim == 128


def test_columns_of_a_method_are_stored(run, store, tmp_path, monkeypatch):
    def outputs(self, x):
        z = self.encoder(x)
        return {"vector": z, "brightness": x.amax(dim=(1, 2, 3)), "row_of_batch": torch.arange(len(x))}

    monkeypatch.setattr(BYOL, "outputs", outputs)
    found = embed(run, store, out=tmp_path / "a.emb", batch_size=8)
    table = found.table(["brightness", "row_of_batch"])
    assert table["row_of_batch"].to_pylist() == [i % 8 for i in range(30)]
    block = collate_stacks(stacks(store), preparation_of(run))
    expected = plain_view(block, preparation_of(run)).amax(dim=(1, 2, 3))
    np.testing.assert_allclose(table["brightness"].to_numpy(), expected, rtol=1e-5)


# what is refused


def test_other_bands_are_refused_with_both_numbers(run, tmp_path):
    source = written(tmp_path / "a.cutouts", images(3, bands=2))
    with pytest.raises(
        ShapeError, match=r"cutout 'n0' has 2 bands and run '.*' was trained on 1; embed cutouts with the same"
    ):
        embed(run, source, out=tmp_path / "a.emb")
    late = written(tmp_path / "b.cutouts", [*images(9), *images(1, bands=3)])
    with pytest.raises(ShapeError, match="has 3 bands"):
        embed(run, late, out=tmp_path / "b.emb", batch_size=4)
    assert len(Embeddings.open(tmp_path / "b.emb")) == 8  # what came before is kept


def test_noise_units_are_refused_where_there_is_no_noise(tmp_path):
    looks = replace(LOOKS, prepare=replace(LOOKS.prepare, units="noise"))
    trained = fit(tmp_path / "run", views=looks)
    with CutoutsWriter(tmp_path / "a.cutouts") as writer:
        for i, sigma in enumerate((1.0, 0.0)):
            writer.append(Cutout(id=str(i), image=images(1)[0], level=(0.0,), sigma=(sigma,)))
    with pytest.raises(DataError, match=r"units='noise' needs a noise level.*the first is '1'"):
        embed(trained, Cutouts.open(tmp_path / "a.cutouts"), out=tmp_path / "a.emb", encoder=tiny())


def test_an_own_encoder_must_be_given_and_fit(own_run, store, tmp_path):
    with pytest.raises(ConfigError, match=r"has an encoder of your own \(Sequential\); pass it as encoder="):
        embed(own_run, store, out=tmp_path / "a.emb")
    with pytest.raises(
        ConfigError, match=r"weights of run '.*' do not fit this encoder .*pass the one it was trained with"
    ):
        embed(own_run, store, out=tmp_path / "a.emb", encoder=encoder("light"))


def test_a_run_that_is_none_or_not_finished_is_told(store, tmp_path):
    with pytest.raises(StoreError, match=r"is no run: it has no run\.toml"):
        embed(tmp_path, store, out=tmp_path / "a.emb")
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path / "run", failing(small(network=encoder("light")), KeyboardInterrupt(), at=2), views=LOOKS)
    with pytest.raises(NotFittedError, match=r"has no weights yet; finish it with: morphospace train --resume"):
        embed(tmp_path / "run", store, out=tmp_path / "a.emb")


# novelty


def test_images_unlike_the_training_set_give_one_warning(run, tmp_path, caplog):
    with caplog.at_level(logging.WARNING, logger="morphospace"):
        embed(run, Own(40, sides=SIDES), out=tmp_path / "same.emb")
        assert caplog.messages == []
        other = Own(40, sides=SIDES)
        rng = np.random.default_rng(0)
        other.images = [3 + 40 * (rng.random(im.shape) > 0.5).astype(np.float32) for im in other.images]
        embed(run, other, out=tmp_path / "other.emb")
    (message,) = caplog.messages
    assert message.endswith("their neighbours may mean little. Train on them, or see column novelty.")
    assert "% of these images are unlike any that run" in message


def test_the_reference_is_an_inverse_covariance_shrunk_as_in_chen_2010():
    rng = np.random.default_rng(0)
    for n, d in ((40, 6), (5, 9), (500, 3)):
        x = rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + 3
        found = reference_of(torch.from_numpy(x))
        s = sum(np.outer(row, row) for row in x - x.mean(axis=0)) / n
        t, t2 = np.trace(s), np.trace(s @ s)
        rho = min(1.0, ((1 - 2 / d) * t2 + t**2) / ((n + 1 - 2 / d) * (t2 - t**2 / d)))
        shrunk = (1 - rho) * s + rho * t / d * np.eye(d)
        np.testing.assert_allclose(np.linalg.inv(found["precision"].double().numpy()), shrunk, rtol=1e-3, atol=1e-4 * t)
        np.testing.assert_allclose(found["mean"], x.mean(axis=0), rtol=1e-5)
        away = x - x.mean(axis=0)
        distance = np.sqrt(np.einsum("nd,de,ne->n", away, np.linalg.inv(shrunk), away))
        assert float(found["quantiles"][0]) == pytest.approx(distance.min(), rel=1e-3)
        assert float(found["quantiles"][500]) == pytest.approx(np.median(distance), rel=1e-3)
        assert float(found["quantiles"][-1]) == pytest.approx(distance.max(), rel=1e-3)


@pytest.mark.parametrize("x", [torch.zeros(5, 3), torch.ones(2, 4), torch.eye(3)[:, :1]])
def test_the_reference_of_collapsed_vectors_is_finite(x):
    assert all(bool(torch.isfinite(t).all()) for t in reference_of(x).values())


def test_gaussian_vectors_are_half_a_percent_novel():
    """Distances of new vectors of the same distribution exceed the limit as rarely as they should."""
    rng = np.random.default_rng(0)
    found = reference_of(torch.from_numpy(rng.normal(size=(20000, 8))))
    new = torch.from_numpy(rng.normal(size=(20000, 8))) - found["mean"].double()
    distance = ((new @ found["precision"].double()) * new).sum(dim=1).sqrt()
    limit = np.quantile(found["quantiles"].numpy(), 0.995)
    assert float((distance > limit).double().mean()) == pytest.approx(0.005, abs=0.002)


@pytest.mark.parametrize("name", JOINT)
def test_runs_of_every_method_embed(name, store, tmp_path):
    kind = JOINT[name]
    trained = fit(tmp_path / "run", small(kind, encoder("resnet18", last_layer=1), layer="layer1"), epochs=1)
    found = embed(str(trained.path), store, out=tmp_path / "a.emb", device="cpu")
    assert found.dim == 64
    np.testing.assert_allclose(found.vectors, vectors_by_hand(trained, store), atol=1e-4)


def test_columns_needed_of_a_store_are_few(store):
    assert set(COLUMNS) <= set(store.columns)
    assert SimCLR.paper
