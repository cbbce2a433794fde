"""From a store or samples to batches: every row once, in memory or streamed alike, refused where it means nothing."""

from __future__ import annotations

import math
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.errors import DataError, ShapeError
from morphospace.learn import data as data_module
from morphospace.learn.data import MemoryData, StreamedData, check_noise, collate_stacks, first_shape, open_data
from morphospace.learn.prepare import Preparation, prepare_stack
from morphospace.learn.views import Collated, plain_view
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.sky.shape import measure_shapes
from morphospace.sky.stacks import Stack, stacks
from morphospace.sky.stretch import Stretch

PLAIN = Preparation(size=16, units="none", stretch=Stretch("linear"))
SIZES = [12, 20, 20, 15, 40, 33]


class Own:
    """A user's own data set."""

    def __init__(self, images, **known):
        self.images = images
        self.known = known

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return {"image": self.images[index], "id": f"n{index}", **{k: v[index] for k, v in self.known.items()}}


def numbered(n, sizes=SIZES, bands=1):
    """Images whose pixels are all their own number."""
    return [np.full((bands, sizes[i % len(sizes)], sizes[i % len(sizes)]), i, np.float32) for i in range(n)]


def written(path, images, **known):
    with CutoutsWriter(path) as writer:
        for i, image in enumerate(images):
            bands = len(image)
            own = {k: v[i] for k, v in known.items()}
            writer.append(Cutout(id=f"n{i}", image=image, **{"level": (0.0,) * bands, "sigma": (1.0,) * bands, **own}))
    return Cutouts.open(path)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def both(source, preparation=PLAIN, pool=None):
    opened = open_data(source, preparation, memory_bytes=1 << 40), open_data(source, preparation, memory_bytes=0)
    assert [type(d) for d in opened] == [MemoryData, StreamedData]
    for data in opened:
        data._pool = pool or data._pool
    return opened


# order and coverage


@settings(max_examples=30)
@given(n=st.integers(2, 300), batch_size=st.integers(2, 40), pool=st.integers(2, 200), seed=st.integers(0, 99))
def test_each_row_at_most_once_an_epoch_and_all_batches_full(n, batch_size, pool, seed):
    one = torch.ones(n, 1)
    block = Collated(one[..., None, None], None, torch.ones(n, 2, dtype=torch.int64), one[:, 0], one, torch.arange(n))
    data = MemoryData(block, PLAIN, pool=pool)
    rows = [b.rows for b in data.epoch(generator(seed), batch_size)]
    seen = torch.cat(rows).tolist() if rows else []
    assert all(len(r) == batch_size for r in rows)
    assert len(set(seen)) == len(seen)
    assert n - len(seen) < batch_size  # pools are whole batches, so that only the last one has a rest


@pytest.mark.parametrize("n, batch_size, pool", [(23, 5, None), (150, 16, 32), (150, 7, 20), (64, 64, 64), (70, 8, 3)])
def test_streamed_equals_in_memory_batch_by_batch(n, batch_size, pool, tmp_path):
    store = written(tmp_path / "a.cutouts", numbered(n))
    memory, streamed = both(store, pool=pool)
    pairs = list(
        zip(memory.epoch(generator(), batch_size), streamed.epoch(generator(), batch_size), strict=True)
    )  # strict: as many batches
    assert len(pairs) == n // batch_size
    for one, other in pairs:
        assert torch.equal(one.rows, other.rows)
        assert torch.equal(one.shape, other.shape)
        assert torch.equal(one.factor, other.factor)
        assert torch.equal(one.sigma, other.sigma)
        assert torch.equal(plain_view(one, PLAIN), plain_view(other, PLAIN))
    seen = torch.cat([one.rows for one, _ in pairs])
    assert len(seen.unique()) == n // batch_size * batch_size
    assert (plain_view(pairs[0][0], PLAIN)[:, 0, 8, 8] == pairs[0][0].rows).all()


