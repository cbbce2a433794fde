"""The public labelled sets that morphospace knows how to get."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from morphospace.config import nearest
from morphospace.errors import ConfigError

__all__ = ["CATALOGUE", "Dataset", "File", "datasets", "find_dataset"]

CATALOGUE = Path(__file__).with_name("datasets.toml")


@dataclass(frozen=True)
class File:
    """One file of a set."""

    name: str
    """Under which it is stored."""
    url: str
    """Where it is."""
    bytes: int = 0
    """Its exact size, 0 where that is not known."""
    checksum: str = ""
    """``"sha256:..."`` or ``"md5:..."``, "" where none is known."""


@dataclass(frozen=True)
class Dataset:
    """A public labelled set: what is in it, who may use it, whom to cite and where it is."""

    name: str
    """By which `download` knows it."""
    title: str
    """What it shows."""
    images: int
    """How many."""
    pixels: str
    """Of what kind."""
    size: str
    """Of the download, in words; "unknown" where it is."""
    licence: str
    """What its page allows; read the page before publishing."""
    citation: str
    """Papers to cite."""
    page: str
    """Address to read."""
    use: str
    """How to go on with the files."""
    files: tuple[File, ...]
    """What is downloaded."""

    @property
    def checksums(self) -> str:
        """Say whether the checksums are known in advance."""
        known = sum(bool(file.checksum) for file in self.files)
        if known == len(self.files):
            return "known"
        return f"{known} of {len(self.files)} known, the rest recorded at the first download"


def datasets() -> tuple[Dataset, ...]:
    """List the public labelled sets that `download` can get.

    Returns
    -------
    tuple of Dataset
        With number of images, size, licence and citation.
    """
    with CATALOGUE.open("rb") as stream:
        tables: list[dict[str, Any]] = tomllib.load(stream)["dataset"]
    return tuple(
        Dataset(**{key: value for key, value in table.items() if key != "file"}, files=_files(table))
        for table in tables
    )


def _files(table: dict[str, Any]) -> tuple[File, ...]:
    return tuple(File(**each) for each in table["file"])


def find_dataset(name: str) -> Dataset:
    """Return the set of a name.

    Parameters
    ----------
    name : str
        As in the list; case does not matter.

    Returns
    -------
    Dataset

    Raises
    ------
    ConfigError
        If there is none; the nearest name is told.
    """
    known = {each.name: each for each in datasets()}
    if name.casefold() not in known:
        msg = f"there is no data set {name!r}{nearest(name, known)}"
        raise ConfigError(msg)
    return known[name.casefold()]
