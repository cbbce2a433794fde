"""Embedding: from cutouts and a run to vectors, by one kernel that serves laptop and cluster alike."""

from __future__ import annotations

import copy
import logging
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from morphospace._parts import one_batch
from morphospace.errors import ConfigError, ShapeError
from morphospace.learn.data import check_noise, collate_stacks
from morphospace.learn.devices import named_device
from morphospace.learn.layers import fold_norms
from morphospace.learn.memory import keep_freed_memory
from morphospace.learn.methods import Method
from morphospace.learn.record import load_method, preparation_of
from morphospace.learn.views import Collated, plain_view
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.samples import Samples
from morphospace.sky.stacks import COLUMNS, Stack, batch_stacks, stacks
from morphospace.space.embeddings import Embeddings, EmbeddingsWriter, embeddings_schema
from morphospace.space.going_on import keys_of, rows_done, write_all
from morphospace.space.workers import Workers

__all__ = ["Embedder", "embed", "symmetries"]

logger = logging.getLogger(__name__)
Average = Literal["d4"]
_Piece = tuple[dict[str, pa.Array], Tensor | Collated]  # columns of some rows, and their images
# heavy or of the pixels only; everything else of a row goes along with its vector
_LEFT_BEHIND = (
    "image",
    "dtype",
    "shape",
    "mask",
    "variance",
    "wcs",
    "bands",
    "wavelength_nm",
    "level",
    "sigma",
    "beam",
)
# beyond this quantile of the training vectors' own distances an image is unlike them; one in 200 is expected there
_NOVEL_QUANTILE = 0.995
_NOVEL_SHARE = 0.1
_FEWEST = 64  # images for which a forward pass is worth its beginning
_MOST_WORKERS = 16


def embed(
    run: Run | str | Path,
    data: Cutouts | Samples,
    *,
    out: str | Path,
    average: Average | None = None,
    encoder: nn.Module | None = None,
    batch_size: int = 256,
    device: str = "auto",
    resume: bool = False,
    overwrite: bool = False,
) -> Embeddings:
    """Give every image its vector.

    Parameters
    ----------
    run : Run or path
        A finished run, or ``"starter"``.
    data : Cutouts or Samples
        Images with the bands that the run was trained on, of any size.
    out : path
        Folder of the embeddings.
    average : {"d4"}, optional
        Average each vector over the 8 rotations by quarter turns and flips of the image.
    encoder : Module, optional
        The encoder, if the run's is not one of morphospace's own.
    batch_size : int, >= 1
        Images under way at a time; changes the speed and nothing else.
    device : str
        ``cpu``, ``cuda``, ``mps``; ``auto`` takes a GPU if there is one.
    resume : bool
        Go on with an interrupted embedding, or add the rows by which a store has grown.
    overwrite : bool
        Replace embeddings that are there.

    Returns
    -------
    Embeddings
        In the order of the data, with the columns of the store, ``novelty`` (the Mahalanobis distance to the training
        images' vectors, a dimensionless number) and any column that the method gives.

    Raises
    ------
    ConfigError
        If `average` does not fit the run (one trained with ``oriented`` views).
    ShapeError
        If the images have another number of bands than the run.
    StoreError
        If `out` exists and neither `resume` nor `overwrite` is set, or if it holds other rows.
    """
    keep_freed_memory()
    run = run if isinstance(run, Run) else Run.open(run)
    kernel = Embedder(run, average=average, encoder=encoder, batch_size=batch_size, device=device)
    schema = kernel.schema(data)
    with EmbeddingsWriter(out, schema, provenance=kernel.provenance(), resume=resume, overwrite=overwrite) as writer:
        done = rows_done(writer.done(keys_of(data)), data, Path(out)) if resume else 0
        with tqdm(total=len(data), initial=done, unit="image", desc="embed", disable=not sys.stderr.isatty()) as bar:

            def append(batch: pa.RecordBatch) -> None:
                writer.append(batch.select(schema.names))
                bar.update(batch.num_rows)

            write_all(kernel.run_through(data, done), append, writer.flush)
    embeddings = Embeddings.open(out)
    _warn_if_unlike(embeddings, run)
    return embeddings