def test_the_order_depends_on_the_generator_only():
    memory, _ = both(Own(numbered(40)))
    orders = [torch.cat([b.rows for b in memory.epoch(generator(s), 8)]).tolist() for s in (1, 1, 2)]
    assert orders[0] == orders[1]
    assert orders[0] != orders[2]
    assert orders[0] != sorted(orders[0])


def test_neighbours_are_spread_over_the_batches():
    """A store sorted by class must not give batches of one class."""
    memory, _ = both(Own(numbered(640, [8])), pool=512)
    for batch in memory.epoch(generator(), 64):
        assert batch.rows.float().std() > 100


@pytest.mark.parametrize("n", [1, 5])
def test_fewer_rows_than_a_batch_give_none(n):
    for data in both(Own(numbered(n))):
        assert list(data.epoch(generator(), 6)) == []


def test_an_epoch_left_early_ends_its_reader(tmp_path):
    _, streamed = both(written(tmp_path / "a.cutouts", numbered(64)), pool=8)
    batches = streamed.epoch(generator(), 4)
    next(batches)
    batches.close()
    assert len(list(streamed.epoch(generator(), 4))) == 16


def test_an_error_while_reading_reaches_the_caller():
    class Broken(Own):
        def __getitem__(self, index):
            if index == 30 and self.broken:
                msg = "the disk is gone"
                raise OSError(msg)
            return super().__getitem__(index)

    source = Broken(numbered(64))
    source.broken = False
    _, streamed = both(source, pool=8)
    source.broken = True
    with pytest.raises(OSError, match="the disk is gone"):
        list(streamed.epoch(generator(), 4))


@pytest.mark.parametrize("place", ["memory", "streamed"])
def test_rows_come_in_the_order_asked(place, tmp_path):
    memory, streamed = both(written(tmp_path / "a.cutouts", numbered(30)))
    block = (memory if place == "memory" else streamed).rows([7, 0, 29, 7])
    assert block.rows.tolist() == [7, 0, 29, 7]
    assert plain_view(block, PLAIN)[:, 0, 8, 8].tolist() == [7, 0, 29, 7]


# collation


def test_mixed_sizes_are_padded_with_background_and_known_by_their_shape():
    images = [np.full((2, h, w), 3.0, np.float32) for h, w in [(5, 9), (12, 4), (5, 9), (100, 3)]]
    block = collate_stacks(stacks(Own(images)), PLAIN)
    assert block.x.shape == (4, 2, 32, 9)
    assert block.shape.tolist() == [[5, 9], [12, 4], [5, 9], [32, 3]]
    for image, (h, w) in zip(block.x, block.shape.tolist(), strict=True):
        assert (image[:, :h, :w] == 3).all()
        assert image.sum() == 3 * 2 * h * w
    assert block.mask is None


@pytest.mark.parametrize("masked", [[0], [2], [1, 3], [0, 1, 2, 3]])
def test_masks_are_padded_with_invalid_wherever_they_begin(masked):
    images = [np.full((1, n, n), 3.0, np.float32) for n in (5, 8, 8, 3)]
    for i in masked:
        images[i][0, 1, 2] = np.nan
    block = collate_stacks(stacks(Own(images)), PLAIN)
    expected = torch.zeros(4, 1, 8, 8)
    for i, n in enumerate((5, 8, 8, 3)):
        expected[i, 0, :n, :n] = 1
        expected[i, 0, 1, 2] = 0 if i in masked else 1
    assert torch.equal(block.mask, expected)
    assert torch.isfinite(block.x).all()


def test_collation_does_not_depend_on_what_is_collated_together():
    images = numbered(12)
    whole = collate_stacks(stacks(Own(images)), PLAIN)
    for i in range(12):
        one = collate_stacks(stacks(Own(images), [i]), PLAIN)
        h, w = one.shape[0].tolist()
        assert torch.equal(whole.x[i, :, :h, :w], one.x[0])


