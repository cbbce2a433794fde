"""Views: random looks at a batch of images, made by one affine grid for the whole batch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from morphospace.errors import ConfigError
from morphospace.learn.prepare import Preparation, Scale, Units
from morphospace.sky.stretch import Stretch

__all__ = ["PRESETS", "Collated", "Views", "make_view", "plain_view", "views"]


class Collated(NamedTuple):
    """Prepared images of any sizes, padded with background to one block."""

    x: Tensor  # (B, C, H, W) float32, network units before the stretch, background at 0
    mask: Tensor | None  # (B, 1, H, W) float32, 1 = valid; None when all is
    shape: Tensor  # (B, 2) int64, height and width of each image inside the block
    factor: Tensor  # (B,) float32, pixels of `x` per pixel of the network
    sigma: Tensor  # (B, C) float32, noise in the units of `x`
    rows: Tensor  # (B,) int64, row numbers of the data
    label: Tensor | None = None  # (B,) int64

    def to(self, device: torch.device) -> Collated:
        """Move every tensor to a device."""
        return Collated(*(None if t is None else t.to(device, non_blocking=True) for t in self))  # type: ignore[arg-type]


@dataclass(frozen=True)
class Views:
    """How two looks at one object may differ; each field is one thing that the space shall not care about.

    Parameters
    ----------
    prepare : Preparation
        What every image goes through, at training and afterwards.
    rotate : bool
        Whether to turn by any angle. Off when orientation means something.
    flip : bool
        Whether to mirror.
    zoom : tuple of float
        Range of magnification, drawn log-uniformly.
    stretch_axis : float, >= 0
        Largest change of one axis against the other, as a fraction (a mild change of inclination).
    shift : float, >= 0
        Largest shift as a fraction of the side, along each axis.
    blur : float, >= 0
        Largest sigma of a Gaussian blur, in pixels of the network; half of the images are blurred.
    noise : float, >= 0
        Largest added white noise, in units of each image's own sigma.
    gain : float, >= 0
        Largest change of brightness, as a natural logarithm.
    band_gain : float, >= 0
        The same, drawn for each band.

    Notes
    -----
    The order is fixed: one bilinear sampling (flip, turn, zoom, stretch, shift together), blur, gain, noise, stretch.
    What lies outside of the image is background.
    """

    prepare: Preparation = field(default_factory=Preparation)
    rotate: bool = True
    flip: bool = True
    zoom: tuple[float, float] = (0.8, 1.25)
    stretch_axis: float = 0.0
    shift: float = 0.05
    blur: float = 1.0
    noise: float = 0.5
    gain: float = 0.3
    band_gain: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.zoom[0] <= self.zoom[1]:
            msg = f"zoom must be two positive numbers, the smaller first; got {self.zoom}."
            raise ConfigError(msg)
        for name in ("stretch_axis", "shift", "blur", "noise", "gain", "band_gain"):
            if not getattr(self, name) >= 0:
                msg = f"{name} of the views must not be negative; got {getattr(self, name)}."
                raise ConfigError(msg)


_OBJECT = Preparation(scale="object", scale_value=0.3, clip_sigma=3.0, stretch=Stretch("asinh", a=0.1))
PRESETS: dict[str, Views] = {
    "radio": Views(_OBJECT),
    "optical": Views(replace(_OBJECT, parts="main", clip_sigma=None), band_gain=0.2),
    "clouds": Views(Preparation(scale="image", stretch=Stretch("log", a=0.01)), zoom=(0.7, 1.4), noise=0.0),
    "oriented": Views(_OBJECT, rotate=False, flip=False),
}


def views(
    preset: str = "radio",
    *,
    size: int | None = None,
    scale: Scale | None = None,
    scale_value: float | None = None,
    units: Units | None = None,
    clip_sigma: float | None = None,
    stretch: Stretch | None = None,
) -> Views:
    """Take the views of a preset, with another size, scale, unit or stretch if given.

    Parameters
    ----------
    preset : {"radio", "optical", "clouds", "oriented"}
        ``oriented`` has no rotation and no flip.
    size, scale, scale_value, units, clip_sigma, stretch
        See `Preparation`; those not given stay as in the preset.

    Returns
    -------
    Views
        Change its other fields with ``dataclasses.replace``.

    Raises
    ------
    ConfigError
        If there is no such preset.
    """
    if preset not in PRESETS:
        msg = f"unknown preset of views '{preset}'; known are {', '.join(PRESETS)}."
        raise ConfigError(msg)
    given = {
        "size": size,
        "scale": scale,
        "scale_value": scale_value,
        "units": units,
        "clip_sigma": clip_sigma,
        "stretch": stretch,
    }
    base = PRESETS[preset]
    changes: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
    return replace(base, prepare=replace(base.prepare, **changes))


class View(NamedTuple):
    """One look at each image of a batch."""

    x: Tensor  # (B, C, S, S) float32, after the stretch: the network's input
    flux: Tensor | None  # (B, C, S, S) float32, before the stretch
    mask: Tensor | None  # (B, 1, S, S) float32 in [0, 1], 1 = valid


def make_view(
    batch: Collated, views: Views, *, generator: torch.Generator, size: int | None = None, with_flux: bool = False
) -> View:
    """Draw one random view of every image.

    Parameters
    ----------
    batch : Collated
        On any device.
    views : Views
        What may vary.
    generator : torch.Generator
        Of the CPU; the view depends on its state only.
    size : int, optional
        Side S; that of the preparation if not given (multi-crop methods ask for others).
    with_flux : bool
        Whether to keep the flux before the stretch and the mask.
    """
    side = size or views.prepare.size
    device = batch.x.device
    matrix, shift = _random_affine(batch.factor.cpu(), views, side, generator)
    grid = _grid(matrix.to(device), shift.to(device), batch, side)
    flux = F.grid_sample(_planes(batch.x), grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    flux = _blur(flux, views.blur, generator)
    flux = _gain(flux, views, generator)
    flux = _add_noise(flux, batch.sigma, views.noise, generator)
    flux = flux.reshape(len(flux), *batch.x.shape[1:-2], side, side)
    stretch = views.prepare.stretch
    mask = _sample_mask(batch, grid) if with_flux or not stretch.invertible else None
    x = _stretched(flux, mask, stretch)
    return View(x, flux, mask) if with_flux else View(x, None, None)


def plain_view(batch: Collated, preparation: Preparation) -> Tensor:
    """Look at every image as it is: centred, upright, nothing drawn.

    Parameters
    ----------
    batch : Collated
        Images, padded to one block.
    preparation : Preparation
        Gives side and stretch.

    Returns
    -------
    Tensor, (B, C, S, S), float32
        Commutes exactly with flips and quarter turns of the images.
    """
    side, stretch = preparation.size, preparation.stretch
    x = _centred(_planes(batch.x), batch, side).reshape(len(batch.x), *batch.x.shape[1:-2], side, side)
    valid = None if stretch.invertible else _centred(_mask(batch), batch, side)
    return _stretched(x, valid, stretch)


def _stretched(flux: Tensor, mask: Tensor | None, stretch: Stretch) -> Tensor:
    # limits found in an image must not know how much background was put around it
    return stretch(flux, mask if mask is None or flux.ndim == 4 else mask[:, None])


def _centred(x: Tensor, batch: Collated, side: int) -> Tensor:
    shape, factor = batch.shape.cpu(), batch.factor.cpu().double()
    first = shape[0]
    if bool((shape == first).all()) and bool((factor == 1).all()) and bool(((first - side) % 2 == 0).all()):
        # no pixel needs to move
        h, w = first.tolist()
        top, left = (side - h) // 2, (side - w) // 2
        return F.pad(x[..., :h, :w], (left, left, top, top))
    return _resample(x, shape, factor, side)


def _resample(x: Tensor, shape: Tensor, factor: Tensor, side: int) -> Tensor:
    # the same sampling as a grid's, axis by axis and pixel by pixel: what becomes of an image does not depend on its
    # neighbours in the batch, and turned images give turned views
    n, planes, h, w = x.shape
    offset = (torch.arange(side, dtype=torch.float64) - (side - 1) / 2) * factor[:, None]  # (B, S)
    rows = x.reshape(n * planes * h, w)
    first = torch.arange(n * planes, device=x.device).reshape(n, planes, 1) * h
    taps = _linear_taps(offset, shape[:, :1], x)
    parts = [
        rows.index_select(0, (first + index[:, None]).flatten())
        .reshape(n, planes, side, w)
        .mul_(weight[:, None, :, None])
        for index, weight in taps
    ]
    x = parts[0].add_(parts[1])  # (B, P, S, W)
    taps = _linear_taps(offset, shape[:, 1:], x)
    parts = [
        x.gather(3, index[:, None, None].expand(n, planes, side, side)).mul_(weight[:, None, None])
        for index, weight in taps
    ]
    return parts[0].add_(parts[1])  # (B, P, S, S)


def _linear_taps(offset: Tensor, n: Tensor, like: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Find the two pixels beside each place, counted from the centre of axes of n pixels, and their weights, (B, S) each."""
    position = offset + (n - 1) / 2
    low = position.floor()
    high_weight = position - low
    taps = []
    for index, weight in ((low, 1 - high_weight), (low + 1, high_weight)):
        inside = (index >= 0) & (index <= n - 1)
        taps.append((index.clamp_min(0).minimum(n - 1).long().to(like.device), (weight * inside).to(like)))
    return taps


