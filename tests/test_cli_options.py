"""Options from signatures: source text alone decides what a command takes."""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner

from morphospace.cli import signatures
from morphospace.cli.options import State, Verb, options_from, state, verb
from morphospace.cli.output import emit, messages_on_stderr, plain
from morphospace.cli.signatures import REQUIRED, Kind, signature_of

LIBRARY = '''
"""A library whose import must not happen."""
from __future__ import annotations
import torch_that_is_not_there
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Optional
from morphospace.aliases import Mode, SIZE, Unit

Query = "str | Path | Sequence[str | float]"

@dataclass(frozen=True)
class Curve:
    """A curve.

    Attributes
    ----------
    kind : {"asinh", "log"}
        The ``shape``.
    a : float
        See `Finder`.
    """
    name: ClassVar[str] = "curve"
    kind: Literal["asinh", "log"] = "asinh"
    a: float = 1.0

@dataclass
class Finder:
    """Find.

    Parameters
    ----------
    snr : float
        Least ratio of
        signal and noise.
    a, b : float
        Both softenings.
    """
    snr: float = 5.0
    deblend: bool = True
    a: float = 2.0
    curve: Curve = field(default_factory=Curve)
    hook: object = None

class Network:
    """A network.

    Parameters
    ----------
    width : int
        How wide.
    """
    def __init__(self, encoder, *, width: int = 3) -> None: ...

def work(
    source: str | Path,
    model: Tensor | None = None,
    *,
    out: str | Path,
    size: int | None = SIZE,
    clip: float | None = 1.0,
    mode: Mode = "fast",
    unit: Unit | None = None,
    hdu: int | str | None = None,
    columns: Sequence[str] = (),
    zoom: tuple[float, float] = (0.8, 1.25),
    sizes: tuple[int, ...] = (),
    metric: str = "cosine",
    not_like: Query = (),
    detect: Finder | None = None,
    loop: Finder = Finder(),
    resume: bool = False,
    sharp: bool = True,
    old: Optional[int] = None,
    free=None,
) -> None:
    """Do the `work`
    in one line.

    More on ``it``.

    Parameters
    ----------
    source : path
        What to read.
    out : path
        Where to.
    size : int
        Pixels, as ``N``.

        A second paragraph.
    columns : sequence of str
        Keywords.
    metric : {"cosine", "euclidean"}
        Of distance.

    Returns
    -------
    None
    """

async_thing = 3
'''
ALIASES = """
from typing import Literal
from morphospace.deeper import SIZE
Mode = Literal["fast", "slow"]
Unit: TypeAlias = Literal["noise", "none"]
"""


@pytest.fixture(autouse=True)
def library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    package = tmp_path / "morphospace"
    (package / "deeper").mkdir(parents=True)
    (package / "library.py").write_text(LIBRARY)
    (package / "aliases.py").write_text(ALIASES)
    (package / "deeper/__init__.py").write_text("SIZE: int = 100\n")
    monkeypatch.setattr(signatures, "ROOT", tmp_path)
    signature_of.cache_clear()
    signatures._names.cache_clear()
    yield
    signature_of.cache_clear()
    signatures._names.cache_clear()


def test_signature_has_summary_text_and_words() -> None:
    work = signature_of("morphospace.library:work")
    assert work.summary == "Do the work in one line."
    assert work.text == "More on ``it``."
    words = {parameter.name: parameter.help for parameter in work.parameters}
    assert words["source"] == "What to read."
    assert words["size"] == "Pixels, as N. A second paragraph."
    assert words["mode"] == ""


@pytest.mark.parametrize(
    ("name", "kind", "default"),
    [
        ("source", Kind("path"), REQUIRED),
        ("model", Kind("object", optional=True), None),
        ("out", Kind("path"), REQUIRED),
        ("size", Kind("int", optional=True), 100),
        ("clip", Kind("float", optional=True), 1.0),
        ("mode", Kind("str", choices=("fast", "slow")), "fast"),
        ("unit", Kind("str", choices=("noise", "none"), optional=True), None),
        ("hdu", Kind("value", optional=True), None),
        ("columns", Kind("str", many=True), ()),
        ("zoom", Kind("float", many=True, length=2), (0.8, 1.25)),
        ("sizes", Kind("int", many=True), ()),
        ("not_like", Kind("str", many=True), ()),
        ("resume", Kind("bool"), False),
        ("old", Kind("int", optional=True), None),
        ("free", Kind("object"), None),
    ],
)
def test_parameter_kind_and_default(name: str, kind: Kind, default: object) -> None:
    parameters = {parameter.name: parameter for parameter in signature_of("morphospace.library:work").parameters}
    assert parameters[name].kind == kind
    assert parameters[name].default == default


def test_dataclass_parameters_carry_their_fields() -> None:
    parameters = {parameter.name: parameter for parameter in signature_of("morphospace.library:work").parameters}
    detect = parameters["detect"].kind
    assert [field.name for field in detect.fields] == ["snr", "deblend", "a", "curve", "hook"]
    assert detect.optional
    assert detect.fields[0].help == "Least ratio of signal and noise."
    curve = detect.fields[3].kind
    assert [(field.name, field.default, field.help) for field in curve.fields] == [
        ("kind", "asinh", "The shape."),
        ("a", 1.0, "Both softenings."),  # from the class that its words point to
    ]
    assert str(parameters["loop"].default) == "Finder()"


def test_class_gives_the_parameters_of_its_constructor() -> None:
    parameters = signature_of("morphospace.library:Network").parameters
    assert [(each.name, each.default, each.help) for each in parameters] == [
        ("encoder", REQUIRED, ""),
        ("width", 3, "How wide."),
    ]


