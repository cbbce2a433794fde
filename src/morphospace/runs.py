"""Runs: the folder that a training leaves behind, and all that is needed to use it or go on with it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from morphospace._manifest import replacing
from morphospace.config import dump_toml
from morphospace.errors import NotFittedError, StoreError

__all__ = ["STARTER", "Run", "placing", "save_tensors", "software_versions", "write_text"]

STARTER = Path(__file__).parent / "starter"
_SPACE_KEYS = ("encoder", "preparation", "layer", "bands")


@dataclass(frozen=True)
class Run:
    """A trained encoder on disk.

    Files: ``run.toml`` (the resolved configuration, versions and the fingerprint of the data), ``weights.safetensors``
    (the whole method), ``reference.safetensors`` (mean and covariance of the training vectors), ``history.csv``,
    ``health.json``, ``METHODS.md`` and, until the training has ended, ``checkpoint.pt``.
    """

    path: Path

    @classmethod
    def open(cls, path: str | Path) -> Run:
        """Open a run; ``"starter"`` is the small encoder that comes with morphospace.

        Raises
        ------
        StoreError
            If there is no run at `path`.
        """
        folder = STARTER if str(path) == "starter" and not Path(path).exists() else Path(path)
        if not (folder / "run.toml").is_file():
            msg = f"'{path}' is no run: it has no run.toml. Give the folder that train() wrote as out=, or 'starter'."
            raise StoreError(msg)
        return cls(folder)

    @property
    def config(self) -> dict[str, Any]:
        """The resolved configuration, as nested dictionaries."""
        try:
            return tomllib.loads((self.path / "run.toml").read_text(encoding="utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            msg = f"'{self.path}/run.toml' cannot be read ({error}); restore it from a copy of the run."
            raise StoreError(msg) from None

    @property
    def finished(self) -> bool:
        """Whether the training came to its end."""
        return (self.path / "weights.safetensors").is_file()

    @property
    def writable(self) -> bool:
        """Whether files may be written beside the weights; false for the starter, which is part of the package."""
        return self.path != STARTER

    def tensors(self, name: str = "weights") -> dict[str, Tensor]:
        """Read a file of tensors of the run, ``weights``, ``initial`` or ``reference``; never executes code.

        Raises
        ------
        NotFittedError
            If the training has not written it yet.
        StoreError
            If it is damaged.
        """
        file = self.path / f"{name}.safetensors"
        if not file.is_file():
            msg = f"run '{self.path}' has no {name} yet; finish it with: morphospace train --resume {self.path}"
            raise NotFittedError(msg)
        try:
            return load_file(file)
        except (SafetensorError, OSError) as error:
            msg = f"'{file}' is damaged ({error}); restore it from a copy of the run or train again."
            raise StoreError(msg) from None

    @property
    def health(self) -> dict[str, Any]:
        """The verdict on the trained encoder with its figures; empty before the training has ended."""
        file = self.path / "health.json"
        try:
            found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
        except ValueError as error:  # not JSON or not UTF-8
            msg = f"'{file}' cannot be read ({error}); write it again with: morphospace doctor {self.path}"
            raise StoreError(msg) from None
        return found

    def space_id(self, *, average: str | None = None, config: Mapping[str, Any] | None = None) -> str:
        """Identify the space of this run's vectors: 16 hexadecimal digits.

        Parameters
        ----------
        average : str, optional
            Group of symmetries averaged over.
        config : mapping, optional
            Configuration to use in the place of the run's own, where a call overrides it.

        Notes
        -----
        SHA-256 over the encoder's weights and all that decides a vector: stretch, scale, size, units, bands, layer, average.
        """
        config = self.config if config is None else config
        digest = hashlib.sha256()
        settings = {key: config.get(key) for key in _SPACE_KEYS}
        digest.update(json.dumps({**settings, "average": average}, sort_keys=True).encode())
        weights = self.tensors()
        for key in sorted(k for k in weights if k.startswith("encoder.")):
            digest.update(key.encode())
            digest.update(weights[key].contiguous().flatten().view(torch.uint8).numpy().tobytes())
        return digest.hexdigest()[:16]

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write ``run.toml``."""
        write_text(self.path / "run.toml", dump_toml(config))


@contextlib.contextmanager
def placing(path: Path) -> Iterator[Path]:
    """Give a path beside to write to, which then takes the place of `path`: a reader never sees half a file.

    Raises
    ------
    StoreError
        If the disk does not take it; what was there stays.
    """
    try:
        with replacing(path) as beside:
            yield beside
    except (OSError, RuntimeError, SafetensorError) as error:  # torch and safetensors have their own for a full disk
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        msg = f"cannot write '{path}' ({first}); make room and go on with resume=True."
        raise StoreError(msg) from error


def save_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file in one step."""
    with placing(path) as beside:
        # save_file() would give a file that nobody else may read, whatever the umask
        beside.write_bytes(save({k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}))


def write_text(path: Path, text: str) -> None:
    """Write a text file in one step."""
    with placing(path) as beside:
        beside.write_text(text, encoding="utf-8")


def software_versions() -> dict[str, str]:
    """Return the versions that decide a result: morphospace, torch, numpy and astropy."""
    return {name: version(name) for name in ("morphospace", "torch", "numpy", "astropy")}
