"""Sending a selection to TOPCAT, Aladin or DS9 through SAMP, the hub of the Virtual Observatory."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from astropy.utils.exceptions import AstropyDeprecationWarning
from starlette.responses import Response

from morphospace.errors import DataError, StoreError
from morphospace.explore.answers import Asked, row_numbers, told
from morphospace.explore.questions import file_of
from morphospace.explore.scene import Scene

with warnings.catch_warnings():  # astropy 8 asks to use pyvo.samp in its place
    warnings.simplefilter("ignore", AstropyDeprecationWarning)
    from astropy.samp import SAMPClientError, SAMPHubError, SAMPIntegratedClient, SAMPProxyError

__all__ = ["send_selection", "send_table"]

_MESSAGE = "table.load.votable"
_lock = threading.Lock()


def send_selection(scene: Scene, asked: Asked) -> Response:
    """Answer /api/samp: send rows as a VOTable to every program that takes tables."""
    chosen = row_numbers(asked.json().get("rows"), len(scene.emb), most=len(scene.emb))
    if not len(chosen):
        msg = "nothing is selected, so there is nothing to send."
        raise DataError(msg)
    stem = scene.emb.path.stem if scene.emb.path is not None else "selection"
    with _lock:
        file = scene.scratch() / f"{stem}-{len(chosen)}.vot"
        file.write_bytes(file_of(scene.emb.keep(chosen), "votable"))
        return told({"sent_to": send_table(file, f"{stem}: {len(chosen)} of {len(scene.emb)}")})


def send_table(file: Path, name: str) -> list[str]:
    """Send a VOTable to every program of the hub that takes one.

    Parameters
    ----------
    file : Path
        Read by those programs, soon after: it has to stay.
    name : str
        How they call the table.

    Returns
    -------
    list of str
        Names of the programs.

    Raises
    ------
    StoreError
        If no hub runs on this machine, or no program takes tables.
    """
    with _connected() as client:
        takers = [one for one in client.get_subscribed_clients(_MESSAGE) if one != client.get_public_id()]
        if not takers:
            msg = "a SAMP hub runs, but no program on it takes tables; start TOPCAT or Aladin and send again."
            raise StoreError(msg)
        message = {
            "samp.mtype": _MESSAGE,
            "samp.params": {"url": file.resolve().as_uri(), "table-id": file.stem, "name": name},
        }
        for taker in takers:
            client.notify(taker, message)
        return [_name(client, taker) for taker in takers]


def _name(client: Any, taker: str) -> str:  # noqa: ANN401 - astropy has no types
    return str(client.get_metadata(taker).get("samp.name", taker))


@contextlib.contextmanager
def _connected() -> Iterator[Any]:
    """Be a client of the hub for a moment."""
    client = SAMPIntegratedClient(
        name="morphospace", description="The space of shapes of the sky", addr="127.0.0.1", callable=False
    )
    try:
        client.connect()
    except (SAMPHubError, SAMPClientError, SAMPProxyError, OSError):
        msg = "no SAMP hub runs on this machine; start TOPCAT or Aladin, which bring one, and send again."
        raise StoreError(msg) from None
    try:
        yield client
    except (SAMPProxyError, SAMPClientError, OSError) as error:
        msg = f"the SAMP hub did not take the table ({' '.join(str(error).split())}); send again."
        raise StoreError(msg) from error
    finally:
        with contextlib.suppress(SAMPProxyError, SAMPClientError, OSError):
            client.disconnect()
