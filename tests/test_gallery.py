"""The page of views: what it shows is what the network would see."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image

import morphospace as ms
from morphospace.errors import ConfigError, DataError
from morphospace.learn.data import collate_stacks
from morphospace.learn.gallery import MOST_IMAGES, plot_views
from morphospace.learn.views import plain_view
from morphospace.sky.stacks import stacks

VIEWS = ms.views("radio", size=16)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ms.Cutouts:
    return ms.write_sky(ms.simulate("mixed", 30, size=20, seed=2), tmp_path_factory.mktemp("gallery") / "some.cutouts")


def panels(figure: Figure) -> list[NDArray[np.float64]]:
    """Return the pictures drawn, row by row."""
    return [np.asarray(ax.images[0].get_array()) for ax in figure.axes]


def captions(figure: Figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes]


def test_first_panel_is_the_prepared_image(store: ms.Cutouts) -> None:
    figure = plot_views(store.keep([4]), VIEWS, n_views=3)
    drawn = panels(figure)
    assert len(drawn) == 4
    assert captions(figure) == [store.ids[4], "view 1", "view 2", "view 3"]
    seen = plain_view(collate_stacks(list(stacks(store, [4])), VIEWS.prepare), VIEWS.prepare)[0, 0].numpy()
    scaled = (seen - seen.min()) / (seen.max() - seen.min())
    np.testing.assert_allclose(drawn[0], scaled, atol=1e-6)
    assert all(picture.shape == (16, 16) for picture in drawn)
    assert all(0 <= picture.min() and picture.max() <= 1 for picture in drawn)


def test_views_differ_unless_nothing_may_vary(store: ms.Cutouts) -> None:
    drawn = panels(plot_views(store.keep([0]), VIEWS, n_views=2))
    assert np.abs(drawn[1] - drawn[2]).max() > 0.05
    still = replace(VIEWS, rotate=False, flip=False, zoom=(1.0, 1.0), shift=0.0, blur=0.0, noise=0.0, gain=0.0)
    same = panels(plot_views(store.keep([0]), still, n_views=2))
    np.testing.assert_allclose(same[1], same[0], atol=1e-5)
    np.testing.assert_array_equal(same[1], same[2])


def test_seed_decides_the_views(store: ms.Cutouts) -> None:
    one, again, other = (panels(plot_views(store.keep([0]), VIEWS, n_views=1, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one[1], other[1])


def test_many_images_are_sampled_from_first_to_last(store: ms.Cutouts) -> None:
    names = captions(plot_views(store, VIEWS, n_views=1))[::2]
    assert len(names) == MOST_IMAGES
    assert (names[0], names[-1]) == (store.ids[0], store.ids[-1])


def test_files_and_their_store_look_alike(tmp_path: Path) -> None:
    sky = ms.simulate("galaxy", 2, size=20, seed=4)
    files = ms.write_fits(sky, tmp_path / "fits")
    cuts = ms.curate(files, out=tmp_path / "a.cutouts")
    from_files, from_store = (plot_views(source, VIEWS, n_views=1) for source in (files, cuts))
    for one, other in zip(panels(from_files), panels(from_store), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert {ax.images[0].origin for ax in from_files.axes + from_store.axes} == {"lower"}


def test_colour_pictures_keep_their_colours_and_stand_upright(tmp_path: Path) -> None:
    pixels = np.zeros((20, 20, 3), dtype=np.uint8)
    pixels[4:8, 6:14, 0] = 200
    Image.fromarray(pixels).save(tmp_path / "red.png")
    figure = plot_views(tmp_path / "red.png", ms.views("clouds", size=16, units="range"), n_views=1)
    picture = panels(figure)[0]
    assert picture.shape == (16, 16, 3)
    assert picture[..., 0].max() > picture[..., 1].max() + 0.5
    assert figure.axes[0].images[0].origin == "upper"


def test_default_views_are_those_of_train(store: ms.Cutouts) -> None:
    default, radio = (panels(plot_views(store.keep([1]), views, n_views=1)) for views in (None, ms.views("radio")))
    np.testing.assert_array_equal(default, radio)


def test_bad_requests_are_refused(store: ms.Cutouts, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="n_views must be at least 1; got 0"):
        plot_views(store, VIEWS, n_views=0)
    with pytest.raises(DataError, match="absent"):
        plot_views(tmp_path / "absent.fits", VIEWS)
    with pytest.raises(DataError, match="holds no cutouts"):
        plot_views(store.keep(np.zeros(len(store), dtype=bool)), VIEWS)
    np.save(tmp_path / "flat.npy", np.eye(20, dtype=np.float32))
    with pytest.raises(DataError, match="units='noise' needs a noise level"):
        plot_views(tmp_path / "flat.npy", ms.views("radio", size=16, units="noise"))