@pytest.mark.parametrize("where", ["morphospace.library:absent", "morphospace.library:async_thing", "morphospace.no:f"])
def test_signature_of_nothing_is_an_error(where: str) -> None:
    with pytest.raises(LookupError, match="no "):
        signature_of(where)


def make_command(**settings: Any) -> tuple[Verb, list[dict[str, Any]]]:
    calls: list[dict[str, Any]] = []

    @verb("morphospace.library:work", examples=["morphospace work x"])
    @click.argument("source")
    @options_from("morphospace.library:work", "curate", **{"skip": ("source",), **settings})
    def command(config: dict[str, Any], source: str) -> None:
        calls.append({"source": source, "json": state().json, **config})

    return command, calls


def call(words: list[str], **settings: Any) -> dict[str, Any]:
    command, calls = make_command(**settings)
    done = CliRunner().invoke(command, words, obj=State(), catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return calls[0]


def refused(words: list[str], **settings: Any) -> str:
    done = CliRunner().invoke(make_command(**settings)[0], words, obj=State())
    assert done.exit_code == 2
    return done.stderr


def test_only_options_given_reach_the_config() -> None:
    assert call(["fits", "--out", "x"]) == {"source": "fits", "json": False, "curate": {"out": "x"}}
    assert call(["fits", "--json"], required=False) == {"source": "fits", "json": True}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["--size", "12"], {"size": 12}),
        (["--size", "none"], {"size": "none"}),
        (["--clip", "none"], {"clip": "none"}),
        (["--clip", "2"], {"clip": 2.0}),
        (["--mode", "SLOW"], {"mode": "slow"}),
        (["--unit", "none"], {"unit": "none"}),
        (["--hdu", "1"], {"hdu": 1}),
        (["--hdu", "SCI"], {"hdu": "SCI"}),
        (["--columns", "OBJECT", "--columns", "12"], {"columns": ["OBJECT", "12"]}),
        (["--zoom", "0.5", "2"], {"zoom": [0.5, 2.0]}),
        (["--not-like", "12"], {"not_like": ["12"]}),
        (["--resume"], {"resume": True}),
        (["--no-sharp"], {"sharp": False}),
        (["--detect"], {"detect": True}),
        (["--detect-snr", "3"], {"detect": {"snr": 3.0}}),
        (["--detect", "--detect-snr", "3", "--no-detect-deblend"], {"detect": {"snr": 3.0, "deblend": False}}),
        (["--detect-snr", "3", "--detect"], {"detect": {"snr": 3.0}}),
        (["--detect-curve", "log"], {"detect": {"curve": {"kind": "log"}}}),
        (["--loop-a", "3"], {"loop": {"a": 3.0}}),
    ],
)
def test_options_become_keys(words: list[str], expected: dict[str, Any]) -> None:
    assert call(["x", "--out", "y", *words])["curate"] == {"out": "y", **expected}


def test_flattened_and_renamed_options() -> None:
    settings = {"skip": ("source", "detect"), "flatten": ("loop",), "rename": {"out": "target"}}
    got = call(["x", "--target", "y", "--snr", "3", "--curve", "log", "-a", "1"], **settings)
    assert got["curate"] == {"out": "y", "loop": {"snr": 3.0, "curve": {"kind": "log"}, "a": 1.0}}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "Missing argument 'SOURCE'"),
        (["x"], "Missing option '--out'"),
        (["x", "--out", "y", "--size", "big"], "'big' is not a valid integer"),
        (["x", "--out", "y", "--mode", "slwo"], "'slwo' is not one of 'fast', 'slow'"),
        (["x", "--out", "y", "--colums", "A"], "No such option"),
        (["x", "--out", "y", "--model", "m"], "No such option"),  # no text can stand for an object
    ],
)
def test_bad_usage_is_told(words: list[str], sentence: str) -> None:
    assert sentence in refused(words)


def test_help_shows_words_defaults_tables_and_examples() -> None:
    done = CliRunner().invoke(make_command()[0], ["--help"])
    assert done.exit_code == 0
    text = " ".join(done.output.split())
    for words in (
        "Do the work in one line. More on it.",
        "--size INTEGER|none Pixels, as N. A second paragraph. [default: 100]",
        "--out PATH Where to. [required]",
        "--sharp / --no-sharp [default: sharp]",
        "--metric [cosine|euclidean] Of distance. [default: cosine]",
        "Options of [curate]:",
        "Options of [curate.detect.curve]:",
        "Examples: morphospace work x",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (math.nan, None),
        (np.array([1.0, math.inf]), [1.0, None]),
        ({"a": (Path("x"), None)}, {"a": ["x", None]}),
        ({1: True}, {"1": True}),
    ],
)
def test_plain_is_json(value: Any, expected: Any) -> None:
    got = plain(value)
    assert got == expected
    assert json.loads(json.dumps(got, allow_nan=False)) == expected


def test_emit_chooses_text_or_json(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"a": math.nan}, "words", as_json=True)
    emit({"a": 1}, "words", as_json=False)
    assert capsys.readouterr().out == '{"a": null}\nwords\n'


def test_messages_are_single_lines_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    logger = logging.getLogger("morphospace.test")
    with messages_on_stderr(quiet=False):
        logger.info("read %d\nfiles", 3)
        logger.warning("odd")
        warnings.simplefilter("always")
        warnings.warn("two\nlines", UserWarning, stacklevel=1)
    with messages_on_stderr(quiet=True):
        logger.info("unheard")
        logger.error("bad")
    logger.warning("nobody listens any more")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[:4] == ["read 3 files", "Warning: odd", "Warning: two lines", "Error: bad"]
    assert "unheard" not in captured.err
