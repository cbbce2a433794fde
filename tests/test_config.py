"""Config: tables call signatures, every mistake is named, what is written is read back."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from morphospace.config import (
    apply_overrides,
    arguments_from,
    call_from,
    dump_toml,
    load_toml,
    nearest,
    parse_value,
)
from morphospace.errors import ConfigError


@dataclass(frozen=True)
class Loop:
    """Rarer options."""

    clip: float | None = 1.0
    schedule: Literal["cosine", "exponential"] = "cosine"
    betas: tuple[float, float] = (0.9, 0.999)
    extra: dict[str, int] = field(default_factory=dict)


class Got(NamedTuple):
    """Arguments as they arrived."""

    arguments: dict[str, Any]


def train(
    method: object,
    data: object = None,
    *,
    out: str | Path,
    epochs: int = 15,
    lr: float = 1e-3,
    resume: bool = False,
    size: int | None = 100,
    sizes: Sequence[int] = (),
    folder: Path = Path(),
    names: list[str] | None = None,
    device: int | str = "cpu",
    loop: Loop = Loop(),
    units: Literal["noise", "none"] | None = "noise",
    hook: Callable[[], None] | None = None,
    untyped=None,
) -> Got:
    """Take every kind of parameter."""
    return Got(dict(locals()))


def open_ended(name: str, *, bands: int = 1, **options: Any) -> Got:
    """Hand unknown names on."""
    return Got({"name": name, "bands": bands, **options})


class Network:
    """A class to construct."""

    def __init__(self, encoder: object, *, tau: float = 0.99) -> None:
        self.encoder, self.tau = encoder, tau


def trained(**table: Any) -> dict[str, Any]:
    return call_from({"out": "x", **table}, partial(train, "method"), "train", source="run.toml").arguments


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("epochs", 3, 3),
        ("lr", 1, 1.0),
        ("lr", 1e-4, 1e-4),
        ("resume", True, True),
        ("size", 12, 12),
        ("size", "none", None),
        ("sizes", [1, 2], (1, 2)),
        ("folder", "a/b", Path("a/b")),
        ("names", ["a"], ["a"]),
        ("names", "none", None),
        ("device", 1, 1),
        ("device", "cuda", "cuda"),
        ("out", "runs/x", "runs/x"),
        ("units", "none", "none"),
        ("untyped", [1, "a"], [1, "a"]),
        ("data", "x.cutouts", "x.cutouts"),
        ("loop", {"clip": 2}, Loop(clip=2.0)),
        ("loop", {"betas": [0, 1]}, Loop(betas=(0.0, 1.0))),
        ("loop", {"extra": {"a": 1}, "schedule": "exponential"}, Loop(schedule="exponential", extra={"a": 1})),
        ("loop", True, Loop()),
    ],
)
def test_call_from_converts(key: str, value: Any, expected: Any) -> None:
    if key == "data":  # an `object` cannot come from a text: given by position
        got = call_from({"out": "x"}, partial(train, "m", value), "train").arguments[key]
    else:
        got = trained(**{key: value})[key]
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("epoch", 3, "unknown key 'train.epoch' in run.toml; did you mean 'train.epochs'?"),
        ("epochs", 3.0, "'train.epochs' in run.toml must be a whole number; got 3.0"),
        ("epochs", True, "'train.epochs' in run.toml must be a whole number; got true"),
        ("epochs", "ten", "'train.epochs' in run.toml must be a whole number; got 'ten'"),
        ("lr", True, "'train.lr' in run.toml must be a number; got true"),
        ("resume", 1, "'train.resume' in run.toml must be true or false; got 1"),
        ("size", "big", "'train.size' in run.toml must be a whole number or \"none\"; got 'big'"),
        ("size", {"a": 1}, "'train.size' in run.toml must be a whole number or \"none\"; got a table"),
        ("sizes", 3, "'train.sizes' in run.toml must be a list; got 3"),
        ("sizes", ["a"], "'train.sizes[0]' in run.toml must be a whole number; got 'a'"),
        ("names", ["a", 1], "'train.names[1]' in run.toml must be a text; got 1"),
        ("out", 1, "'train.out' in run.toml must be a text or a path; got 1"),
        ("hook", "x", "'train.hook' in run.toml must be \"none\"; got 'x'"),
        ("method", "BYOL", "unknown key 'train.method' in run.toml; did you mean"),
        ("loop", 1, "'train.loop' in run.toml must be a table; got 1"),
        ("loop", {"clp": 1}, "unknown key 'train.loop.clp' in run.toml; did you mean 'train.loop.clip'?"),
        ("loop", {"betas": [1]}, "'train.loop.betas' in run.toml must be a list of 2; got 1: [1]"),
        ("loop", {"extra": {"a": "b"}}, "'train.loop.extra.a' in run.toml must be a whole number; got 'b'"),
        (
            "loop",
            {"schedule": "cosin"},
            "'train.loop.schedule' in run.toml must be 'cosine' or 'exponential'; got 'cosin'; did you mean 'cosine'?",
        ),
    ],
)
def test_call_from_names_the_mistake(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        trained(**{key: value})
    assert str(caught.value).startswith(sentence)
    assert "\n" not in str(caught.value)


def test_call_from_says_what_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"^'train.out' is missing in the config; it must be a text or a path$"):
        call_from({}, partial(train, "method"), "train")


def test_call_from_leaves_defaults_to_the_signature() -> None:
    assert arguments_from({"out": "x"}, partial(train, 1), "train") == {"out": "x"}


def test_call_from_constructs_classes_around_given_objects() -> None:
    network = call_from({"tau": 1}, partial(Network, "encoder"), "method")
    assert (network.encoder, network.tau) == ("encoder", 1.0)
    with pytest.raises(ConfigError, match=r"unknown key 'method\.encoder'"):
        call_from({"encoder": 1}, partial(Network, "encoder"), "method")


def test_no_key_may_name_what_is_bound_by_keyword() -> None:
    with pytest.raises(ConfigError, match=r"unknown key 'train\.loop'"):
        call_from({"out": "x", "loop": True}, partial(train, "method", loop=Loop()), "train")


def test_call_from_hands_unknown_names_to_an_open_ended_target() -> None:
    got = call_from({"name": "resnet18", "last_layer": 3}, open_ended, "encoder").arguments
    assert got == {"name": "resnet18", "bands": 1, "last_layer": 3}


def test_call_from_refuses_keys_where_there_are_none() -> None:
    with pytest.raises(ConfigError, match="nothing to set here"):
        call_from({"a": 1}, lambda: None, "demo")


def test_annotation_known_to_the_type_checker_only_cannot_be_set() -> None:
    def target(x: Absent = None) -> None:  # type: ignore[name-defined] # noqa: F821
        """Take an object."""

    with pytest.raises(ConfigError, match="set in Python"):
        call_from({"x": "text"}, target, "train")


@pytest.mark.parametrize(
    ("name", "known", "ending"),
    [
        ("byol", ["BYOL", "SimCLR"], "; did you mean 'BYOL'?"),
        ("qqq", ["BYOL", "SimCLR"], "; there are 'BYOL', 'SimCLR'"),
        ("qqq", ["BYOL"], "; there is 'BYOL'"),
        ("qqq", [], ""),
    ],
)
def test_nearest(name: str, known: list[str], ending: str) -> None:
    assert nearest(name, known) == ending


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10),
        ("1e-3", 1e-3),
        ("true", True),
        ("True", "True"),
        ("[1, 2]", [1, 2]),
        ("{a = 1}", {"a": 1}),
        ("radio", "radio"),
        ('"10"', "10"),
        ("", ""),
        ("runs/x y", "runs/x y"),
        ("2024-01-01", "2024-01-01"),
        ("1\nother = 2", "1\nother = 2"),
        ("-EDGE,-LOW_SNR", "-EDGE,-LOW_SNR"),
    ],
)
def test_parse_value(text: str, value: Any) -> None:
    got = parse_value(text)
    assert got == value
    assert type(got) is type(value)


def test_overrides_replace_and_add_without_touching_the_config() -> None:
    config = {"train": {"epochs": 1, "loop": {"clip": 1.0}}}
    got = apply_overrides(
        config, ["train.epochs=10", "train.loop.clip=none", "views.preset = radio", "train.epochs=11"]
    )
    assert got == {"train": {"epochs": 11, "loop": {"clip": "none"}}, "views": {"preset": "radio"}}
    assert config == {"train": {"epochs": 1, "loop": {"clip": 1.0}}}


@pytest.mark.parametrize("override", ["train.epochs", "=3", "train..epochs=3", ""])
def test_overrides_without_key_or_value_are_named(override: str) -> None:
    with pytest.raises(ConfigError, match=r"written table\.key=value; got"):
        apply_overrides({}, [override])


def test_override_through_a_value_is_named() -> None:
    with pytest.raises(ConfigError, match=r"goes through 'train\.epochs', which is not a table"):
        apply_overrides({"train": {"epochs": 1}}, ["train.epochs.x=1"])


def test_load_toml_names_what_is_wrong(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'.*absent\.toml' cannot be read: No such file"):
        load_toml(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_toml(tmp_path)
    (tmp_path / "bad.toml").write_text("[train\nepochs = 1")
    with pytest.raises(ConfigError, match=r"is not TOML: .*line 1"):
        load_toml(tmp_path / "bad.toml")
    (tmp_path / "latin.toml").write_bytes(b"name = '\xe9'")
    with pytest.raises(ConfigError, match="is not TOML"):
        load_toml(tmp_path / "latin.toml")


SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_dump_toml_round_trips(table: dict[str, Any]) -> None:
    got = tomllib.loads(dump_toml(table))
    assert got == table
    assert repr_types(got) == repr_types(table)


def repr_types(value: Any) -> Any:
    """Return the types of a nest, keys in order of their names: 1 equals 1.0 and True, but is not the same."""
    if isinstance(value, Mapping):
        return {key: repr_types(value[key]) for key in sorted(value)}
    return [repr_types(each) for each in value] if isinstance(value, list) else type(value)


def test_dump_toml_reads_as_a_person_would_write_it(tmp_path: Path) -> None:
    text = dump_toml(
        {"seed": 0, "train": {"out": Path("runs/x"), "size": None, "loop": {"betas": (0.9, 1)}}, "views": {}}
    )
    assert text == ('seed = 0\n\n[train]\nout = "runs/x"\nsize = "none"\n\n[train.loop]\nbetas = [0.9, 1]\n\n[views]\n')
    (tmp_path / "run.toml").write_text(text, encoding="utf-8")
    assert load_toml(tmp_path / "run.toml")["train"]["loop"] == {"betas": [0.9, 1]}


def test_dump_toml_takes_numpy_numbers_and_what_is_not_finite() -> None:
    got = tomllib.loads(dump_toml({"a": np.float64(1.5), "b": np.int32(3), "c": [math.inf, -math.inf], "d": math.nan}))
    assert math.isnan(got.pop("d"))
    assert got == {"a": 1.5, "b": 3, "c": [math.inf, -math.inf]}


@pytest.mark.parametrize(("table", "named"), [({"a": {"b": {1}}}, "'a.b' cannot"), ({1: 2}, "key of a TOML table")])
def test_dump_toml_refuses_what_toml_has_no_word_for(table: Any, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        dump_toml(table)


@given(st.integers(), st.floats(allow_nan=False), st.none() | st.integers(), st.lists(st.integers()))
def test_arguments_survive_a_file(epochs: int, lr: float, size: int | None, sizes: list[int]) -> None:
    table = {"out": "x", "epochs": epochs, "lr": lr, "size": size, "sizes": sizes}
    got = trained(**tomllib.loads(dump_toml(table)))
    assert (got["epochs"], got["lr"], got["size"], got["sizes"]) == (epochs, lr, size, tuple(sizes))
