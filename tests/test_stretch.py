"""Stretches: known values, the way back, order, limits that padding and NaN cannot move."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from astropy.visualization import ZScaleInterval
from hypothesis import given
from hypothesis import strategies as st

from morphospace.errors import ConfigError
from morphospace.sky.stretch import STRETCHES, Stretch

CURVES = [kind for kind in STRETCHES if kind not in ("zscale", "percentile")]
LIMITED = ["zscale", "percentile"]


def definition(kind, x, a):
    """The docstring's formulas in float64, pixel by pixel."""
    sign = math.copysign(1.0, x)
    return {
        "asinh": math.log(abs(x) / a + math.sqrt((x / a) ** 2 + 1)) * sign,
        "log": sign * math.log(1 + abs(x) / a),
        "sqrt": sign * math.sqrt(abs(x) / a),
        "linear": x / a,
    }[kind]


@pytest.mark.parametrize(
    "kind, x, y",
    [("asinh", math.sinh(1.5) * 2, 1.5), ("log", 2 * (math.e - 1), 1.0), ("sqrt", 18.0, 3.0), ("linear", 3.0, 1.5)],
)
def test_known_values(kind, x, y):
    stretch = Stretch(kind, a=2.0)
    assert stretch(np.array([[x, -x, 0.0]])) == pytest.approx(np.array([[y, -y, 0.0]]))


@pytest.mark.parametrize("kind", CURVES)
@given(x=st.floats(-1e6, 1e6), a=st.floats(1e-3, 1e3))
def test_curves_equal_their_definition(kind, x, a):
    assert Stretch(kind, a=a)(np.array([[x]]))[0, 0] == pytest.approx(definition(kind, x, a), rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("kind", CURVES)
@given(x=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=20), a=st.floats(1e-3, 1e3))
def test_inverse_undoes_the_stretch(kind, x, a):
    image, stretch = np.array([x]), Stretch(kind, a=a)
    assert stretch.invertible
    assert stretch.inverse(stretch(image)) == pytest.approx(image, rel=1e-9, abs=1e-9 * a)
    tensor = torch.tensor([x], dtype=torch.float64)
    torch.testing.assert_close(stretch.inverse(stretch(tensor)), tensor, rtol=1e-9, atol=1e-9 * a)


@pytest.mark.parametrize("kind", STRETCHES)
@given(x=st.lists(st.floats(-1e4, 1e4, width=32), min_size=25, max_size=25))
def test_brighter_stays_brighter(kind, x):
    image = np.sort(np.array(x, np.float32)).reshape(5, 5)
    assert (np.diff(Stretch(kind)(image).reshape(-1)) >= 0).all()


@pytest.mark.parametrize("vectorised", [True, False])
def test_asinh_of_a_tensor_is_one_curve_whichever_library_computes_it(vectorised, monkeypatch):
    monkeypatch.setattr("morphospace.sky.stretch._VECTORISED", vectorised)
    x = torch.cat([torch.linspace(-50, 50, 2001), torch.tensor([1e-30, -1e30, torch.nan])])
    kept = x.clone()
    out = Stretch("asinh", a=0.3)(x)
    torch.testing.assert_close(out, torch.asinh(x.double() / 0.3).float(), rtol=1e-6, atol=0, equal_nan=True)
    torch.testing.assert_close(x, kept, rtol=0, atol=0, equal_nan=True)
    half = x[:2001].bfloat16()
    torch.testing.assert_close(Stretch("asinh")(half), torch.asinh(half))
    x = torch.tensor([[0.5]], requires_grad=True)
    Stretch("asinh")(x).sum().backward()
    assert float(x.grad) == pytest.approx(1 / math.sqrt(1.25))


@pytest.mark.parametrize("kind", CURVES)
def test_curves_are_odd(kind):
    x = np.linspace(-5, 5, 101)[None]
    assert (Stretch(kind)(-x) == -Stretch(kind)(x)).all()


@pytest.mark.parametrize("kind", STRETCHES)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_type_and_shape_stay(kind, dtype):
    image = np.random.default_rng(0).normal(size=(2, 3, 9, 7)).astype(dtype)
    out = Stretch(kind)(image)
    assert out.dtype == dtype
    assert out.shape == image.shape
    tensor = torch.from_numpy(image)
    same = Stretch(kind)(tensor)
    assert same.dtype == tensor.dtype
    np.testing.assert_allclose(same.numpy(), out, rtol=0, atol=2e-3 if dtype == np.float16 else 1e-5)


@pytest.mark.parametrize("kind", STRETCHES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint16, np.int8])
def test_integers_become_float(kind, dtype):
    info = np.iinfo(dtype)
    image = np.linspace(info.min, info.max, 64).astype(dtype).reshape(8, 8)
    out = Stretch(kind)(image)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, Stretch(kind)(image.astype(np.float32)))
    assert len(np.unique(out)) > 32


