"""Measure the shape of every object: one row for each cutout, by classical definitions."""

from __future__ import annotations

import json
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from morphospace._manifest import software_versions
from morphospace._pool import Pool, can_fork
from morphospace.config import nearest
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.learn.devices import named_device
from morphospace.learn.memory import keep_freed_memory
from morphospace.science.blocks import Limits, by_blocks
from morphospace.science.draft import Draft
from morphospace.science.files import free_file, write_file
from morphospace.science.morphometry.flags import BAD
from morphospace.science.morphometry.planes import Plane
from morphospace.science.morphometry.quantities import QUANTITIES
from morphospace.science.morphometry.segmentation import Segmentation, main_labels, segment
from morphospace.science.morphometry.shapes import measure_images
from morphospace.science.morphometry.stamps import Images
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Samples
from morphospace.space.going_on import write_all

__all__ = ["Measures", "measure"]

_ABOUT = b"morphospace"
_VERSION = 1
_ROWS = 256
_FEW = 64  # objects that one process measures before others are ready
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
    resume: bool = False,
    overwrite: bool = False,
) -> Measures:
    """Measure the shape of every object by the classical definitions.

    Concentration, asymmetry, smoothness, Gini, M20, Petrosian and growth radii, moments and fluxes as statmorph defines them;
    outline, fragments and slopes of clouds. Many objects are measured at once, on a processor by as many processes as torch
    has threads (``OMP_NUM_THREADS``).

    Parameters
    ----------
    cutouts : Cutouts or samples
        Images of any sizes; cubes are averaged over their planes.
    out : path, optional
        Parquet file to write, e.g. ``shapes.parquet``; until all rows are there they are in a folder beside it.
    band : str or int, optional
        Name or number (from 0) of the band to measure on; by default the mean of all bands, in the unit of the pixels.
    segmentation : Segmentation, optional
        How sources are told from the background.
    labels : mapping of str to ndarray, (H, W), int, optional
        Own segmentation map for each id, 0 for the background; no other is made then.
    device : str
        Where to measure: ``cpu`` or ``cuda``; ``auto`` takes a GPU if there is one.
    resume : bool
        Go on with a call that was killed; a table that is there already is given back.
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
        If the band is unknown, the device not there, or the ending of `out` not one of Parquet.
    StoreError
        If `out` is there or begun and neither `resume` nor `overwrite` is given, or if what is there is of other cutouts or
        settings, or it cannot be written; or if one of the processes died.

    Notes
    -----
    Definitions with paper and equation are in ``QUANTITIES``; all follow Lotz+ 2004 in the form of statmorph
    (Rodriguez-Gomez+ 2019) where that has them. The source with the most flux near the centre is measured; the figures of
    clouds are of all that stands out. Level and noise are those of the store for one band, and measured anew for a mean.
    """
    if not len(cutouts):
        msg = "there is nothing to measure: the store has no cutouts."
        raise DataError(msg)
    place = _device(device)
    how = segmentation or Segmentation()
    settings = {"band": band, "segmentation": "given" if labels is not None else vars(how)}
    about = {
        "version": _VERSION,
        **settings,
        "cutouts": cutouts.fingerprint if isinstance(cutouts, Cutouts) else None,
        "software": software_versions(),
    }
    make = partial(_rows, cutouts, band=band, how=how, labels=labels, place=place)
    if out is None:
        with closing(make(0)) as rows:
            return Measures(pa.concat_tables(rows).replace_schema_metadata(_told(about)), about)
    path = Path(out)
    if resume and path.is_file():
        return _finished(Measures.open(path), about, len(cutouts))
    free_file(path, overwrite=overwrite)
    with Draft(path, _schema(), cutouts, settings=settings, resume=resume, overwrite=overwrite) as draft:
        with closing(make(draft.first)) as rows:
            write_all(rows, draft.add, draft.flush)
        table = draft.table().cast(_schema()).replace_schema_metadata(_told(about))
        write_file(path, partial(pq.write_table, table))
    draft.drop()
    return Measures(table, about, path)


