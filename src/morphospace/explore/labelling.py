"""Labels given on the page: sets, clicks, undo, files."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
from starlette.responses import Response

from morphospace.errors import ConfigError, DataError
from morphospace.explore.answers import Asked, row_numbers, text, told
from morphospace.explore.columns import Encoded
from morphospace.explore.scene import Scene
from morphospace.space.ask import Asked as Guess
from morphospace.space.ask import ask
from morphospace.space.labels import LabelSet

__all__ = [
    "describe_sets",
    "export_labels",
    "give_label",
    "label_column",
    "label_set",
    "labels_of",
    "new_set",
    "next_objects",
    "score",
    "undo_label",
]

_FILES = {"csv": (".csv", "text/csv; charset=utf-8"), "votable": (".vot", "application/x-votable+xml")}
_VERBS = ("score", "next", "export", "undo")
_MOST_CLASSES = 100
_N_NEXT = 20
_MOST_NEXT = 200


def describe_sets(scene: Scene) -> list[dict[str, Any]]:
    """List the label sets."""
    return [] if scene.labels is None else [_told(one) for one in scene.labels.sets()]


def _told(one: LabelSet) -> dict[str, Any]:
    return {"name": one.name, "kind": one.kind, "classes": one.classes, "n": one.n, "can_undo": one.can_undo}


def label_set(scene: Scene, asked: Asked) -> Response:
    """Answer /api/labels/SET: the labels that objects have now."""
    return told(labels_of(scene, asked.path["name"]))


def labels_of(scene: Scene, name: str) -> dict[str, Any]:
    """Tell a set and the labels that objects have now."""
    labels = scene.known_labels()
    found = _told(labels.find(name))
    emb = scene.emb
    found["labels"] = [
        {"row": emb.row_of(one.id), "value": one.value, "when": one.when}
        for one in labels.labels(name)
        if one.id in emb  # labels of objects that have left the store are kept, and not shown
    ]
    return found


def new_set(scene: Scene, asked: Asked) -> Response:
    """Answer POST /api/labels: a new set."""
    want = asked.json()
    classes = want.get("classes") or []
    if not isinstance(classes, list) or len(classes) > _MOST_CLASSES or any(not isinstance(c, str) for c in classes):
        msg = f"classes must be a list of at most {_MOST_CLASSES} names."
        raise DataError(msg)
    name, kind = text(want.get("name"), "name") or "", text(want.get("kind"), "kind") or "interest"
    before, _, last = name.rpartition("/")
    if before and last in _VERBS:  # its address would be that of a question about another set
        msg = f"a label set cannot have a name that ends in '/{last}'; choose another."
        raise DataError(msg)
    return told(_told(scene.known_labels().create(name, kind, classes=classes)))


def give_label(scene: Scene, asked: Asked) -> Response:
    """Answer POST /api/labels/SET: label rows, or take their label away."""
    want, name = asked.json(), asked.path["name"]
    chosen = row_numbers(want.get("rows"), len(scene.emb), most=len(scene.emb))
    value = want.get("value")
    if value is not None and (isinstance(value, bool) or not isinstance(value, int | str)):
        msg = f"a label must be a whole number, a name or nothing; got {str(value)[:40]!r}."
        raise DataError(msg)
    ids = scene.emb.ids
    changed = scene.known_labels().give(name, [ids[row] for row in chosen], value)
    return told({"changed": changed, **_told(scene.known_labels().find(name))})


def undo_label(scene: Scene, asked: Asked) -> Response:
    """Answer POST /api/labels/SET/undo: take the last step back."""
    name = asked.path["name"]
    ids = scene.known_labels().undo(name)
    rows = [scene.emb.row_of(one) for one in ids if one in scene.emb]
    return told({"rows": rows, **labels_of(scene, name)})


def label_column(scene: Scene, name: str) -> Encoded:
    """Give a set as a column: int16, the number of the class or 0 to 5; -1 without a label."""
    labels = scene.known_labels()
    described = labels.find(name)
    codes = np.full(len(scene.emb), -1, dtype=np.int16)
    number_of = {one: number for number, one in enumerate(described.classes)}
    for identifier, value in labels.values(name).items():
        if identifier in scene.emb:
            codes[scene.emb.row_of(identifier)] = value if isinstance(value, int) else number_of[value]
    return Encoded("category", codes, described.classes)


def score(scene: Scene, asked: Asked) -> Response:
    """Answer POST /api/labels/SET/score: learn from the labels and keep a score for every object."""
    name = asked.path["name"]
    found = _learned(scene, name, _N_NEXT, text(asked.json().get("wanted"), "wanted"), None)
    path = found.save(scene.emb, name)
    return told({"method": found.method, "n_labels": found.n_labels, "score": path.stem, "why": found.why})


def next_objects(scene: Scene, asked: Asked) -> Response:
    """Answer /api/labels/SET/next: the objects to look at next, and why these."""
    n = asked.number("n", _N_NEXT, least=1, most=_MOST_NEXT)
    wanted, where = text(asked.query.get("wanted"), "wanted"), text(asked.query.get("where"), "where")
    found = _learned(scene, asked.path["name"], n, wanted, where)
    return told({"rows": found.rows, "why": found.why, "method": found.method, "n_labels": found.n_labels})


def _learned(scene: Scene, name: str, n: int, wanted: str | None, where: str | None) -> Guess:
    """Learn from the labels as they are now; what was learned last is not learned twice."""
    values = scene.known_labels().values(name)
    question = (name, n, wanted, where, tuple(values.items()))
    found: Guess = scene.learned.get(question, lambda: (ask(scene.emb, values, n=n, wanted=wanted, where=where), 1))
    return found


def export_labels(scene: Scene, asked: Asked) -> Response:
    """Answer /api/labels/SET/export: the set as a file."""
    name, kind = asked.path["name"], asked.query.get("format", "csv")
    if kind not in _FILES:
        msg = f"unknown format '{kind[:40]}' of labels; there are csv and votable."
        raise ConfigError(msg)
    suffix, media = _FILES[kind]
    with tempfile.TemporaryDirectory() as folder:
        content = scene.known_labels().export(name, Path(folder) / f"labels{suffix}", format=kind).read_bytes()
    disposition = f"attachment; filename*=UTF-8''{quote(f'{name}{suffix}', safe='')}"
    return Response(content, media_type=media, headers={"Content-Disposition": disposition})
