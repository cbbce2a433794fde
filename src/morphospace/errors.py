"""The errors of morphospace; each message names the thing, says what came and what to do."""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "DataError",
    "MissingDependencyError",
    "MorphospaceError",
    "NotFittedError",
    "ShapeError",
    "StoreError",
    "TrainingError",
]


class MorphospaceError(Exception):
    """Parent of every error that morphospace raises on purpose."""


class DataError(MorphospaceError, ValueError):
    """Input data cannot be used: unreadable, empty, of the wrong kind."""


class ShapeError(MorphospaceError, ValueError):
    """An array or tensor has a shape that does not fit."""


class ConfigError(MorphospaceError, ValueError):
    """An option is unknown, out of range or contradicts another."""


class StoreError(MorphospaceError, OSError):
    """A folder of cutouts, embeddings or a run cannot be read or written."""


class NotFittedError(MorphospaceError, ValueError):
    """Something was asked of an object that has not been trained or fitted."""


class TrainingError(MorphospaceError, RuntimeError):
    """A training cannot go on: the loss is not finite, the method misbehaves."""


class MissingDependencyError(MorphospaceError, ImportError):
    """An optional package is not installed."""
