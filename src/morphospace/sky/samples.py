"""The sample: the one form in which an object reaches training, whoever provides it."""

from __future__ import annotations

from typing import Any, NotRequired, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

__all__ = ["Sample", "Samples"]


class Sample(TypedDict):
    """One object; only ``image`` and ``id`` are needed.

    ``image`` is (C, H, W) or (C, Z, H, W), any real dtype; arrays may be numpy or torch. ``mask`` is (H, W), True where
    valid. ``level`` and ``sigma`` are (C,), background and noise in the units of the image; they are measured when
    absent. ``label`` is a class: a whole number reaches ``Batch.label``, words serve probes only. ``group`` names what must
    stay on one side of a split.
    """

    image: NDArray[Any]
    id: str
    mask: NotRequired[NDArray[np.bool_] | None]
    level: NotRequired[NDArray[np.float32]]
    sigma: NotRequired[NDArray[np.float32]]
    pixel_scale_arcsec: NotRequired[float]
    beam: NotRequired[tuple[float, float, float]]
    spectrum: NotRequired[NDArray[np.float32]]
    label: NotRequired[int | str]
    group: NotRequired[str]


class Samples(Protocol):
    """What can be trained on beside Cutouts: anything with a length that gives samples by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Sample: ...