def _rows(
    data: Cutouts | Samples,
    first: int,
    *,
    band: str | int | None,
    how: Segmentation,
    labels: Mapping[str, NDArray[np.integer[Any]]] | None,
    place: torch.device,
) -> Generator[pa.Table]:
    """Measure all rows from `first` on."""
    work = partial(_measured, how=how, device=place)
    cores = torch.get_num_threads()
    several = place.type == "cpu" and cores > 1 and len(data) - first >= _FEW and can_fork()
    with ExitStack() as stack, tqdm(total=len(data), initial=first, desc="measure", unit="object", disable=None) as bar:
        # threads would wait for one another at each of many small steps: processes with one thread each do not
        torch.set_num_threads(1)
        stack.callback(torch.set_num_threads, cores)
        pool = stack.enter_context(Pool[_Block, pa.Table](work, cores)) if several else None

        def tables(blocks: Iterable[list[Plane]]) -> Iterator[pa.Table]:
            tasks = (_Block(planes, _known(planes, labels)) for planes in blocks)
            return pool.run(tasks) if pool else chain.from_iterable(map(work, tasks))

        yield from by_blocks(data, band, tables, first=first, limits=Limits(_ROWS, _PIXELS), seen=bar.update)


def _known(planes: list[Plane], labels: Mapping[str, NDArray[Any]] | None) -> dict[str, NDArray[Any]] | None:
    return None if labels is None else {p.id: np.asarray(labels[p.id]) for p in planes if p.id in labels}


def _finished(found: Measures, about: Mapping[str, Any], n: int) -> Measures:
    same = [name for name in ("band", "segmentation", "cutouts") if found.about.get(name) != about[name]]
    if same or len(found) != n:
        msg = f"'{found.path}' holds shapes of other {same[0] if same else 'cutouts'}; choose another out=, or overwrite it."
        raise StoreError(msg)
    return found


def _device(name: str) -> torch.device:
    place = named_device(name)
    if place.type not in ("cpu", "cuda"):
        msg = f"device '{name}' has no float64, which moments need; give cpu, or cuda where torch finds a card."
        raise ConfigError(msg)
    return place


class _Block(NamedTuple):
    """Planes of one shape and, where they are given, their segmentation maps by id."""

    planes: list[Plane]
    labels: dict[str, NDArray[Any]] | None


def _measured(block: _Block, *, how: Segmentation, device: torch.device) -> Iterator[pa.Table]:
    """Give the table of a block."""
    keep_freed_memory()
    planes = block.planes
    maps = np.stack([_segment_of(plane, how, block.labels) for plane in planes])
    images = np.stack([plane.image for plane in planes])
    valid = np.stack([plane.valid for plane in planes])
    varied = any(plane.noise.size > 1 for plane in planes)
    noise = np.stack([np.broadcast_to(p.noise, p.image.shape) if varied else p.noise for p in planes])
    main = main_labels(maps, np.where(valid, images, 0))
    found = measure_images(Images(images, valid, maps, main, noise), device=device)
    found["level"] = np.array([plane.level for plane in planes])
    found["sigma"] = np.array([plane.sigma for plane in planes])
    ids = pa.array([plane.id for plane in planes], pa.string())
    schema = _schema()
    yield pa.Table.from_arrays([ids, *(pa.array(found[f.name], f.type) for f in list(schema)[1:])], schema=schema)


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


def _schema() -> pa.Schema:
    fields = [pa.field("id", pa.string(), nullable=False), pa.field("shape_flags", pa.int32(), nullable=False)]
    for quantity in QUANTITIES:
        told = {"unit": quantity.unit, "description": quantity.description, "source": quantity.source}
        fields.append(pa.field(quantity.name, pa.float64(), metadata=told))
    return pa.schema(fields)


def _told(about: Mapping[str, Any]) -> dict[bytes, str]:
    return {_ABOUT: json.dumps(about)}
