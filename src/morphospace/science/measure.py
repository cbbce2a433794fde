"""Measure the shape of every object: one row for each cutout, by classical definitions."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from morphospace._manifest import replacing, software_versions
from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.learn.devices import named_device
from morphospace.science.morphometry.flags import BAD
from morphospace.science.morphometry.planes import Plane, read_planes
from morphospace.science.morphometry.quantities import QUANTITIES
from morphospace.science.morphometry.segmentation import Segmentation, main_labels, segment
from morphospace.science.morphometry.shapes import measure_images
from morphospace.science.morphometry.stamps import Images
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Samples
from morphospace.space.workers import Workers

__all__ = ["Measures", "measure"]

_ABOUT = b"morphospace"
_VERSION = 1
_ROWS = 256
_PIXELS = 2**22  # in a block at most


@dataclass(frozen=True)
class Measures:
    """Shapes of objects: a table with one row for each.

    Attributes
    ----------
    table : pyarrow.Table
        Columns ``id``, ``shape_flags`` and those of ``QUANTITIES``; units, descriptions and sources are metadata of the
        fields. NaN where a figure means nothing; the flags say why.
    about : dict
        How it was measured.
    path : Path or None
        File it is kept in.
    """

    table: pa.Table
    about: Mapping[str, Any] = field(default_factory=dict)
    path: Path | None = None

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __repr__(self) -> str:
        return f"<Measures: {len(self)} rows, {len(self.table.column_names) - 2} quantities>"

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Give one column as an array, (N,).

        Raises
        ------
        DataError
            If it is unknown; the message names the nearest.
        """
        if name not in self.table.column_names:
            msg = f"there is no measure '{name}'{nearest(name, self.table.column_names)}"
            raise DataError(msg)
        return np.asarray(self.table[name].to_numpy())

    @property
    def good(self) -> NDArray[np.bool_]:
        """True for rows without one of the flags `BAD`, (N,)."""
        return np.asarray((self["shape_flags"] & int(BAD)) == 0)

    @classmethod
    def open(cls, path: str | Path) -> Measures:
        """Open a table that `measure` wrote.

        Raises
        ------
        StoreError
            If there is none, or the file is something else or damaged.
        """
        try:
            table = pq.read_table(path)
            about = json.loads((table.schema.metadata or {})[_ABOUT])
        except (OSError, pa.ArrowException) as error:
            msg = f"'{path}' cannot be read as a table of shapes ({error})."
            raise StoreError(msg) from error
        except (KeyError, ValueError):
            msg = f"'{path}' is no table of shapes; give one that `morphospace measure` wrote."
            raise StoreError(msg) from None
        return cls(table, about, Path(path))


def measure(
    cutouts: Cutouts | Samples,
    *,
    out: str | Path | None = None,
    band: str | int | None = None,
    segmentation: Segmentation | None = None,
    labels: Mapping[str, NDArray[np.integer[Any]]] | None = None,
    device: str = "cpu",
    overwrite: bool = False,
) -> Measures:
    """Measure the shape of every object by the classical definitions.

    Concentration, asymmetry, smoothness, Gini, M20, Petrosian and growth radii, moments and fluxes as statmorph defines them;
    outline, fragments and slopes of clouds. Many objects are measured at once.

    Parameters
    ----------
    cutouts : Cutouts or samples
        Images of any sizes; cubes are averaged over their planes.
    out : path, optional
        Parquet file to write, e.g. ``shapes.parquet``.
    band : str or int, optional
        Name or number (from 0) of the band to measure on; by default the mean of all bands, in the unit of the pixels.
    segmentation : Segmentation, optional
        How sources are told from the background.
    labels : mapping of str to ndarray, (H, W), int, optional
        Own segmentation map for each id, 0 for the background; no other is made then.
    device : str
        Where to measure: ``cpu`` or ``cuda``; ``auto`` takes a GPU if there is one.
    overwrite : bool
        Replace a table that is there.

    Returns
    -------
    Measures
        One row for each cutout, in their order. What cannot be measured is NaN and flagged.

    Raises
    ------
    DataError
        If there is no cutout, or `labels` lacks an id or does not fit its image.
    ConfigError
        If the band is unknown, or the device not there.
    StoreError
        If `out` is there and `overwrite` is not given, or it cannot be written.

    Notes
    -----
    Definitions with paper and equation are in ``QUANTITIES``; all follow Lotz+ 2004 in the form of statmorph
    (Rodriguez-Gomez+ 2019) where that has them. The source with the most flux near the centre is measured; the figures of
    clouds are of all that stands out. Level and noise are those of the store for one band, and measured anew for a mean.
    """
    if not len(cutouts):
        msg = "there is nothing to measure: the store has no cutouts."
        raise DataError(msg)
    path = None if out is None else _free(Path(out), overwrite=overwrite)
    place = _device(device)
    how = segmentation or Segmentation()
    found: dict[str, list[NDArray[Any]]] = {}
    ids: list[str] = []
    # a GPU takes one block at a time
    workers = Workers(torch.get_num_threads() if place.type == "cpu" else 1)
    with workers, tqdm(total=len(cutouts), desc="measure", unit="object", disable=None) as bar:
        # sources are told apart here: photutils' warnings are caught for all threads or for none
        blocks = (_segmented(block, how, labels) for block in _blocks(read_planes(cutouts, band)))
        for names, measures in workers.map(partial(_measure_block, device=place), blocks):
            ids.extend(names)
            for name, values in measures.items():
                found.setdefault(name, []).append(values)
            bar.update(len(names))
    about = {
        "version": _VERSION,
        "band": band,
        "segmentation": "given" if labels is not None else vars(how),
        "cutouts": cutouts.fingerprint if isinstance(cutouts, Cutouts) else None,
        "software": software_versions(),
    }
    table = _table(ids, {name: np.concatenate(parts) for name, parts in found.items()}, about)
    if path is not None:
        _write(table, path)
    return Measures(table, about, path)


