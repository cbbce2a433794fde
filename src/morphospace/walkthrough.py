"""The demo: the whole way from one image of the sky to a map of its shapes, with nothing to download."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.data import hubble_deep_field

from morphospace.errors import StoreError
from morphospace.learn.encoders import encoder
from morphospace.learn.methods import SimCLR
from morphospace.learn.train import train
from morphospace.learn.views import views
from morphospace.sky.curate import curate
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.detect import Detection
from morphospace.space.embed import embed
from morphospace.space.embeddings import Embeddings
from morphospace.space.figures import plot_hits, save_figure
from morphospace.space.map_figure import plot_map
from morphospace.space.project import project
from morphospace.space.search import search
from morphospace.space.tiles import thumbs_of

__all__ = ["demo"]

logger = logging.getLogger(__name__)
_SIZE = 48  # of the network's input; few galaxies of the field are larger
# each galaxy in a window of its own size; fainter specks show no shape
_DETECTION = Detection(min_pixels=60, padding=2.0)
_N_QUERIES = 6


def demo(out: str | Path = "demo", *, epochs: int = 60, seed: int = 0, overwrite: bool = False) -> Path:
    """Find the galaxies of the Hubble deep field, learn their shapes and show what was learned.

    Parameters
    ----------
    out : path
        Folder for the cutouts with their report, the run, the embeddings and the pictures.
    epochs : int, >= 1
        Of the training.
    seed : int
        Of the weights, the views and the queries.
    overwrite : bool
        Replace a demo that is there.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    StoreError
        If the folder exists and `overwrite` is not set.

    Notes
    -----
    The picture (872 x 1000 pixels, STScI and NASA) ships inside scikit-image.
    """
    folder = Path(out)
    if folder.exists() and any(folder.iterdir()) and not overwrite:
        msg = f"'{folder}' exists; give another folder with --out, or replace it with --overwrite."
        raise StoreError(msg)
    field = _write_field(folder / "sky")
    cuts = curate(field, out=folder / "galaxies.cutouts", detect=_DETECTION, overwrite=overwrite)
    logger.info("%d galaxies found; see %s/_report/report.html", len(cuts), cuts.path)
    torch.manual_seed(seed)
    method = SimCLR(encoder("light", bands=3))
    run = train(
        method,
        cuts,
        out=_fresh(folder / "run", overwrite=overwrite),
        views=views("optical", size=_SIZE),
        epochs=epochs,
        seed=seed,
    )
    emb = embed(run, cuts, out=folder / "galaxies.emb", average="d4", overwrite=overwrite)
    _draw(folder, cuts, emb, seed)
    return folder


def _write_field(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "hdf.png"
    picture = hubble_deep_field()  # type: ignore[no-untyped-call]
    Image.fromarray(picture).save(path)
    return path


def _fresh(path: Path, *, overwrite: bool) -> Path:
    # only files that a run writes are taken away: the folder might hold something of the user's
    if overwrite and (path / "run.toml").is_file():
        for file in path.iterdir():
            if file.suffix in (".toml", ".safetensors", ".csv", ".json", ".md", ".pt"):
                file.unlink()
    return path


def _draw(folder: Path, cuts: Cutouts, emb: Embeddings, seed: int) -> None:
    thumbs = thumbs_of(cuts, emb)
    queries = _queries(cuts, seed)
    hits = [search(emb, name, k=8) for name in queries]
    title = "Galaxies of the Hubble deep field and those most similar to them"
    save_figure(plot_hits(hits, thumbs, title=title), folder / "neighbours.png")
    found = project(emb, "pca", dims=2)
    save_figure(
        plot_map(found, thumbs, title="The space of shapes: first two principal components"), folder / "map.png"
    )


def _queries(cuts: Cutouts, seed: int) -> list[str]:
    """Choose queries among the larger sources, whose shapes can be seen, far apart in the list."""
    sizes = np.array([len(np.unique(c.image)) for c in cuts.read(range(len(cuts)))])
    large = np.argsort(-sizes, kind="stable")[: max(_N_QUERIES, len(cuts) // 4)]
    chosen = np.random.default_rng(seed).permutation(large)[:_N_QUERIES]
    ids = cuts.ids
    return [ids[i] for i in chosen]
