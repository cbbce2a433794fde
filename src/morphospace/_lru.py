"""A small store of what was used last, safe to use from threads and to send to other processes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

__all__ = ["Lru"]

K = TypeVar("K")
V = TypeVar("V")


class Lru(Generic[K, V]):
    """Keep values until their weights exceed a limit, then forget what was not used for longest.

    A copy that goes to another process through pickle arrives empty.

    Parameters
    ----------
    limit : int
        Most weight kept; the newest value stays whatever it weighs.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._held: OrderedDict[K, tuple[V, int]] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], tuple[V, int]]) -> V:
        """Give the value of a key; `make` makes it, with its weight, if it is not there."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
                return self._held[key][0]
        value, weight = make()  # without the lock: two threads may both make it, and neither waits
        with self._lock:
            before = self._held.pop(key, None)
            self._weight += weight - (before[1] if before else 0)
            self._held[key] = (value, weight)
            while self._weight > self.limit and len(self._held) > 1:
                self._weight -= self._held.popitem(last=False)[1][1]
        return value

    def __len__(self) -> int:
        return len(self._held)

    def __reduce__(self) -> tuple[type[Lru[K, V]], tuple[int]]:
        return type(self), (self.limit,)
