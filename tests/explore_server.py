"""A page's server on loopback, and small stores for it: 40 objects, some with hostile names."""

from __future__ import annotations

import contextlib
import http.client
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import uvicorn
from astropy.wcs import WCS

from morphospace.explore.app import make_app
from morphospace.explore.scene import Scene
from morphospace.explore.serve import bind
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.space.embeddings import Embeddings

N, D = 40, 6
TOKEN = "the token of a test"
EVIL = "</script><script>alert('x')</script><!--"
BREAK = "Jy\r\nX-Evil: 1"
PAGE = '<!doctype html><meta name="morphospace-token" content="__MORPHOSPACE_TOKEN__"><script src="assets/page.js">'
SINGLE = "<!doctype html><title>x</title><!--MORPHOSPACE-DATA--><script>run()</script>"


def static(folder: Path) -> Path:
    """Write what stands in for the built page, and a secret beside it."""
    (folder / "static" / "assets").mkdir(parents=True)
    (folder / "secret.txt").write_text("secret")
    (folder / "static" / "notes.txt").write_text("secret")
    (folder / "static" / "index.html").write_text(PAGE)
    (folder / "static" / "single.html").write_text(SINGLE)
    (folder / "static" / "assets" / "page.js").write_text("run()")
    return folder / "static"


def sky_header(angle_deg: float = 0.0, *, flipped: bool = False, galactic: bool = False) -> str:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["GLON-TAN", "GLAT-TAN"] if galactic else ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = (150.0, -30.0), (5.0, 6.0)
    a, sign = np.deg2rad(angle_deg), 1 if flipped else -1
    wcs.wcs.cd = np.array([[sign * np.cos(a), np.sin(a)], [-sign * np.sin(a), np.cos(a)]]) / 3600
    return str(wcs.to_header_string())


def cutout(i: int, side: int = 12) -> Cutout:
    y, x = np.mgrid[:side, :side] - side / 2
    rng = np.random.default_rng(i)
    image = (np.exp(-(x**2 + (1 + i % 4) * y**2) / 9) * 50 + rng.normal(size=(side, side))).astype("f4")[None]
    mask = None
    if i == 1:
        image[0, :3] = np.nan
        mask = np.isfinite(image).all(axis=0)
    return Cutout(
        f"obj-{i:02d}",
        image,
        mask=mask,
        level=(0.0,),
        sigma=(1.0,),
        unit=BREAK if i == 2 else "Jy",
        bands=("r<b>",),
        ra=150 + i / 100,
        dec=-30.0,
        wcs=sky_header(30.0),
        pixel_scale_arcsec=1.0,
        object=EVIL if i == 0 else f"NGC {i}",
        flags=4 if i == 3 else 0,
        source=f"/home/someone/night/{i}.fits",
        hdu="0",
        columns={"snr": None if i == 5 else float(i), "kind": ("ring", "disk <i>", None)[i % 3]},
    )


def write_cutouts(path: Path, n: int = N) -> Cutouts:
    with CutoutsWriter(path, columns={"snr": pa.float64(), "kind": pa.string()}) as writer:
        for i in range(n):
            writer.append(cutout(i))
    return Cutouts.open(path)


def embeddings(path: Path | None, cuts: Cutouts, seed: int = 0) -> Embeddings:
    """Write vectors in two groups; the last row has none."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(len(cuts), D)) + 3 * (np.arange(len(cuts)) % 2)[:, None]
    vectors[-1] = np.nan
    names = ["ra", "dec", "object", "flags", "source", "snr", "kind", "pixel_scale_arcsec", "bands"]
    table = cuts.table(names)
    columns = {name: table[name].combine_chunks() for name in names}
    return Embeddings.from_arrays(path, cuts.ids, vectors, columns, {"space_id": "s", "run": "nowhere/run"})


class Answer(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    def array(self, kind: str) -> np.ndarray:
        return np.frombuffer(self.body, kind)


@dataclass
class Page:
    """A running server and how to ask it."""

    port: int
    scene: Scene

    def ask(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        content = body if isinstance(body, bytes | Iterator | None) else json.dumps(body).encode()
        with contextlib.closing(connection):
            connection.request(method, path, content, dict(headers or {}))
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, body: Any) -> Answer:
        return self.ask("POST", path, body, {"X-Morphospace-Token": TOKEN})


@contextlib.contextmanager
def page(scene: Scene) -> Iterator[Page]:
    """Serve a scene for the length of a block."""
    listening = bind(0)
    port = int(listening.getsockname()[1])
    config = uvicorn.Config(make_app(scene, port=port, token=TOKEN), log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield Page(port, scene)
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
        scene.close()
