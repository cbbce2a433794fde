"""Interstellar clouds: log-normal fractal maps, some crossed by a filament."""

from __future__ import annotations

import numpy as np

from morphospace.sky.simulate.profiles import field
from morphospace.sky.simulate.stage import Draws, Layer, Painting, Stage, column, rotated

__all__ = ["FACTORS", "paint_clouds"]

FACTORS = ("spectral_slope", "log_std", "filament_contrast", "filament_width_px", "pa_deg", "color_mag")


def paint_clouds(draws: Draws, stage: Stage) -> Painting:
    """Paint one cloud a row, which fills the image.

    ``exp(log_std * f) * (1 + filament_contrast * exp(-d**2 / (2 width**2)))``, where f is a Gaussian random field of
    power spectrum ``k**-spectral_slope`` with mean 0 and standard deviation 1 on the canvas, and d the distance
    from a line at ``pa_deg`` that winds gently, and with f by one width (NaN where there is no filament).
    """
    slope = draws.uniform(2.2, 3.8)
    log_std = draws.uniform(0.4, 1.1)
    fractal = field(stage, slope)
    light = np.exp(column(log_std) * fractal)
    there = draws.happens(0.5)
    contrast = np.where(there, draws.log_uniform(1.5, 8), 0.0)
    width = stage.size * draws.uniform(0.015, 0.04)
    pa = draws.uniform(0, 180)
    offset, swing = stage.size * draws.uniform(-0.25, 0.25), stage.size * draws.uniform(0.0, 0.1)
    wavelength, phase = stage.size * draws.uniform(0.5, 1.5), draws.uniform(0, 2 * np.pi)
    color = draws.uniform(-0.5, 0.5)
    rows = np.flatnonzero(there)
    if len(rows):
        along, across = rotated(stage.subset(rows), pa[rows])
        ridge = column(swing[rows]) * np.sin(along * column(2 * np.pi / wavelength[rows]) + column(phase[rows]))
        distance = (across - ridge - column(offset[rows])) / column(width[rows])
        distance += fractal[rows]  # the filament winds with the cloud that it crosses
        light[rows] *= 1 + column(contrast[rows]) * np.exp(-0.5 * distance * distance)
    factors = {
        "spectral_slope": slope,
        "log_std": log_std,
        "filament_contrast": contrast,
        "filament_width_px": np.where(there, width, np.nan),
        "pa_deg": np.where(there, pa, np.nan),
        "color_mag": color,
    }
    return Painting([Layer(light, color, soft=False)], factors, [])
