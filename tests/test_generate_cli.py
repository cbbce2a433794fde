"""The verb generate on a run of the real thing, and the pictures that it draws."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from linear_space import embeddings, linear, stored
from morphospace.cli import main
from morphospace.errors import ConfigError, DataError
from morphospace.learn.data import open_data
from morphospace.learn.encoders import encoder
from morphospace.learn.finish import finish_run
from morphospace.learn.methods import AE, VAE, SimCLR, VaDE
from morphospace.learn.record import describe_run
from morphospace.learn.settings import Loop, Settings
from morphospace.learn.views import views
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutouts
from morphospace.space.embed import embed
from morphospace.space.embeddings import Embeddings
from morphospace.space.generate import (
    Decoder,
    Look,
    assign,
    compare_labels,
    components,
    grid,
    look_of,
    plot_agreement,
    plot_components,
    plot_deblended,
    plot_grid,
    plot_path,
    plot_reconstructions,
    plot_samples,
    plot_traversals,
    reconstruct,
    sample,
    tour,
    traverse,
)
from morphospace.space.generating.paint import painted, painted_residuals, short
from small_runs import tiny

SIZE = 16
LOOKS = views(size=SIZE, scale="pixel")


def untrained(path, method, cutouts) -> Run:
    """A finished run of a method without a step of training."""
    path.mkdir()
    run = Run(path)
    settings = Settings(epochs=1, batch_size=8, lr=1e-3, seed=0)
    run.write_config(describe_run(method, cutouts, LOOKS, settings, Loop()))
    finish_run(run, method, open_data(cutouts, LOOKS.prepare), seed=0)
    return run


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A store, runs of four methods on it, and embeddings of two."""
    folder = tmp_path_factory.mktemp("home")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, :SIZE]
    images = []
    for i in range(60):
        flux = 50 * np.exp(-0.5 * ((x - 8) ** 2 + (y - 8) ** 2) / (1 + 0.2 * (i % 3)))
        flux += (i % 4 == 0) * 30 * np.exp(-0.5 * ((x - 13) ** 2 + (y - 13) ** 2))
        images.append((flux + rng.normal(0, 1, flux.shape))[None])
    cutouts = stored(folder / "a.cutouts", images, unit="Jy", wavelength_nm=(600.0,))
    torch.manual_seed(0)
    options = {"latents": 4, "decoder": "light", "size": SIZE}
    vade = VaDE(encoder("light"), k=3, **options)
    with torch.no_grad():
        vade.alive.fill_(True)
        vade.component_means.normal_(0, 0.3)
    untrained(folder / "vade", vade, cutouts)
    untrained(folder / "vae2", VAE(encoder("light"), **{**options, "latents": 2}), cutouts)
    untrained(folder / "ae", AE(encoder("light"), **options), cutouts)
    untrained(folder / "simclr", SimCLR(encoder("light")), cutouts)
    embed(folder / "vade", cutouts, out=folder / "vade.emb")
    embed(folder / "ae", cutouts, out=folder / "ae.emb")
    return folder


@pytest.fixture
def said(capsys):
    def run(*words: object) -> tuple[int, str, str]:
        status = main([str(w) for w in words])
        told = capsys.readouterr()
        return status, told.out, told.err

    return run


@pytest.fixture
def answer(said):
    def run(*words: object):
        status, out, err = said("generate", *words, "--json")
        assert status == 0, err
        return json.loads(out)

    return run


def test_a_run_of_the_real_thing_opens(home) -> None:
    decoder = Decoder.open(home / "vade", device="cpu")
    assert (decoder.dim, decoder.bands, decoder.size) == (4, 1, SIZE)
    assert decoder.mixture().k == 3
    z = torch.randn(5, 4)
    torch.testing.assert_close(decoder.decode(z), decoder.method.decode(z))
    emb = Embeddings.open(home / "vade.emb")
    decoder.check_space(emb)
    mean, sigma = decoder.spread()
    np.testing.assert_allclose(mean, emb.vectors.mean(axis=0), atol=1e-4)
    assert (sigma > 0).all()
    assert Decoder.open(home / "vae2", device="cpu").mixture().weights.tolist() == [1.0]


