"""All measures of images of one shape, and where they are left out."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from morphospace.science.morphometry.clouds import Fields, measure_clouds
from morphospace.science.morphometry.flags import ShapeFlag
from morphospace.science.morphometry.galaxies import measure_galaxies
from morphospace.science.morphometry.quantities import QUANTITIES
from morphospace.science.morphometry.stamps import Images, cut_stamps

__all__ = ["measure_images"]

#: On 150 real galaxies float64 agrees with statmorph no better than float32, and takes longer.
_DTYPE = torch.float32
_PIXELS = 2**21  # of whole images worked on at a time

_BY_RADIUS = (
    *("r_petro_circ", "r_petro_ellip", "flux_circ", "flux_ellip", "r20", "r50", "r80", "concentration"),
    *("asymmetry", "smoothness", "gini", "m20", "gini_m20_bulge", "gini_m20_merger", "snr_per_pixel"),
)
_BY_CENTRE = (
    *("x_asymmetry", "y_asymmetry", "ellipticity_asymmetry", "elongation_asymmetry", "pa_asymmetry_deg"),
    "asymmetry",
)
_BY_FLUX = (
    *("x_centroid", "y_centroid", "xx", "yy", "xy", "major", "minor", "ellipticity", "elongation", "pa_deg"),
    *(q.name for q in QUANTITIES if q.name.startswith("moment_")),
    *_BY_CENTRE,
    *_BY_RADIUS,
)
#: Figures that mean nothing where a flag is set.
_MEANINGLESS: dict[ShapeFlag, tuple[str, ...]] = {
    ShapeFlag.NO_FLUX: _BY_FLUX,
    ShapeFlag.CENTRE_LOST: _BY_CENTRE,
    ShapeFlag.NO_PETROSIAN: _BY_RADIUS,
    ShapeFlag.GINI_FAILED: ("gini", "m20", "gini_m20_bulge", "gini_m20_merger", "snr_per_pixel"),
    ShapeFlag.NO_GROWTH: ("r20", "r50", "r80", "concentration"),
}


@torch.no_grad()
def measure_images(images: Images, *, device: torch.device | None = None) -> dict[str, NDArray[Any]]:
    """Measure images of one shape.

    Parameters
    ----------
    images : Images
        Where noise is given as (N, 1, 1) it holds for all pixels.
    device : torch.device, optional
        The processor by default.

    Returns
    -------
    dict of str to ndarray, (N,)
        ``shape_flags``, int32, and every name of ``QUANTITIES`` but level and sigma, float64; NaN where it means nothing.
    """
    place = device or torch.device("cpu")
    n = len(images.planes)
    found = {q.name: np.full(n, np.nan) for q in QUANTITIES if q.name not in ("level", "sigma")}
    flags = np.full(n, int(ShapeFlag.NO_SOURCE), dtype=np.int32)
    for stamps in cut_stamps(images, dtype=_DTYPE, device=place):
        values, bits = measure_galaxies(stamps)
        flags[stamps.rows] = bits.cpu().numpy()
        for name, value in values.items():
            found[name][stamps.rows] = value.double().cpu().numpy()
    for flag, names in _MEANINGLESS.items():
        for name in names:
            found[name][(flags & int(flag)) != 0] = np.nan
    flags |= np.where(_touches(images), int(ShapeFlag.EDGE), 0).astype(np.int32)
    _put_clouds(images, found, (flags & int(ShapeFlag.NO_SOURCE)) == 0, place)
    return {"shape_flags": flags, **found}


def _touches(images: Images) -> NDArray[np.bool_]:
    """Tell whose source reaches the border, (N,)."""
    own = (images.labels == images.main[:, None, None]) & (images.main[:, None, None] > 0)
    border = np.zeros(own.shape[1:], dtype=bool)
    border[[0, -1], :] = border[:, [0, -1]] = True
    return np.asarray((own & border).any((1, 2)))


def _put_clouds(images: Images, found: dict[str, NDArray[Any]], known: NDArray[np.bool_], device: torch.device) -> None:
    rows = np.flatnonzero(known)
    step = max(1, _PIXELS // max(1, images.planes[0].size)) if len(rows) else 1
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        valid = images.valid[some]
        planes, seen, footprint = (
            torch.as_tensor(v).to(device)
            for v in (
                np.where(valid, images.planes[some], 0).astype(np.float32),
                valid,
                valid & (images.labels[some] > 0),
            )
        )
        for name, value in measure_clouds(Fields(planes, seen, footprint)).items():
            found[name][some] = value.double().cpu().numpy()
