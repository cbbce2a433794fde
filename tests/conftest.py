"""Rules for every test: one seed, torch's global settings left as found, no network beyond this machine."""

from __future__ import annotations

import ipaddress
import random
import signal
import socket
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import settings

from morphospace._pool import Pool

SEED = 20260801

# The machines of CI are shared and slow at times: a deadline would fail tests for their neighbours.
settings.register_profile("morphospace", deadline=None, max_examples=50)
settings.load_profile("morphospace")


# A job in the background of a shell ignores Ctrl-C, and so would the processes that are interrupted here.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _torch_globals() -> dict[str, Any]:
    """Return what a test may not change; empty while torch is not imported, so that light tests stay light."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_dtype"):
        return {}
    return {
        "default dtype": torch.get_default_dtype(),
        "threads": torch.get_num_threads(),
        "deterministic algorithms": torch.are_deterministic_algorithms_enabled(),
        "gradients": torch.is_grad_enabled(),
        "default device": torch.get_default_device(),
    }


@pytest.fixture(autouse=True)
def _seeded() -> None:
    random.seed(SEED)
    np.random.seed(SEED)  # noqa: NPY002 - the global one is seeded for libraries that still use it
    torch = sys.modules.get("torch")
    if torch is not None and hasattr(torch, "manual_seed"):
        torch.manual_seed(SEED)


@pytest.fixture(autouse=True)
def _torch_globals_unchanged() -> Iterator[None]:
    before = _torch_globals()
    yield
    after = _torch_globals()
    changed = {name: (before[name], after[name]) for name in before if before[name] != after[name]}
    if changed:
        pytest.fail(f"the test left torch's global settings changed (before, after): {changed}")


def _is_local(address: Any) -> bool:
    """Tell whether a socket address stays on this machine: a path, localhost or a loopback number."""
    if not isinstance(address, tuple):  # AF_UNIX
        return True
    host = str(address[0])
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    asked: list[Any] = []

    def guarded(method: Any) -> Any:
        def connect(self: socket.socket, address: Any) -> Any:
            if not _is_local(address):
                asked.append(address)
                msg = f"a test asked for the network: {address}"
                raise ConnectionRefusedError(msg)
            return method(self, address)

        return connect

    monkeypatch.setattr(socket.socket, "connect", guarded(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex))
    yield
    if asked:  # also where the code under test swallowed the refusal
        pytest.fail(f"the test asked for the network: {asked}")


@pytest.fixture
def others_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave all work to the other processes, from the first task on."""
    real = Pool._any_ready

    def wait_for_it(self: Pool[Any, Any]) -> bool:
        while not real(self):
            time.sleep(0.01)
        return True

    monkeypatch.setattr(Pool, "_any_ready", wait_for_it)
