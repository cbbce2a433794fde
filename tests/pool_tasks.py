"""What `test_pool` has other processes do; a module of its own, since they import it."""

from __future__ import annotations

import os
import signal
import time

from morphospace.errors import DataError


def squares(task):
    for number in task:
        yield number * number


def uneven(task):
    for number in task:
        time.sleep(0.02 * (number % 3))
        yield from [number] * 20


def echo(task):
    yield task


def own_number(task):
    yield os.getpid()


def deadly(task):
    if 3 in task:
        os.kill(os.getpid(), signal.SIGKILL)
    yield task


def refusing(task):
    if 3 in task:
        msg = "no three"
        raise DataError(msg)
    yield task
