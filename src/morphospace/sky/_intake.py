"""What all readers of images share: how a file is refused, how a warning is kept, which axes are bands."""

from __future__ import annotations

import logging
import math
import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from morphospace.errors import DataError, MorphospaceError

__all__ = ["MAX_BANDS", "band_shape", "guarded", "one_line", "quiet", "read_pixels", "refusal"]

MAX_BANDS = 5  # an array of more planes is a cube

_logger = logging.getLogger(__name__)
_filters = threading.RLock()  # warnings.catch_warnings swaps global state: one thread at a time


def refusal(source: str, what: str, remedy: str) -> DataError:
    """Build the one sentence that says which file, what came and what to do."""
    return DataError(f"'{source}' {what}; {remedy}.")


def one_line(message: object) -> str:
    """Put somebody else's message on one line without its full stop, cut at 160 characters."""
    text = re.sub(r" <_io\.[^>]*>", "", " ".join(str(message).split())).rstrip(".") or type(message).__name__
    return text if len(text) <= 160 else text[:157] + "..."


@contextmanager
def quiet(source: str) -> Iterator[None]:
    """Turn the warnings of a foreign library into lines of the log that name the file."""
    caught: list[warnings.WarningMessage] = []
    try:
        with _filters, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        for text in dict.fromkeys(one_line(warning.message) for warning in caught):
            _logger.warning("'%s': %s", source, text)


@contextmanager
def guarded(source: str, what: str, remedy: str) -> Iterator[None]:
    """Run foreign decoders: their warnings are logged, whatever they raise becomes a `DataError`.

    Decoders of damaged files raise nearly every class there is, so the door catches `Exception`.
    """
    try:
        with quiet(source):
            yield
    except MorphospaceError:
        raise
    except MemoryError:
        raise refusal(source, "does not fit into memory", "cut it into smaller images") from None
    except Exception as error:
        raise refusal(source, f"{what} ({one_line(error)})", remedy) from error


def band_shape(shape: Sequence[int], source: str) -> tuple[int, int, int]:
    """Read (C, H, W) off a shape in numpy's order: axes of length 1 before the last two are dropped.

    Raises
    ------
    DataError
        If it has one axis, no pixels, or is a cube: more than 5 planes, or two axes of planes.
    """
    if len(shape) < 2:
        raise refusal(source, f"holds {len(shape)}-dimensional data, not an image", "pass an array of 2 or 3 axes")
    if 0 in shape:
        raise refusal(source, f"holds an image without pixels, shape {tuple(shape)}", "leave it out")
    planes = [n for n in shape[:-2] if n != 1]
    if len(planes) > 1 or (planes and planes[0] > MAX_BANDS):
        what = f"holds a cube of {' x '.join(map(str, planes))} planes, which the intake does not take yet"
        raise refusal(source, what, "choose another image of the file with hdu= or save one plane as an image")
    return math.prod(planes), shape[-2], shape[-1]


def read_pixels(stream: IO[bytes], dtype: np.dtype[Any], n: int, source: str) -> NDArray[Any]:
    """Read ``n`` pixels from where the stream stands, made native-endian in place: no second copy."""
    buffer = np.empty(n * dtype.itemsize, dtype=np.uint8)
    view, n_read = buffer.data, 0
    while n_read < buffer.size and (step := stream.readinto(view[n_read:])):  # type: ignore[attr-defined]
        n_read += step
    if n_read < buffer.size:
        what = f"is truncated: its header announces {buffer.size} bytes of pixels and {n_read} follow"
        raise refusal(source, what, "fetch or copy it again")
    pixels = buffer.view(dtype)
    return pixels if dtype.isnative else pixels.byteswap(inplace=True).view(dtype.newbyteorder("="))
