"""What is measured: names of columns, units, and where each is defined."""

from __future__ import annotations

from typing import NamedTuple

__all__ = ["QUANTITIES", "Quantity"]


class Quantity(NamedTuple):
    """One column of the table of shapes.

    Attributes
    ----------
    name, unit, description, source : str
        The unit is empty for pure numbers, ``"flux"`` stands for the unit of the pixels. The source is the paper and
        equation of the definition.
    """

    name: str
    unit: str
    description: str
    source: str


_LOTZ, _STATMORPH = "Lotz+ 2004", "Rodriguez-Gomez+ 2019"
_SEXTRACTOR = "Bertin & Arnouts 1996, SExtractor"

QUANTITIES: tuple[Quantity, ...] = tuple(
    Quantity(*words)
    for words in (
        ("level", "flux", "level taken off before anything is measured", "3-sigma clipped median"),
        ("sigma", "flux", "noise of a pixel, where no variance is known", "1.4826 MAD after clipping"),
        ("sky_mean", "flux", "mean of a square of background beside the source", f"{_STATMORPH}, sect. 4.2"),
        ("sky_median", "flux", "median of the same", f"{_STATMORPH}, sect. 4.2"),
        ("sky_sigma", "flux", "standard deviation of the same", f"{_STATMORPH}, sect. 4.2"),
        ("peak", "flux", "brightest pixel of the source", "maximum over the segment"),
        ("flux_segment", "flux", "sum over the segment", "sum over the segment"),
        ("flux_circ", "flux", "sum within 2 circular Petrosian radii", f"{_STATMORPH}, sect. 4.1"),
        ("flux_ellip", "flux", "sum within 2 elliptical Petrosian radii", f"{_STATMORPH}, sect. 4.1"),
        ("snr_per_pixel", "", "mean S/N of the pixels for Gini", f"{_LOTZ}, eq. 5"),
        ("x_centroid", "pixel", "column of the centroid; the centre of the first is 0", f"{_SEXTRACTOR}, eq. 18"),
        ("y_centroid", "pixel", "row of the centroid", f"{_SEXTRACTOR}, eq. 19"),
        ("xx", "pixel^2", "second moment along x", f"{_SEXTRACTOR}, eq. 20"),
        ("yy", "pixel^2", "second moment along y", f"{_SEXTRACTOR}, eq. 21"),
        ("xy", "pixel^2", "mixed second moment", f"{_SEXTRACTOR}, eq. 22"),
        ("major", "pixel", "rms along the major axis", f"{_SEXTRACTOR}, eq. 24"),
        ("minor", "pixel", "rms along the minor axis", f"{_SEXTRACTOR}, eq. 25"),
        ("ellipticity", "", "1 - minor / major", f"{_SEXTRACTOR}, sect. 10.1"),
        ("elongation", "", "major / minor", f"{_SEXTRACTOR}, sect. 10.1"),
        ("pa_deg", "deg", "major axis, from +y counter-clockwise, 0 to 180", f"{_SEXTRACTOR}, eq. 23"),
        ("moment_20", "", "normalised central moments of the light", "Hu 1962"),
        ("moment_11", "", "", "Hu 1962"),
        ("moment_02", "", "", "Hu 1962"),
        ("moment_30", "", "", "Hu 1962"),
        ("moment_21", "", "", "Hu 1962"),
        ("moment_12", "", "", "Hu 1962"),
        ("moment_03", "", "", "Hu 1962"),
        ("x_asymmetry", "pixel", "column of the point of least asymmetry", f"{_LOTZ}, sect. 3.3"),
        ("y_asymmetry", "pixel", "row of it", f"{_LOTZ}, sect. 3.3"),
        ("ellipticity_asymmetry", "", "ellipticity about that point", f"{_STATMORPH}, sect. 4.1"),
        ("elongation_asymmetry", "", "elongation about that point", f"{_STATMORPH}, sect. 4.1"),
        ("pa_asymmetry_deg", "deg", "position angle about that point", f"{_STATMORPH}, sect. 4.1"),
        ("r_petro_circ", "pixel", "Petrosian radius, eta = 0.2, in circles", f"Petrosian 1976; {_LOTZ}, eq. 4"),
        ("r_petro_ellip", "pixel", "the same in ellipses, semi-major axis", f"Petrosian 1976; {_LOTZ}, eq. 4"),
        ("r20", "pixel", "radius with 20 per cent of the light within 1.5 r_petro_circ", "Bershady+ 2000, sect. 3.1"),
        ("r50", "pixel", "with 50 per cent", "Bershady+ 2000, sect. 3.1"),
        ("r80", "pixel", "with 80 per cent", "Bershady+ 2000, sect. 3.1"),
        ("concentration", "", "5 log10(r80 / r20)", f"Bershady+ 2000, eq. 1; Conselice 2003, eq. 5; {_LOTZ}, eq. 9"),
        (
            "asymmetry",
            "",
            "least asymmetry under half a turn, background off",
            f"Conselice 2003, eq. 4; {_LOTZ}, eq. 10",
        ),
        (
            "smoothness",
            "",
            "light above the light smoothed, background off",
            f"{_LOTZ}, eq. 11; Conselice 2003, eq. 6 / 10",
        ),
        ("gini", "", "Gini coefficient", f"{_LOTZ}, eq. 6"),
        ("m20", "", "second moment of the brightest 20 per cent, log10", f"{_LOTZ}, eqs. 7 and 8"),
        (
            "gini_m20_bulge",
            "",
            "position along the bulge sequence of Gini and M20",
            f"Snyder+ 2015; {_STATMORPH}, eq. 7",
        ),
        ("gini_m20_merger", "", "position across it, mergers above 0", f"Snyder+ 2015; {_STATMORPH}, eq. 8"),
        ("area", "pixel^2", "area of the footprint", "number of pixels"),
        ("perimeter", "pixel", "length of its outline, holes included", "Crofton; Legland+ 2007, eq. 5"),
        ("area_perimeter_ratio", "", "4 pi area / perimeter^2, 1 for a disc", "Cox 1927"),
        ("perimeter_dimension", "", "D of P ~ A^(D/2) over contours", "Bazell & Desert 1988; Falgarone+ 1991"),
        ("filling_factor", "", "area over that of the ellipse of its second moments", "Teague 1980"),
        ("n_fragments", "", "parts of the footprint that do not touch", "8 neighbours"),
        ("log_flux_width", "", "s.d. of ln flux in the footprint", "Kainulainen+ 2009; Federrath+ 2008"),
        ("power_slope", "", "slope of the power spectrum", "Stutzki+ 1998; Elmegreen & Scalo 2004, sect. 3"),
        ("structure_slope", "", "slope of the second-order structure function", "Elmegreen & Scalo 2004, sect. 3"),
    )
)
