"""The TensorBoard projector: vectors, labels and a sprite of thumbnails in a folder."""

from __future__ import annotations

import json
import logging
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray
from PIL import Image
from sklearn.cluster import MiniBatchKMeans

from morphospace.errors import StoreError
from morphospace.space.embeddings import Embeddings
from morphospace.space.plain import plain_table, unique_names
from morphospace.space.tiles import Thumbs, square, take_thumbs

__all__ = ["sprite_layout", "stratified_sample", "write_projector"]

MOST_PIXELS = 8192  # the largest texture that every WebGL can hold
SMALLEST_TILE = 16  # below this a galaxy is a dot
LARGEST_TILE = 128
_CONFIG = "projector_config.pbtxt"
_N_STRATA = 64
_ROWS_AT_ONCE = 1024
_logger = logging.getLogger(__name__)


def sprite_layout(n: int, largest: int = LARGEST_TILE) -> tuple[int, int]:
    """Choose the tiles of a sprite of at most 8,192 pixels a side.

    Parameters
    ----------
    n : int, >= 1
        Number of thumbnails.
    largest : int
        Side of a tile where there is room.

    Returns
    -------
    columns, tile : int
        Tiles in a row, and the side of one in pixels: at most ``largest`` and at least 16; 16 leaves room for 262,144.
    """
    columns = math.ceil(math.sqrt(min(n, (MOST_PIXELS // SMALLEST_TILE) ** 2)))
    return columns, max(SMALLEST_TILE, min(largest, MOST_PIXELS // columns))


def stratified_sample(vectors: NDArray[np.float32], n: int, *, seed: int = 0) -> NDArray[np.int64]:
    """Choose rows so that each region of the space keeps its share.

    Parameters
    ----------
    vectors : array, (N, D)
        Finite.
    n : int, <= N
    seed : int

    Returns
    -------
    array of int, (n,)
        Row numbers in increasing order. Strata are the clusters (64, or n / 16) of k-means on the unit vectors; each gives
        its share of ``n`` (proportional allocation: Cochran 1977, section 5.5), and one row at least, drawn at random.
    """
    rng = np.random.default_rng(seed)
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    some = unit[np.sort(rng.choice(len(unit), min(len(unit), 20_000), replace=False))]
    n_strata = min(_N_STRATA, max(1, n // 16), len(np.unique(some, axis=0)))
    strata = MiniBatchKMeans(n_strata, random_state=seed, n_init=1).fit(some).predict(unit)
    members = [rng.permutation(np.flatnonzero(strata == s)) for s in np.unique(strata)]
    quotas = _allocate(np.array([len(m) for m in members]), n)
    return np.sort(np.concatenate([m[:q] for m, q in zip(members, quotas, strict=True)]))


def _allocate(sizes: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Share n among strata by their sizes, at least one to each; n is from their number to the sum of their sizes."""
    share = sizes * n / sizes.sum()
    quotas = np.maximum(1, np.floor(share).astype(np.int64))
    while quotas.sum() != n:  # at most once for each stratum
        short = quotas.sum() < n
        due = (
            np.where(quotas < sizes, share - quotas, -np.inf)
            if short
            else np.where(quotas > 1, quotas - share, -np.inf)
        )
        quotas[np.argmax(due)] += 1 if short else -1
    return np.asarray(quotas)


def write_projector(emb: Embeddings, out: Path, thumbs: Thumbs | None = None) -> None:
    """Write the folder that ``tensorboard --logdir`` opens in its projector.

    Parameters
    ----------
    emb : Embeddings
        Rows without a vector (NaN) are left out, with a line in the log.
    out : Path
        Folder; one written before is replaced.
    thumbs : Thumbs, optional
        For the sprite. More objects mean smaller thumbnails; of more than 262,144 objects a stratified sample of that
        number is written, with a line in the log.

    Raises
    ------
    StoreError
        If the folder is there and holds something else, or cannot be written.

    Notes
    -----
    TensorBoard itself shows the first 100,000 points.
    """
    rows = np.flatnonzero(np.isfinite(emb.vectors).all(axis=1))
    if len(rows) < len(emb):
        _logger.warning("%d objects without a vector are left out of the projector", len(emb) - len(rows))
    capacity = (MOST_PIXELS // SMALLEST_TILE) ** 2
    if thumbs is not None and len(rows) > capacity:
        _logger.warning(
            "a sprite holds %s thumbnails; the projector gets a stratified sample of the %s objects",
            f"{capacity:,}",
            f"{len(rows):,}",
        )
        rows = rows[stratified_sample(emb.vectors[rows], capacity)]
    with _replacing_folder(out) as folder:
        _write_vectors(emb.vectors, rows, folder / "vectors.tsv")
        _write_metadata(emb, rows, folder / "metadata.tsv")
        tile = None if thumbs is None or len(rows) == 0 else _write_sprite(thumbs, rows, folder / "sprite.png")
        (folder / _CONFIG).write_text(_config_text("in_memory" if emb.path is None else emb.path.stem, tile), "utf-8")


def _write_vectors(vectors: NDArray[np.float32], rows: NDArray[np.int64], path: Path) -> None:
    # Text and not the plugin's binary form: it takes a file for binary only if that is not UTF-8 by chance.
    schema = pa.schema([(str(i), pa.float32()) for i in range(vectors.shape[1])])
    options = pyarrow.csv.WriteOptions(include_header=False, delimiter="\t")
    with pyarrow.csv.CSVWriter(str(path), schema, write_options=options) as writer:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            some = vectors[rows[start : start + _ROWS_AT_ONCE]]
            writer.write_table(pa.Table.from_arrays([pa.array(c) for c in some.T.copy()], schema=schema))


def _write_metadata(emb: Embeddings, rows: NDArray[np.int64], path: Path) -> None:
    """Write a header and a line for each row, with the row's number: of one column the projector takes no header."""
    table = plain_table(emb.keep(rows).table())
    columns = [[_cell(v) for v in column.to_pylist()] for column in table.columns]
    names = unique_names([_cell(name) for name in table.column_names] + ["row"])
    with path.open("w", encoding="utf-8", newline="\n") as file:
        for line in [names, *zip(*columns, map(str, rows), strict=True)]:
            file.write("\t".join(line) + "\n")


def _cell(value: object) -> str:
    """Write a value without the characters that end a cell or a line, for Python and for JavaScript."""
    return "" if value is None else " ".join(str(value).replace("\t", " ").splitlines())


def _write_sprite(thumbs: Thumbs, rows: NDArray[np.int64], path: Path) -> int:
    first = take_thumbs(thumbs, [int(rows[0])])[0]
    columns, tile = sprite_layout(len(rows), min(LARGEST_TILE, max(first.shape[:2])))
    sprite = np.zeros((math.ceil(len(rows) / columns) * tile, columns * tile, 3), dtype=np.uint8)
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        some = rows[start : start + _ROWS_AT_ONCE].tolist()
        for i, thumb in enumerate(take_thumbs(thumbs, some), start):
            top, left = i // columns * tile, i % columns * tile
            sprite[top : top + tile, left : left + tile] = square(thumb, tile)
    Image.fromarray(sprite).save(path)
    return tile


def _config_text(name: str, tile: int | None) -> str:
    lines = [f"tensor_name: {json.dumps(name.encode('ascii', 'replace').decode())}"]
    lines += ['tensor_path: "vectors.tsv"', 'metadata_path: "metadata.tsv"']
    if tile is not None:
        lines += [
            'sprite {\n    image_path: "sprite.png"',
            f"  single_image_dim: {tile}",
            f"  single_image_dim: {tile}\n  }}",
        ]
    return "embeddings {\n" + "".join(f"  {line}\n" for line in lines) + "}\n"


@contextmanager
def _replacing_folder(out: Path) -> Iterator[Path]:
    """Give a folder beside ``out`` to write to; when the block ends well it takes its place."""
    if out.exists() and not (out / _CONFIG).is_file():
        msg = f"'{out}' is there and is no projector folder; choose another name."
        raise StoreError(msg)
    beside, old = (out.with_name(f"_{out.name}.{what}") for what in ("tmp", "old"))
    try:
        shutil.rmtree(beside, ignore_errors=True)
        beside.mkdir(parents=True)
        yield beside
        if out.exists():
            out.rename(old)
        beside.rename(out)
    except OSError as error:
        msg = f"'{out}' cannot be written ({error})."
        raise StoreError(msg) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        if old.exists() and not out.exists():
            old.rename(out)
        shutil.rmtree(old, ignore_errors=True)