def test_components_are_those_of_the_embeddings(home) -> None:
    emb = Embeddings.open(home / "vade.emb")
    theirs = emb.table(["component"])["component"].to_numpy()
    found = components(home / "vade", emb)
    np.testing.assert_array_equal(found.labels, theirs)
    fresh = assign(home / "vade", Cutouts.open(home / "a.cutouts"))
    np.testing.assert_allclose(found.probabilities, fresh.probabilities, atol=1e-3)
    # with a mixture of one's own they are those at the means
    mixture = Decoder.open(home / "vade", device="cpu").mixture()
    at_means = components(home / "vade", emb, density=mixture).probabilities
    np.testing.assert_allclose(at_means, mixture.responsibilities(emb.vectors), atol=1e-6)


def test_a_picture_that_cannot_be_drawn_is_no_folder_of_cutouts(home, tmp_path, said) -> None:
    status, _, err = said("generate", "sample", "--run", home / "vade", "--out", tmp_path / "a.jpg", "-n", "2")
    assert status == 2
    assert "a.jpg' is no folder, and pictures are .png, .pdf, .svg" in err
    assert not (tmp_path / "a.jpg").exists()


def test_bfloat16_runs_through_the_real_thing(home) -> None:
    rough = Decoder.open(home / "vade", device="cpu", numbers="bfloat16")
    exact = Decoder.open(home / "vade", device="cpu")
    z = exact.mixture().draw(4)[0]
    np.testing.assert_array_equal(rough.mixture().means, exact.mixture().means)
    np.testing.assert_allclose(rough.images(z), exact.images(z), atol=0.1)
    cutouts = Cutouts.open(home / "a.cutouts").keep([0, 1])
    one, other = (next(d.encode(cutouts)) for d in (rough, exact))
    assert one.mean.dtype == torch.float32
    torch.testing.assert_close(one.mean, other.mean, atol=0.1, rtol=0.1)


def test_embeddings_of_another_run_are_refused_with_what_differs(home) -> None:
    with pytest.raises(DataError, match=r"'ae.emb' are not latents of run '.*vade': their space is"):
        components(home / "vade", Embeddings.open(home / "ae.emb"))
    told = dict(Embeddings.open(home / "vade.emb").provenance)
    told["preparation"] = {**told["preparation"], "stretch": {**told["preparation"]["stretch"], "a": 0.5}}
    other = Embeddings.from_arrays(None, ["a"], np.ones((1, 4)), provenance={**told, "space_id": "0" * 16})
    with pytest.raises(DataError, match=r"their stretch.a is 0.5, that of the run 0.1"):
        components(home / "vade", other)


def test_the_command_draws_and_writes(home, tmp_path, answer) -> None:
    run, cutouts, emb = home / "vade", home / "a.cutouts", home / "vade.emb"
    assert answer("sample", "--run", run, "--out", tmp_path / "s.png", "-n", 9)["n"] == 9
    made = answer(
        "sample",
        "--run",
        run,
        "--out",
        tmp_path / "s.cutouts",
        "-n",
        20,
        "--component",
        1,
        "--survey",
        cutouts,
        "--noise",
    )
    store = Cutouts.open(made["cutouts"])
    assert set(store.table(["component"])["component"].to_pylist()) == {1}
    assert store.read([0])[0].unit == "Jy"
    found = answer(
        "reconstruct", "--run", run, "--cutouts", cutouts, "--out", tmp_path / "r.png", "--table", tmp_path / "e.csv"
    )
    assert found["n"] == 60
    assert len((tmp_path / "e.csv").read_text().splitlines()) == 61
    answer("traverse", "--run", run, "--run", home / "vae2", "--out", tmp_path / "t.png", "--steps", 3)
    answer("grid", "--run", home / "vae2", "--out", tmp_path / "g.png", "--steps", 3)
    answer("map", "--run", run, "--embeddings", emb, "--method", "pca", "--out", tmp_path / "m.png", "--steps", 4)
    for name in ("s", "r", "t", "g", "m"):
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