def _random_affine(factor: Tensor, views: Views, side: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    n = len(factor)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=generator)

    angle = uniform(0, 2 * math.pi) if views.rotate else torch.zeros(n)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0) if views.flip else torch.ones(n)
    magnify = torch.exp(uniform(math.log(views.zoom[0]), math.log(views.zoom[1])))
    cos, sin = angle.cos(), angle.sin()
    matrix = torch.stack((cos, -sin, sin, cos), dim=1).reshape(n, 2, 2)
    if views.stretch_axis:
        # along an axis of the object's own, so that every direction is as likely
        ratio = torch.exp(uniform(-1, 1) * math.log1p(views.stretch_axis))
        phi = uniform(0, math.pi)
        c, s = phi.cos(), phi.sin()
        turn = torch.stack((c, -s, s, c), dim=1).reshape(n, 2, 2)
        axes = torch.diag_embed(torch.stack((ratio.sqrt(), 1 / ratio.sqrt()), dim=1))
        matrix = turn @ axes @ turn.transpose(1, 2) @ matrix
    matrix = matrix * torch.stack((mirror, torch.ones(n)), dim=1)[:, None, :]
    matrix = matrix * (factor / magnify)[:, None, None]
    shift = uniform(-1, 1, 2) * (views.shift * side) * factor[:, None]
    return matrix, shift


