"""Places on the sky against astropy's WCS and SkyCoord, and WCS that cannot be used."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from astropy.coordinates import FK4, FK5, ICRS, FK4NoETerms, Galactic, SkyCoord
from astropy.time import Time
from astropy.wcs import WCS
from astropy.wcs.utils import proj_plane_pixel_area
from hypothesis import given, settings
from hypothesis import strategies as st

from morphospace.sky import wcs as wcs_module
from morphospace.sky.headers import format_card
from morphospace.sky.wcs import NOWHERE, locate, steps_on_sky

BASE = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 83.8,
    "CRVAL2": -5.4,
    "CRPIX1": 31.5,
    "CRPIX2": 12.0,
    "CDELT1": -2e-4,
    "CDELT2": 3e-4,
}
SIZE = (40, 71)


def projected(code):
    return BASE | {"CTYPE1": f"RA---{code}", "CTYPE2": f"DEC--{code}"}


# Plate solution of a Digitized Sky Survey cut-out, rounded.
PLATE = {
    **{"CNPIX1": 12237, "CNPIX2": 19965, "XPIXELSZ": 15.0295, "YPIXELSZ": 15.0, "PPO3": 177500.0, "PPO6": 177500.0},
    **{"PLTRAH": 5, "PLTRAM": 42, "PLTRAS": 23.86, "PLTDECSN": "-", "PLTDECD": 4, "PLTDECM": 56, "PLTDECS": 47.9},
    **{"AMDX1": 67.155, "AMDX2": 0.0431, "AMDX3": -292.44, "AMDX4": -2.7e-5, "AMDX8": 2.2e-6, "AMDX13": 0.0},
    **{"AMDY1": 67.159, "AMDY2": -0.0471, "AMDY3": 316.0, "AMDY4": 2.9e-5, "AMDY9": -2.3e-8, "AMDY13": 0.0},
}


def without(*keys):
    return {key: value for key, value in BASE.items() if key not in keys}


SIP = {
    **projected("TAN-SIP"),
    **{"A_ORDER": 2, "A_2_0": 3e-4, "A_1_1": -2e-4, "B_ORDER": 2, "B_0_2": 4e-4, "AP_ORDER": 0, "BP_ORDER": 0},
    **{"CRPIX1": 400.0, "CRPIX2": -300.0},  # cut from a mosaic: far from where the polynomials vanish
}


@pytest.mark.parametrize(
    "header",
    [
        BASE,
        SIP,
        BASE | {"RADESYS": "FK4", "EQUINOX": 1950.0},
        BASE | {"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN"},
        BASE | {"CRVAL1": 0.0, "CRVAL2": 88.0},
    ],
)
def test_steps_on_the_sky_are_those_of_astropy(header):
    cards = "".join(format_card(key, value) for key, value in header.items())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS(cards)
    x, y = (SIZE[1] - 1) / 2, (SIZE[0] - 1) / 2
    places = wcs.pixel_to_world([x, x + 1, x], [y, y, y + 1]).icrs
    east, north = places[0].spherical_offsets_to(places[1:])
    np.testing.assert_allclose(steps_on_sky(cards, SIZE), [east.arcsec, north.arcsec], atol=2e-3)
    flat = "".join(format_card(key, value) for key, value in {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"}.items())
    assert np.isnan(steps_on_sky(flat, SIZE)).all()


def judge(header, size=SIZE):
    """Position in the file's own system and scale, by astropy on the whole header."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        wcs = WCS("".join(format_card(key, value) for key, value in header.items()))
        world = wcs.celestial.all_pix2world([[(size[1] - 1) / 2, (size[0] - 1) / 2]], 0)[0]
        return world[wcs.wcs.lng], world[wcs.wcs.lat], 3600 * proj_plane_pixel_area(wcs.celestial) ** 0.5


