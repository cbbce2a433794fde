"""segment: which pixels belong to the object, learned from Otsu's thresholds by a small network that doubts them."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from scipy import ndimage
from skimage.filters import threshold_otsu
from torch import Tensor
from tqdm import tqdm

from morphospace._manifest import replacing, software_versions
from morphospace.errors import ConfigError, DataError, StoreError
from morphospace.learn.devices import named_device
from morphospace.learn.unet import UNet, generalised_cross_entropy
from morphospace.science.blocks import Limits, by_blocks
from morphospace.science.draft import Draft
from morphospace.science.files import free_file
from morphospace.science.masks import COMPARED, Masks, intersection_over_union
from morphospace.science.morphometry.planes import Plane, read_planes
from morphospace.science.morphometry.segmentation import Segmentation
from morphospace.science.morphometry.segmentation import segment as photutils_segment
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.noise import estimate_noise
from morphospace.sky.samples import Samples
from morphospace.space.going_on import write_all

__all__ = ["otsu_mask", "segment", "train_unet"]

_threshold: Callable[[NDArray[np.floating[Any]]], float] = threshold_otsu  # skimage brings no types

_ROWS = 2_000  # trained on, drawn at random
_TAUGHT_PIXELS = 2**26  # of these, 6 bytes each; of larger planes a part drawn at random is kept
_SIDE = 64  # px, of the patches trained on
_BATCH = 8
_LR = 3e-3
_FAINTEST = 0.3  # of its brightness, what a twin in training may have
_TWINS = 0.5  # of the patches; the others stay as they are
_LEAST_SHARE = 0.1  # of the weight of all pixels, what those of objects have together
_FLOOR_SIGMA = 2.0  # Otsu's threshold is never lower: it would split blank sky into two halves
_SMOOTHING = 1.0  # px, s.d. of the Gaussian before Otsu's threshold
_SOFTENING = 3.0  # sigma, below which the asinh before it is linear
_AT_ONCE = Limits(rows=256, pixels=2**20)  # segmented
_TAUGHT = "n_taught"
_NETWORK = "_network.safetensors"  # in the draft: the rows to come need the same

F32 = NDArray[np.float32]
Bool = NDArray[np.bool_]
_SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "mask": pa.binary(),
        "shape": pa.list_(pa.int32()),
        "area_px": pa.int64(),
        **dict.fromkeys(COMPARED, pa.float64()),
    }
)


class _Prepared(NamedTuple):
    """One plane as the network is taught it."""

    x: F32  # (H, W), in sigma, 0 where not valid
    valid: Bool
    otsu: Bool


def segment(
    cutouts: Cutouts | Samples,
    *,
    out: str | Path | None = None,
    band: str | int | None = None,
    steps: int = 400,
    q: float = 0.7,
    device: str = "auto",
    seed: int = 0,
    resume: bool = False,
    overwrite: bool = False,
) -> Masks:
    """Find the pixels of every object, without any mask drawn by hand.

    Otsu's threshold gives each picture a first mask, wrong in places. A small U-Net is trained on those with a loss that
    doubts labels, on fainter twins of the same pictures, and its masks are better where the object is faint. The pixels
    of the store stay as they are: masks are kept in a file of their own.

    Parameters
    ----------
    cutouts : Cutouts or Samples
        Images of any sizes; what is masked or NaN belongs to no object.
    out : path, optional
        Parquet file to write, e.g. ``disks.masks.parquet``; until all masks are there they are in a folder beside it, with
        the network.
    band : str or int, optional
        Name or number (from 0) of the band to look at; by default the mean of all bands.
    steps : int, >= 1
        Training steps, of 8 patches of at most 64 x 64 pixels each.
    q : float, 0 < q <= 1
        How much labels are doubted; towards 0 is cross entropy, which believes them.
    device : str
        ``cpu``, ``cuda``; ``auto`` takes a GPU if there is one.
    seed : int
        Of weights, patches and twins.
    resume : bool
        Go on with a call that was killed; a file that is there already is given back.
    overwrite : bool
        Replace a file that is there.

    Returns
    -------
    Masks
        By id, in the order of the cutouts. Columns of its table: ``area_px``, and the intersection over union of the
        network's, Otsu's and photutils' masks with each other: ``iou_otsu``, ``iou_photutils``, ``iou_otsu_photutils``
        (NaN where both are empty).

    Raises
    ------
    DataError
        If there is no cutout, or in none of them anything stands out.
    ConfigError
        If an option is out of range, the band unknown, or the ending of `out` not one of Parquet.
    StoreError
        If `out` is there or begun and neither `resume` nor `overwrite` is given, or if what is there is of other cutouts or
        settings, or it cannot be written.

    Notes
    -----
    Otsu 1979; U-Net after Ronneberger+ 2015; generalised cross entropy of Zhang & Sabuncu 2018, eq. 6. Half of the patches
    are made into a twin s x + sqrt(1 - s^2) n with white noise n of the picture's sigma: its object is fainter by s, from
    0.3 to 1, its noise the same, its label that of the bright one. Where sigma is 0 (masked clouds, pictures) a hundredth of
    the range takes its place.
    """
    if not len(cutouts):
        msg = "there is nothing to segment: the store has no cutouts."
        raise DataError(msg)
    if steps < 1 or not 0 < q <= 1:
        msg = f"segment needs at least 1 step and 0 < q <= 1; got steps={steps} and q={q}."
        raise ConfigError(msg)
    settings: dict[str, Any] = {"band": band, "steps": steps, "q": q, "seed": seed}
    told = {"cutouts": cutouts.fingerprint if isinstance(cutouts, Cutouts) else None, "software": software_versions()}
    where = named_device(device)
    if out is None:
        network, n = _trained(cutouts, **settings, device=where)
        return Masks(pa.concat_tables(_rows(cutouts, 0, band, network)), {**settings, "n_trained_on": n, **told})
    path = Path(out)
    if resume and path.is_file():
        return _finished(Masks.open(path), {**settings, **told}, len(cutouts))
    free_file(path, overwrite=overwrite)
    with Draft(path, _SCHEMA, cutouts, settings=settings, resume=resume, overwrite=overwrite) as draft:
        if draft.rows:
            network, n = _kept(draft.path / _NETWORK, where)
        else:
            network, n = _trained(cutouts, **settings, device=where)
            _keep(network, n, draft.path / _NETWORK)
        write_all(_rows(cutouts, draft.first, band, network), draft.add, draft.flush)
        masks = Masks(draft.table(), {**settings, "n_trained_on": n, **told}).save(path, overwrite=overwrite)
    draft.drop()
    return masks


def _trained(
    cutouts: Cutouts | Samples, *, band: str | int | None, steps: int, q: float, seed: int, device: torch.device
) -> tuple[UNet, int]:
    """Train a network, and say on how many pictures."""
    taught = _sample(cutouts, band, seed)
    if not any(each.otsu.any() for each in taught):
        msg = f"nothing stands out of the noise in {len(taught)} pictures, so there is nothing to learn a mask from."
        raise DataError(msg)
    return train_unet(taught, steps=steps, q=q, seed=seed, device=device), len(taught)


def _keep(network: UNet, n_taught: int, path: Path) -> None:
    weights = {name: weight.cpu().contiguous() for name, weight in network.state_dict().items()}
    with replacing(path) as beside:
        save_file({**weights, _TAUGHT: torch.tensor(n_taught)}, beside)


def _kept(path: Path, device: torch.device) -> tuple[UNet, int]:
    try:
        weights = load_file(path)
        n_taught = int(weights.pop(_TAUGHT))
        network = UNet(2)
        network.load_state_dict(weights)
    except (OSError, SafetensorError, KeyError, RuntimeError) as error:
        msg = f"the network in '{path}' cannot be read ({error}); begin anew with overwrite=True (--overwrite)."
        raise StoreError(msg) from error
    return network.to(device).eval(), n_taught


def _finished(found: Masks, about: dict[str, Any], n: int) -> Masks:
    other = [name for name in ("cutouts", "band", "steps", "q", "seed") if found.about.get(name) != about[name]]
    if other or len(found) != n:
        msg = f"'{found.path}' holds masks of other {other[0] if other else 'cutouts'}; choose another out=, or overwrite it."
        raise StoreError(msg)
    return found


def otsu_mask(x: NDArray[np.floating[Any]], valid: Bool) -> Bool:
    """Separate an object from the background by Otsu's threshold.

    The image is smoothed a little (Gaussian, s.d. 1 pixel) and taken through asinh(x / 3 sigma), so that a bright core does not
    push the threshold up; the threshold is never below 2 sigma of the smoothed image.

    Parameters
    ----------
    x : ndarray, (H, W)
        Level-subtracted, in sigma.
    valid : ndarray of bool, (H, W)

    Returns
    -------
    ndarray of bool, (H, W)
        False where not valid, and everywhere if the valid pixels are all equal.
    """
    if not valid.any():
        return np.zeros(x.shape, dtype=np.bool_)
    weight = ndimage.gaussian_filter(valid.astype(np.float64), _SMOOTHING)
    smooth = ndimage.gaussian_filter(np.where(valid, x, 0.0).astype(np.float64), _SMOOTHING)
    smooth /= np.maximum(weight, 1e-6)
    pixels = smooth[valid]
    if pixels.min() == pixels.max():
        return np.zeros(x.shape, dtype=np.bool_)
    noise = estimate_noise(smooth[None], valid)
    floor = float(noise.level[0] + _FLOOR_SIGMA * noise.sigma[0])
    split = _SOFTENING * np.sinh(_threshold(np.arcsinh(pixels / _SOFTENING)))
    return np.asarray(valid & (smooth > max(float(split), floor)))


def train_unet(taught: Sequence[_Prepared], *, steps: int, q: float, seed: int, device: torch.device) -> UNet:
    """Train a U-Net on pseudo-labels.

    Parameters
    ----------
    taught : sequence
        Planes in sigma with their valid pixels and pseudo-labels.
    steps, q, seed, device
        As of `segment`.

    Returns
    -------
    UNet
        In evaluation mode; two planes in, the picture and its valid pixels.
    """
    rng = np.random.default_rng(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = UNet(2).to(device)
    optimiser = torch.optim.AdamW(network.parameters(), lr=_LR, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=_LR, total_steps=steps)
    side = min(_SIDE, -(-max(max(each.x.shape) for each in taught) // 8) * 8)
    for _ in tqdm(range(steps), desc="train", unit="step", disable=not sys.stderr.isatty()):
        patches = [_patch(taught[i], side, rng) for i in rng.integers(len(taught), size=_BATCH)]
        x, valid, labels = (torch.from_numpy(np.stack(part)).to(device) for part in zip(*patches, strict=True))
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(_input(x, valid))[:, 0]
        loss = generalised_cross_entropy(logits, labels, _weights(labels, valid), q=q)
        optimiser.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
    return network.eval()


def _weights(labels: Tensor, valid: Tensor) -> Tensor:
    """Weigh the pixels of objects up where they are rare: a loss that doubts labels would forget them."""
    inside, n = (labels & valid).sum(), valid.sum()
    up = (_LEAST_SHARE / (1 - _LEAST_SHARE) * (n - inside) / inside.clamp_min(1)).clamp_min(1)
    return valid * torch.where(labels, up, 1.0)


def _input(x: Tensor, valid: Tensor) -> Tensor:
    return torch.stack([torch.asinh(x), valid.to(x.dtype)], dim=1)  # (B, 2, H, W)


def _patch(each: _Prepared, side: int, rng: np.random.Generator) -> tuple[F32, Bool, Bool]:
    """Cut a patch at random, turn it, and make it a fainter twin: picture, valid pixels and label, (S, S) each."""
    places = []
    for length in each.x.shape:
        first = int(rng.integers(max(length - side, 0) + 1))
        places.append(slice(first, first + side))
    turns, flipped = int(rng.integers(4)), bool(rng.integers(2))

    def cut(plane: NDArray[Any]) -> NDArray[Any]:
        part = plane[tuple(places)]
        part = np.rot90(np.pad(part, [(0, side - length) for length in part.shape]), turns)
        return np.ascontiguousarray(part[:, ::-1] if flipped else part)

    x, valid, label = cut(each.x), cut(each.valid), cut(each.otsu)
    fade = float(np.exp(rng.uniform(np.log(_FAINTEST), 0))) if rng.random() < _TWINS else 1.0
    noise = rng.standard_normal(x.shape, dtype=np.float32)
    twin = (fade * x + math.sqrt(1 - fade**2) * noise) * valid
    return twin.astype(np.float32), valid, label


def _sample(cutouts: Cutouts | Samples, band: str | int | None, seed: int) -> list[_Prepared]:
    """Prepare the planes that are trained on."""
    rng = np.random.default_rng(seed)
    rows = np.sort(rng.permutation(len(cutouts))[:_ROWS])
    most = _TAUGHT_PIXELS // len(rows)
    if isinstance(cutouts, Cutouts):
        planes = read_planes(cutouts.keep(rows), band)
    else:
        chosen = set(rows.tolist())
        planes = (plane for row, plane in enumerate(read_planes(cutouts, band)) if row in chosen)
    return [_part(_prepared(plane), most, rng) for plane in planes]


def _part(each: _Prepared, most: int, rng: np.random.Generator) -> _Prepared:
    """Keep a part of a plane that has more than `most` pixels, no smaller than a patch where that can be."""
    if each.x.size <= most:
        return each
    shrink = math.sqrt(most / each.x.size)
    sides = [min(length, max(_SIDE, int(length * shrink))) for length in each.x.shape]
    first = [int(rng.integers(length - side + 1)) for length, side in zip(each.x.shape, sides, strict=True)]
    place = tuple(slice(f, f + side) for f, side in zip(first, sides, strict=True))
    return _Prepared(each.x[place].copy(), each.valid[place].copy(), each.otsu[place].copy())


def _prepared(plane: Plane) -> _Prepared:
    x = _in_sigma(plane)
    return _Prepared(x, plane.valid, otsu_mask(x, plane.valid))


def _in_sigma(plane: Plane) -> F32:
    """Count in sigma; where there is none, in hundredths of the range."""
    unit = plane.sigma
    if not unit > 0:
        unit = float(np.abs(plane.image).max()) / 100 or 1.0
    return np.where(plane.valid, plane.image / unit, 0.0).astype(np.float32)


def _rows(cutouts: Cutouts | Samples, first: int, band: str | int | None, network: UNet) -> Iterator[pa.Table]:
    """Segment all rows from `first` on; masks are packed at once: as bytes those of many pictures would not fit."""
    n = len(cutouts)
    with tqdm(total=n, initial=first, desc="segment", unit="image", disable=not sys.stderr.isatty()) as bar:

        def work(blocks: Iterable[list[Plane]]) -> Iterator[pa.Table]:
            return (_masks_of(block, network) for block in blocks)

        yield from by_blocks(cutouts, band, work, first=first, limits=_AT_ONCE, seen=bar.update)


def _masks_of(block: Sequence[Plane], network: UNet) -> pa.Table:
    """Segment planes of one shape and compare with Otsu's and photutils' masks: a table of `Masks`."""
    figures: dict[str, list[float]] = {name: [] for name in COMPARED}
    prepared = [_prepared(plane) for plane in block]
    masks = _masks(network, prepared)
    for plane, each, mask in zip(block, prepared, masks, strict=True):
        classical = photutils_segment(plane.image, plane.valid, Segmentation()) > 0
        figures["iou_otsu"].append(intersection_over_union(mask, each.otsu))
        figures["iou_photutils"].append(intersection_over_union(mask, classical))
        figures["iou_otsu_photutils"].append(intersection_over_union(each.otsu, classical))
    area = pa.array([int(mask.sum()) for mask in masks], pa.int64())
    return Masks.of([plane.id for plane in block], list(masks), {"area_px": area, **figures}, {}).table.cast(_SCHEMA)


@torch.no_grad()
def _masks(network: UNet, planes: Sequence[_Prepared]) -> NDArray[np.bool_]:
    """Segment planes of one shape, (B, H, W)."""
    device = next(network.parameters()).device
    x, valid = (
        torch.from_numpy(np.stack(part)).to(device) for part in ([p.x for p in planes], [p.valid for p in planes])
    )
    logits = network(_input(x, valid))[:, 0].float()
    return np.asarray(((logits > 0) & valid).cpu().numpy())
