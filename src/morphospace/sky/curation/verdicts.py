"""What becomes of the rows of a curation once all of them are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from morphospace.sky.curation.groups import find_duplicates, group_by_name, group_by_position
from morphospace.sky.curation.journal import Entry, Row
from morphospace.sky.curation.keep import Keep
from morphospace.sky.flags import Flag

__all__ = ["Verdict", "settle"]


@dataclass(frozen=True)
class Verdict:
    """One row of the input with all that was found; `reason` is None where the row is kept."""

    row: Row
    source: str
    flags: Flag
    group: str
    reason: str | None


def settle(entries: Sequence[Entry], keep: Keep, radius_arcsec: float) -> list[Verdict]:
    """Compare all rows with one another: DUPLICATE, SAME_OBJECT and column ``group``.

    Rows that are left out take no part in what follows, so a flag never speaks of a row that is not in the store.

    Parameters
    ----------
    entries : sequence of Entry
        The journal.
    keep : Keep
        What is left out.
    radius_arcsec : float
        Rows of different files within this distance, friends of friends, show one object.

    Returns
    -------
    list of Verdict
        For each row, in the order of the entries. Flags, groups and reasons do not depend on that order.
    """
    rows = [(row, entry) for entry in entries for row in entry.rows]
    flags = [Flag(row.flags) for row, _ in rows]
    reasons = [row.reason for row, _ in rows]
    groups = [row.id for row, _ in rows]
    alive = [i for i, reason in enumerate(reasons) if reason is None]
    repeated = find_duplicates([rows[i][0].id for i in alive], [rows[i][0].sha256 for i in alive])
    for place, first in repeated.items():
        flags[alive[place]] |= Flag.DUPLICATE
        if Flag.DUPLICATE in keep.dropped:
            reasons[alive[place]] = f"DUPLICATE: the same pixels as '{first}'"
    alive = [i for i in alive if reasons[i] is None]
    for members, same_place in _groups([rows[i] for i in alive], radius_arcsec):
        first, *others = sorted((alive[place] for place in members), key=lambda i: rows[i][0].id)
        for i in (first, *others):
            groups[i] = rows[first][0].id
            if same_place and Flag.SAME_OBJECT not in keep.dropped:
                flags[i] |= Flag.SAME_OBJECT
        for i in others if same_place and Flag.SAME_OBJECT in keep.dropped else ():
            flags[i] |= Flag.SAME_OBJECT
            reasons[i] = f"SAME_OBJECT: the same place as '{rows[first][0].id}'"
    return [Verdict(row, entry.source, flags[i], groups[i], reasons[i]) for i, (row, entry) in enumerate(rows)]


def _groups(rows: Sequence[tuple[Row, Entry]], radius_arcsec: float) -> list[tuple[NDArray[np.int64], bool]]:
    """Find groups of two rows and more, by place in `rows`; True says that they lie at one place of the sky."""
    if not rows:
        return []
    ra, dec = (np.array([getattr(row, name) for row, _ in rows]) for name in ("ra", "dec"))
    by_place = group_by_position(ra, dec, [entry.path for _, entry in rows], radius_arcsec)
    placed = np.isfinite(ra) & np.isfinite(dec)
    names = [None if here else row.object for (row, _), here in zip(rows, placed, strict=True)]
    by_name = group_by_name(names, by_place)
    order = np.argsort(by_name, kind="stable")
    runs = np.split(order, np.flatnonzero(np.diff(by_name[order])) + 1)
    return [(members, bool(placed[members[0]])) for members in runs if len(members) > 1]