@settings(max_examples=40)
@given(
    sizes=st.lists(st.sampled_from([8, 20, 50]), min_size=1, max_size=12),
    arcsec=st.lists(st.sampled_from([0.1, 0.25, 0.3, 1.0]), min_size=12, max_size=12),
    holes=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_images_of_many_sizes_scales_and_masks_are_collated_in_their_order(sizes, arcsec, holes):
    """Images are prepared in groups that are averaged alike, and come back in the order of the rows."""
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(1, n, n)).astype(np.float32) for n in sizes]
    for image, hole in zip(images, holes, strict=False):
        image[0, 2, 3] = np.nan if hole else image[0, 2, 3]
    source = Own(images, pixel_scale_arcsec=arcsec, level=[[0.0]] * 12, sigma=[[1.0]] * 12)
    preparation = Preparation(size=16, scale="sky", scale_value=0.5, units="none")
    stacked = [  # neighbours of one size as a store gives them
        Stack(
            rows=np.arange(a, b),
            images=np.stack(images[a:b]),
            mask=None,
            level=np.zeros((b - a, 1), np.float32),
            sigma=np.ones((b - a, 1), np.float32),
            pixel_scale_arcsec=np.array(arcsec[a:b]),
            beam_arcsec=np.full(b - a, np.nan),
            ids=[str(i) for i in range(a, b)],
        )
        for a, b in runs_of(sizes)
    ]
    whole = collate_stacks(stacked, preparation)
    assert whole.rows.tolist() == list(range(len(sizes)))
    for i in range(len(sizes)):
        one = collate_stacks(stacks(source, [i]), preparation)
        h, w = one.shape[0].tolist()
        assert whole.shape[i].tolist() == [h, w]
        assert whole.factor[i] == one.factor[0]
        torch.testing.assert_close(whole.x[i, :, :h, :w], one.x[0])
        assert whole.x[i, :, h:].abs().sum() == whole.x[i, :, :, w:].abs().sum() == 0
        if whole.mask is not None:
            expected = torch.ones(1, h, w) if one.mask is None else one.mask[0]
            torch.testing.assert_close(whole.mask[i, :, :h, :w], expected)
            assert whole.mask[i].sum() == whole.mask[i, :, :h, :w].sum()


def runs_of(values):
    starts = [i for i, v in enumerate(values) if i == 0 or v != values[i - 1]]
    return zip(starts, [*starts[1:], len(values)], strict=True)


@pytest.mark.parametrize(
    "dtype", ["u1", "<u2", ">u2", ">i2", ">i4", "<u4", ">f4", ">f8", "<f2", "<u8", ">i8", "?"], ids=str
)
@pytest.mark.parametrize("form", ["plain", "flipped", "transposed", "read-only", "unaligned"])
def test_arrays_of_any_type_order_and_form_reach_the_network(dtype, form):
    values = (np.arange(48).reshape(1, 6, 8) % (2 if dtype == "?" else 48)).astype(dtype)
    image = values
    if form == "flipped":
        image = values[:, ::-1, ::-1][:, ::-1, ::-1]
    elif form == "transposed":
        image = values.transpose(0, 2, 1).copy().transpose(0, 2, 1)
    elif form == "read-only":
        image.flags.writeable = False
    elif form == "unaligned":
        raw = np.zeros(values.nbytes + 1, np.uint8)
        raw[1:] = np.frombuffer(values.tobytes(), np.uint8)
        image = raw[1:].view(dtype).reshape(values.shape)
    block = collate_stacks(stacks(Own([image])), PLAIN)
    np.testing.assert_array_equal(block.x[0].numpy(), values.astype(np.float64))


def test_large_unsigned_values_survive():
    image = np.array([[[0, 65535], [40000, 1]]], np.uint16)
    assert collate_stacks(stacks(Own([image])), PLAIN).x.flatten().tolist() == [0, 65535, 40000, 1]


