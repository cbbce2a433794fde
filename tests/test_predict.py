"""Predictors and predictions: known answers, oracles, order of states, files, bad input."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from astropy.table import Table
from safetensors.numpy import save_file
from scipy.stats import spearmanr
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from morphospace.cli import main
from morphospace.errors import ConfigError, DataError, NotFittedError, StoreError
from morphospace.learn.compare import folds
from morphospace.learn.probe import linear_probe, linear_r2
from morphospace.science import heads
from morphospace.science.curves import draw_labels, label_efficiency
from morphospace.science.figures import plot_confusion, plot_curves, plot_reliability, plot_values
from morphospace.science.predict import predict
from morphospace.science.prediction import Prediction
from morphospace.science.predictor import Predictor
from morphospace.science.targets import read_labels, target_of
from morphospace.space.embeddings import Embeddings
from morphospace.space.figures import save_figure

HEADS = ("knn", "linear", "mlp")


def space(n=200, *, gap=4.0, d=5, seed=0, shares=(0.5, 0.3, 0.2), **columns):
    """Clouds of vectors, one for each kind, `gap` apart; the value is the first coordinate's double."""
    rng = np.random.default_rng(seed)
    kind = rng.choice(len(shares), n, p=shares)
    vectors = rng.normal(size=(n, d))
    vectors[:, :3] += gap * np.eye(3)[kind]
    made = {"kind": np.array(["disc", "ring", "blob"])[kind].tolist(), "value": 2.0 * vectors[:, 0] + 1}
    return Embeddings.from_arrays(None, [f"o{i}" for i in range(n)], vectors, {**made, **columns})


def truth(emb, name="kind"):
    return np.array(emb.table([name])[name].to_pylist())


# known answers and oracles


@pytest.mark.parametrize("head", HEADS)
def test_classes_far_apart_are_told_apart(head):
    emb = space(120, gap=8.0)
    found = predict(emb, "kind", head=head, n_folds=3)
    assert found.scores["accuracy"] > 0.97
    assert (found.classes == truth(emb)).mean() == found.scores["accuracy"]
    np.testing.assert_allclose(found.p.sum(1), 1)
    assert sorted(set(found.fold)) == [0, 1, 2]


@pytest.mark.parametrize(("head", "least"), [("knn", 0.5), ("linear", 0.999), ("mlp", 0.9)])
def test_values_on_a_plane_are_read(head, least):
    found = predict(space(300), "value", head=head, n_folds=2)
    assert found.scores["r2"] > least
    assert spearmanr(found.mean, truth(space(300), "value")).statistic > 0.7


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_votes_are_read(head):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 2))
    smooth = rng.binomial(30, 1 / (1 + np.exp(-2 * x[:, 0])))
    emb = Embeddings.from_arrays(None, [str(i) for i in range(300)], x, {"smooth": smooth, "featured": 30 - smooth})
    found = predict(emb, ["smooth", "featured"], head=head, n_folds=2)
    assert found.task == "votes"
    assert found.scores["rms"] < 0.13
    assert found.scores["log_likelihood"] > -3.6  # 31 outcomes by chance: log 31 is 3.4 for one shape only
    assert spearmanr(found.fractions[:, 0], x[:, 0]).statistic > 0.95
    with pytest.raises(ConfigError, match="votes need the head 'linear' or 'mlp'"):
        predict(emb, ["smooth", "featured"], head="knn")


def test_linear_head_does_what_the_linear_probe_does():
    emb = space(240, gap=1.5)
    probe = linear_probe(emb.vectors, truth(emb), fold=folds(truth(emb)))
    found = predict(emb, "kind")
    assert found.names == tuple(probe.classes)
    assert found.scores["accuracy"] == pytest.approx(probe.accuracy, abs=0.04)
    assert np.corrcoef(found.p.ravel(), probe.p.ravel())[0, 1] > 0.97


def test_linear_values_do_what_linear_r2_does():
    emb = space(200)
    noisy = truth(emb, "value") + np.random.default_rng(1).normal(size=200)
    labels = dict(zip(emb.ids, noisy.tolist(), strict=True))
    assert predict(emb, labels).scores["r2"] == pytest.approx(linear_r2(emb.vectors, noisy), abs=0.03)


