"""From native pixels to what a network may see: scale, units, clipping and stretch, without randomness."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil, hypot, sqrt
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from morphospace.errors import ConfigError, DataError
from morphospace.sky.stretch import Stretch

__all__ = ["Geometry", "Preparation", "Prepared", "prepare_stack", "turn_back"]

Scale = Literal["pixel", "image", "object", "sky", "beam"]
Units = Literal["noise", "range", "none"]
Parts = Literal["all", "main"]
# smaller sources are not magnified further: there would be nothing more to see
LARGEST_MAGNIFICATION = 3.0
_VALUE_MEANS = {
    "object": "the measured radius as a fraction of the side, e.g. 0.3",
    "sky": "arcseconds per pixel of the network",
    "beam": "pixels of the network per beam",
}


@dataclass(frozen=True)
class Preparation:
    """How a cut-out becomes the input of a network; part of the fingerprint of a space.

    Parameters
    ----------
    size : int, >= 8
        Side S of the network's input, in pixels.
    scale : {"pixel", "image", "object", "sky", "beam"}
        ``pixel`` keeps the pixel scale and crops or pads; ``image`` brings the longest side to S; ``object`` the radius
        that holds 90 % of the flux above 3 sigma to a fraction of S, magnified at most three times (an image in which
        nothing stands out is taken whole); ``sky`` and ``beam`` bring all images to one angular resolution.
    scale_value : float, optional
        For ``object`` the radius as a fraction of S, for ``sky`` arcsec per pixel, for ``beam`` pixels per beam
        (geometric mean of its axes).
    parts : {"all", "main"}
        Whether the radius is that of all that stands out (the two lobes of a radio source) or of the central source
        alone (a galaxy among neighbours).
    units : {"noise", "range", "none"}
        ``noise``: level-subtracted flux in units of the image's own robust sigma. ``range``: level-subtracted flux
        divided by the brightest pixel (8-bit pictures: by 255). ``none``: as stored, blank is 0.
    clip_sigma : float, optional
        Pixels below this many sigma above the level become the level; where there is no noise, those below the level.
    stretch : Stretch
        Curve applied last.
    align : bool
        Turn each image so that the major axis of what stands out (see `parts`) lies along its rows: a decoder then need
        not learn each shape at every position angle. Where the image ends it is blank; noise becomes a little smoother
        the further an image is turned from the pixels.

    Raises
    ------
    ConfigError
        If a value is out of range or missing.
    """

    size: int = 64
    scale: Scale = "pixel"
    scale_value: float | None = None
    parts: Parts = "all"
    units: Units = "range"
    clip_sigma: float | None = None
    stretch: Stretch = field(default_factory=Stretch)
    align: bool = False

    def __post_init__(self) -> None:
        if self.size < 8:
            msg = f"size of the network's input must be at least 8 pixels; got {self.size}."
            raise ConfigError(msg)
        if self.scale not in ("pixel", "image", *_VALUE_MEANS):
            msg = f"scale must be pixel, image, object, sky or beam; got '{self.scale}'."
            raise ConfigError(msg)
        if self.units not in ("noise", "range", "none") or self.parts not in ("all", "main"):
            msg = f"units must be noise, range or none and parts all or main; got '{self.units}' and '{self.parts}'."
            raise ConfigError(msg)
        if self.scale in _VALUE_MEANS and not (self.scale_value or 0) > 0:
            msg = f"scale='{self.scale}' needs scale_value=, {_VALUE_MEANS[self.scale]}; got {self.scale_value}."
            raise ConfigError(msg)


class Geometry(NamedTuple):
    """What the scale of one image is computed from; NaN where unknown."""

    height: int
    width: int
    pixel_scale_arcsec: float = float("nan")
    beam_arcsec: float = float("nan")
    radius_px: float = float("nan")

    def pixels_per_output(self, preparation: Preparation, name: str) -> float:
        """Input pixels per pixel of the network, before any zoom.

        Raises
        ------
        DataError
            If the scale needs a figure that this image does not have.
        """
        p, value = preparation, preparation.scale_value or 1.0
        if p.scale == "pixel":
            return 1.0
        if p.scale == "image":
            return max(self.height, self.width) / p.size
        if p.scale == "object":
            whole = max(self.height, self.width) / p.size
            found = self.radius_px / (value * p.size)
            return max(found, 1 / LARGEST_MAGNIFICATION) if found > 0 else whole
        if p.scale == "sky":
            factor, what = value / self.pixel_scale_arcsec, "pixel scale"
        else:
            factor, what = self.beam_arcsec / self.pixel_scale_arcsec / value, "beam or pixel scale"
        if not factor > 0:
            msg = f"scale='{p.scale}' needs the {what} of every image; '{name}' has none. Use scale='image' or 'pixel'."
            raise DataError(msg)
        return factor


class Prepared(NamedTuple):
    """A stack of equal shape in network units, background at 0, before the stretch."""

    x: Tensor  # (B, C, H, W) float32, no NaN
    mask: Tensor | None  # (B, 1, H, W) float32, 1 = valid; None when all is
    factor: Tensor  # (B,) float32, pixels of `x` per pixel of the network
    sigma: Tensor  # (B, C) float32, noise in the units of `x`; 0 when unknown, also for an image without a valid pixel


def prepare_stack(
    x: Tensor, mask: Tensor | None, noise: tuple[Tensor, Tensor], scale: Tensor, preparation: Preparation
) -> Prepared:
    """Bring images of one shape to network units and to at most about twice the network's size.

    Parameters
    ----------
    x : Tensor, (B, C, H, W), any real dtype
        Native pixels. NaN and infinite pixels become background and masked.
    mask : Tensor or None, (B, H, W), bool
        True where valid.
    noise : tuple of Tensor, (B, C) each
        Level and sigma, in native units.
    scale : Tensor, (B,)
        Input pixels per pixel of the network; all are averaged alike, by the whole part of the smallest.
    preparation : Preparation
        Units ``noise`` only where every sigma is above 0.

    Returns
    -------
    Prepared
        Images larger than twice the network are averaged over areas (weighted by the mask) and cropped about their
        centre. Sigma after averaging n pixels falls as sqrt(n), as for independent noise.
    """
    level, sigma = (t[:, :, None, None].float() for t in noise)
    if preparation.units == "none":
        level = torch.zeros_like(level)
    picture = x.dtype == torch.uint8
    x = x.float() - level
    weight = _weight(x, mask)
    if weight is not None:
        x = x.nan_to_num_(0.0, 0.0, 0.0).mul_(weight)
    x, weight, shrink = _shrink(x, weight, int(scale.min()))
    side = 2 * preparation.size
    if preparation.align:  # what a turn may bring into view stays
        side = ceil(side * sqrt(2))
    x = _centre_crop(x, side)
    weight = None if weight is None else _centre_crop(weight, side)
    sigma = sigma.nan_to_num(0.0) / shrink
    if preparation.clip_sigma is not None:
        # 1 or 0 as float32: both steps are vectorised, which torch.where is not
        x.mul_(torch.ge(x, preparation.clip_sigma * sigma, out=torch.empty_like(x)))
    if preparation.units == "noise":
        x = x.div_(sigma.clamp_min(torch.finfo(torch.float32).tiny))
        sigma = torch.ones_like(sigma)
    elif preparation.units == "range":
        top = torch.full_like(sigma, 255.0) if picture else _brightest(x).expand_as(sigma)
        x, sigma = x.div_(top), sigma / top
    return Prepared(x, weight, (scale / shrink).float(), sigma[:, :, 0, 0])


def turn_back(prepared: Prepared, angle: Tensor, largest: int) -> Prepared:
    """Turn images about their centres so that a direction in each comes to lie along the rows.

    Parameters
    ----------
    prepared : Prepared
    angle : Tensor, (B,)
        That direction, radians from +x (columns) towards +y (rows).
    largest : int
        Side of what is returned at most.

    Returns
    -------
    Prepared
        Squares that hold the whole images if they may; bilinear. What was outside of an image is background, and not valid.
    """
    n, (h, w) = len(angle), prepared.x.shape[-2:]
    side = min(largest, ceil(hypot(h, w)))
    cos, sin = angle.float().cos()[:, None, None], angle.float().sin()[:, None, None]
    u = torch.arange(side) - (side - 1) / 2
    v = u[:, None]
    # align_corners=False: pixel i lies at (2 i + 1) / n - 1, the centre at 0
    grid = torch.stack([(cos * u - sin * v) * (2 / w), (sin * u + cos * v) * (2 / h)], -1)
    planes = prepared.x.reshape(n, -1, h, w)  # those of a cube turn together
    mask = planes.new_ones(n, 1, h, w) if prepared.mask is None else prepared.mask
    x, mask = (F.grid_sample(t, grid, padding_mode="zeros", align_corners=False) for t in (planes, mask))
    return prepared._replace(x=x.reshape(*prepared.x.shape[:-2], side, side), mask=mask)


def _weight(x: Tensor, mask: Tensor | None) -> Tensor | None:
    """Give 1 to pixels, (B, 1, H, W), that are finite in all bands and not masked, else 0; None where all are."""
    if mask is None and bool(torch.isfinite(x.sum())):  # a tenth of the time of looking at each
        return None
    valid = torch.isfinite(x).all(dim=1, keepdim=True)
    if mask is not None:
        valid &= mask[:, None]
    return None if bool(valid.all()) else valid.float()


def _brightest(x: Tensor) -> Tensor:
    top = x.amax(dim=(1, 2, 3), keepdim=True)
    # where nothing rises above the level (absorption, a blank image) its deepest pixel is what can be scaled by
    top = torch.where(top > 0, top, x.abs().amax(dim=(1, 2, 3), keepdim=True))
    return torch.where(top > torch.finfo(torch.float32).tiny, top, 1.0)


def _shrink(x: Tensor, weight: Tensor | None, k: int) -> tuple[Tensor, Tensor | None, float]:
    if k < 2:
        return x, weight, 1.0
    h, w = (max(1, round(n / k)) for n in x.shape[-2:])
    # adaptive bins lie alike from both ends, so that averaging commutes with flips and quarter turns
    if weight is None:
        small = F.adaptive_avg_pool2d(x, (h, w))
    else:
        total = F.adaptive_avg_pool2d(x * weight, (h, w))
        weight = F.adaptive_avg_pool2d(weight, (h, w))
        small = torch.where(weight > 0, total / weight.clamp_min(1e-6), 0.0)
    return small, weight, float((x.shape[-2] / h * x.shape[-1] / w) ** 0.5)


def _centre_crop(x: Tensor, side: int) -> Tensor:
    for dim in (-2, -1):
        n = x.shape[dim]
        if n > side:
            # an even number is taken off, so that the centre stays where it was
            cut = (n - side + 1) // 2
            x = x.narrow(dim, cut, n - 2 * cut)
    return x