def test_the_block_is_in_memory_once(monkeypatch):
    """A list of all images beside their block would double the memory."""
    made, alive = [], []

    def watched(*args):
        prepared = prepare_stack(*args)
        made.append(weakref.ref(prepared.x))
        alive.append(sum(x() is not None for x in made))
        return prepared

    monkeypatch.setattr(data_module, "prepare_stack", watched)
    block = collate_stacks(stacks(Own(numbered(30, [64]))), PLAIN, count=30)
    assert len(block.x) == len(made) == 30
    assert max(alive) <= 2


# cubes


def cubes(n=6, planes=7):
    rng = np.random.default_rng(0)
    return [rng.normal(3, 1, (2, planes, 10 + 5 * (i % 3), 14)).astype(np.float32) for i in range(n)]


def test_cubes_stay_whole():
    images = cubes()
    images[3][:, 2, 4, 5] = np.nan
    for data in both(Own(images)):
        assert data.bands == 2
        block = data.rows([0, 3])
        assert block.x.shape[:3] == (2, 2, 7)
        assert block.sigma.shape == (2, 2)
        assert block.mask.shape == (2, 1, *block.x.shape[-2:])
        assert block.mask[1, 0, 4, 5] == 0
        assert plain_view(block, PLAIN).shape == (2, 2, 7, 16, 16)
        np.testing.assert_array_equal(block.x[0, ..., :10, :14], images[0])
        assert len(list(data.epoch(generator(), 2))) == 3


def test_noise_units_of_a_cube_are_those_of_its_band():
    cube = np.stack([np.random.default_rng(i).normal(5, 2 * (i + 1), (4, 40, 40)) for i in range(2)])
    block = collate_stacks(stacks(Own([cube])), Preparation(size=32, units="noise"))
    assert block.x[0].std(dim=(1, 2, 3)).tolist() == pytest.approx([1, 1], rel=0.05)
    assert block.sigma.tolist() == [[1, 1]]


def test_the_scale_of_a_cube_is_that_of_the_mean_of_its_planes():
    y, x = np.mgrid[:40, :40] - 19.5
    source = 50 * np.exp(-(x**2 + y**2) / 2 / 3**2)
    noise = np.random.default_rng(0).normal(7, 1, (1, 9, 40, 40))
    preparation = Preparation(size=16, scale="object", scale_value=0.3)
    cube, image = source + noise, (source + noise.mean(axis=1))[0][None]
    factors = [collate_stacks(stacks(Own([im])), preparation).factor.item() for im in (cube, image)]
    assert factors[0] == pytest.approx(factors[1], rel=0.05)
    radius = measure_shapes(image[None], level=np.array([[7.0]]), sigma=np.array([[1 / 3]])).r90[0]
    assert factors[0] == pytest.approx(radius / (0.3 * 16), rel=0.05)


# position angles


def tilted(degrees, side=48, bands=2):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    along, across = cos * x + sin * y, cos * y - sin * x
    image = 50 * np.exp(-np.hypot(along / 3, across / 1) / 2) * (1 + 0.3 * (along > 0))
    noise = np.random.default_rng(1).normal(0, 0.05, (bands, side, side))
    return (image + noise).astype(np.float32)


@pytest.mark.parametrize("scale", ["pixel", "object"])
def test_aligned_images_lie_along_the_rows_whatever_their_angle(scale):
    kept = {"units": "range", "stretch": Stretch("linear"), "scale": scale, "scale_value": 0.3}
    images = [tilted(degrees) for degrees in (0, 35, 80, 120, 170)]
    as_is, aligned = (
        plain_view(collate_stacks(stacks(Own(images)), preparation), preparation)
        for preparation in (Preparation(size=32, **kept), Preparation(size=32, align=True, **kept))
    )
    found = [measure_shapes(view.numpy(), level=0.0, sigma=0.002).pa_deg for view in (as_is, aligned)]
    assert np.ptp(found[0]) > 60
    assert found[1] == pytest.approx(90, abs=3)
    assert np.allclose(aligned[0], as_is[0], atol=0.05)
    turned = aligned.flip(2, 3)  # 35 and 215 degrees are one axis
    for view in range(1, 5):
        difference = min(float((aligned[0] - v[view]).norm()) for v in (aligned, turned))
        assert difference < 0.25 * float(aligned[0].norm())


