"""Files that science writes: their endings say what they hold, and a kill leaves the old or the new one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from morphospace._manifest import replacing
from morphospace.errors import ConfigError, StoreError

__all__ = ["CSV", "FIGURES", "PARQUET", "SAFETENSORS", "free_file", "write_file"]

PARQUET = (".parquet", ".pq")
SAFETENSORS = (".safetensors",)
CSV = (".csv",)
FIGURES = (".png", ".pdf", ".svg")


def free_file(path: str | Path, endings: tuple[str, ...] = PARQUET, *, overwrite: bool) -> Path:
    """Give the path of a file that may be written.

    Parameters
    ----------
    path : path
    endings : tuple of str
        Those that say what is written.
    overwrite : bool
        Whether it may be there.

    Raises
    ------
    ConfigError
        If it has another ending.
    StoreError
        If it is a folder, or is there and `overwrite` is not given.
    """
    target = Path(path)
    if target.is_dir():
        msg = f"'{target}' is a folder; give the name of a file that ends in {' or '.join(endings)}."
        raise StoreError(msg)
    if target.suffix.casefold() not in endings:
        msg = f"'{target.name}' must end in {' or '.join(endings)}, for that is what is written."
        raise ConfigError(msg)
    if target.exists() and not overwrite:
        msg = f"'{target}' is there already; choose another name or give overwrite=True (--overwrite)."
        raise StoreError(msg)
    return target


def write_file(path: Path, write: Callable[[Path], object]) -> Path:
    """Write a file beside and rename it; its folder is made.

    Raises
    ------
    StoreError
        If it cannot be written; what was there stays.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            write(beside)
    except OSError as error:
        msg = f"'{path}' cannot be written ({error})."
        raise StoreError(msg) from error
    return path