def test_the_command_reads_components(home, tmp_path, answer) -> None:
    run, cutouts, emb = home / "vade", home / "a.cutouts", home / "vade.emb"
    words = (
        "components",
        "--run",
        run,
        "--embeddings",
        emb,
        "--labels",
        "flags",
        "--vote",
        "error",
        "--cut",
        "error > 0",
    )
    found = answer(
        *words, "--keep", "vade", "--table", tmp_path / "c.csv", "--cutouts", cutouts, "--out", tmp_path / "c.png"
    )
    assert [row["component"] for row in found["components"]] == [0, 1, 2]
    assert sum(row["n"] for row in found["components"]) == 60
    assert found["cuts"][-1]["cut_1"] == 60
    assert (home / "vade.emb" / "_clusters" / "vade.parquet").is_file()
    big = max(found["components"], key=lambda row: row["n"])["component"]
    without = answer("components", "--run", run, "--cutouts", cutouts, "--ignore", big)
    assert without["components"][big]["n"] == 0
    assert without["components"][big]["ignored"]


def test_the_command_fits_a_mixture_for_an_autoencoder(home, tmp_path, answer, said) -> None:
    words = ("--run", home / "ae", "--embeddings", home / "ae.emb", "-k", 3)
    path = answer("path", *words, "--out", tmp_path / "p.png")
    assert len(path["ids"]) >= 2
    assert answer("sample", *words, "--out", tmp_path / "s.png", "-n", 4)["n"] == 4
    status, _, err = said("generate", "sample", "--run", home / "ae", "--out", tmp_path / "no.png")
    assert status == 1
    assert "no density to draw from" in err
    assert "train a VAE or VaDE" in err


def test_the_command_deblends(home, tmp_path, answer) -> None:
    words = ("--run", home / "vade", "--embeddings", home / "vade.emb", "--cutouts", home / "a.cutouts")
    found = answer("deblend", *words, "--name", "o4", "--name", "o12", "--out", tmp_path / "d.png")["found"]
    assert [f["id"] for f in found] == ["o4", "o12"]
    assert all(int(f["neighbour"][1:]) % 4 for f in found)


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (("sample", "--run", "simclr", "--out", "x.png"), 1, "SimCLR, which has no decoder"),
        (("sample", "--run", "vade", "--out", "x.png", "--component", "9"), 1, "component 9 is not there"),
        (("sample", "--run", "vade", "--out", "x.png", "--steps", "3"), 2, "--steps is not for sample"),
        (("sample", "--run", "vade", "--out", "x.png", "--noise"), 2, "--noise is for a catalogue on disk"),
        (("sample", "--run", "vade", "--out", "x.png", "--embeddings", "ae.emb"), 2, "--embeddings with -k"),
        (("sample", "--run", "vade", "--out", "x.png", "-n", "0"), 2, "0 is not in the range"),
        (("sample", "--run", "ae", "--out", "x.png", "-k", "3", "--embeddings", "vade.emb"), 1, "not latents of"),
        (("components", "--run", "vade", "--cutouts", "a.cutouts", "-k", "3"), 2, "components needs --embeddings"),
        (("reconstruct", "--run", "ae", "--cutouts", "a.cutouts", "--table", "there.png"), 1, "must end in .csv"),
        (("reconstruct", "--run", "ae", "--cutouts", "a.cutouts", "--table", "there.csv"), 1, "there already"),
        (("sample", "--run", "vade"), 2, "sample needs --out"),
        (("sample", "--run", "vade", "--run", "ae", "--out", "x.png"), 2, "several are for traverse"),
        (("deblend", "--run", "vade", "--out", "x.png"), 2, "deblend needs --name"),
        (("grid", "--run", "vade", "--out", "x.png"), 1, "needs a run with 2 latents"),
        (("path", "--run", "vade", "--out", "x.png"), 2, "path needs --embeddings"),
        (("grid", "--run", "vae2", "--out", "there.png"), 1, "there already"),
        (("grid", "--run", "vae2", "--out", "x.gif"), 1, "must end in .png"),
    ],
)
def test_what_the_command_cannot_do_is_one_sentence(home, tmp_path, monkeypatch, said, words, status, message) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.png").write_bytes(b"")
    (tmp_path / "there.csv").write_bytes(b"")
    known = {name: str(home / name) for name in ("simclr", "vade", "ae", "vae2", "ae.emb", "vade.emb", "a.cutouts")}
    found, _, err = said("generate", *(known.get(w, w) for w in words))
    assert found == status
    assert message in " ".join(err.split())
    assert "Traceback" not in err


# pictures