def test_corners_of_aligned_images_are_not_valid_and_blank_images_stay():
    block = collate_stacks(
        stacks(Own([tilted(45), np.zeros((2, 48, 48), np.float32)])), Preparation(size=24, align=True)
    )
    assert block.mask[0, 0, 24, 24] == 1
    assert block.mask[0, 0, 0, 0] == block.mask[0, 0, 0, -1] == 0
    assert block.x.shape[-2:] == (48, 48)  # at most twice the view
    assert block.mask[1, 0, 12:-12, 12:-12].min() == pytest.approx(1)
    assert block.x[1].abs().max() == 0


def test_aligned_images_that_are_not_square_stay_whole_and_fill_the_view():
    long = tilted(90, side=120)[:, :, 40:80]  # along its longer side
    for scale in ("pixel", "image"):
        preparation = Preparation(size=120, scale=scale, units="none", stretch=Stretch("linear"), align=True)
        view = plain_view(collate_stacks(stacks(Own([long])), preparation), preparation)
        assert float(view.sum()) == pytest.approx(float(long.sum()), rel=0.05)
    sky = np.random.default_rng(2).normal(5, 0.1, (1, 256, 256)) + 100 * tilted(45, side=256, bands=1)
    preparation = Preparation(size=128, scale="sky", scale_value=1.9, units="none", align=True)
    block = collate_stacks(stacks(Own([sky.astype("f4")], pixel_scale_arcsec=[1.0])), preparation)
    assert block.mask[0].mean() > 0.7


def test_cubes_are_aligned_plane_by_plane():
    cube = np.repeat(tilted(60, bands=1)[None], 3, axis=1).reshape(1, 3, 48, 48)
    preparation = Preparation(size=32, units="range", stretch=Stretch("linear"), align=True)
    view = plain_view(collate_stacks(stacks(Own([cube])), preparation), preparation)
    assert view.shape == (1, 1, 3, 32, 32)
    assert measure_shapes(view[:, 0].numpy(), level=0.0, sigma=0.002).pa_deg == pytest.approx(90, abs=3)


# scales


def test_sky_and_beam_scales_come_from_each_row(tmp_path):
    images = [np.ones((1, 30, 30), np.float32)] * 3
    known = {"pixel_scale_arcsec": [0.1, 0.2, 0.2], "beam": [(0.4, 0.4, 0.0), (0.4, 0.1, 30.0), (0.8, 0.8, 0.0)]}
    for source in (Own(images, **known), written(tmp_path / "a.cutouts", images, **known)):
        sky = collate_stacks(stacks(source), Preparation(size=16, scale="sky", scale_value=0.25, units="none"))
        assert sky.factor.tolist() == pytest.approx([1.25, 1.25, 1.25])  # the first was averaged by 2
        assert sky.shape[:, 0].tolist() == [15, 30, 30]
        beam = collate_stacks(stacks(source), Preparation(size=16, scale="beam", scale_value=2.0, units="none"))
        assert beam.factor.tolist() == pytest.approx([1.0, 0.5, 1.0])
        assert beam.shape[:, 0].tolist() == [15, 30, 15]


