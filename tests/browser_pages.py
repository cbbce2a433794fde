"""Fixtures of the tests in a browser: one small space and one server for all, one Chromium a module."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from astropy.io import fits

from browser import EVIL, SIDE, TILTED, K, Looker, N, Opener, Served, Space, can_look, launched, serving
from morphospace.learn.encoders import encoder
from morphospace.learn.methods import SimCLR
from morphospace.learn.settings import Loop
from morphospace.learn.train import train
from morphospace.learn.views import views
from morphospace.sky.curate import curate
from morphospace.sky.intake import Intake
from morphospace.sky.simulate import simulate, write_fits
from morphospace.space.anomaly import anomalies
from morphospace.space.cluster import cluster
from morphospace.space.embed import embed
from morphospace.space.project import project


@pytest.fixture(scope="session")
def space(tmp_path_factory: pytest.TempPathFactory) -> Space:
    """Simulated skies in three bands, curated from FITS, embedded by a run, with maps, clusters and odd ones kept."""
    can_look()
    folder = tmp_path_factory.mktemp("skies")
    sky = simulate(["disc", "galaxy", "double"], N, size=SIDE, bands=3, seed=3)
    files = write_fits(sky, folder / "sky")
    for row, file in enumerate(files):
        fits.setval(file, "EXPTIME", value=10.0 * row)
        fits.setval(file, "OBJECT", value=EVIL if row == 0 else f"NGC {row}")
    fits.setval(files[TILTED], "CROTA2", value=90.0)
    new = files[0].parent.parent / "<b>new.fits"
    shutil.copy(files[7], new)
    cuts = curate(
        folder / "sky", out=folder / "skies.cutouts", columns=["KIND", "EXPTIME"], intake=Intake(cube="channels")
    )
    run = train(
        SimCLR(encoder("light", bands=3)),
        cuts,
        out=folder / "run",
        views=views("optical", size=32),
        epochs=1,
        batch_size=50,
        seed=0,
        loop=Loop(precision="32-true", device="cpu"),
    )
    emb = embed(run, cuts, out=folder / "skies.emb")
    assert emb.path is not None
    project(emb, "tsne").save()
    project(emb, "pca", dims=3).save("three")
    cluster(emb, "kmeans", k=K).save(emb, "groups")
    anomalies(emb, "knn").save(emb, "odd")
    return Space(emb.path, cuts.path, new, list(emb.ids))


@pytest.fixture(scope="session")
def served(space: Space) -> Iterator[Served]:
    hub = f"std-lockurl:{space.emb.with_name('hub').as_uri()}"  # where one may come later
    with serving(space.emb, space.cuts, {"SAMP_HUB": hub}) as running:
        yield running


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    with launched() as browser:
        yield browser


@pytest.fixture
def look(served: Served, chromium: Any) -> Iterator[Opener]:
    """Open the page; by the end of the test nothing may have gone wrong in it, and no other host been asked."""
    contexts: list[Any] = []
    wrong: list[str] = []
    fine = ["GPU stall", "software"]

    def said(message: Any) -> None:
        if message.type in ("error", "warning") and not any(word in message.text for word in fine):
            wrong.append(f"{message.type}: {message.text}")

    def go(
        where: str = "", *, size: tuple[int, int] = (1280, 800), abroad: bool = False, routes: Any = (), **more: Any
    ) -> Looker:
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **more)
        context.set_default_timeout(30_000)
        contexts.append(context)
        context.on("console", said)
        context.on("weberror", lambda error: wrong.append(str(error.error)))
        context.on("dialog", lambda dialog: wrong.append(f"dialog: {dialog.message}"))
        looker = Looker(context.new_page(), fine)

        def asked(request: Any) -> None:
            if request.url.startswith((served.url, "blob:", "data:", "file:")):
                return
            (looker.abroad if abroad else wrong).append(request.url)

        context.on("request", asked)
        if abroad:
            context.route("https://**", lambda route: route.fulfill(body="<title>elsewhere</title>"))
        for address, answer in dict(routes).items():
            context.route(address, answer)
        looker.tab.goto(where if "://" in where else served.url + where)
        looker.tab.wait_for_selector("[data-ready=true]")
        return looker

    yield go
    for context in contexts:
        context.close()
    assert wrong == []
