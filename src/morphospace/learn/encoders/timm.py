"""Encoders of timm (EfficientNet, DINOv2, ConvNeXt and hundreds more), weights from a local file or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphospace._optional import optional_import
from morphospace.errors import ConfigError, StoreError
from morphospace.learn.weights import read_state

__all__ = ["HUB", "TimmEncoder", "timm_encoder"]

HUB = "hub"


class TimmEncoder(nn.Module):
    """A network of timm behind a resampling to its size and the normalisation of its weights.

    Parameters
    ----------
    model : Module
        (B, C, S, S) to (B, D).
    side : int, optional
        Side S in pixels that images are brought to; as they come when not given.
    mean, std : sequence of float, optional
        Of each band, as the weights were trained with; no normalisation when not given.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(
        self,
        model: nn.Module,
        *,
        side: int | None = None,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
    ) -> None:
        super().__init__()
        self.model, self.side = model, side
        self.dim = int(model.num_features)  # type: ignore[arg-type]
        known = mean is not None and std is not None
        self.register_buffer("mean", torch.tensor(mean)[:, None, None] if known else None, persistent=False)
        self.register_buffer("std", torch.tensor(std)[:, None, None] if known else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, D) for images (B, bands, H, W)."""
        out: Tensor = self.model(self._prepared(x))
        return out

    def tokens(self, x: Tensor) -> Tensor:
        """Return the features of each patch, (B, N, D), row by row; class and register tokens are left out."""
        found: Tensor = self.model.forward_features(self._prepared(x))  # type: ignore[operator]
        if found.ndim == 4:
            return found.flatten(2).transpose(1, 2)  # (B, N, D)
        return found[:, int(getattr(self.model, "num_prefix_tokens", 0)) :]

    def _prepared(self, x: Tensor) -> Tensor:
        if self.side is not None and x.shape[-2:] != (self.side, self.side):
            x = F.interpolate(x, size=(self.side, self.side), mode="bilinear", antialias=True, align_corners=False)
        return x if self.mean is None or self.std is None else (x - self.mean) / self.std


def timm_encoder(
    name: str, *, bands: int = 3, weights: str | Path | None = HUB, size: int | None = None
) -> TimmEncoder:
    """Build an encoder of timm: ``efficientnet_b0``, ``vit_small_patch14_dinov2``, ``convnext_tiny`` or any other.

    Parameters
    ----------
    name : str
        As timm has it.
    bands : int, >= 1
        Number of bands; where the weights are of another number, timm sums or repeats those of the first layer.
    weights : path, ``"hub"`` or None
        ``hub`` downloads them (once); a local file, ``.safetensors`` or a ``torch.save`` of a state dict, is read
        without executing code; None starts at random.
    size : int, optional
        Side that images are brought to, in pixels; that of the weights by default, where the network has one. A
        network of 14-pixel patches needs a multiple of 14.

    Returns
    -------
    TimmEncoder

    Raises
    ------
    MissingDependencyError
        If timm is not installed, or breaks at import.
    ConfigError
        If timm knows no such network, or refuses an option.
    StoreError
        If the weights cannot be read, downloaded or do not fit.
    """
    timm = optional_import("timm", extra="timm", purpose=f"the encoder '{name}'")
    if not timm.is_model(name):
        near = timm.list_models(f"*{name.split('_')[0].split('.')[0]}*")[:3]
        msg = f"timm knows no network '{name}'{'; did you mean ' + ', '.join(near) + '?' if near else '.'}"
        raise ConfigError(msg)
    if bands < 1 or (size is not None and size < 1):
        msg = f"bands and size of a timm encoder must be at least 1; got {bands} and {size}."
        raise ConfigError(msg)
    options: dict[str, Any] = {"num_classes": 0, "in_chans": bands, "pretrained": weights is not None}
    if weights is not None and weights != HUB:
        options["pretrained_cfg_overlay"] = {"state_dict": read_state(weights), "custom_load": False}
    model = _created(timm, name, options, size)
    known = dict(getattr(model, "pretrained_cfg", None) or {})
    own = (known.get("input_size") or (bands, None, None))[-1]
    normal = {key: _per_band(known.get(key), bands) if weights is not None else None for key in ("mean", "std")}
    return TimmEncoder(model, side=size or own, **normal)


def _created(timm: Any, name: str, options: dict[str, Any], size: int | None) -> nn.Module:  # noqa: ANN401
    sized = [{**options, "img_size": size}] if size is not None else []
    error: Exception | None = None
    for given in [*sized, options]:
        try:
            model: nn.Module = timm.create_model(name, **given)
        except TypeError as refused:  # a network of any size takes no img_size
            error = refused
        except (RuntimeError, OSError, ValueError) as refused:
            first = str(refused).splitlines()[0] if str(refused) else type(refused).__name__
            msg = f"the weights of timm's '{name}' cannot be loaded ({first}); give a local file as weights=, or None."
            raise StoreError(msg) from None
        else:
            return model
    msg = f"timm refuses to build '{name}' ({error}); choose another."
    raise ConfigError(msg) from None


def _per_band(values: Any, bands: int) -> tuple[float, ...] | None:  # noqa: ANN401
    """Give one figure a band: those of the weights, or their mean where the bands are others."""
    if not values:
        return None
    return tuple(map(float, values)) if len(values) == bands else (float(sum(values)) / len(values),) * bands
