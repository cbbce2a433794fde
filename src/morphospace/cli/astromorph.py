"""Config files of astromorph 0.1: read as ours, so that `morphospace run` takes them unchanged."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from morphospace.config import nearest
from morphospace.errors import ConfigError

__all__ = ["from_astromorph", "is_astromorph"]

_logger = logging.getLogger(__name__)

_NETWORKS = {"amm": "light", "n_layer_resnet": "resnet18"}
_LABELS = ("OBSRA", "OBSDEC", "RESTFRQ")  # beside OBJECT, which is a column of every store
_KEYS = (
    *("datafile", "data_settings", "epochs", "network_name", "network_settings", "byol_settings", "core_limit"),
    *("learning_rate", "exponential_lr", "gamma", "batch_size", "trained_network_name", "export_to_csv"),
)
# Settings that have a setting of ours: where it is, and how the value becomes ours.
_SAME: dict[str, tuple[str, Callable[[Any], Any]]] = {
    "epochs": ("train.epochs", int),
    "batch_size": ("train.batch_size", int),
    "learning_rate": ("train.lr", float),
    "core_limit": ("curate.intake.processes", int),
    "data_settings.stacksize": ("encoder.stacksize", int),
    "byol_settings.projection_size": ("method.projection_size", int),
    "byol_settings.projection_hidden_size": ("method.hidden_size", int),
    "byol_settings.use_momentum": ("method.momentum", bool),
    "byol_settings.moving_average_decay": ("method.ema_decay", float),
}
# Settings that need none: what our parts do by themselves.
_NEEDLESS = {
    "byol_settings.representation_size": "the size of the vectors is that of the network",
}
_TABLES = ("data_settings", "network_settings", "byol_settings")


def is_astromorph(config: Mapping[str, Any]) -> bool:
    """Say whether a config is one of astromorph: its ``datafile`` stands at the top, where we have tables only."""
    return "datafile" in config


def from_astromorph(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Say in our tables what a config of astromorph asks for.

    Parameters
    ----------
    config : mapping
        As of `load_toml`.
    source : str
        Name of the file. Its stem names what is made: ``STEM.cutouts``, ``runs/STEM``, ``STEM.emb`` and, with
        ``export_to_csv``, ``STEM.csv``, in the current directory.

    Returns
    -------
    dict
        Tables [curate], [encoder], [method], [train], [embed] and perhaps [export]. Settings that the file does not
        give are our defaults, not astromorph's. With ``trained_network_name``, nothing is trained.

    Raises
    ------
    ConfigError
        If a value is of the wrong kind, the network unknown, or the trained network one of astromorph's own, which is
        a pickle.

    Notes
    -----
    Keys that astromorph does not know it ignores; they are logged. ``core_limit`` limits the processes that read; the
    threads of training are those of the variable OMP_NUM_THREADS, as everywhere.
    """
    stem = Path(source).stem
    given = _flat(config, source)
    tables: dict[str, Any] = {
        "curate": {"source": _files(given["datafile"]), "out": f"{stem}.cutouts", "columns": list(_LABELS)}
    }
    trained = given.get("trained_network_name")
    if trained is None:
        tables |= {"encoder": _encoder(given, source), "method": {"name": "BYOL"}}
        tables["train"] = {"out": f"runs/{stem}", **_loop(given)}
    tables["embed"] = {"out": f"{stem}.emb"}
    if trained is not None:
        tables["embed"]["run"] = _run(str(trained), source)
    if given.get("export_to_csv"):
        tables["export"] = {"out": f"{stem}.csv"}
    for key, value in given.items():
        if key in _SAME:
            place, kind = _SAME[key]
            _set(tables, place, _as(kind, value, key, source))
    if "ema_decay" in tables.get("method", {}):
        tables["method"]["ema_schedule"] = "constant"  # astromorph's decay stays as it is
    return tables


def _flat(config: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Name settings with dots; what is unknown is logged and left out."""
    known = {*_SAME, *_NEEDLESS, *_KEYS, "network_settings.last_layer"} - set(_TABLES)
    flat: dict[str, Any] = {}
    for key, value in config.items():
        if key in _TABLES and not isinstance(value, Mapping):
            msg = f"'{key}' in {source} must be a table, written [{key}]; got {value!r}."
            raise ConfigError(msg)
        flat |= (
            {f"{key}.{inner}": each for inner, each in value.items()} if isinstance(value, Mapping) else {key: value}
        )
    for key in list(flat):
        if key not in known:
            _logger.warning(
                "'%s' in %s is no setting of astromorph and is left out%s", key, source, nearest(key, known)
            )
            del flat[key]
    return flat


def _as(kind: Callable[[Any], Any], value: object, key: str, source: str) -> Any:  # noqa: ANN401
    """Check a value; a whole number is a float too, nothing else changes its kind."""
    fits = isinstance(value, bool) if kind is bool else isinstance(value, int) and not isinstance(value, bool)
    if not fits and not (kind is float and isinstance(value, float)):
        words = {bool: "true or false", int: "a whole number", float: "a number"}
        msg = f"'{key}' in {source} must be {words[kind]}; got {value!r}."  # type: ignore[index]
        raise ConfigError(msg)
    return kind(value)


def _files(datafile: object) -> str | list[str]:
    """Name the list; the paths in it where its name is not that of a list, which astromorph does not ask for."""
    name = str(datafile)
    if name.lower().endswith((".txt", ".lst", ".list")):
        return name
    try:
        lines = [line.strip() for line in Path(name).read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return name  # curate says what is wrong with it
    return [line for line in lines if line and not line.startswith("#")] or name


def _encoder(given: Mapping[str, Any], source: str) -> dict[str, Any]:
    name = given.get("network_name")
    if name not in _NETWORKS:
        msg = f"'network_name' in {source} is {name!r}{nearest(str(name), _NETWORKS)}."
        raise ConfigError(msg)
    table: dict[str, Any] = {"name": _NETWORKS[name]}
    layer = given.get("network_settings.last_layer")
    if layer is not None and name == "n_layer_resnet":
        if layer not in (layers := [f"layer{number}" for number in range(1, 5)]):
            msg = f"'network_settings.last_layer' in {source} must be one of {', '.join(layers)}; got {layer!r}."
            raise ConfigError(msg)
        table["last_layer"] = int(layer[-1])
    return table


def _loop(given: Mapping[str, Any]) -> dict[str, Any]:
    """Learning rate: exponential or constant where the file says which, ours where it does not."""
    if "exponential_lr" not in given:
        return {}
    if not given["exponential_lr"]:
        return {"loop": {"schedule": {"kind": "constant", "warmup": 0.0}}}
    return {"loop": {"schedule": {"kind": "exponential", "warmup": 0.0, "gamma": given.get("gamma", 0.99)}}}


def _run(trained: str, source: str) -> str:
    if trained.lower().endswith((".pt", ".pth")) or os.path.isfile(trained):
        msg = (
            f"'trained_network_name' in {source} is '{trained}', a pickle of astromorph that would run code when read; "
            "name a run of morphospace, or leave it out and train anew."
        )
        raise ConfigError(msg)
    return trained


def _set(tables: dict[str, Any], place: str, value: object) -> None:
    """Set a key in tables within tables; of steps that are left out nothing is set."""
    first, *names = place.split(".")
    if first not in tables:
        return
    table = tables[first]
    for name in names[:-1]:
        table = table.setdefault(name, {})
    table[names[-1]] = value