def test_pictures_have_one_scale_and_the_order_of_the_bands() -> None:
    images = np.zeros((2, 3, 4, 4), np.float32)
    images[0, 0], images[1, 2] = 1.0, 1.0
    assert painted(images)[0, 0, 0].tolist() == [255, 0, 0]
    assert painted(images, Look((2, 1, 0)))[0, 0, 0].tolist() == [0, 0, 255]
    images[0, :, 0] = np.nan
    assert painted(images)[0, 0].min() == 255
    assert painted(images, Look(bottom_up=True))[0, -1].min() == 255
    grey = painted(np.linspace(0, 1, 16, dtype=np.float32).reshape(1, 1, 4, 4))
    assert (grey[..., 0] == grey[..., 1]).all()
    assert (np.diff(grey[0, ..., 0].ravel().astype(int)) >= 0).all()
    assert painted(np.ones((1, 1, 2, 2), np.float32)).max() == 0  # nothing stands out


def test_residuals_are_grey_where_nothing_is_left() -> None:
    residuals = np.zeros((1, 1, 4, 4), np.float32)
    residuals[0, 0, 0, :2] = (2.0, -2.0)
    found, most = painted_residuals(residuals)
    assert most == pytest.approx(2, rel=0.05)
    assert found[0, 1, 1, 0] == 128
    assert found[0, 0, :2, 0].tolist() == [255, 0]


def test_long_ids_keep_their_end() -> None:
    assert short("587735696977690001") == "…96977690001"
    assert short("a12") == "a12"


def test_look_comes_from_the_store(home, tmp_path) -> None:
    images = np.ones((1, 3, 4, 4))
    fits = stored(tmp_path / "f.cutouts", images, wavelength_nm=(480.0, 620.0, 760.0), hdu="0")
    assert look_of(fits) == Look((2, 1, 0), True)
    assert look_of(stored(tmp_path / "p.cutouts", images)) == Look()
    assert look_of(Decoder.open(home / "vade", device="cpu")) == Look()
    assert look_of(linear()) == Look()


def test_every_picture_is_drawn(tmp_path) -> None:
    decoder = linear()
    emb = embeddings(decoder, 60)
    cutouts = stored(tmp_path / "a.cutouts", decoder.images(emb.vectors))
    found = reconstruct(decoder, cutouts)
    classes = np.where(emb.vectors[:, 0] > 1, "late", "early")
    flat = traverse(decoder, steps=3)
    read = components(decoder, emb)
    figures = [
        plot_reconstructions(found.best(4), found.worst(4), title="a_b $x$"),
        plot_samples(sample(decoder, 30)),
        plot_samples(sample(decoder, 7, components=[1])),
        plot_traversals(flat, flat, most=2),
        plot_path(tour(decoder, emb, steps=9)),
        plot_components(decoder, read, cutouts, n=3),
        plot_agreement(compare_labels(read.labels, classes.tolist()), title="class"),
    ]
    for number, figure in enumerate(figures):
        figure.savefig(tmp_path / f"{number}.png", dpi=40)


def test_nothing_to_draw_is_told(tmp_path) -> None:
    decoder = linear()
    emb = embeddings(decoder, 30)
    cutouts = stored(tmp_path / "a.cutouts", decoder.images(emb.vectors))
    found = reconstruct(decoder, cutouts)
    with pytest.raises(DataError, match="no reconstruction to draw"):
        plot_reconstructions(found.pictures([0])._replace(ids=()))
    with pytest.raises(DataError, match="no traversal to draw"):
        plot_traversals()
    with pytest.raises(DataError, match="no object with a companion to draw"):
        plot_deblended()
    read = components(decoder, emb)
    with pytest.raises(DataError, match=r"is not in cutouts 'a.cutouts'"):
        plot_components(decoder, read, cutouts.keep([0]))


def test_an_own_encoder_is_given(home, tmp_path) -> None:
    cutouts = Cutouts.open(home / "a.cutouts")
    run = untrained(tmp_path / "own", VAE(tiny(), latents=2, decoder="light", size=SIZE), cutouts)
    with pytest.raises(ConfigError, match="encoder of your own"):
        Decoder.open(run)
    assert grid(Decoder.open(run, encoder=tiny(), device="cpu"), steps=2).images.shape == (2, 2, 1, SIZE, SIZE)
    assert plot_grid(grid(Decoder.open(run, encoder=tiny(), device="cpu"), steps=2)).axes
