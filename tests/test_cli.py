"""The command line from end to end: each verb does its work, says it in one place, and fails in one line."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from astropy.io import fits

import morphospace
from morphospace.cli import VERBS, main
from morphospace.cli.pipeline import Pipeline, check, config_of_run, merged
from morphospace.config import dump_toml
from morphospace.errors import MorphospaceError
from morphospace.learn.methods import SimCLR
from morphospace.learn.record import preparation_of
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.simulate import simulate, write_fits
from morphospace.space.embeddings import Embeddings

N_IMAGES = 24
SMALL = ["--size", "16", "--epochs", "1", "--batch-size", "8", "--seed", "3", "--precision", "32-true"]
SMALL += ["--set", "method.hidden_size=32"]


class Said(NamedTuple):
    """What a call of the program said and returned."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.out)


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Any:
    """Call the program in this process."""

    def call(*words: object) -> Said:
        capsys.readouterr()
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return call


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with images, and a store, a run and embeddings made of them on the command line."""
    folder = tmp_path_factory.mktemp("whole")
    write_fits(simulate("mixed", N_IMAGES, size=20, seed=5), folder / "fits")
    (folder / "fits/zz_empty.fits").touch()
    calls = [
        [
            "curate",
            folder / "fits",
            "--out",
            folder / "a.cutouts",
            "--size",
            "16",
            "--columns",
            "KIND",
            "--keep",
            "all",
        ],
        ["train", folder / "a.cutouts", "--out", folder / "runs/a", *SMALL],
        ["embed", folder / "a.cutouts", "--run", folder / "runs/a", "--out", folder / "a.emb"],
    ]
    for words in calls:
        assert main([str(word) for word in words]) == 0
    return folder


@pytest.fixture
def config(folder: Path, tmp_path: Path) -> Path:
    """A config file that goes the whole way."""
    tables = {
        "curate": {"source": str(folder / "fits"), "out": str(tmp_path / "b.cutouts"), "size": 16, "columns": ["KIND"]},
        "views": {"size": 16, "rotate": True, "zoom": [0.9, 1.1]},
        "method": {"name": "VICReg", "projection_size": 32, "hidden_size": 32},
        "train": {"out": str(tmp_path / "runs/b"), "epochs": 1, "batch_size": 8, "loop": {"precision": "32-true"}},
        "embed": {"out": str(tmp_path / "b.emb"), "average": "d4"},
        "export": {"out": str(tmp_path / "b.csv")},
    }
    path = tmp_path / "run.toml"
    path.write_text(dump_toml(tables), encoding="utf-8")
    return path


# the way of an observer


def test_curate_says_what_was_kept_and_where_the_report_is(folder: Path, tmp_path: Path, say: Any) -> None:
    out = tmp_path / "x.cutouts"
    said = say("curate", folder / "fits", "--out", out, "--size", 16, "--json")
    assert said.status == 0
    assert said.json["n"] == len(Cutouts.open(out)) == N_IMAGES
    assert said.json["left_out"] == 1  # the empty file
    assert Path(said.json["report"]).is_file()
    again = say("curate", folder / "fits", "--out", out, "--size", 16, "--resume")
    assert again.status == 0
    assert f"{N_IMAGES} cutouts in '{out}', 1 left out" in again.out


def test_curate_takes_several_files_and_detects(folder: Path, tmp_path: Path, say: Any) -> None:
    files = sorted((folder / "fits").glob("sim*.fits"))[:3]
    said = say("curate", *files, "--out", tmp_path / "x.cutouts", "--detect", "--detect-min-pixels", 5, "--json")
    assert said.status == 0, said.err
    assert all("#" in name for name in Cutouts.open(tmp_path / "x.cutouts").ids)


def test_store_columns_and_run_are_those_asked_for(folder: Path) -> None:
    assert "KIND" in Cutouts.open(folder / "a.cutouts").columns
    recorded = Run.open(folder / "runs/a").config
    assert recorded["train"] | {"epochs": 1, "batch_size": 8, "seed": 3} == recorded["train"]
    assert recorded["preparation"]["size"] == 16
    assert recorded["method"]["name"] == "SimCLR"


def test_embeddings_have_a_row_for_each_cutout(folder: Path) -> None:
    assert Embeddings.open(folder / "a.emb").ids == Cutouts.open(folder / "a.cutouts").ids


def test_search_prints_a_table_or_json(folder: Path, say: Any) -> None:
    name = Embeddings.open(folder / "a.emb").ids[0]
    text = say("search", folder / "a.emb", name, "-k", 5)
    assert text.status == 0
    lines = [line for line in text.out.splitlines() if line.startswith(("   1  ", "   5  "))]
    assert len(lines) == 2
    machine = say("search", folder / "a.emb", name, "-k", 5, "--json").json
    assert machine["query"] == name
    assert [hit["rank"] for hit in machine["hits"]] == [1, 2, 3, 4, 5]
    assert all(hit["id"] in text.out for hit in machine["hits"])
    assert name not in [hit["id"] for hit in machine["hits"]]


def test_search_takes_several_examples_and_conditions(folder: Path, say: Any) -> None:
    first, second, third = Embeddings.open(folder / "a.emb").ids[:3]
    said = say("search", folder / "a.emb", first, second, "--not-like", third, "--where", "KIND != 'disc'", "--json")
    expected = morphospace.search(
        Embeddings.open(folder / "a.emb"), [first, second], not_like=[third], where="KIND != 'disc'"
    )
    assert [hit["id"] for hit in said.json["hits"]] == list(expected.ids)


def test_search_embeds_a_file_that_is_new(folder: Path, tmp_path: Path, say: Any) -> None:
    emb = Embeddings.open(folder / "a.emb")
    known = emb.table(["source"])["source"].to_pylist()[3]
    new = tmp_path / "new.fits"
    new.write_bytes(Path(known).read_bytes())
    hits = say("search", folder / "a.emb", new, "-k", 2, "--json").json["hits"]
    assert hits[0]["id"] == emb.ids[3]
    assert hits[0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert emb.ids[3] not in [hit["id"] for hit in say("search", folder / "a.emb", known, "--json").json["hits"]]
    (tmp_path / "bad.fits").write_text("no image")
    bad = say("search", folder / "a.emb", tmp_path / "bad.fits")
    assert (bad.status, bad.err.count("\n")) == (1, 1)


def test_search_draws_a_picture(folder: Path, tmp_path: Path, say: Any) -> None:
    name = Embeddings.open(folder / "a.emb").ids[0]
    words = ["search", folder / "a.emb", name, "-k", 3, "--picture", tmp_path / "hits.png"]
    assert say(*words).status == 2  # needs the thumbnails
    words += ["--cutouts", folder / "a.cutouts"]
    assert say(*words).status == 0
    assert "--overwrite" in say(*words).err
    assert say(*words, "--overwrite").status == 0
    assert (tmp_path / "hits.png").read_bytes().startswith(b"\x89PNG")


def test_export_writes_and_does_not_overwrite(folder: Path, tmp_path: Path, say: Any) -> None:
    out = tmp_path / "a.csv"
    assert say("export", folder / "a.emb", out).status == 0
    with out.open() as file:
        assert len(list(csv.DictReader(file))) == N_IMAGES
    refused = say("export", folder / "a.emb", out)
    assert refused.status == 1
    assert "--overwrite" in refused.err
    assert say("export", folder / "a.emb", out, "--overwrite").status == 0


def test_export_to_the_projector_with_thumbnails(folder: Path, tmp_path: Path, say: Any) -> None:
    words = ["export", folder / "a.emb", tmp_path / "projector", "--format", "tensorboard"]
    said = say(*words, "--cutouts", folder / "a.cutouts")
    assert said.status == 0, said.err
    assert list((tmp_path / "projector").glob("*.png"))


def test_thumbnails_of_another_store_are_refused(folder: Path, tmp_path: Path, say: Any) -> None:
    files = sorted((folder / "fits").glob("sim*.fits"))[:3]
    say("curate", *files, "--out", tmp_path / "other.cutouts", "--size", 16)
    words = ["export", folder / "a.emb", tmp_path / "projector", "--format", "tensorboard"]
    said = say(*words, "--cutouts", tmp_path / "other.cutouts")
    assert said.status == 1
    assert "are not in the cutouts" in said.err


def test_doctor_gives_a_verdict(folder: Path, say: Any) -> None:
    said = say("doctor", folder / "runs/a", folder / "a.cutouts", "--json")
    assert said.status == 0, said.err
    assert said.json["verdict"] in ("HEALTHY", "POOR", "COLLAPSED", "UNKNOWN")
    text = say("doctor", folder / "runs/a")
    assert text.out.startswith(said.json["verdict"])


def test_views_draws_files_and_stores(folder: Path, tmp_path: Path, say: Any) -> None:
    files = sorted((folder / "fits").glob("sim*.fits"))[:2]
    out = tmp_path / "views.png"
    said = say("views", *files, "--out", out, "--size", 16, "--n-views", 2, "--set", "views.rotate=false", "--json")
    assert said.status == 0, said.err
    assert said.json == {"views": str(out)}
    assert out.read_bytes().startswith(b"\x89PNG")
    refused = say("views", folder / "a.cutouts", "--out", out)
    assert refused.status == 1
    assert "is there already" in refused.err
    assert say("views", folder / "a.cutouts", "--out", out, "--overwrite", "--views", "clouds").status == 0
    assert "did you mean 'views.zoom'?" in say("views", *files, "--out", tmp_path / "x.png", "--set", "views.zom=1").err


# one config for all


def test_run_goes_the_whole_way(config: Path, tmp_path: Path, say: Any) -> None:
    said = say("run", config, "--json")
    assert said.status == 0, said.err
    assert list(said.json) == ["curate", "train", "embed", "export"]
    assert said.json["embed"]["n"] == N_IMAGES
    assert Run.open(tmp_path / "runs/b").config["method"]["name"] == "VICReg"
    assert Run.open(tmp_path / "runs/b").config["views"]["zoom"] == [0.9, 1.1]
    assert (tmp_path / "b.csv").is_file()
    vectors = Embeddings.open(tmp_path / "b.emb").vectors.copy()
    refused = say("run", config)
    assert refused.status == 1
    assert "b.cutouts" in refused.err
    assert say("run", config, "--resume").status == 0
    np.testing.assert_array_equal(Embeddings.open(tmp_path / "b.emb").vectors, vectors)


def test_run_and_single_verbs_give_the_same_weights(folder: Path, tmp_path: Path, say: Any) -> None:
    tables = {
        "train": {
            "data": str(folder / "a.cutouts"),
            "out": str(tmp_path / "same"),
            "epochs": 1,
            "batch_size": 8,
            "seed": 3,
            "loop": {"precision": "32-true"},
        },
        "method": {"hidden_size": 32},
        "views": {"size": 16},
    }
    path = tmp_path / "train.toml"
    path.write_text(dump_toml(tables), encoding="utf-8")
    assert say("train", path).status == 0
    one, other = (Run.open(where).tensors() for where in (folder / "runs/a", tmp_path / "same"))
    assert all(bool((one[key] == other[key]).all()) for key in one)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("train.epoch=3", "unknown key 'train.epoch' in {}; did you mean 'train.epochs'?"),
        ("train.loop.clp=3", "unknown key 'train.loop.clp' in {}; did you mean 'train.loop.clip'?"),
        ("train.epochs=ten", "'train.epochs' in {} must be a whole number; got 'ten'"),
        ("trian.epochs=3", "unknown table 'trian' in {}; did you mean 'train'?"),
        ("train=3", "'train' in {} must be a table, written [train]; got 3"),
        ("method.name=byol2", "unknown method 'byol2' in {}; did you mean 'BYOL'?"),
        ("method.ema=0.9", "unknown key 'method.ema' in {}"),
        ("views.rotat=false", "unknown key 'views.rotat' in {}; did you mean 'views.rotate'?"),
        ("views.sise=3", "unknown key 'views.sise' in {}; did you mean 'views.size'?"),
        ("curate.detect.snr=3", "unknown key 'curate.detect.snr' in {}"),
        ("embed.average=d8", "'embed.average' in {} must be 'd4' or \"none\"; got 'd8'"),
        ("export.fromat=csv", "unknown key 'export.fromat' in {}; did you mean 'export.format'?"),
    ],
)
def test_a_mistake_anywhere_in_a_config_is_told_before_anything_is_done(
    config: Path, tmp_path: Path, say: Any, override: str, sentence: str
) -> None:
    said = say("run", config, "--set", override)
    assert said.status == 1
    assert said.out == ""
    assert said.err.startswith(f"Error: {sentence.format(config)}")
    assert said.err.count("\n") == 1
    assert not (tmp_path / "b.cutouts").exists()


def test_run_needs_cutouts_from_somewhere(folder: Path, tmp_path: Path, say: Any) -> None:
    path = tmp_path / "embed.toml"
    table = {"out": str(tmp_path / "c.emb")}
    path.write_text(dump_toml({"embed": table}), encoding="utf-8")
    assert f"Error: 'embed.data' is missing in {path}" in say("run", path).err
    table["data"] = str(folder / "a.cutouts")
    path.write_text(dump_toml({"embed": table}), encoding="utf-8")
    assert f"Error: 'embed.run' is missing in {path}" in say("run", path).err
    table["run"] = str(folder / "runs/a")
    path.write_text(dump_toml({"embed": table}), encoding="utf-8")
    assert say("run", path).status == 0
    assert "give one of them" in say("run", path, "--resume", "--overwrite").err
    assert say("run", path, "--overwrite").status == 0


def test_check_accepts_what_it_should(config: Path) -> None:
    check(tomllib.loads(config.read_text()), "run.toml")
    check({}, "run.toml")


def test_merged_wins_key_by_key() -> None:
    base = {"a": {"x": 1, "y": {"z": 1}}, "b": 1}
    assert merged(base, {"a": {"y": {"w": 2}}, "b": {"c": 3}}) == {"a": {"x": 1, "y": {"z": 1, "w": 2}}, "b": {"c": 3}}
    assert base == {"a": {"x": 1, "y": {"z": 1}}, "b": 1}


def test_views_table_changes_single_things_of_a_preset() -> None:
    table = {"preset": "radio", "clip_sigma": "none", "parts": "main", "rotate": False, "stretch": {"kind": "log"}}
    built = Pipeline({"views": table}, "run.toml").views("optical")
    preset = morphospace.views("radio")
    assert preset.prepare.clip_sigma is not None
    changed = replace(preset.prepare, clip_sigma=None, parts="main", stretch=morphospace.Stretch("log"))
    assert built == replace(preset, prepare=changed, rotate=False)
    assert Pipeline({}, "run.toml").views("optical") == morphospace.views("optical")


# training again and on


def test_train_resume_of_a_finished_run_changes_nothing(folder: Path, say: Any) -> None:
    before = Run.open(folder / "runs/a").space_id()
    said = say("train", "--resume", folder / "runs/a")
    assert said.status == 0, said.err
    assert Run.open(folder / "runs/a").space_id() == before


def test_config_of_run_describes_the_same_training(folder: Path) -> None:
    run = Run.open(folder / "runs/a")
    tables = config_of_run(run)
    check(tables, "runs/a/run.toml")
    views = Pipeline(tables, "runs/a/run.toml", preparation_of(run)).views("radio")
    assert views.prepare == preparation_of(run)
    assert list(views.zoom) == run.config["views"]["zoom"]


def test_train_resume_goes_on_as_if_it_had_not_stopped(
    folder: Path, tmp_path: Path, say: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*SMALL, "--epochs", "2", "--views", "clouds", "--scale", "pixel", "--stretch", "log", "--stretch-a", "0.1"]
    assert say("train", folder / "a.cutouts", "--out", tmp_path / "whole", *words).status == 0
    forward, steps = SimCLR.forward, iter(range(100))

    def stop(self: SimCLR, batch: Any, progress: float) -> Any:
        if next(steps) == 3:
            raise KeyboardInterrupt
        return forward(self, batch, progress)

    monkeypatch.setattr(SimCLR, "forward", stop)
    stopped = say("train", folder / "a.cutouts", "--out", tmp_path / "parts", *words)
    monkeypatch.setattr(SimCLR, "forward", forward)
    assert stopped.status == 130
    resume = f"morphospace train --resume {tmp_path / 'parts'}"
    assert stopped.err.splitlines()[-1] == f"Interrupted: go on with: {resume}"
    assert say(*resume.split()[1:]).status == 0
    whole, parts = (Run.open(tmp_path / name).tensors() for name in ("whole", "parts"))
    assert all(bool((whole[key] == parts[key]).all()) for key in whole)


def test_train_refuses_to_write_into_a_run(folder: Path, say: Any) -> None:
    said = say("train", folder / "a.cutouts", "--out", folder / "runs/a", *SMALL)
    assert said.status == 1
    assert f"morphospace train --resume {folder / 'runs/a'}" in said.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["train"], "give a store of cutouts or a config file to train on, or --resume RUN"),
        (["train", "a.cutouts", "--resume", "runs/a"], "or --resume RUN"),
        (["train", "--resume", "runs/a", "--epochs", "3"], "takes no others"),
        (["trian"], "there is no verb 'trian'; did you mean 'train'?"),
        (["xyzzy"], "there is no verb 'xyzzy'; there are 'alike'"),
        (["search", "a.emb"], "Missing argument 'QUERY...'"),
        (["search", "a.emb", "x", "-k", "many"], "'many' is not a valid integer"),
        (["train", "a.cutouts", "--out", "r", "--seed", "-1"], "-1 is not in the range x>=0"),
        (["embed", "a.cutouts", "--out", "x"], "Missing option '--run'"),
        (["curate", "fits", "--out", "x", "--detetc"], "No such option"),
    ],
)
def test_bad_usage_is_status_2(say: Any, words: list[str], sentence: str) -> None:
    said = say(*words)
    assert (said.status, said.out) == (2, "")
    assert sentence in said.err


@pytest.mark.parametrize(
    "words",
    [
        ["curate", "absent", "--out", "x.cutouts"],
        ["curate", ".", "--out", "x.cutouts"],
        ["train", "absent.cutouts", "--out", "runs/x"],
        ["train", "absent.toml"],
        ["train", "empty.toml"],
        ["train", "--resume", "absent"],
        ["embed", "absent.cutouts", "--run", "starter", "--out", "x.emb"],
        ["embed", "absent.cutouts", "--run", "absent", "--out", "x.emb"],
        ["search", "absent.emb", "M51"],
        ["export", "absent.emb", "x.csv"],
        ["doctor", "absent"],
        ["views", "absent.fits"],
        ["run", "absent.toml"],
        ["run", "broken.toml"],
    ],
)
def test_what_is_not_there_is_told_in_one_line(
    say: Any, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.toml").touch()
    Path("broken.toml").write_text("[train\n")
    said = say(*words)
    assert said.status == 1
    assert said.out == ""
    assert said.err.startswith("Error: ")
    assert said.err.count("\n") == 1
    assert "unexpected" not in said.err


# what goes wrong


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(Pipeline, "curate", fail)


CURATE = ["curate", "fits", "--out", "x.cutouts"]


def test_interrupt_says_what_is_safe_and_how_to_go_on(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fail_with(monkeypatch, KeyboardInterrupt())
    said = say(*CURATE)
    assert said.status == 130
    assert said.err.splitlines()[-1] == (
        "Interrupted: what was complete is safe in 'x.cutouts'; go on with the same command and --resume"
    )


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MorphospaceError("two\nlines"), "Error: two lines"),
        (OSError(28, "No space left on device", "x.cutouts"), "Error: 'x.cutouts': No space left on device"),
        (KeyError("oops"), "Error: unexpected KeyError: 'oops'; this is a bug of morphospace: run again with --debug"),
    ],
)
def test_errors_are_one_line(say: Any, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str) -> None:
    fail_with(monkeypatch, error)
    said = say(*CURATE)
    assert (said.status, said.out) == (1, "")
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1
    assert "Traceback" in say(*CURATE, "--debug").err


@pytest.mark.slow
def test_a_real_interrupt_leaves_a_run_to_go_on_with(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "long"
    words = ["train", folder / "a.cutouts", "--out", out, "--size", 16, "--epochs", 100000, "--batch-size", 8]
    command = [sys.executable, "-c", "import sys; from morphospace.cli import main; sys.exit(main())", *map(str, words)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    deadline = time.monotonic() + 120
    while not (out / "history.csv").is_file() and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 130
    assert err.splitlines()[-1] == f"Interrupted: go on with: morphospace train --resume {out}"
    assert (out / "checkpoint.pt").is_file()


# help and version


def test_version_and_help(say: Any) -> None:
    assert say("--version").out.strip() == f"morphospace {morphospace.__version__}"
    text = say("--help").out
    assert all(f"  {name}" in text and words.split()[0] in text for name, (_, words) in VERBS.items())


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_words(verb: str) -> None:
    import click

    from morphospace.cli import program

    command = program.get_command(click.Context(program), verb)
    assert command is not None
    assert [param.name for param in command.params if isinstance(param, click.Option) and not param.help] == []
    assert len({option for param in command.params for option in param.opts}) == sum(
        len(p.opts) for p in command.params
    )


def test_a_recipe_prints_what_it_stands_for_and_what_is_given_beside_it_wins(say, tmp_path):
    y, x = np.mgrid[:200, :200]
    image = np.random.default_rng(0).normal(size=(200, 200)) + 40 * np.exp(-((x - 60) ** 2 + (y - 120) ** 2) / 32)
    header = fits.Header({"BMAJ": 6 / 3600, "BMIN": 6 / 3600, "BPA": 0.0, "CDELT1": -1 / 3600, "CDELT2": 1 / 3600})
    fits.writeto(tmp_path / "map.fits", image.astype(np.float32), header)
    call = ("curate", tmp_path / "map.fits", "--size", "48", "--out")
    said = say(*call, tmp_path / "d.cutouts", "--recipe", "alma-discs")
    assert said.status == 0
    assert "ms.Detection(method='dbscan'" in said.err
    cuts = Cutouts.open(tmp_path / "d.cutouts")
    assert [c.image.shape for c in cuts.read(range(len(cuts)))] == [(1, 48, 48)]
    wrong = say(*call, tmp_path / "e.cutouts", "--recipe", "alma-disc")
    assert wrong.status != 0
    assert "did you mean 'alma-discs'?" in wrong.err
