"""Stretches: how flux becomes the brightness that a network or an eye sees."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from astropy.visualization import ZScaleInterval

from morphospace.errors import ConfigError

__all__ = ["STRETCHES", "Stretch", "StretchKind"]

StretchKind = Literal["asinh", "log", "linear", "sqrt", "zscale", "percentile"]
STRETCHES: tuple[str, ...] = ("asinh", "log", "linear", "sqrt", "zscale", "percentile")
A = TypeVar("A")


@dataclass(frozen=True)
class Stretch:
    """A monotonic curve from flux to the network's input.

    Works on numpy arrays and torch tensors alike and keeps their type. The curves are odd, so that noise around zero
    stays symmetric: ``asinh`` is arcsinh(x / a), ``log`` is sign(x) ln(1 + |x| / a), ``sqrt`` is sign(x) sqrt(|x| / a),
    ``linear`` is x / a. ``percentile`` and ``zscale`` scale each image between two limits found in it and clip
    to [0, 1].

    Parameters
    ----------
    kind : {"asinh", "log", "linear", "sqrt", "zscale", "percentile"}
        The curve.
    a : float, > 0
        Softening, in the units of the input; below it the curve is close to linear. Unused by the last two.
    low, high : float, 0 to 100
        Percentiles of ``percentile``; unused by the others.

    Raises
    ------
    ConfigError
        If the kind is unknown, ``a`` is not positive or the percentiles are not ordered within 0 to 100.

    Notes
    -----
    ``asinh`` follows Lupton, Gunn & Szalay 1999, eq. 3, without its factor. NaN stays NaN. ``zscale`` takes its
    limits from astropy's ZScaleInterval, image by image.
    """

    kind: StretchKind = "asinh"
    a: float = 1.0
    low: float = 0.5
    high: float = 99.5

    def __post_init__(self) -> None:
        if self.kind not in STRETCHES:
            msg = f"stretch must be one of {', '.join(STRETCHES)}; got '{self.kind}'."
            raise ConfigError(msg)
        if not self.a > 0:
            msg = f"stretch softening 'a' must be positive; got {self.a}."
            raise ConfigError(msg)
        if not 0 <= self.low < self.high <= 100:
            msg = f"stretch percentiles must satisfy 0 <= low < high <= 100; got {self.low} and {self.high}."
            raise ConfigError(msg)

    @property
    def invertible(self) -> bool:
        """Whether `inverse` exists: true unless the limits come from each image."""
        return self.kind not in ("zscale", "percentile")

    def __call__(self, x: A) -> A:
        """Stretch an image or a batch.

        Parameters
        ----------
        x : ndarray or Tensor, (..., H, W), float
            Flux. The per-image kinds find their limits over the last two axes.

        Returns
        -------
        same type and shape as `x`
        """
        xp, v = _namespace(x), _any(x)
        if self.kind == "asinh":
            return _typed(x, xp.arcsinh(v / self.a))
        if self.kind == "log":
            return _typed(x, xp.sign(v) * xp.log1p(abs(v) / self.a))
        if self.kind == "sqrt":
            return _typed(x, xp.sign(v) * xp.sqrt(abs(v) / self.a))
        if self.kind == "linear":
            return _typed(x, v / self.a)
        low, high = self._limits(v)
        return _typed(x, xp.clip((v - low) / xp.clip(high - low, 1e-12, None), 0, 1))

    def inverse(self, y: A) -> A:
        """Undo the stretch.

        Raises
        ------
        ConfigError
            If the kind clips, so that no inverse exists.
        """
        xp, v = _namespace(y), _any(y)
        if self.kind == "asinh":
            return _typed(y, xp.sinh(v) * self.a)
        if self.kind == "log":
            return _typed(y, xp.sign(v) * xp.expm1(abs(v)) * self.a)
        if self.kind == "sqrt":
            return _typed(y, xp.sign(v) * v * v * self.a)
        if self.kind == "linear":
            return _typed(y, v * self.a)
        msg = (
            f"stretch '{self.kind}' clips at limits of each image and cannot be undone; use asinh, log, sqrt or linear."
        )
        raise ConfigError(msg)

    def _limits(self, v: Any) -> tuple[Any, Any]:  # noqa: ANN401
        if self.kind == "zscale":
            return self._zscale_limits(v)
        flat = v.reshape(*v.shape[:-2], -1)
        shares = (self.low / 100, self.high / 100)
        if isinstance(v, np.ndarray):
            q = np.quantile(flat, shares, axis=-1)
        else:
            torch = _namespace(v)
            q = torch.quantile(flat.float(), torch.tensor(shares, device=v.device), dim=-1)
        return q[0][..., None, None], q[1][..., None, None]

    @staticmethod
    def _zscale_limits(v: Any) -> tuple[Any, Any]:  # noqa: ANN401
        interval = ZScaleInterval()
        planes = np.asarray(v if isinstance(v, np.ndarray) else v.detach().cpu()).reshape(-1, *v.shape[-2:])
        limits = np.array([interval.get_limits(plane) for plane in planes], dtype=np.float32)
        limits = limits.reshape(*v.shape[:-2], 1, 1, 2)
        if not isinstance(v, np.ndarray):
            limits = _namespace(v).tensor(limits, device=v.device)
        return limits[..., 0], limits[..., 1]


def _namespace(x: object) -> Any:  # noqa: ANN401
    # torch is used only where it has been imported already, so that this room does not depend on it
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(x, torch.Tensor) else np


def _any(x: object) -> Any:  # noqa: ANN401
    return x if hasattr(x, "shape") else np.asarray(x)


def _typed(x: A, y: Any) -> A:  # noqa: ANN401
    return y if not isinstance(y, np.ndarray) else y.astype(np.asarray(x).dtype, copy=False)  # type: ignore[return-value]