@pytest.mark.parametrize("masked", [False, True])
def test_rows_of_many_scales_stay_in_their_order(masked, tmp_path):
    rng = np.random.default_rng(3)
    images = [rng.normal(size=(2, side, side)).astype(np.float32) for side in [30] * 9 + [41] * 4 + [30] * 2]
    known = {"pixel_scale_arcsec": rng.choice([0.05, 0.08, 0.1, 0.3], len(images)).tolist()}
    if masked:
        known["mask"] = [rng.random(im.shape[1:]) > 0.1 if i % 3 else None for i, im in enumerate(images)]
    store = written(tmp_path / "a.cutouts", images, **known)
    preparation = Preparation(size=16, scale="sky", scale_value=0.25, units="none")
    block = collate_stacks(stacks(store), preparation)
    assert block.rows.tolist() == list(range(len(images)))
    assert (block.mask is not None) == masked
    for i in range(len(images)):
        alone = collate_stacks(stacks(store, [i]), preparation)
        h, w = alone.shape[0].tolist()
        assert block.shape[i].tolist() == [h, w]
        assert block.factor[i] == alone.factor[0]
        torch.testing.assert_close(block.x[i, :, :h, :w], alone.x[0])
        assert not block.x[i, :, h:].any()
        assert not block.x[i, :, :, w:].any()
        if masked:
            valid = torch.ones(1, h, w) if alone.mask is None else alone.mask[0]
            torch.testing.assert_close(block.mask[i, :, :h, :w], valid)
            assert not block.mask[i, :, h:].any()


def test_a_row_without_the_figure_of_the_scale_is_named():
    source = Own([np.ones((1, 9, 9))] * 3, pixel_scale_arcsec=[0.1, np.nan, 0.1])
    with pytest.raises(DataError, match="needs the pixel scale of every image; 'n1' has none"):
        open_data(source, Preparation(scale="sky", scale_value=1.0))


def test_object_scale_brings_sources_to_one_size():
    y, x = np.mgrid[:80, :80] - 39.5
    rng = np.random.default_rng(0)
    images = [(1000 * np.exp(-(x**2 + y**2) / 2 / w**2) + rng.normal(0, 1, (80, 80)))[None] for w in (3, 6, 9)]
    preparation = Preparation(size=32, scale="object", scale_value=0.3, units="none", stretch=Stretch("linear"))
    seen = plain_view(collate_stacks(stacks(Own(images)), preparation), preparation)[:, 0].clamp_min(20).double()
    u = torch.arange(32) - 15.5
    widths = [((im - 20).sum(0) * u**2).sum() / (im - 20).sum() for im in seen]
    assert max(widths) / min(widths) < 1.15


# units and what is refused


def test_noise_units_are_refused_where_an_image_has_no_noise(tmp_path):
    images = numbered(5)
    known = {"level": [(0.0,)] * 5, "sigma": [(1.0,), (0.0,), (1.0,), (0.0,), (1.0,)]}
    noise = Preparation(size=16, units="noise")
    for source in (Own(images, **known), written(tmp_path / "a.cutouts", images, **known)):
        with pytest.raises(DataError, match=r"2 of 5 images have sigma 0 .*first is 'n1'\)\. Use units='range'"):
            open_data(source, noise)
        assert len(open_data(source, Preparation(size=16, units="range", clip_sigma=3.0))) == 5
    check_noise(noise, [], 5)


def test_unknown_noise_is_measured_before_it_is_judged(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.normal(size=(1, 20, 20)).astype(np.float32) for _ in range(4)]
    store = written(tmp_path / "a.cutouts", images, sigma=[(1.0,), (), (math.nan,), (1.0,)], level=[(0.0,)] * 4)
    block = open_data(store, Preparation(size=16, units="noise")).rows(range(4))
    np.testing.assert_allclose(block.x.std(dim=(1, 2, 3)), 1, atol=0.15)
    images[2] = np.ones((1, 20, 20), np.float32)
    constant = written(tmp_path / "b.cutouts", images, sigma=[(), (), (), ()], level=[()] * 4)
    with pytest.raises(DataError, match=r"1 of 4 images have sigma 0 .*first is 'n2'"):
        open_data(constant, Preparation(size=16, units="noise"))


