"""Which rows a curation keeps."""

from __future__ import annotations

from dataclasses import dataclass

from morphospace.errors import ConfigError
from morphospace.sky.flags import DEFINITIONS, Flag, flag_named

__all__ = ["Keep", "parse_keep"]

_ALL_FLAGS = Flag(sum(definition.flag for definition in DEFINITIONS))
_PRESETS = {"all": Flag(0), "usable": Flag.CONSTANT | Flag.DUPLICATE, "clean": _ALL_FLAGS}


@dataclass(frozen=True)
class Keep:
    """What is left out: rows with one of these flags, and perhaps rows without a valid pixel."""

    dropped: Flag
    drops_empty: bool

    def reason_against(self, flags: Flag, n_valid: int) -> str | None:
        """Say why a row is left out; None where it is kept."""
        if self.drops_empty and n_valid == 0:
            return "MISSING_PIXELS: no pixel is valid"
        found = flags & self.dropped
        if not found:
            return None
        return "; ".join(f"{d.flag.name}: {d.description}" for d in DEFINITIONS if d.flag & found)


def parse_keep(keep: str) -> Keep:
    """Read the option ``keep``.

    Parameters
    ----------
    keep : str
        ``"all"``: every image that can be read. ``"usable"``: all but CONSTANT, DUPLICATE and those without a valid
        pixel. ``"clean"``: nothing that has a flag. Or flags to leave out, ``"-EDGE,-LOW_SNR"``, alone or after one
        of these words, ``"usable,-EDGE"``. Of rows with the same pixels, or of one object when SAME_OBJECT is left
        out, the one whose id sorts first is kept.

    Raises
    ------
    ConfigError
        If a word or flag is unknown.
    """
    dropped, drops_empty = Flag(0), False
    for place, word in enumerate(part.strip() for part in keep.split(",")):
        if word.startswith("-"):
            dropped |= flag_named(word[1:])
        elif place == 0 and word.lower() in _PRESETS:
            dropped |= _PRESETS[word.lower()]
            drops_empty = word.lower() != "all"
        else:
            msg = f"keep must be all, usable, clean or flags to leave out such as '-EDGE,-LOW_SNR'; got '{keep}'."
            raise ConfigError(msg)
    return Keep(dropped, drops_empty)