def test_neighbours_are_those_of_scikit_learn():
    emb = space(150, gap=2.0)
    unit = emb.vectors / np.linalg.norm(emb.vectors, axis=1, keepdims=True)
    rows = np.arange(150) < 100
    model = Predictor("knn", k=7).fit(emb.keep(rows), "kind")
    prior = np.exp(model.fused.pool.prior)
    theirs = KNeighborsClassifier(7).fit(unit[rows], truth(emb)[rows]).predict_proba(unit[~rows])
    ours = model.predict(emb.keep(~rows), calibrated=False).p
    np.testing.assert_allclose(ours, (7 * theirs + prior) / 8, atol=1e-6)
    values = Predictor("knn", k=7).fit(emb.keep(rows), "value").predict(emb.keep(~rows), calibrated=False).mean
    same = KNeighborsRegressor(7).fit(unit[rows], truth(emb, "value")[rows]).predict(unit[~rows])
    np.testing.assert_allclose(values, same, atol=1e-6)


@pytest.mark.parametrize("head", HEADS)
def test_class_weights_raise_the_recall_of_the_rare(head):
    emb = space(400, gap=1.5, shares=(0.93, 0.07, 0.0))
    plain, even = (predict(emb, "kind", head=head, n_folds=2, balanced=b) for b in (False, True))
    rare = truth(emb) == "ring"
    assert (even.classes == "ring")[rare].mean() > (plain.classes == "ring")[rare].mean() + 0.1
    assert even.scores["balanced_accuracy"] > plain.scores["balanced_accuracy"]
    assert even.scores["accuracy"] < plain.scores["accuracy"]


@pytest.mark.parametrize("head", HEADS)
def test_a_seed_gives_one_result(head):
    emb = space(90)
    one, two, other = (predict(emb, "kind", head=head, n_folds=2, seed=s) for s in (3, 3, 4))
    np.testing.assert_array_equal(one.p, two.p)
    assert not np.array_equal(one.fold, other.fold)


