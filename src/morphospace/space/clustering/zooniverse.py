"""Subject sets for Zooniverse: the pictures of a cluster and the manifest that its uploader reads."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from morphospace._manifest import replacing
from morphospace.errors import ConfigError, StoreError
from morphospace.sky.cutouts import Cutouts
from morphospace.space.clustering.result import Clusters
from morphospace.space.clustering.stamps import draw_picture
from morphospace.space.embeddings import Embeddings
from morphospace.space.tiles import finder

__all__ = ["write_subject_sets"]

_SIDE = 512  # pixels
_AT_ONCE = 64
_MANIFEST = "manifest.csv"
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")
# A column that begins with # is not shown to volunteers: neither cluster nor name shall sway them.
_COLUMNS = ("image", "#id", "#cluster", "#membership", "#ra", "#dec")


def write_subject_sets(
    emb: Embeddings,
    clusters: Clusters,
    cuts: Cutouts,
    out: str | Path,
    *,
    only: Sequence[int] = (),
    overwrite: bool = False,
) -> list[Path]:
    """Write a subject set for each cluster: a folder with a PNG for each member and ``manifest.csv``.

    Parameters
    ----------
    emb : Embeddings
        Those that were clustered.
    clusters : Clusters
    cuts : Cutouts
        Those embedded.
    out : path
        Folder to make; sets are ``cluster-0`` and so on within it.
    only : sequence of int
        Clusters to write; default all.
    overwrite : bool
        Replace all sets that are there, also those of clusters that are not written now: sets of two results
        never lie side by side.

    Returns
    -------
    list of Path
        The folders.

    Raises
    ------
    ConfigError
        If there is no such cluster.
    DataError
        If an id is not among the cutouts.
    StoreError
        If there are sets and ``overwrite`` is not given, or they cannot be written.

    Notes
    -----
    ``manifest.csv`` has columns ``image, #id, #cluster, #membership, #ra, #dec``, the most typical first; Zooniverse
    hides those with ``#`` from volunteers. Pictures are the whole cutouts, enlarged to about 512 pixels, in the stretch
    of the atlas; their names have no cluster in them. Zooniverse takes 10,000 subjects unless it is asked for more.
    """
    wanted = sorted(set(only)) or list(range(clusters.k))
    unknown = [c for c in wanted if not 0 <= c < clusters.k]
    if unknown:
        msg = f"there is no cluster {unknown[0]}; they are numbered from 0 to {clusters.k - 1}."
        raise ConfigError(msg)
    folders = [Path(out) / f"cluster-{c}" for c in wanted]
    older = {file.parent for file in Path(out).glob(f"cluster-*/{_MANIFEST}")}
    there = sorted(older | {folder for folder in folders if folder.exists()})
    if there and not overwrite:
        msg = f"'{there[0]}' is there already; choose another folder, or give overwrite=True (--overwrite)."
        raise StoreError(msg)
    rows_in = finder(cuts, emb)
    try:
        besides = [folder.with_name(f"_{folder.name}.tmp") for folder in folders]
        for c, beside in zip(wanted, besides, strict=True):
            shutil.rmtree(beside, ignore_errors=True)
            beside.mkdir(parents=True)
            rows = clusters.typical(c, len(emb))
            _write_set(clusters, cuts, rows, rows_in(rows), beside)
        for folder in there:
            shutil.rmtree(folder)
        for beside, folder in zip(besides, folders, strict=True):
            beside.rename(folder)
    except OSError as error:
        msg = f"'{out}' cannot be written ({error})."
        raise StoreError(msg) from error
    return folders


def _write_set(
    clusters: Clusters, cuts: Cutouts, rows: NDArray[np.int64], store_rows: NDArray[np.int64], folder: Path
) -> None:
    lines = []
    for start in range(0, len(rows), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        for place, (row, cutout) in enumerate(zip(rows[some], cuts.read(store_rows[some]), strict=True), start):
            label = int(clusters.labels[row])
            picture = f"{_UNSAFE.sub('_', cutout.id).strip('._')[:60] or 'object'}-{place:05d}.png"
            Image.fromarray(draw_picture(cutout, side=_SIDE)).save(folder / picture)
            where = [f"{degrees:.6f}" if np.isfinite(degrees) else "" for degrees in (cutout.ra, cutout.dec)]
            lines.append([picture, cutout.id, label, f"{clusters.probabilities[row, label]:.4f}", *where])
    with replacing(folder / _MANIFEST) as beside, beside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows(lines)
