"""Flags of measured shapes: why a figure is missing, or not to be trusted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

__all__ = ["BAD", "DEFINITIONS", "ShapeFlag", "ShapeFlagDefinition", "decode_shape_flags"]


class ShapeFlag(IntFlag):
    """Bits of the column ``shape_flags``; 0 means that nothing was found."""

    NO_SOURCE = 1
    NO_FLUX = 2
    EDGE = 4
    HIDDEN = 8
    CENTRE_DRIFTED = 16
    CENTRE_LOST = 32
    CENTRE_MASKED = 64
    NO_PETROSIAN = 128
    NO_SKY = 256
    SKY_LEVEL = 512
    GINI_PARTS = 1024
    GINI_FAILED = 2048
    NO_GROWTH = 4096
    NO_NOISE = 8192


@dataclass(frozen=True)
class ShapeFlagDefinition:
    """One flag, for people."""

    flag: ShapeFlag
    description: str
    rule: str


DEFINITIONS: tuple[ShapeFlagDefinition, ...] = (
    ShapeFlagDefinition(
        ShapeFlag.NO_SOURCE,
        "nothing stands out of the noise",
        "The segmentation is empty: all but the background is NaN.",
    ),
    ShapeFlagDefinition(
        ShapeFlag.NO_FLUX, "the source has no flux", "Its pixels add up to 0 or less, or none is valid."
    ),
    ShapeFlagDefinition(
        ShapeFlag.EDGE, "the source touches the border", "Its segment reaches the border of the image."
    ),
    ShapeFlagDefinition(
        ShapeFlag.HIDDEN,
        "part of the source is hidden",
        "More than a tenth of the circle of 1.5 Petrosian radii is masked (other sources too) or beyond the image.",
    ),
    ShapeFlagDefinition(
        ShapeFlag.CENTRE_DRIFTED,
        "the centre of symmetry is far from the centroid",
        "Farther than a quarter of the Petrosian radius; it was looked for again from the brightest pixel.",
    ),
    ShapeFlagDefinition(
        ShapeFlag.CENTRE_LOST, "no centre of symmetry", "Looked for again, it drifted again; the centroid is taken."
    ),
    ShapeFlagDefinition(
        ShapeFlag.CENTRE_MASKED,
        "the centre is masked",
        "The pixel at the centroid or at the centre of symmetry is masked.",
    ),
    ShapeFlagDefinition(
        ShapeFlag.NO_PETROSIAN,
        "no Petrosian radius",
        "The brightness does not fall to 0.2 of the mean, does so within the first pixel, or where three quarters of the "
        "ring are masked or beyond the stamp: what is built on the radius is NaN.",
    ),
    ShapeFlagDefinition(
        ShapeFlag.NO_SKY,
        "no background beside the source",
        "Not even a square of 2 pixels is free of sources: asymmetry and smoothness are not corrected.",
    ),
    ShapeFlagDefinition(
        ShapeFlag.SKY_LEVEL,
        "the background is not 0",
        "The mean of the square of background differs from 0 by more than its standard deviation.",
    ),
    ShapeFlagDefinition(
        ShapeFlag.GINI_PARTS,
        "the pixels for Gini do not hang together",
        "The smoothed image is above the threshold in several places; that with the brightest pixel is taken.",
    ),
    ShapeFlagDefinition(
        ShapeFlag.GINI_FAILED,
        "no pixels for Gini and M20",
        "No pixel of the stamp is above the threshold, or all are, or they hold no light: Gini and M20 are NaN.",
    ),
    ShapeFlagDefinition(
        ShapeFlag.NO_GROWTH,
        "no curve of growth",
        "The flux within 1.5 Petrosian radii is not positive: r20, r50, r80 and the concentration are NaN.",
    ),
    ShapeFlagDefinition(
        ShapeFlag.NO_NOISE, "the noise is unknown or 0", "S/N means nothing: masked clouds, clipped maps, no variance."
    ),
)

#: Where one of these is set the figures of statmorph's family are not to be used.
BAD = (
    ShapeFlag.NO_SOURCE
    | ShapeFlag.NO_FLUX
    | ShapeFlag.CENTRE_LOST
    | ShapeFlag.CENTRE_MASKED
    | ShapeFlag.NO_PETROSIAN
    | ShapeFlag.NO_SKY
    | ShapeFlag.SKY_LEVEL
    | ShapeFlag.GINI_FAILED
    | ShapeFlag.NO_GROWTH
)


def decode_shape_flags(flags: int) -> tuple[str, ...]:
    """Name the flags set in a value of the column ``shape_flags``, in the order of the bits; 0 gives an empty tuple."""
    return tuple(d.flag.name or "" for d in DEFINITIONS if flags & d.flag)