def test_rows_of_one_object_never_teach_each_other():
    """Labels by chance, every object twice: who lets its twin teach is right, who does not guesses."""
    rng = np.random.default_rng(0)
    x = np.repeat(rng.normal(size=(100, 8)), 2, axis=0)
    kind = np.repeat(rng.choice(["a", "b"], 100), 2).tolist()
    ids = [f"o{i}" for i in range(200)]
    twins = Embeddings.from_arrays(None, ids, x, {"kind": kind, "group": [str(i // 2) for i in range(200)]})
    strangers = Embeddings.from_arrays(None, ids, x, {"kind": kind})
    assert predict(twins, "kind", head="knn").scores["accuracy"] < 0.65
    found = Predictor("knn", k=1).fit(strangers.keep(range(0, 200, 2)), "kind")
    assert (found.predict(strangers.keep(range(1, 200, 2)), calibrated=False).classes == kind[1::2]).all()


# states


def test_states_come_in_order():
    emb = space()
    model = Predictor()
    for step in (
        lambda: model.predict(emb),
        lambda: model.calibrate(emb, "kind"),
        lambda: model.save("x"),
        lambda: model.weights,
    ):
        with pytest.raises(NotFittedError, match=r"not fitted; call fit\(emb, labels\) first"):
            step()
    model.fit(emb.keep(range(100)), "kind")
    with pytest.raises(NotFittedError, match=r"not calibrated; call calibrate\(\.\.\.\) with labelled objects"):
        model.predict(emb)
    model.calibrate(emb.keep(range(100, 150)), "kind")
    assert model.predict(emb.keep(range(150, 200))).sets.shape == (50, 3)
    model.fit(emb.keep(range(100)), "kind")
    assert not model.calibrated


def test_what_was_trained_on_cannot_calibrate(tmp_path):
    emb = space()
    model = Predictor().fit(emb.keep(range(100)), "kind")
    for m in (model, Predictor.open(model.save(tmp_path / "m.safetensors"))):
        with pytest.raises(DataError, match=r"10 of 60 calibration objects were trained on, e\.g\. 'o90'"):
            m.calibrate(emb.keep(range(90, 150)), "kind")


def test_calibration_cures_overconfidence():
    rng = np.random.default_rng(0)
    emb = space(900, gap=1.5)
    wrong = {
        i: str(rng.choice(["disc", "ring", "blob"])) if rng.random() < 0.3 else k
        for i, k in zip(emb.ids, truth(emb), strict=True)
    }
    model = Predictor().fit(emb.keep(range(300)), "kind")  # clean labels to learn, noisy ones to be judged by
    labels = {i: wrong[i] for i in emb.ids[300:600]}
    model.calibrate(emb.keep(range(300, 600)), labels)
    y = np.array([model.fused.names.index(wrong[i]) for i in emb.ids[600:]])
    rest = emb.keep(range(600, 900))
    log_loss = {c: -np.log(model.predict(rest, calibrated=c).p[np.arange(300), y]).mean() for c in (False, True)}
    assert log_loss[True] < log_loss[False] - 0.05
    sets = model.predict(rest).sets
    assert 0.85 < sets[np.arange(300), y].mean() < 0.95


def test_coverage_holds_in_folds():
    found = predict(space(400, gap=2.0), "kind", coverage=0.8)
    assert 0.74 < found.scores["coverage"] < 0.86
    values = predict(space(300), "value", head="knn", coverage=0.9)
    assert 0.85 < values.scores["coverage"] < 0.95
    assert (values.interval[:, 0] < values.interval[:, 1]).all()
    with pytest.raises(ConfigError, match="2 folds, and 4 with coverage; got 3"):
        predict(space(), "kind", coverage=0.9, n_folds=3)


def test_groups_of_a_column_are_calibrated_apart(tmp_path):
    emb = space(600, survey=np.array(["deep", "wide"])[np.arange(600) % 2].tolist())
    model = Predictor().fit(emb.keep(range(200)), "kind")
    model.calibrate(emb.keep(range(200, 400)), "kind", by="survey", by_class=False)
    rest = emb.keep(range(400, 600))
    opened = Predictor.open(model.save(tmp_path / "m.safetensors"))
    np.testing.assert_array_equal(model.predict(rest).sets, opened.predict(rest).sets)
    with pytest.raises(ConfigError, match="by_class is for classes"):
        Predictor().fit(emb.keep(range(200)), "value").calibrate(emb.keep(range(200, 300)), "value", by_class=True)


def test_numbers_with_missing_values_are_binned_and_not_named():
    snr = np.random.default_rng(1).uniform(1, 9, 600).tolist()
    snr[::7] = [None] * len(snr[::7])
    emb = space(600, snr=pa.array(snr, pa.float64()))
    model = Predictor().fit(emb.keep(range(200)), "kind").calibrate(emb.keep(range(200, 400)), "kind", by="snr")
    sets = model.predict(emb.keep(range(400, 600))).sets
    assert sets.sum(1).mean() < 2


def test_objects_without_label_are_predicted_by_all():
    emb = space(gap=8.0)
    labels = dict(zip(emb.ids[:120], truth(emb)[:120], strict=True))
    found = predict(emb, labels)
    assert (found.fold[120:] == -1).all()
    assert (found.classes[120:] == truth(emb)[120:]).mean() > 0.97
    assert found.known.sum() == 120
    assert len(found.predictor.trained_ids) == 120


# files


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("label", ["kind", "value"])
def test_predictors_come_back_from_disk(tmp_path, head, label):
    emb = space(120)
    model = Predictor(head).fit(emb.keep(range(60)), label).calibrate(emb.keep(range(60, 100)), label)
    opened = Predictor.open(model.save(tmp_path / "m.safetensors"))
    for calibrated in (True, False):
        one, two = (m.predict(emb.keep(range(100, 120)), calibrated=calibrated).table() for m in (model, opened))
        assert one == two
    assert repr(opened) == repr(model)
    with pytest.raises(StoreError, match="is there already"):
        model.save(tmp_path / "m.safetensors")


def test_files_that_are_no_predictors_are_refused(tmp_path):
    (tmp_path / "a").write_bytes(b"\x80\x04.")
    save_file({"x": np.zeros(2)}, tmp_path / "b")
    save_file({"x": np.zeros(2)}, tmp_path / "c", {"morphospace": json.dumps({"version": 99})})
    for name in ("a", "b", "missing"):
        with pytest.raises(StoreError, match="is no predictor, or damaged"):
            Predictor.open(tmp_path / name)
    with pytest.raises(StoreError, match="has format 99, this release reads 1"):
        Predictor.open(tmp_path / "c")


def test_predictions_come_back_from_disk(tmp_path):
    emb = space(160)
    part = {"first": ["value"]}
    for i, (label, options) in enumerate(
        [("kind", {"parts": part}), ("kind", {"coverage": 0.8}), ("value", {"coverage": 0.8})]
    ):
        found = predict(emb, label, **options)
        path = found.save(tmp_path / f"{i}.parquet")
        opened = Prediction.open(path)
        assert opened.table() == found.table()
        assert opened.scores == found.scores
        assert opened.parts == found.parts
        assert opened.about == found.about
        with pytest.raises(StoreError, match="is there already"):
            found.save(path)
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), tmp_path / "bare.parquet")
    with pytest.raises(StoreError, match="is no prediction, or damaged"):
        Prediction.open(tmp_path / "bare.parquet")


# bad input


def test_bad_labels_are_told_with_numbers():
    emb = space(100)
    cases = [
        (
            {"nobody": "disc", "o1": "ring"},
            {},
            r"1 of 2 labels are for ids that are not in embeddings in memory; the first is 'nobody'",
        ),
        (dict.fromkeys(emb.ids, "disc"), {}, r"all 100 labels are 'disc'"),
        (
            {**dict.fromkeys(emb.ids, "disc"), "o1": "ring", "o2": "ring"},
            {},
            r"at least 5 separate objects here; 'ring' has 2",
        ),
        ("kind", {"task": "values"}, r"100 of 100 labels are text \(the first is '\w+'\); use task='classes'"),
        (dict.fromkeys(emb.ids), {}, "none of the 100 objects has a label"),
        (dict.fromkeys(emb.ids, 3.5), {}, "there is nothing to learn"),
        ({"o1": 1.0, "o2": 2.5}, {}, r"5 folds need as many separate objects; there are 2"),
        ({"o1": float("inf")}, {}, "1 of 100 values are infinite"),
        ({i: {"a": -1, "b": 2} for i in emb.ids}, {}, "votes must be 0 or more; 100 objects have others"),
        ({i: {"a": 1} for i in emb.ids}, {}, "votes need at least two answers; got 1"),
    ]
    for labels, options, words in cases:
        with pytest.raises(DataError, match=words):
            predict(emb, labels, **options)
    with pytest.raises(ConfigError, match="unknown column 'kinds'"):
        predict(emb, "kinds")
    with pytest.raises(ConfigError, match="unknown head 'forest'; known heads are knn, linear, mlp"):
        predict(emb, "kind", head="forest")
    with pytest.raises(DataError, match=r"each class needs at least 3 separate objects here; 'ring' has 2\."):
        Predictor().fit(emb, {**dict.fromkeys(emb.ids[:50], "disc"), "o1": "ring", "o2": "ring"})


def test_nan_features_are_told():
    emb = space(50)
    vectors = emb.vectors.copy()
    vectors[7, 1] = np.nan
    with pytest.raises(DataError, match=r"1 of 50 vectors hold NaN or infinity \(the first is 'o7'\)"):
        predict(Embeddings.from_arrays(None, emb.ids, vectors, {"kind": truth(emb).tolist()}), "kind")


def test_tasks_are_guessed_from_the_labels():
    emb = space(30)
    for values, task in (
        (["a", "b", None] * 10, "classes"),
        ([True, False, True] * 10, "classes"),
        ([1, 2, None] * 10, "classes"),
        (list(range(30)), "values"),
        ([0.5, 1.0, float("nan")] * 10, "values"),
    ):
        target = target_of(emb, dict(zip(emb.ids, values, strict=True)))
        assert target.task == task
        assert target.known.sum() == 20 + 10 * (values[2] in (2, True))


def test_labels_are_read_from_tables(tmp_path):
    (tmp_path / "l.csv").write_text("id,kind,n\n12,disc,3\n13,ring,4\n")
    assert read_labels(tmp_path / "l.csv", "kind") == {"12": "disc", "13": "ring"}
    assert read_labels(tmp_path / "l.csv", ["n"]) == {"12": {"n": 3}, "13": {"n": 4}}
    with pytest.raises(ConfigError, match=r"unknown column 'kin' in 'l\.csv'; did you mean 'kind'"):
        read_labels(tmp_path / "l.csv", "kin")
    Table({"ID": ["12"], "kind": ["disc"]}).write(tmp_path / "l.fits")
    with pytest.raises(ConfigError, match="unknown column 'id'"):
        read_labels(tmp_path / "l.fits", "kind")
    Table({"id": ["12"], "kind": ["disc"]}).write(tmp_path / "l.fits", overwrite=True)
    assert read_labels(tmp_path / "l.fits", "kind") == {"12": "disc"}
    with pytest.raises(StoreError, match="does not exist"):
        read_labels(tmp_path / "none.csv", "kind")
    (tmp_path / "l.csv").write_text("id,kind\n12,disc\n12,ring\n")
    with pytest.raises(DataError, match=r"'l\.csv' has the id '12' twice"):
        read_labels(tmp_path / "l.csv", "kind")


# curves and figures


def test_curves_rise_with_labels():
    curve = label_efficiency(space(300, gap=2.0), "kind", sizes=[9, 30, 1000], repeats=3)
    assert curve.scores.shape == (3, 3)
    assert curve.mean[2] > curve.mean[0]
    assert curve.sizes[2] == 240
    low, high = curve.interval().T
    assert (low <= curve.mean).all()
    assert (curve.mean <= high).all()
    test = np.arange(300) < 100
    fixed = label_efficiency(space(300), "value", sizes=[20, 100], test=test, repeats=2)
    assert fixed.score == "r2"
    twins = space(300, group=[str(i % 150) for i in range(300)])
    with pytest.raises(DataError, match="objects lie on both sides of the split"):
        label_efficiency(twins, "kind", sizes=[20], test=test)


def test_draws_hold_smaller_draws_and_every_class():
    y = np.repeat(["many", "few"], [180, 20])
    small, large = draw_labels(y, 10), draw_labels(y, 50)
    assert len(small) == 10
    assert set(small) <= set(large)
    assert (y[small] == "few").sum() == 2
    assert (y[large] == "few").sum() == 5
    each = draw_labels(y, 15, each=True)
    assert [(y[each] == k).sum() for k in ("many", "few")] == [15, 15]
    with pytest.raises(ConfigError, match="3 labels are too few to draw at least two of each of 2 classes"):
        draw_labels(y, 3)


def test_confusion_counts_and_figures_are_drawn(tmp_path):
    emb = space(120, gap=2.0)
    found = predict(emb, "kind")
    counts = found.confusion()
    assert counts.sum() == 120
    assert np.trace(counts) == round(120 * found.scores["accuracy"])
    assert counts[found.names.index("disc")].sum() == (truth(emb) == "disc").sum()
    curve = label_efficiency(emb, "kind", sizes=[9, 30], repeats=2)
    values = predict(emb, "value", coverage=0.8)
    for i, figure in enumerate(
        [plot_confusion(found), plot_reliability(found), plot_curves([curve]), plot_values(values)]
    ):
        assert save_figure(figure, tmp_path / f"{i}.png").stat().st_size > 5000
    for draw, wrong, words in ((plot_confusion, values, "need classes"), (plot_values, found, "needs values")):
        with pytest.raises(DataError, match=words):
            draw(wrong)
    with pytest.raises(DataError, match="of one score; got none"):
        plot_curves([])


# threads and memory


def test_small_networks_train_on_one_thread(monkeypatch):
    seen, before = set(), torch.get_num_threads()
    losses = heads._losses
    monkeypatch.setattr(heads, "_losses", lambda *given: (seen.add(torch.get_num_threads()), losses(*given))[1])
    torch.set_num_threads(3)
    try:
        found = predict(space(60), "kind", head="mlp", n_folds=2)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
    assert seen == {1}
    np.testing.assert_array_equal(found.p, predict(space(60), "kind", head="mlp", n_folds=2).p)


def peak(work):
    """The most memory that Python and numpy held at a time beyond what was there, in bytes."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_neighbours_in_a_large_bank_need_little_memory():
    rng = np.random.default_rng(0)
    bank = rng.normal(size=(100_000, 2)).astype("f4")
    head = heads.KNNHead(bank, np.ones((100_000, 1)), np.zeros(0), 5)
    assert peak(lambda: head.scores(bank[:400].astype(float))) < 250e6  # 640 MB in one block
    near = heads.KNNHead(bank, np.arange(100_000.0)[:, None], np.zeros(0), 1)
    np.testing.assert_array_equal(near.scores(bank[:200].astype(float))[:, 0], np.arange(200.0))


@pytest.mark.parametrize("head", ["linear", "knn"])
def test_vectors_are_not_copied_whole_in_double_precision(head):
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(40_000, 64)).astype("f4")
    kind = [None] * 39_800 + ["a", "b"] * 100
    emb = Embeddings.from_arrays(None, [str(i) for i in range(40_000)], vectors, {"kind": kind})
    predict(emb.keep(range(39_800, 40_000)), "kind", head=head, n_folds=2)
    beside = 20e6  # ids, labels, groups and tables of 40,000 objects
    assert peak(lambda: predict(emb, "kind", head=head, n_folds=2)) < 2.5 * vectors.nbytes + beside


# the command


def test_command_predicts_saves_and_predicts_again(tmp_path, capsys):
    emb = space(120, gap=8.0)
    columns = {"kind": truth(emb).tolist(), "value": truth(emb, "value"), "snr": np.arange(120.0)}
    Embeddings.from_arrays(tmp_path / "e.emb", emb.ids, emb.vectors, columns)
    files = {
        n: str(tmp_path / f"{n}.{s}") for n, s in (("out", "parquet"), ("save", "safetensors"), ("confusion", "png"))
    }
    words = [
        "predict",
        str(tmp_path / "e.emb"),
        "kind",
        "--where",
        "snr >= 20",
        "--part",
        "v=value",
        "--coverage",
        "0.8",
        "--json",
    ]
    assert main([*words, *(w for n, f in files.items() for w in (f"--{n}", f))]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["scores"]["accuracy"] > 0.95
    assert [p["part"] for p in told["parts"]] == ["embedding", "v"]
    assert Prediction.open(files["out"]).known.sum() == 100
    again = ["predict", str(tmp_path / "e.emb"), "--model", files["save"], "--part", "v=value"]
    assert main([*again, "--out", str(tmp_path / "again.parquet")]) == 0
    assert "120 objects predicted" in capsys.readouterr().out
    assert (Prediction.open(tmp_path / "again.parquet").classes == truth(emb)).mean() > 0.95
    assert main([*again, "--out", str(tmp_path / "again.parquet")]) == 1
    assert "is there already" in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "e.emb")]) == 2
    assert main(["predict", str(tmp_path / "e.emb"), "kind", "--part", "v"]) == 2
    assert main([*again, "--where", "snr > 3"]) == 2
    assert "--where is for learning, and --model" in " ".join(capsys.readouterr().err.split())
    assert main([*again, "--n-folds", "3"]) == 2
    assert "--n-folds is for learning, and --model" in " ".join(capsys.readouterr().err.split())


def test_command_refuses_endings_before_it_learns(tmp_path, capsys, monkeypatch):
    emb = space(30)
    Embeddings.from_arrays(tmp_path / "e.emb", emb.ids, emb.vectors, {"kind": ["a", "b"] * 15})
    monkeypatch.setattr("morphospace.science.predict.target_of", None)  # nothing is begun
    for option, name, ends in (
        ("--out", "p.txt", ".parquet or .pq"),
        ("--save", "p.pkl", ".safetensors"),
        ("--confusion", "p.jpg", ".png or .pdf or .svg"),
    ):
        assert main(["predict", str(tmp_path / "e.emb"), "kind", option, str(tmp_path / name)]) == 1
        assert f"'{name}' must end in {ends}, for that is what is written" in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "e.emb"), "kind", "--out", str(tmp_path)]) == 1
    assert "is a folder; give the name of a file that ends in .parquet" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["predict", str(tmp_path / "e.emb"), "kind", "--part", "a=shapes.fits"]) == 1
    assert "shapes.fits" in capsys.readouterr().err


def test_command_tells_bad_labels(tmp_path, capsys):
    emb = space(60)
    few = np.where(np.arange(60) < 11, np.arange(60.0), np.nan)
    Embeddings.from_arrays(tmp_path / "e.emb", emb.ids, emb.vectors, {"kind": ["a", "b"] * 30, "few": few})

    def told(*words):
        assert main(["predict", str(tmp_path / "e.emb"), *words]) == 1
        return capsys.readouterr().err

    assert "to learn from in each fold; 11 labels in 5 folds leave 8. Label more." in told("few")
    assert "no object meets --where 'few > 99', so there is nothing to learn from" in told(
        "kind", "--where", "few > 99"
    )
    assert "got 1.5, e.g. 0.9 for 90 %" in told("kind", "--coverage", "1.5")
    (tmp_path / "m.csv").write_text("id,kind")
    assert "is no predictor, or damaged" in (err := told("--model", str(tmp_path / "m.csv")))
    assert "give a file that Predictor.save (predict --save) wrote" in err