@pytest.mark.parametrize("units", ["noise", "range", "none"])
@pytest.mark.parametrize("scale", ["pixel", "image", "object"])
def test_a_blank_image_ruins_nothing(units, scale):
    rng = np.random.default_rng(0)
    images = [rng.normal(5, 1, (1, 20, 20)) for _ in range(4)]
    images[2][:] = np.nan
    preparation = Preparation(size=16, units=units, scale=scale, scale_value=0.3)
    for data in both(Own(images), preparation):
        block = data.rows(range(4))
        assert torch.isfinite(block.x).all()
        assert torch.isfinite(block.sigma).all()
        assert torch.isfinite(block.factor).all()
        assert block.x[2].abs().max() == 0
        assert block.x[1].abs().max() > 0
        assert torch.isfinite(plain_view(block, preparation)).all()


def test_other_bands_are_refused_before_anything_is_read(tmp_path):
    images = [*numbered(3), *numbered(1, bands=3)]
    for source in (Own(images), written(tmp_path / "a.cutouts", images)):
        for memory_bytes in (0, None):
            with pytest.raises(ShapeError, match=r"bands: 3 with 1 \(the first is 'n0'\), 1 with 3 .*'n3'"):
                open_data(source, PLAIN, memory_bytes=memory_bytes)


def test_nothing_to_train_on_is_told(tmp_path):
    for source in (Own([]), written(tmp_path / "a.cutouts", [])):
        with pytest.raises(DataError, match="there are no cutouts to train on; see the report of curate"):
            open_data(source, PLAIN)


@pytest.mark.parametrize("memory", [1 << 30, 0])
def test_labels_of_samples_reach_the_batch(memory):
    own = Own(numbered(7), label=[3, 1, None, 2, 0, 1, 4])
    data = open_data(own, PLAIN, memory_bytes=memory)
    assert data.rows([6, 2, 0]).label.tolist() == [4, -1, 3]
    assert open_data(Own(numbered(3)), PLAIN).rows([0]).label is None


def test_classes_in_words_reach_no_batch():
    assert open_data(Own(numbered(2), label=["spiral", "elliptical"]), PLAIN).rows([0]).label is None


def test_first_shape():
    assert first_shape(Own(numbered(3))) == (1, 12, 12)
    assert first_shape(Own(cubes(1))) == (2, 7, 10, 14)


# memory


@pytest.mark.parametrize("sizes", [[(40, 40)], [(10, 100), (100, 10)], [(200, 7), (20, 20)]])
def test_the_memory_that_is_asked_for_is_what_the_block_takes(sizes):
    images = [np.ones((2, *sizes[i % len(sizes)]), np.float32) for i in range(10)]
    images[0][0, 0, 0] = np.nan  # a mask as well
    block = open_data(Own(images), PLAIN)._block
    need = block.x.nbytes + block.mask.nbytes
    assert isinstance(open_data(Own(images), PLAIN, memory_bytes=need), MemoryData)
    assert isinstance(open_data(Own(images), PLAIN, memory_bytes=need - 1), StreamedData)


def test_free_memory_keeps_within_a_container(tmp_path, monkeypatch):
    free = data_module._free_memory()
    assert 1e8 < free < 1e14
    limit = tmp_path / "memory.max"
    monkeypatch.setattr(data_module, "_CGROUP_LIMIT", limit)
    limit.write_text("123456789\n")
    assert data_module._free_memory() == 123456789
    limit.write_text("max\n")
    assert data_module._free_memory() > 123456789


def test_pools_of_large_images_are_smaller_but_not_tiny():
    small = open_data(Own(numbered(4, [8])), PLAIN)
    large = open_data(Own([np.ones((5, 900, 900), np.uint8)] * 2), Preparation(size=450, units="none"))
    assert small._pool == 8192
    assert large._pool == 512
