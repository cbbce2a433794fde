"""Who does the work of a curation: this process, or several."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice

from morphospace._pool import Pool, can_fork
from morphospace.sky.curation.work import Piece, Task, Work
from morphospace.sky.sources.base import Label

__all__ = ["curate_rows"]

_FEW = 64  # images that are read before other processes are ready
_MOST_PROCESSES = 16
_TASK_ROWS = 128
_TASK_SECONDS = 0.25
_BYTES_AT_A_TIME = 2 << 30
_COPIES = 6  # of an image, in other types and shapes, that its measuring takes at most


def curate_rows(work: Work, rows: Iterable[tuple[int, Label]], n: int, processes: int) -> Iterator[Piece]:
    """Do the rows of a curation.

    Parameters
    ----------
    work : Work
        What is done to a row.
    rows : iterable of (int, Label)
        Which.
    n : int
        How many they are.
    processes : int, >= 0
        0 takes one for each core, up to 16. 1, and fewer than 64 rows, need no other process.

    Yields
    ------
    Piece
        In the order of the rows; what they hold does not depend on the number of processes.
    """
    hands = processes or min(_cores(), _MOST_PROCESSES)
    if hands == 1 or n < _FEW or not can_fork():
        yield from work(rows)
        return
    pace = _Pace(hands)
    with Pool[Task, Piece](work, hands) as pool:
        for piece in pool.run(pace.tasks(rows), most=pace.most):
            pace.learn(piece)
            yield piece


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Pace:
    """How many rows make a task, and how many tasks go at a time, by what the last pieces took."""

    def __init__(self, hands: int) -> None:
        self._hands = hands
        self._rows = 4
        self._bytes = 0

    def learn(self, piece: Piece) -> None:
        """Take in a piece: slow images go one at a time, large ones to few processes."""
        each = piece.seconds / max(piece.n, 1)
        self._rows = max(1, min(_TASK_ROWS, round(_TASK_SECONDS / max(each, 1e-6))))
        self._bytes = max(piece.image_bytes, self._bytes // 2)

    def most(self) -> int:
        """Give the number of tasks that may be under way."""
        return max(1, min(2 * self._hands, _BYTES_AT_A_TIME // max(_COPIES * self._bytes, 1)))

    def tasks(self, rows: Iterable[tuple[int, Label]]) -> Iterator[Task]:
        """Cut the rows into tasks."""
        left = iter(rows)
        while task := list(islice(left, self._rows)):
            yield task
