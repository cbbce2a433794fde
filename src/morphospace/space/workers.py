"""Threads that share the work of an embedding: pieces go in and come out in one order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

import torch

__all__ = ["Workers"]

_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Workers:
    """Threads in each of which torch computes on so many cores as are its own.

    Several threads with a core each do not wait for one another; one computation on several cores does, at each of its
    steps, and stands still for as long as another thread has one of the cores. Use it in a ``with`` block.

    Parameters
    ----------
    count : int, >= 1
        Number of threads.
    cores : int, >= 1
        Threads of torch in each.
    """

    def __init__(self, count: int, *, cores: int = 1) -> None:
        self.count = count
        self._before = torch.get_num_threads()
        # holds for the thread that calls it, and for those that begin later: hence the call in __exit__
        self._pool = ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(cores,))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        torch.set_num_threads(self._before)

    def map(self, work: Callable[[_In], _Out], items: Iterable[_In]) -> Iterator[_Out]:
        """Yield what becomes of each item, in their order; few more items are taken than there are threads."""
        waiting: deque[Future[_Out]] = deque()
        source, failure = iter(items), None
        while True:
            try:
                waiting.append(self._pool.submit(work, next(source)))
            except StopIteration:
                break
            except Exception as error:  # of the items: what came before is handed out first
                failure = error
                break
            if len(waiting) > self.count:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
        if failure is not None:
            raise failure
