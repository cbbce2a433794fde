"""Quality flags of a cut-out: what is wrong with it, as data and not as a log line."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag

from morphospace.errors import ConfigError

__all__ = ["DEFINITIONS", "Flag", "FlagDefinition", "decode_flags", "flag_named"]


class Flag(IntFlag):
    """Bits of the column ``flags``; 0 means that nothing was found."""

    MISSING_PIXELS = 1
    EDGE = 2
    LOW_SNR = 4
    CONSTANT = 8
    SATURATED = 16
    DUPLICATE = 32
    SAME_OBJECT = 64
    UNREADABLE = 128
    MISSING_BAND = 256


@dataclass(frozen=True)
class FlagDefinition:
    """One flag, for people."""

    flag: Flag
    description: str
    rule: str


DEFINITIONS: tuple[FlagDefinition, ...] = (
    FlagDefinition(
        Flag.MISSING_PIXELS, "some pixels are blank", "At least one pixel is NaN, infinite, BLANK or masked."
    ),
    FlagDefinition(
        Flag.EDGE,
        "the source touches the border",
        "The footprint above 3 sigma of the source at the centre, else of the brightest, reaches the border of the valid "
        "pixels.",
    ),
    FlagDefinition(Flag.LOW_SNR, "no pixel stands out of the noise", "The peak is below 5 sigma."),
    FlagDefinition(Flag.CONSTANT, "all pixels are equal", "All valid pixels have one value."),
    FlagDefinition(
        Flag.SATURATED,
        "the brightest pixels are clipped",
        "A pixel reaches SATURATE of the header, or at least 4 connected pixels share the maximum (8-bit pictures: at 255 "
        "only; other integers: from 255 steps above the level).",
    ),
    FlagDefinition(
        Flag.DUPLICATE,
        "the same pixels as another row",
        "Shape, type and bytes equal those of a row whose id sorts before this one.",
    ),
    FlagDefinition(
        Flag.SAME_OBJECT,
        "the same place on the sky as another row",
        "Another row lies within the grouping radius; column group names them all.",
    ),
    FlagDefinition(
        Flag.UNREADABLE, "the file gave no image", "It is missing, empty, truncated, damaged or holds no image."
    ),
    FlagDefinition(
        Flag.MISSING_BAND, "a band is not there", "No file or HDU holds it; its pixels, level and sigma are 0, 0 and 1."
    ),
)


def decode_flags(flags: int) -> tuple[str, ...]:
    """Name the flags set in a value of the column ``flags``.

    Parameters
    ----------
    flags : int
        Sum of bits; 0 gives an empty tuple.

    Returns
    -------
    tuple of str
        Names in the order of the bits.
    """
    return tuple(d.flag.name or "" for d in DEFINITIONS if flags & d.flag)


def flag_named(name: str) -> Flag:
    """Find a flag by its name, upper or lower case.

    Raises
    ------
    ConfigError
        If there is none of that name; the message lists them.
    """
    try:
        return Flag[name.strip().upper()]
    except KeyError:
        known = ", ".join(d.flag.name or "" for d in DEFINITIONS)
        msg = f"unknown flag '{name}'; known flags are {known}."
        raise ConfigError(msg) from None