@pytest.mark.parametrize("kind", STRETCHES)
def test_nan_stays_where_it_is(kind):
    image = np.random.default_rng(0).normal(size=(1, 8, 8)).astype(np.float32)
    holed = image.copy()
    holed[0, 2, 3] = np.nan
    for out in (Stretch(kind)(holed), Stretch(kind)(torch.from_numpy(holed)).numpy()):
        assert np.argwhere(~np.isfinite(out)).tolist() == [[0, 2, 3]]


def test_percentile_limits_by_hand():
    image = np.arange(101, dtype=np.float64).reshape(1, 101)
    out = Stretch("percentile", low=10, high=90)(image)[0]
    assert out[10] == 0
    assert out[90] == 1
    assert out[50] == pytest.approx(0.5)
    assert (out[:10] == 0).all()
    assert (out[91:] == 1).all()


def test_zscale_limits_are_those_of_astropy():
    images = np.random.default_rng(0).gamma(2, size=(3, 30, 30))
    out = Stretch("zscale")(images)
    for image, got in zip(images, out, strict=True):
        low, high = ZScaleInterval().get_limits(image)
        np.testing.assert_allclose(got, np.clip((image - low) / (high - low), 0, 1), rtol=1e-6)


def test_zscale_limits_of_large_images_are_close_to_those_of_astropy_and_do_not_depend_on_direction():
    image = np.random.default_rng(0).gamma(2, size=(150, 170))
    low, high = ZScaleInterval(n_samples=image.size).get_limits(image)
    out = Stretch("zscale")(image)
    np.testing.assert_allclose(out, np.clip((image - low) / (high - low), 0, 1), atol=0.03)
    for turned in (image[::-1], image.T, np.rot90(image)):
        assert set(Stretch("zscale")(turned).ravel()) == set(out.ravel())


@pytest.mark.parametrize("kind", LIMITED)
def test_each_image_has_its_own_limits(kind):
    images = np.random.default_rng(0).normal(size=(4, 2, 20, 20)).astype(np.float32)
    images *= np.array([1, 10, 100, 1000], np.float32)[:, None, None, None]
    whole = Stretch(kind)(torch.from_numpy(images))
    for i, image in enumerate(images):
        np.testing.assert_array_equal(Stretch(kind)(image), whole[i].numpy())


@pytest.mark.parametrize("kind", LIMITED)
def test_padding_does_not_move_the_limits(kind):
    image = np.random.default_rng(0).normal(5, 1, size=(1, 1, 20, 20)).astype(np.float32)
    padded = np.zeros((1, 1, 64, 64), np.float32)
    padded[..., 22:42, 22:42] = image
    valid = np.zeros((1, 1, 64, 64), bool)
    valid[..., 22:42, 22:42] = True
    expected = Stretch(kind)(image)
    for out in (Stretch(kind)(padded, valid), Stretch(kind)(torch.from_numpy(padded), torch.from_numpy(valid)).numpy()):
        np.testing.assert_array_equal(out[..., 22:42, 22:42], expected)
    unaware = Stretch(kind)(padded)[..., 22:42, 22:42]
    assert abs(unaware - expected).max() > 0.1  # the control: without `valid` the padding does move them


@pytest.mark.parametrize("kind", LIMITED)
@pytest.mark.parametrize("n_valid", [0, 1, 2, 15, 16])
def test_few_valid_pixels_give_finite_values(kind, n_valid):
    image = np.random.default_rng(0).normal(size=(1, 6, 6)).astype(np.float32)
    valid = (np.arange(36) < n_valid).reshape(1, 6, 6)
    out = Stretch(kind)(image, valid)
    assert np.isfinite(out).all()
    assert out.min() >= 0
    assert out.max() <= 1


@pytest.mark.parametrize("kind", LIMITED)
def test_a_constant_image_is_finite(kind):
    assert np.isfinite(Stretch(kind)(np.full((1, 30, 30), 7.0))).all()


@pytest.mark.parametrize("kind", LIMITED)
def test_clipping_cannot_be_undone(kind):
    assert not Stretch(kind).invertible
    with pytest.raises(ConfigError, match=f"'{kind}' clips at limits of each image and cannot be undone"):
        Stretch(kind).inverse(np.zeros((2, 2)))


def test_gradients_flow_through_the_curves():
    for kind in CURVES:
        x = torch.linspace(0.5, 3, 16, dtype=torch.float64).reshape(4, 4).requires_grad_()
        assert torch.autograd.gradcheck(Stretch(kind), x)


@pytest.mark.parametrize(
    "options, match",
    [
        ({"kind": "cubic"}, "stretch must be one of asinh.*; got 'cubic'"),
        ({"a": 0.0}, "softening 'a' must be positive; got 0.0"),
        ({"a": math.nan}, "softening 'a' must be positive; got nan"),
        ({"low": 60, "high": 40}, "0 <= low < high <= 100; got 60 and 40"),
        ({"high": 101}, "got 0.5 and 101"),
    ],
)
def test_bad_values_are_refused(options, match):
    with pytest.raises(ConfigError, match=match):
        Stretch(**options)