def assert_at(place, expected, atol_deg=1e-9):
    """Compare positions as directions, so that 0 equals 360."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        got = SkyCoord(place.ra, place.dec, unit="deg")
        assert got.separation(expected.icrs).deg < atol_deg


CASES = {
    "TAN": BASE,
    **{code: projected(code) for code in ("SIN", "CAR", "SFL", "ARC", "ZEA", "STG", "AIT", "MOL", "NCP", "GLS")},
    "rotated": BASE | {"CROTA2": 30.0},
    "PC": BASE | {"PC1_1": 0.8, "PC1_2": 0.6, "PC2_1": -0.6, "PC2_2": 0.8},
    "old PC": BASE | {"PC001001": 0.8, "PC001002": 0.6, "PC002001": -0.6, "PC002002": 0.8},
    "CD": without("CDELT1", "CDELT2") | {"CD1_1": -1e-4, "CD1_2": 2e-5, "CD2_1": 3e-5, "CD2_2": 1e-4},
    "CD turned by 90": without("CDELT1", "CDELT2") | {"CD1_2": 1e-4, "CD2_1": 1e-4},
    "arcsec": BASE | {"CUNIT1": "arcsec", "CUNIT2": "arcsec", "CDELT1": -1.0, "CDELT2": 1.0, "CRVAL1": 36000.0},
    "declination first": BASE | {"CTYPE1": "DEC--TAN", "CTYPE2": "RA---TAN", "CRVAL1": -5.0, "CRVAL2": 200.0},
    "poles": BASE | {"LONPOLE": 170.0, "LATPOLE": 10.0},
    "TPV": projected("TPV") | {"PV1_1": 1.001, "PV2_1": 0.999, "PV1_4": 0.01},
    "SIP": projected("TAN-SIP") | {"A_ORDER": 2, "A_2_0": 1e-4, "B_ORDER": 2, "B_0_2": 2e-4, "B_1_1": 1e-5},
    "SIP and leftovers of SCAMP": projected("TAN-SIP")
    | {"A_ORDER": 2, "A_2_0": 1e-4, "B_ORDER": 2, "B_0_2": 2e-4, "PV1_1": 1.5, "PV1_5": 0.1},
    "SIP without its suffix": BASE | {"A_ORDER": 2, "A_2_0": 1e-4, "B_ORDER": 2, "B_0_2": 2e-4},
    "SIP without its suffix, in SIN": projected("SIN") | {"A_ORDER": 2, "A_2_0": 1e-4, "B_ORDER": 2, "B_0_2": 2e-4},
    "SIP beside TPV": projected("TPV") | {"A_ORDER": 2, "A_2_0": 1e-4, "B_ORDER": 2, "B_0_2": 2e-4, "PV1_1": 1.01},
    "two more axes": BASE
    | {"CTYPE3": "FREQ", "CRVAL3": 1.4e9, "CDELT3": 1e6, "CRPIX3": 1.0, "WCSAXES": 4}
    | {"CTYPE4": "STOKES", "CRVAL4": 1.0, "CDELT4": 1.0, "CRPIX4": 1.0, "RESTFRQ": 1.4e9},
    "plate solution": BASE | PLATE,
    "integers": BASE | {"CRVAL1": 83, "CRPIX1": 31},
    "over the pole": BASE | {"CRVAL2": 89.9999},
    "across zero": BASE | {"CRVAL1": 0.0001},
}


@pytest.mark.parametrize("name", CASES)
def test_place_equals_astropy(name, capfd):
    lon, lat, scale = judge(CASES[name])
    capfd.readouterr()
    place = locate(CASES[name], SIZE, "x.fits")
    assert capfd.readouterr() == ("", "")
    assert_at(place, SkyCoord(lon, lat, unit="deg"))
    assert place.pixel_scale_arcsec == pytest.approx(scale, rel=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_the_string_gives_the_same_wcs(name):
    """The cards kept are enough: astropy puts every corner where the whole header puts it."""
    corners = np.array([[0, 0], [70, 0], [0, 39], [70, 39], [35, 19.5]], float)
    place = locate(CASES[name], SIZE, "x.fits")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        whole = WCS("".join(format_card(key, value) for key, value in CASES[name].items())).celestial
        kept = WCS(place.wcs)
    np.testing.assert_allclose(kept.all_pix2world(corners, 0), whole.all_pix2world(corners, 0), atol=1e-10)
    assert len(place.wcs) % 80 == 0


@pytest.mark.parametrize(
    "cards, frame",
    [
        ({}, ICRS()),
        ({"RADESYS": "ICRS", "EQUINOX": 2000.0}, ICRS()),
        ({"RADESYS": "ICRS    ", "EQUINOX": 1950.0}, ICRS()),
        ({"RADESYS": "FK5"}, FK5()),
        ({"EQUINOX": 2000.0}, FK5()),
        ({"EQUINOX": 2000}, FK5()),
        ({"EQUINOX": "J2000"}, FK5()),
        ({"EQUINOX": "2000.0"}, FK5()),
        ({"RADECSYS": "FK5"}, FK5()),
        ({"RADESYS": "fk5"}, FK5()),
        ({"RADESYS": "FK5", "EQUINOX": 1975.0}, FK5(equinox=Time(1975.0, format="jyear"))),
        ({"EQUINOX": 1950.0}, FK4(equinox=Time(1950.0, format="byear"))),
        ({"EPOCH": 1950.0}, FK4(equinox=Time(1950.0, format="byear"))),
        ({"EQUINOX": "B1950.0"}, FK4(equinox=Time(1950.0, format="byear"))),
        ({"RADESYS": "FK4"}, FK4(equinox=Time(1950.0, format="byear"))),
        ({"RADESYS": "FK4", "EQUINOX": 1900.0}, FK4(equinox=Time(1900.0, format="byear"))),
        ({"RADESYS": "FK4-NO-E", "EQUINOX": 1950.0}, FK4NoETerms(equinox=Time(1950.0, format="byear"))),
        ({"CTYPE1": "GLON-CAR", "CTYPE2": "GLAT-CAR"}, Galactic()),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "RADESYS": "FK5"}, Galactic()),
        ({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "EQUINOX": 1950.0}, Galactic()),
    ],
    ids=str,
)
def test_every_system_becomes_icrs(cards, frame):
    header = BASE | cards
    lon, lat, _ = judge({key: value for key, value in header.items() if key not in ("EQUINOX", "RADESYS", "EPOCH")})
    assert_at(locate(header, SIZE, "x.fits"), SkyCoord(lon, lat, unit="deg", frame=frame), 1e-9)


@given(
    lon=st.floats(0, 360),
    lat=st.floats(-90, 90),
    system=st.sampled_from([("RA---TAN", "DEC--TAN", 2000.0), ("GLON-TAN", "GLAT-TAN", 2000.0)]),
)
def test_the_reference_pixel_lies_at_the_reference_value(lon, lat, system):
    header = BASE | {"CTYPE1": system[0], "CTYPE2": system[1], "EQUINOX": system[2], "CRVAL1": lon, "CRVAL2": lat}
    header |= {"CRPIX1": 3.0, "CRPIX2": 5.0}
    place = locate(header, (9, 5), "x.fits")  # whose centre is the reference pixel
    assert 0 <= place.ra <= 360
    assert_at(place, SkyCoord(lon, lat, unit="deg", frame=FK5() if system[0][0] == "R" else Galactic()), 1e-8)


@pytest.mark.parametrize(
    "header",
    [
        {},
        {"CTYPE1": "RA---TAN"},
        BASE | {"CTYPE1": "LINEAR", "CTYPE2": "LINEAR"},
        BASE | {"CTYPE1": "", "CTYPE2": ""},
        BASE | {"CTYPE1": "PIXEL", "CTYPE2": "PIXEL"},
        {"CTYPE1": "X", "CTYPE2": "Y"},
    ],
)
def test_no_celestial_wcs_is_no_place_and_no_noise(header, caplog):
    assert locate(header, SIZE, "x.fits") == NOWHERE
    assert caplog.messages == []


@pytest.mark.parametrize(
    "header, match",
    [
        (without("CRVAL1"), "it lacks CRVAL1"),
        (without("CRPIX1", "CRPIX2"), "it lacks CRPIX1, CRPIX2"),
        (without("CDELT1"), "it lacks CDELT1 and CDELT2"),
        (BASE | {"CRVAL1": "05:35:17"}, "CRVAL1 is '05:35:17' instead of a number"),
        (BASE | {"CRVAL1": None}, "CRVAL1 is None"),
        (BASE | {"CRVAL1": True}, "CRVAL1 is True"),
        (BASE | {"EQUINOX": "date"}, "EQUINOX is 'date'"),
        (BASE | {"CDELT1": 0.0}, "singular"),
        (BASE | {"CTYPE2": "FREQ"}, "Unmatched celestial axes"),
        (BASE | {"CTYPE2": "DEC--SIN"}, "celestial|projection"),
        (BASE | {"CTYPE1": "RA---XXX", "CTYPE2": "DEC--XXX"}, "XXX"),
        (BASE | {"CUNIT1": "furlong", "CUNIT2": "furlong"}, "furlong|unit"),
        (BASE | {"CRVAL2": 500.0}, "coordinate"),
        (BASE | {"CDELT1": 10**400}, "x.fits"),
        (BASE | {"CTYPE1": "RA---TAN\u2603"}, "x.fits"),
    ],
)
def test_a_broken_wcs_is_logged_and_left_out(header, match, caplog):
    assert locate(header, SIZE, "x.fits") == NOWHERE
    (message,) = caplog.messages
    assert message.startswith("'x.fits': its WCS is left out: ")
    assert pytest.raises(AssertionError, match=match).matches(AssertionError(message))


def test_half_a_plate_solution_is_not_taken():
    half = {key: value for key, value in PLATE.items() if key != "CNPIX1"}
    assert locate(BASE | half, SIZE, "x.fits") == locate(BASE, SIZE, "x.fits")


def test_quoted_numbers_are_taken_as_numbers():
    """Left to itself wcslib reads 0 for CRVAL1 = '83.8', and puts the image elsewhere."""
    quoted = {key: str(value) if key[:2] in ("CR", "CD") else value for key, value in BASE.items()}
    assert locate(quoted, SIZE, "x.fits") == locate(BASE, SIZE, "x.fits")


def test_lower_case_axes_are_understood():
    assert locate(BASE | {"CTYPE1": "ra---tan", "CTYPE2": " dec--tan"}, SIZE, "x").ra == locate(BASE, SIZE, "x").ra


def test_other_systems_keep_wcs_and_scale():
    place = locate(BASE | {"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}, SIZE, "x.fits")
    assert place.wcs is not None
    assert np.isnan([place.ra, place.dec]).all()
    assert place.pixel_scale_arcsec == pytest.approx(3600 * (2e-4 * 3e-4) ** 0.5)


def test_a_centre_off_the_sky_is_nan_without_a_warning():
    place = locate(projected("AIT") | {"CDELT1": 50.0, "CDELT2": 50.0}, SIZE, "x.fits")
    assert np.isnan(place.ra)


def test_distortion_tables_in_other_hdus_are_not_asked_for():
    header = BASE | {"CPDIS1": "LOOKUP", "CPDIS2": "LOOKUP", "DP1": "EXTVER: 1.0", "D2IMDIS1": "LOOKUP"}
    assert locate(header, SIZE, "x.fits") == locate(BASE, SIZE, "x.fits")


# -- the short way for plain projections ----------------------------------------------------------------------------

degrees = st.floats(0, 360, exclude_max=True)
matrices = st.one_of(
    st.tuples(st.floats(1e-6, 0.02), st.floats(1e-6, 0.02)).map(lambda s: {"CDELT1": -s[0], "CDELT2": s[1]}),
    st.tuples(st.floats(1e-6, 0.02), degrees).map(
        lambda s: {
            "CDELT1": -s[0],
            "CDELT2": s[0],
            **{"PC1_1": np.cos(s[1]), "PC1_2": -np.sin(s[1]), "PC2_1": np.sin(s[1]), "PC2_2": np.cos(s[1])},
        }
    ),
    st.tuples(st.floats(1e-6, 0.02), degrees).map(
        lambda s: {
            **{"CD1_1": -s[0] * np.cos(s[1]), "CD1_2": s[0] * np.sin(s[1])},
            **{"CD2_1": s[0] * np.sin(s[1]), "CD2_2": s[0] * np.cos(s[1])},
        }
    ),
)
systems = st.sampled_from([{}, {"RADESYS": "ICRS"}, {"RADESYS": "FK5"}, {"EQUINOX": 2000.0}, {"EQUINOX": 2015}]) | (
    st.sampled_from([{"RADESYS": "FK5", "EQUINOX": 1975.0}, {"RADESYS": "ICRS", "EQUINOX": 2000.0}, {"LATPOLE": 30.0}])
)


@settings(deadline=None)
@given(
    code=st.sampled_from(["TAN", "SIN"]),
    crval=st.tuples(degrees, st.floats(-89.9, 89.9)),
    crpix=st.tuples(st.floats(-1000, 1000), st.floats(-1000, 1000)),
    matrix=matrices,
    system=systems,
)
def test_the_short_way_gives_what_astropy_gives(code, crval, crpix, matrix, system):
    header = {
        **{"CTYPE1": f"RA---{code}", "CTYPE2": f"DEC--{code}", "CUNIT1": "deg", "CRVAL1": crval[0], "CRVAL2": crval[1]},
        **{"CRPIX1": crpix[0], "CRPIX2": crpix[1], **{key: float(value) for key, value in matrix.items()}, **system},
    }
    found = wcs_module._wcs_values(header)
    short = wcs_module._plain_place(found, "", SIZE)
    long = wcs_module._place("".join(format_card(key, value) for key, value in found.items()), SIZE)
    if short is None:  # beyond the horizon of SIN
        assert np.isnan(long.ra)
        return
    vectors = [SkyCoord(place.ra, place.dec, unit="deg").cartesian.xyz.value for place in (short, long)]
    assert np.degrees(np.linalg.norm(vectors[0] - vectors[1])) < 1e-9
    assert short.pixel_scale_arcsec == pytest.approx(long.pixel_scale_arcsec, rel=1e-10)
    lon, lat, scale = judge(header)
    assert short.pixel_scale_arcsec == pytest.approx(scale, rel=1e-10)
    if system.get("RADESYS") == "ICRS":
        assert_at(short, SkyCoord(lon, lat, unit="deg"))


@pytest.mark.parametrize(
    "header",
    [
        *(CASES[name] for name in ("CAR", "NCP", "rotated", "old PC", "arcsec", "declination first", "poles")),
        *(CASES[name] for name in ("TPV", "SIP", "SIP and leftovers of SCAMP")),
        BASE | {"EQUINOX": 1950.0},
        BASE | {"RADESYS": "FK4"},
        BASE | {"CRVAL2": 90.0},
        BASE | {"CD1_1": 1e-4, "CD2_2": 1e-4},
        BASE | {"CDELT1": 0.0},
        BASE | {"LONPOLE": 170.0},
        projected("SIN") | {"PV2_1": 0.1},
        projected("SIN") | {"CDELT1": -20.0, "CDELT2": 20.0},
        without("CDELT1"),
    ],
)
def test_the_short_way_is_not_for_anything_else(header):
    assert wcs_module._plain_place(wcs_module._wcs_values(header), "", SIZE) is None
