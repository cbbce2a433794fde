"""A new image dropped on the page: read with all checks, embedded by the run, placed among the others."""

from __future__ import annotations

import tempfile
import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import numpy as np

from morphospace.errors import DataError, StoreError
from morphospace.explore.answers import refuse
from morphospace.explore.security import new_token
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutout, encode_batch
from morphospace.sky.images import Image, read_image
from morphospace.sky.store_schema import encode_row
from morphospace.space.embed import Embedder
from morphospace.space.embeddings import Embeddings

__all__ = ["Dropped", "Drops", "cutout_of", "find_run", "read_bytes"]

_MOST = 16  # images remembered; the oldest is forgotten


@dataclass(frozen=True)
class Dropped:
    """One image that was dropped, with its vector and its distance from what the run was trained on."""

    cutout: Cutout
    emb: Embeddings
    novelty: float


class Drops:
    """Read and embed what is dropped on the page; the run is opened when the first image comes.

    Parameters
    ----------
    emb : Embeddings
        Those on the page.
    """

    def __init__(self, emb: Embeddings) -> None:
        self._emb = emb
        self._kernel: Embedder | None = None
        self._lock = threading.Lock()
        self._held: OrderedDict[str, Dropped] = OrderedDict()

    def take(self, name: str, content: bytes) -> str:
        """Read and embed an image.

        Parameters
        ----------
        name : str
            Of the file.
        content : bytes

        Returns
        -------
        str
            By which it is asked for later.

        Raises
        ------
        DataError
            If the file is no image, or the run is of another space.
        ShapeError
            If it has other bands than the run was trained on.
        StoreError
            If the run is not where the embeddings say.
        """
        cutout = cutout_of(read_bytes(name, content))
        with self.kernel() as kernel:
            batch = kernel.embed_batch(encode_batch([encode_row(cutout, {})], {}))
            vectors = np.stack(batch.column("vector").to_numpy(zero_copy_only=False))
            position = {"ra": [cutout.ra], "dec": [cutout.dec]}
            emb = Embeddings.from_arrays(None, [cutout.id], vectors, position, kernel.provenance())
            token = new_token()
            self._held[token] = Dropped(cutout, emb, float(batch.column("novelty")[0].as_py()))
            while len(self._held) > _MOST:
                self._held.popitem(last=False)
        return token

    def get(self, token: str) -> Dropped:
        """Give an image that was dropped; an error of status 404 where it is forgotten."""
        found = self._held.get(token)
        if found is None:
            msg = "this dropped image is no longer remembered; drop it again."
            raise refuse(msg)
        return found

    @contextmanager
    def kernel(self) -> Iterator[Embedder]:
        """Lend the run's network to one thread at a time: it takes all cores.

        Raises
        ------
        StoreError
            If the run is not where the embeddings say.
        DataError
            If it is of another space: it was trained anew since.
        """
        with self._lock:
            if self._kernel is None:
                run = find_run(self._emb)
                kernel = Embedder(run, average=self._emb.provenance.get("average"), device="cpu")
                if kernel.space_id != self._emb.space_id:
                    msg = f"run '{run.path}' has changed since embeddings {self._emb.name} were made; embed again."
                    raise DataError(msg)
                self._kernel = kernel
            yield self._kernel


def find_run(emb: Embeddings) -> Run:
    """Open the run that the embeddings came from: where they say, else beside them.

    Raises
    ------
    StoreError
        If it is in none of these places, or they do not say.
    """
    told = emb.provenance.get("run")
    if not told:
        msg = f"embeddings {emb.name} do not say which run made them, so a new image cannot be placed among them."
        raise StoreError(msg)
    places = [Path(str(told))]
    if emb.path is not None:
        above = emb.path.resolve().parent
        places += [above / str(told), above.parent / str(told), above / Path(str(told)).name]
    for place in places:
        if (place / "run.toml").is_file():
            return Run.open(place)
    msg = f"the run '{told}' of embeddings {emb.name} is not there; start where it is, or put it beside the embeddings."
    raise StoreError(msg)


def read_bytes(name: str, content: bytes) -> Image:
    """Read an image from the bytes of a file, with all checks of intake.

    Parameters
    ----------
    name : str
        Of the file; named in messages.
    content : bytes

    Raises
    ------
    DataError
        If it is no image.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "dropped"
        file.write_bytes(content)
        try:
            return replace(read_image(file), source=name)
        except DataError as error:
            msg = str(error).replace(str(file), name)
            raise DataError(msg) from None


def cutout_of(image: Image) -> Cutout:
    """Make a row of an image that is in no store; its id is the name of its file."""
    name = PurePosixPath(image.source.replace("\\", "/")).name or "dropped"
    return Cutout(
        id=name,
        image=image.data,
        mask=image.mask,
        unit=image.unit,
        bands=image.bands,
        wavelength_nm=image.wavelength_nm,
        ra=image.ra,
        dec=image.dec,
        wcs=image.wcs,
        pixel_scale_arcsec=image.pixel_scale_arcsec,
        beam=image.beam,
        object=image.object,
        source=image.source,
        hdu=image.hdu,
    )
