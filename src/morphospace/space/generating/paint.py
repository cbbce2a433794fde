"""From what networks see to what people see: colours, limits, and sheets of tiles."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from morphospace.errors import MorphospaceError
from morphospace.sky.cutouts import Cutouts
from morphospace.space.figures import legible
from morphospace.space.generating.decoder import Decoder
from morphospace.space.names import one_line

__all__ = ["FONT", "PLAIN", "Look", "Sheet", "look_of", "painted", "painted_residuals", "say", "short"]

FONT = "DejaVu Sans"  # comes with matplotlib, so that a figure looks the same everywhere
FRAME = "#d95f02"
_FAINT, _BRIGHT = 0.5, 99.7  # percentiles of the pixels that are drawn black and white
_GAP = 0.06  # between tiles, as a part of a tile
_BLANK = 255
_DPI = 160
_LONGEST = 12  # characters under a tile


class Look(NamedTuple):
    """How images are shown.

    Attributes
    ----------
    bands : tuple of int
        Bands drawn red, green and blue, for images of three bands.
    bottom_up : bool
        Whether row 0 is the bottom, as in FITS.
    """

    bands: tuple[int, int, int] = (0, 1, 2)
    bottom_up: bool = False


#: Three bands as they come, row 0 on top.
PLAIN = Look()


def look_of(source: Cutouts | Decoder) -> Look:
    """Find how images are shown: the longest wavelength red, FITS rows upwards.

    Parameters
    ----------
    source : Cutouts or Decoder
        Of a decoder the store that its run was trained on, if it is still there.

    Returns
    -------
    Look
        The bands as they come, row 0 on top, where nothing is known.
    """
    try:
        cutouts = source if isinstance(source, Cutouts) else _store_of(source)
        first = cutouts.table(["wavelength_nm", "hdu"]).slice(0, 1).to_pylist() if cutouts is not None else []
    except (MorphospaceError, OSError):  # moved or deleted since
        first = []
    if not first:
        return PLAIN
    waves = np.asarray(first[0]["wavelength_nm"] or [], np.float64)
    known = len(waves) == 3 and bool(np.isfinite(waves).all())
    order = [int(i) for i in np.argsort(-waves)] if known else [0, 1, 2]
    return Look((order[0], order[1], order[2]), bool(first[0]["hdu"]))


def _store_of(decoder: Decoder) -> Cutouts | None:
    path = None if decoder.run is None else decoder.run.config.get("data", {}).get("path")
    return None if path is None else Cutouts.open(path)


def painted(
    images: NDArray[np.float32], look: Look = PLAIN, *, like: NDArray[np.float32] | None = None
) -> NDArray[np.uint8]:
    """Draw images, all with one scale of brightness.

    Parameters
    ----------
    images : array, (..., C, S, S)
        In stretched units. Three bands make colours, any other number is averaged. NaN becomes white.
    look : Look
    like : array, (..., C, S, S), optional
        Images whose 0.5th and 99.7th percentiles become black and white, instead of these themselves.

    Returns
    -------
    array, (..., S, S, 3), uint8
    """
    planes = _planes(images, look)
    reference = planes if like is None else _planes(like, look)
    finite = reference[np.isfinite(reference)]
    low, high = np.percentile(finite, (_FAINT, _BRIGHT)) if finite.size else (0.0, 1.0)
    with np.errstate(invalid="ignore"):
        scaled = np.clip((planes - low) / max(float(high - low), 1e-12), 0, 1)
    return _bytes(scaled, look)


def painted_residuals(residuals: NDArray[np.float32], look: Look = PLAIN) -> tuple[NDArray[np.uint8], float]:
    """Draw residuals, grey for 0; also give the value that is drawn white (brighter than reconstructed), its negative black."""
    planes = _planes(residuals, look)
    most = float(np.percentile(np.abs(planes), _BRIGHT)) or 1.0
    return _bytes(np.clip(0.5 + planes / (2 * most), 0, 1), look), most


def _planes(images: NDArray[np.float32], look: Look) -> NDArray[np.float32]:
    """Choose what is shown, (..., S, S, 3 or 1)."""
    chosen = images[..., list(look.bands), :, :] if images.shape[-3] == 3 else images.mean(axis=-3, keepdims=True)
    return np.moveaxis(chosen, -3, -1)


def _bytes(scaled: NDArray[np.floating], look: Look) -> NDArray[np.uint8]:
    out = np.where(np.isfinite(scaled), np.rint(255 * np.nan_to_num(scaled)), _BLANK).astype(np.uint8)
    colour = np.repeat(out, 3, axis=-1) if out.shape[-1] == 1 else out
    return colour[..., ::-1, :, :] if look.bottom_up else colour


class Sheet:
    """A figure of equal square tiles in rows and columns, with room for words around them.

    Parameters
    ----------
    rows, columns : int
    tile : float
        Side of a tile in inches.
    left : float
        Room for the names of rows, in inches.
    below : float or sequence of float
        Room under each tile for its caption, in inches; one for all rows or one for each.
    title : str
        Above; may have several lines.
    """

    def __init__(
        self,
        rows: int,
        columns: int,
        *,
        tile: float = 0.8,
        left: float = 0.1,
        below: float | Sequence[float] = 0.0,
        title: str = "",
    ) -> None:
        self._tile, self._left = tile, left
        room = [below] * rows if isinstance(below, float | int) else list(below)
        self._pitch = tile * (1 + _GAP)
        self._top = 0.18 + 0.2 * len(title.splitlines()) if title else 0.1
        self.width = left + columns * self._pitch + 0.1
        self._down = [self._top + sum(room[:row]) + row * self._pitch for row in range(rows + 1)]
        self.height = self._down[-1] + 0.1
        self.figure = Figure(figsize=(self.width, self.height), facecolor="white", dpi=_DPI)
        FigureCanvasAgg(self.figure)
        if title:
            say(self.figure, 0.5 * self.width, self.height - 0.1, title, size=10, va="top")

    def corner(self, row: int, column: int) -> tuple[float, float]:
        """Return x and y of the lower left corner of a tile, in inches."""
        return self._left + column * self._pitch, self.height - self._down[row] - self._tile

    def strip(self, row: int, column: int, pictures: NDArray[np.uint8], *, framed: Collection[int] = ()) -> None:
        """Put pictures (n, S, S, 3) side by side on tiles, some framed; as one image, an artist for each takes seconds."""
        n, side = pictures.shape[:2]
        gap = max(1, round(_GAP * side))
        canvas = np.full((side, n * (side + gap) - gap, 3), _BLANK, np.uint8)
        for i, picture in enumerate(pictures):
            canvas[:, i * (side + gap) : i * (side + gap) + side] = picture
        x, y = self.corner(row, column)
        width = self._pitch * n - (self._pitch - self._tile)
        where = (x / self.width, y / self.height, width / self.width, self._tile / self.height)
        ax = self.figure.add_axes(where)
        ax.imshow(canvas, interpolation="antialiased", aspect="auto")
        for i in framed:
            corner = i * (side + gap) - 0.5, -0.5
            ax.add_patch(Rectangle(corner, side, side, fill=False, color=FRAME, linewidth=2.0, clip_on=False))
        ax.set_axis_off()

    def name_row(self, row: int, text: str) -> None:
        """Write the name of a row at its left."""
        x, y = self.corner(row, 0)
        say(self.figure, x - 0.06, y + self._tile / 2, text, size=7.5, ha="right", va="center")

    def caption(self, row: int, column: int, lines: Sequence[str], *, columns: int = 1) -> None:
        """Write under a tile, or in the middle under several."""
        x, y = self.corner(row, column)
        middle = x + (self._pitch * columns - (self._pitch - self._tile)) / 2
        say(self.figure, middle, y - 0.03, "\n".join(lines), size=6.5, va="top")

    def head(self, column: int, text: str, *, columns: int = 1) -> None:
        """Write above the first row, over one or several columns."""
        x, y = self.corner(0, column)
        middle = x + (self._pitch * columns - (self._pitch - self._tile)) / 2
        say(self.figure, middle, y + self._tile + 0.04, text, size=7.5, va="bottom")


def short(identifier: str) -> str:
    """Write an id so that it fits under a tile: the end of a long one, where those of a survey differ."""
    line = one_line(identifier, 200)
    return line if len(line) <= _LONGEST else f"…{line[1 - _LONGEST :]}"


def say(
    figure: Figure, x: float, y: float, text: str, *, size: float = 7.5, ha: str = "center", va: str = "center"
) -> None:
    """Write words at a place in inches from the lower left corner, with the font of all figures."""
    width, height = figure.get_size_inches()
    words = "\n".join(legible(line) for line in text.splitlines())
    figure.text(x / width, y / height, words, ha=ha, va=va, fontsize=size, font=FONT, parse_math=False)
