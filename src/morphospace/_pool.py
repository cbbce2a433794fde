"""Processes that work for this one: tasks go out, their results come back in the order of the tasks.

Why not `concurrent.futures`: its workers import the script of the user, which then runs again unless it has a guard, and
they outlive a parent that was killed. These run nothing but what they are given and end with the connection.
"""

from __future__ import annotations

import contextlib
import gc
import os
import pickle
import queue
import signal
import socket
import struct
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import wait
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from morphospace.errors import StoreError

__all__ = ["Pool", "can_fork"]

T = TypeVar("T")
R = TypeVar("R")

_LENGTH = struct.Struct("!Q")  # before each message
_READY = "ready"
_END = object()
_AHEAD = 2  # tasks that a process is given at a time, so that it need not wait for the next
_WAITING = 3  # results of a task that are taken before their turn; then its process has to wait
_START = "import sys; sys.path[:] = {path!r}; from morphospace._pool import _serve; _serve({files!r})"
_ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def can_fork() -> bool:
    """Say whether this system has what a pool needs."""
    return hasattr(os, "fork")


class _Task(Generic[R]):
    """A task that was handed out, and its results so far."""

    def __init__(self) -> None:
        self.results: deque[R] = deque()
        self.is_done = False


class Pool(Generic[T, R]):
    """Run a function in other processes; use it in a ``with`` block.

    Parameters
    ----------
    work : callable
        Takes a task and yields its results; picklable, as tasks and results are. Until the processes are ready, this
        one does the tasks itself.
    n : int, >= 1
        Number of processes. One imports what `work` needs and forks the others.

    Raises
    ------
    StoreError
        From `run`: if a process died; the sentence says how to go on.
    """

    def __init__(self, work: Callable[[T], Iterator[R]], n: int) -> None:
        self._work = work
        self._ready: set[socket.socket] = set()
        pairs = [socket.socketpair() for _ in range(n)]
        theirs = [end.fileno() for _, end in pairs]
        self._server = subprocess.Popen(
            [sys.executable, "-c", _START.format(path=sys.path, files=theirs)],
            stdin=subprocess.DEVNULL,
            pass_fds=theirs,
            env={**os.environ, **_ONE_THREAD},
            start_new_session=True,  # Ctrl-C is for this process, which ends them
        )
        self._connections = [mine for mine, _ in pairs]
        for _, end in pairs:
            end.close()
        self._given: dict[socket.socket, deque[_Task[R]]] = {each: deque() for each in self._connections}
        with self._watched():
            _send(self._connections[0], work)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections:
            connection.close()
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.wait()

    def run(self, tasks: Iterable[T], *, most: Callable[[], int] | None = None) -> Iterator[R]:
        """Yield the results of all tasks, in their order.

        Parameters
        ----------
        tasks : iterable
            Taken one at a time, as processes become free.
        most : callable, optional
            Asked before a task is handed out: how many may be under way.
        """
        todo = iter(tasks)
        handed: deque[_Task[R]] = deque()
        while not self._any_ready():
            for task in todo:
                yield from self._work(task)
                break
            else:
                return
        while True:
            self._hand_out(todo, handed, most)
            if not handed:
                return
            front = handed[0]
            self._receive(front, wait_for_it=not front.results and not front.is_done)
            if front.results:
                yield front.results.popleft()
            elif front.is_done:
                handed.popleft()

    def _any_ready(self) -> bool:
        """Ask whether a process has begun; all do within a moment of the first."""
        for connection in wait(self._connections, timeout=0):
            self._take(connection)  # type: ignore[arg-type]
        return bool(self._ready)

    def _hand_out(self, todo: Iterator[T], handed: deque[_Task[R]], most: Callable[[], int] | None) -> None:
        while len(handed) <= 2 * _AHEAD * len(self._given):
            connection, waiting = min(self._given.items(), key=lambda item: len(item[1]))
            under_way = sum(map(len, self._given.values()))
            if len(waiting) >= _AHEAD or (most is not None and under_way >= most()):
                return
            for task in todo:
                with self._watched():
                    _send(connection, task)
                waiting.append(_Task())
                handed.append(waiting[-1])
                break
            else:
                return

    def _receive(self, front: _Task[R], *, wait_for_it: bool) -> None:
        """Take what has come, but no more than a few results of a task whose turn is not yet."""
        open_ones = [
            connection
            for connection, waiting in self._given.items()
            if waiting and (waiting[0] is front or len(waiting[0].results) < _WAITING)
        ]
        for connection in wait(open_ones, timeout=None if wait_for_it else 0):
            self._take(connection)  # type: ignore[arg-type]

    def _take(self, connection: socket.socket) -> None:
        """Take one message."""
        with self._watched():
            kind, told = _receive(connection)
        waiting = self._given[connection]
        if kind == _READY:
            self._ready.add(connection)
        elif kind == "result":
            waiting[0].results.append(told)
        elif kind == "done":
            waiting.popleft().is_done = True
        else:
            raise told

    @contextlib.contextmanager
    def _watched(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, ConnectionError) as error:
            msg = (
                "a process that works on the images died (killed, or out of memory?); what was complete and has "
                "an out= is safe: go on with resume=True, perhaps with fewer processes (processes=, OMP_NUM_THREADS)."
            )
            raise StoreError(msg) from error


def _send(connection: socket.socket, told: object) -> None:
    text = pickle.dumps(told, protocol=5)
    connection.sendall(_LENGTH.pack(len(text)))
    connection.sendall(text)


def _receive(connection: socket.socket) -> Any:  # noqa: ANN401 - whatever was sent
    return pickle.loads(_read(connection, *_LENGTH.unpack(_read(connection, _LENGTH.size))))


def _read(connection: socket.socket, n: int) -> bytearray:
    text = bytearray(n)
    left = memoryview(text)
    while left:
        step = connection.recv_into(left)
        if not step:
            raise EOFError
        left = left[step:]
    return text


def _serve(files: list[int]) -> None:
    """Be the processes at the other end of some sockets."""
    connections = [socket.socket(fileno=file) for file in files]
    try:
        work = _receive(connections[0])
    except Exception as error:
        _send(connections[0], ("fault", _portable(error)))
        return
    gc.freeze()  # what is imported stays: no process need look at it again, nor copy it
    for other in connections[1:]:
        if not os.fork():
            for each in connections:
                if each is not other:
                    each.close()
            _work_for(other, work)
            os._exit(0)
        other.close()
    _work_for(connections[0], work)


def _work_for(connection: socket.socket, work: Callable[[Any], Iterator[Any]]) -> None:
    """Do task after task until the other end is closed."""
    tasks: queue.SimpleQueue[Any] = queue.SimpleQueue()
    # tasks are taken in while one is done: both ends could otherwise wait for the other to read something large
    threading.Thread(target=_take_in, args=(connection, tasks), daemon=True).start()
    with contextlib.suppress(ConnectionError):
        _send(connection, (_READY, None))
        while (task := tasks.get()) is not _END:
            try:
                for result in work(task):
                    _send(connection, ("result", result))
            except ConnectionError:
                raise
            except Exception as error:
                _send(connection, ("fault", _portable(error)))
            else:
                _send(connection, ("done", None))


def _take_in(connection: socket.socket, tasks: queue.SimpleQueue[Any]) -> None:
    with contextlib.suppress(EOFError, ConnectionError):
        while True:
            tasks.put(_receive(connection))
    tasks.put(_END)


def _portable(error: Exception) -> Exception:
    """Give an error that survives the way to the other process, with its traceback as a note."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    error.add_note("".join(traceback.format_exception(error)))
    return error