def _grid(matrix: Tensor, shift: Tensor, batch: Collated, side: int) -> Tensor:
    # by broadcasting: the library's affine_grid multiplies a (S * S, 3) matrix for each image and is the bottleneck
    u = torch.arange(side, dtype=torch.float32, device=matrix.device) - (side - 1) / 2
    h, w = batch.x.shape[-2:]
    size = torch.tensor((w, h), dtype=torch.float32, device=matrix.device)
    centre = (batch.shape.flip(1).float() - 1) / 2 + shift  # (B, 2) as x, y
    # align_corners=False: pixel i lies at (2 i + 1) / n - 1
    slope = 2 * matrix / size[:, None]  # (B, 2, 2)
    origin = (2 * centre + 1) / size - 1
    along_x = slope[:, None, :, 0] * u[None, :, None] + origin[:, None, :]  # (B, S, 2)
    along_y = slope[:, None, :, 1] * u[None, :, None]
    return along_x[:, None, :, :] + along_y[:, :, None, :]  # (B, S, S, 2)


def _planes(x: Tensor) -> Tensor:
    return x if x.ndim == 4 else x.flatten(1, -3)  # (B, C * Z, H, W): the planes of a cube move together


def _sample_mask(batch: Collated, grid: Tensor) -> Tensor:
    return F.grid_sample(_mask(batch), grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def _mask(batch: Collated) -> Tensor:
    if batch.mask is not None:
        return batch.mask
    h, w = batch.x.shape[-2:]
    rows = torch.arange(h, device=batch.x.device)[None, :, None] < batch.shape[:, 0, None, None]
    cols = torch.arange(w, device=batch.x.device)[None, None, :] < batch.shape[:, 1, None, None]
    return (rows & cols).float()[:, None]


def _blur(x: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    if not largest:
        return x
    # one width for the batch and view, over half of the images: a kernel each would cost more than the network
    chosen = torch.rand(len(x), generator=generator) < 0.5
    sigma = float(torch.rand((), generator=generator)) * largest
    if sigma < 0.2 or not bool(chosen.any()):
        return x
    radius = max(1, math.ceil(2.5 * sigma))
    t = torch.arange(-radius, radius + 1, dtype=torch.float32)
    kernel = torch.exp(-0.5 * (t / sigma) ** 2)
    kernel = kernel / kernel.sum()
    rows = chosen.nonzero()[:, 0].to(x.device)
    part = x[rows]
    for dim in (-2, -1):
        part = _smooth(part, kernel.tolist(), dim)
    x[rows] = part
    return x


def _smooth(x: Tensor, kernel: Sequence[float], dim: int) -> Tensor:
    # by shifted sums: a convolution of one plane costs four times as much, and each new shape of it a pause
    radius = len(kernel) // 2
    out = x * kernel[radius]
    n = x.shape[dim]
    for step in range(1, min(radius, n - 1) + 1):
        weight = kernel[radius + step]
        out.narrow(dim, 0, n - step).add_(x.narrow(dim, step, n - step), alpha=weight)
        out.narrow(dim, step, n - step).add_(x.narrow(dim, 0, n - step), alpha=weight)
    return out


def _gain(x: Tensor, views: Views, generator: torch.Generator) -> Tensor:
    if not views.gain and not views.band_gain:
        return x
    n, c = x.shape[:2]
    log = (torch.rand(n, 1, generator=generator) * 2 - 1) * views.gain
    log = log + (torch.rand(n, c, generator=generator) * 2 - 1) * views.band_gain
    return x.mul_(log.exp().to(x.device)[:, :, None, None])


def _add_noise(x: Tensor, sigma: Tensor, largest: float, generator: torch.Generator) -> Tensor:
    if not largest or not bool((sigma > 0).any()):
        return x
    n, c = x.shape[:2]
    amount = torch.rand(n, 1, generator=generator) * largest
    amount = amount.to(x.device) * sigma.repeat_interleave(c // sigma.shape[1], dim=1)
    noise = torch.randn(x.shape, generator=generator).to(x.device)
    return x.addcmul_(noise, amount[:, :, None, None])


def pad_block(images: Sequence[Tensor]) -> Tensor:
    """Stack images (..., H, W) of any sizes in one block, padded with zeros below and to the right."""
    h, w = (max(image.shape[d] for image in images) for d in (-2, -1))
    block = images[0].new_zeros(len(images), *images[0].shape[:-2], h, w)
    for i, image in enumerate(images):
        block[i, ..., : image.shape[-2], : image.shape[-1]] = image
    return block