class Embedder:
    """A run made ready to turn record batches of cutouts into record batches of vectors.

    Parameters
    ----------
    run : Run
        A finished run.
    average, encoder, batch_size, device
        See `embed`.
    """

    def __init__(
        self,
        run: Run,
        *,
        average: Average | None = None,
        encoder: nn.Module | None = None,
        batch_size: int = 256,
        device: str = "auto",
    ) -> None:
        if average not in (None, "d4"):
            msg = f"average must be 'd4' or nothing; got '{average}'."
            raise ConfigError(msg)
        views = run.config.get("views", {})
        if average == "d4" and not (views.get("rotate", True) and views.get("flip", True)):
            msg = (
                f"run '{run.path}' was trained with views that keep the orientation, so average='d4' would mix what it "
                "tells apart; embed without average."
            )
            raise ConfigError(msg)
        self.run = run
        self.average = average
        self.device = named_device(device)
        self.method = load_method(run, network=encoder).to(self.device)
        if self.method.encoder_recipe:
            fold_norms(self.method.encoder)
        if not any(
            weight.ndim == 5 for weight in self.method.parameters()
        ):  # of a 3-D network torch takes no such order
            self.method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        cores = torch.get_num_threads()
        # an encoder of the user's own may keep something between its layers, so that no two threads can use it
        alone = self.device.type != "cpu" or not self.method.encoder_recipe
        self.workers = 1 if alone else min(cores, _MOST_WORKERS)
        self.cores = max(1, cores // self.workers)
        self.rows = min(batch_size, max(_FEWEST, -(-batch_size // self.workers)))  # of one forward pass
        self.preparation = preparation_of(run)
        self.bands = int(run.config["bands"])
        self.space_id = run.space_id(average=average)
        reference = run.tensors("reference")
        self._mean, self._precision = reference["mean"].double(), reference["precision"].double()

    def provenance(self) -> dict[str, Any]:
        """Return where the vectors come from: run, space id, preparation, average."""
        config = self.run.config
        kept: dict[str, Any] = {
            key: config[key] for key in ("encoder", "method", "preparation", "versions") if key in config
        }
        return {"space_id": self.space_id, "run": str(self.run.path), "average": self.average, **kept}

    def schema(self, data: Cutouts | Samples) -> pa.Schema:
        """Return the columns that the embeddings of a data set have."""
        example = next(_first_stack(data), None)
        extra: dict[str, pa.DataType] = {"novelty": pa.float32()}
        if example is not None:
            outputs = self._outputs(self._collated([example]), self.method)
            extra |= {name: pa.float32() for name in outputs if name not in ("vector", "novelty")}
        columns = {}
        if isinstance(data, Cutouts):
            columns = {f.name: f.type for f in data.schema if f.name not in (*_LEFT_BEHIND, "id")}
        return embeddings_schema(self.method.dim, columns | extra)

    def embed_batch(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Turn cutouts into vectors: the one kernel of laptop, Dask, LSDB and Spark.

        Parameters
        ----------
        batch : RecordBatch
            Rows of a store of cutouts, pixels included.

        Returns
        -------
        RecordBatch
            ``id``, ``vector``, ``novelty``, columns of the method, and the row's other columns; same order.
        """
        blocks = list(self._blocks([batch]))
        if blocks:
            return one_batch(pa.Table.from_batches(blocks))
        light = {name: batch[name] for name in batch.schema.names if name not in _LEFT_BEHIND}
        nothing = {"vector": np.empty((0, self.method.dim), np.float32), "novelty": np.empty(0, np.float32)}
        return self._table(nothing, light)

    def run_through(self, data: Cutouts | Samples, start: int = 0) -> Iterator[pa.RecordBatch]:
        """Yield the embeddings of all rows from `start` on."""
        # the last digits of a vector depend on how many images went with it: the same ones go again
        again = start % self.rows
        for batch in self._run_from(data, start - again):
            if again < batch.num_rows:
                yield batch.slice(again)
            again = max(0, again - batch.num_rows)

    def _run_from(self, data: Cutouts | Samples, start: int) -> Iterator[pa.RecordBatch]:
        if isinstance(data, Cutouts):
            kept = data if start == 0 else data.keep(np.arange(start, len(data)))
            names = [f.name for f in data.schema if f.name not in _LEFT_BEHIND or f.name in COLUMNS]
            yield from self._blocks(kept.chunks(names))
            return
        yield from self._through(self._piece_of(data, first) for first in range(start, len(data), self.rows))

    def vectors(self, images: Iterable[Stack]) -> NDArray[np.float32]:
        """Return the vectors (N, D) of stacks, for a query that is in no store."""
        return np.asarray(self._outputs(self._collated(list(images)), self.method)["vector"])

    def _blocks(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        with Workers(self.workers) as readers:
            yield from self._through(readers.map(self._piece, _grouped(batches, self.rows)))

    def _through(self, pieces: Iterable[_Piece]) -> Iterator[pa.RecordBatch]:
        # the next pieces are read and prepared while the network works on these
        idle: SimpleQueue[Method] = SimpleQueue()
        for method in (self.method, *(copy.deepcopy(self.method) for _ in range(self.workers - 1))):
            idle.put(method)

        def pass_through(piece: _Piece) -> pa.RecordBatch:
            columns, block = piece
            method = idle.get()
            try:
                return self._table(self._outputs(block, method), columns)
            finally:
                idle.put(method)

        with Workers(self.workers, cores=self.cores) as networks:
            yield from networks.map(pass_through, pieces)

    def _piece(self, group: list[pa.RecordBatch]) -> _Piece:
        light = [name for name in group[0].schema.names if name not in _LEFT_BEHIND]
        table = pa.Table.from_batches([b.select(light) for b in group])
        return {name: table[name].combine_chunks() for name in light}, self._ready(_stacked(group))

    def _piece_of(self, data: Samples, first: int) -> _Piece:
        block = list(stacks(data, range(first, min(first + self.rows, len(data)))))
        ids = [name for stack in block for name in stack.ids]
        return {"id": pa.array(ids, pa.string())}, self._ready(block)

    def _ready(self, block: list[Stack]) -> Tensor | Collated:
        collated = self._collated(block)
        return plain_view(collated, self.preparation) if self.device.type == "cpu" else collated

    def _collated(self, block: list[Stack]) -> Collated:
        for stack in block:
            bands = stack.images.shape[1]
            if bands != self.bands:
                msg = (
                    f"cutout '{stack.ids[0]}' has {bands} bands and run '{self.run.path}' was trained on {self.bands}; "
                    "embed cutouts with the same bands, or train on these."
                )
                raise ShapeError(msg)
            quiet = [n for n, s in zip(stack.ids, stack.sigma, strict=True) if (s <= 0).any()]
            check_noise(self.preparation, quiet, len(stack.ids))
        return collate_stacks(block, self.preparation)

    @torch.no_grad()
    def _outputs(self, block: Tensor | Collated, method: Method) -> dict[str, NDArray[np.float32]]:
        x = block if isinstance(block, Tensor) else plain_view(block.to(self.device), self.preparation)
        if x.ndim == 4:
            x = x.contiguous(memory_format=torch.channels_last)
        found = {k: v.float() for k, v in method.outputs(x).items()}
        plain = found["vector"].cpu()
        if self.average == "d4":
            averaged = [key for key in found if key not in method.upright]
            for turned in symmetries(x):
                seen = method.outputs(turned)
                for key in averaged:
                    found[key] = found[key] + seen[key].float()
            found |= {key: found[key] / 8 for key in averaged}
        # novelty is measured on the upright vector, as the reference was
        away = plain.double() - self._mean
        distance = ((away @ self._precision) * away).sum(dim=1).clamp_min(0).sqrt()
        return {**{k: v.cpu().numpy() for k, v in found.items()}, "novelty": distance.float().numpy()}

    def _table(self, outputs: dict[str, NDArray[np.float32]], columns: dict[str, pa.Array]) -> pa.RecordBatch:
        vectors = outputs.pop("vector")
        kind = embeddings_schema(vectors.shape[1]).field("vector").type
        flat = pa.array(np.ascontiguousarray(vectors).reshape(-1))
        arrays = {
            **columns,
            "vector": pa.FixedSizeListArray.from_arrays(flat, type=kind),
            **{name: pa.array(values) for name, values in outputs.items()},
        }
        return pa.RecordBatch.from_pydict(arrays)


def symmetries(x: Tensor) -> Iterator[Tensor]:
    """Yield the other seven of the eight turns by 90 degrees and flips of images (..., H, W)."""
    for flipped in (False, True):
        base = x.flip(-1) if flipped else x
        for k in range(4):
            if flipped or k:
                yield torch.rot90(base, k, (-2, -1))


def _grouped(batches: Iterable[pa.RecordBatch], size: int) -> Iterator[list[pa.RecordBatch]]:
    """Cut long batches and gather short ones, so that each group has `size` rows; the last may have fewer."""
    waiting: list[pa.RecordBatch] = []
    room = size
    for batch in batches:
        start = 0
        while start < batch.num_rows:
            part = batch.slice(start, room)
            waiting.append(part)
            start, room = start + part.num_rows, room - part.num_rows
            if room == 0:
                yield waiting
                waiting, room = [], size
    if waiting:
        yield waiting


def _stacked(group: list[pa.RecordBatch]) -> list[Stack]:
    found: list[Stack] = []
    start = 0
    for batch in group:
        found += batch_stacks(batch, np.arange(start, start + batch.num_rows))
        start += batch.num_rows
    return found


def _first_stack(data: Cutouts | Samples) -> Iterator[Stack]:
    if len(data):
        yield from stacks(data, [0])


def _warn_if_unlike(embeddings: Embeddings, run: Run) -> None:
    if not len(embeddings):
        return
    novelty = embeddings.table(["novelty"])["novelty"].to_numpy()
    quantiles = run.tensors("reference")["quantiles"].numpy()
    limit = float(np.quantile(quantiles, _NOVEL_QUANTILE))
    share = float((novelty > limit).mean())
    if share > _NOVEL_SHARE:
        logger.warning(
            "%.0f %% of these images are unlike any that run '%s' was trained on (novelty above %.1f; 0.5 %% is usual): "
            "their neighbours may mean little. Train on them, or see column novelty.",
            100 * share,
            run.path,
            limit,
        )
