"""Stretches: how flux becomes the brightness that a network or an eye sees."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
from astropy.visualization import ZScaleInterval
from numpy.typing import NDArray

from morphospace.errors import ConfigError

__all__ = ["STRETCHES", "Stretch", "StretchKind"]

StretchKind = Literal["asinh", "log", "linear", "sqrt", "zscale", "percentile"]
STRETCHES: tuple[str, ...] = ("asinh", "log", "linear", "sqrt", "zscale", "percentile")
A = TypeVar("A")
_ZSCALE_SAMPLE = 1000  # what ZScaleInterval looks at
_ZSCALE_PIXELS = 16  # with fewer there is no line to fit through


def _is_vectorised(name: str) -> bool:
    """Whether numpy computes a function of float32 by vector instructions of this processor."""
    try:
        from_numpy = np.lib.introspect.opt_func_info(func_name=f"^{name}$", signature="float32")
    except AttributeError:  # numpy 1
        return False
    return any("baseline" not in kind["current"] for kinds in from_numpy.values() for kind in kinds.values())


# then a tenth of the time of torch's, which goes pixel by pixel: else a fifth of an embedding by a small network
_VECTORISED = _is_vectorised("arcsinh")


@dataclass(frozen=True)
class Stretch:
    """A monotonic curve from flux to the network's input.

    Works on numpy arrays and torch tensors alike and keeps their type; integers become float32. The curves are odd, so
    that noise around zero stays symmetric: ``asinh`` is arcsinh(x / a), ``log`` is sign(x) ln(1 + |x| / a), ``sqrt`` is
    sign(x) sqrt(|x| / a), ``linear`` is x / a. ``percentile`` and ``zscale`` scale each image between two limits found
    in its valid pixels and clip to [0, 1].

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
    ``asinh`` follows Lupton, Gunn & Szalay 1999, eq. 3, without its factor. NaN stays NaN and has no part in the limits.
    ``zscale`` takes its limits from astropy's ZScaleInterval, image by image. Departure: of more than 1,000 pixels it is
    given every k-th by brightness, not by place, so that turning the image changes nothing.
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

    def __call__(self, x: A, valid: A | None = None) -> A:
        """Stretch an image or a batch.

        Parameters
        ----------
        x : ndarray or Tensor, (..., H, W)
            Flux. The per-image kinds find their limits over the last two axes.
        valid : ndarray or Tensor, broadcast to `x`, optional
            True (or above 0.5) where a pixel counts for the limits of the per-image kinds: padding would move them.

        Returns
        -------
        same type and shape as `x`
        """
        stretched: A = self._stretched(_floating(x), valid)
        return stretched

    def inverse(self, y: A) -> A:
        """Undo the stretch.

        Raises
        ------
        ConfigError
            If the kind clips, so that no inverse exists.
        """
        undone: A = self._undone(_floating(y))
        return undone

    def _stretched(self, v: Any, valid: object) -> Any:  # noqa: ANN401
        xp = _namespace(v)
        if self.kind == "asinh":
            return _typed(v, _arcsinh(v / self.a))
        if self.kind == "log":
            return _typed(v, xp.sign(v) * xp.log1p(abs(v) / self.a))
        if self.kind == "sqrt":
            return _typed(v, xp.sign(v) * xp.sqrt(abs(v) / self.a))
        if self.kind == "linear":
            return _typed(v, v / self.a)
        low, high = self._limits(v, valid)
        return _typed(v, xp.clip((v - low) / xp.clip(high - low, 1e-12, None), 0, 1))

    def _undone(self, v: Any) -> Any:  # noqa: ANN401
        xp = _namespace(v)
        if self.kind == "asinh":
            return _typed(v, xp.sinh(v) * self.a)
        if self.kind == "log":
            return _typed(v, xp.sign(v) * xp.expm1(abs(v)) * self.a)
        if self.kind == "sqrt":
            return _typed(v, xp.sign(v) * v * v * self.a)
        if self.kind == "linear":
            return _typed(v, v * self.a)
        msg = (
            f"stretch '{self.kind}' clips at limits of each image and cannot be undone; use asinh, log, sqrt or linear."
        )
        raise ConfigError(msg)

    def _limits(self, v: Any, valid: Any) -> tuple[Any, Any]:  # noqa: ANN401
        # on the CPU for tensors too: selecting there is ten times faster than torch's quantile, which sorts
        planes = _numpy(v).reshape(-1, v.shape[-2] * v.shape[-1])  # (images, pixels)
        planes = planes.astype(np.result_type(planes, np.float32), copy=False)  # zscale fits no line in half precision
        good = np.isfinite(planes)
        if valid is not None:
            good &= (np.broadcast_to(_numpy(valid), v.shape) > 0.5).reshape(planes.shape)
        found = np.array([self._limits_of(plane[g]) for plane, g in zip(planes, good, strict=True)], planes.dtype)
        limits: Any = found.reshape(*v.shape[:-2], 1, 1, 2)
        if not isinstance(v, np.ndarray):
            limits = _namespace(v).from_numpy(limits).to(v)
        return limits[..., 0], limits[..., 1]

    def _limits_of(self, values: NDArray[Any]) -> tuple[float, float]:
        if not values.size:
            return 0.0, 1.0
        if self.kind == "percentile":
            low, high = np.quantile(values, (self.low / 100, self.high / 100))
        elif values.size < _ZSCALE_PIXELS:
            low, high = values.min(), values.max()
        else:
            low, high = ZScaleInterval().get_limits(np.sort(values)[:: -(-values.size // _ZSCALE_SAMPLE)])
        return float(low), float(high)


def _namespace(x: object) -> Any:  # noqa: ANN401
    # torch is used only where it has been imported already, so that this room does not depend on it
    torch = sys.modules.get("torch")
    return torch if torch is not None and isinstance(x, torch.Tensor) else np


def _arcsinh(v: Any) -> Any:  # noqa: ANN401
    xp = _namespace(v)
    if (
        xp is np
        or not _VECTORISED
        or v.requires_grad
        or v.device.type != "cpu"
        or v.dtype not in (xp.float32, xp.float64)
    ):
        return xp.arcsinh(v)
    array = v.numpy()  # the same memory
    np.arcsinh(array, out=array)
    return v


def _numpy(x: Any) -> NDArray[Any]:  # noqa: ANN401
    return np.asarray(x) if _namespace(x) is np else x.detach().float().cpu().numpy()


def _floating(x: object) -> Any:  # noqa: ANN401
    if _namespace(x) is not np:
        tensor: Any = x
        return tensor if tensor.is_floating_point() else tensor.float()
    array = np.asarray(x)
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def _typed(x: Any, y: Any) -> Any:  # noqa: ANN401
    return y.astype(x.dtype, copy=False) if isinstance(y, np.ndarray | np.generic) else y