def _device(name: str) -> torch.device:
    place = named_device(name)
    if place.type not in ("cpu", "cuda"):
        msg = f"device '{name}' has no float64, which moments need; give cpu, or cuda where torch finds a card."
        raise ConfigError(msg)
    return place


def _free(path: Path, *, overwrite: bool) -> Path:
    if path.is_dir():
        msg = f"'{path}' is a folder; out needs the name of a file, e.g. shapes.parquet."
        raise StoreError(msg)
    if path.exists() and not overwrite:
        msg = f"'{path}' is there already; choose another name or give overwrite=True (--overwrite)."
        raise StoreError(msg)
    return path


def _blocks(planes: Iterator[Plane]) -> Iterator[list[Plane]]:
    """Gather planes of one shape that follow one another."""
    block: list[Plane] = []
    for plane in planes:
        other = block and block[0].image.shape != plane.image.shape
        if other or len(block) >= min(_ROWS, max(1, _PIXELS // plane.image.size)):
            yield block
            block = []
        block.append(plane)
    if block:
        yield block


class _Block(NamedTuple):
    """Planes of one shape and their segmentation maps, (N, H, W)."""

    planes: list[Plane]
    maps: NDArray[np.int32]


def _segmented(block: list[Plane], how: Segmentation, labels: Mapping[str, NDArray[Any]] | None) -> _Block:
    return _Block(block, np.stack([_segment_of(plane, how, labels) for plane in block]))


def _measure_block(block: _Block, *, device: torch.device) -> tuple[list[str], dict[str, NDArray[Any]]]:
    planes, maps = block
    images = np.stack([plane.image for plane in planes])
    valid = np.stack([plane.valid for plane in planes])
    varied = any(plane.noise.size > 1 for plane in planes)
    noise = np.stack([np.broadcast_to(p.noise, p.image.shape) if varied else p.noise for p in planes])
    main = main_labels(maps, np.where(valid, images, 0))
    found = measure_images(Images(images, valid, maps, main, noise), device=device)
    return [plane.id for plane in planes], {
        "level": np.array([plane.level for plane in planes]),
        "sigma": np.array([plane.sigma for plane in planes]),
        **found,
    }


def _segment_of(plane: Plane, how: Segmentation, labels: Mapping[str, NDArray[Any]] | None) -> NDArray[np.int32]:
    if labels is None:
        return segment(plane.image, plane.valid, how)
    if plane.id not in labels:
        msg = f"labels has no segmentation map for '{plane.id}'; give one for every id, all 0 where there is no source."
        raise DataError(msg)
    given = np.asarray(labels[plane.id])
    if given.shape != plane.image.shape or given.dtype.kind not in "bui":
        msg = (
            f"the segmentation map of '{plane.id}' must hold integers of shape {plane.image.shape}; "
            f"got {given.dtype} of shape {given.shape}."
        )
        raise DataError(msg)
    return np.where(plane.valid, given, 0).astype(np.int32)


def _table(ids: list[str], found: Mapping[str, NDArray[Any]], about: Mapping[str, Any]) -> pa.Table:
    fields = [pa.field("id", pa.string(), nullable=False), pa.field("shape_flags", pa.int32(), nullable=False)]
    columns = [pa.array(ids, pa.string()), pa.array(found["shape_flags"], pa.int32())]
    for quantity in QUANTITIES:
        told = {"unit": quantity.unit, "description": quantity.description, "source": quantity.source}
        fields.append(pa.field(quantity.name, pa.float64(), metadata=told))
        columns.append(pa.array(found[quantity.name], pa.float64()))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields, metadata={_ABOUT: json.dumps(about)}))


def _write(table: pa.Table, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as beside:
            pq.write_table(table, beside)
    except OSError as error:
        msg = f"'{path}' cannot be written ({error})."
        raise StoreError(msg) from error
