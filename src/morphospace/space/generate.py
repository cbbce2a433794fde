"""Read a trained autoencoder and make images with it: the functions of `space.generating` in one place."""

from __future__ import annotations

from morphospace.space.generating.catalogue import generate
from morphospace.space.generating.compare import Agreement, compare_labels, compare_votes, nested_cuts
from morphospace.space.generating.components import Components, assign, components
from morphospace.space.generating.deblend import Deblended, deblend
from morphospace.space.generating.decoder import Decoder
from morphospace.space.generating.density import Gaussians
from morphospace.space.generating.figures import (
    plot_agreement,
    plot_components,
    plot_deblended,
    plot_grid,
    plot_path,
    plot_reconstructions,
    plot_samples,
    plot_traversals,
)
from morphospace.space.generating.maps import inverse_map
from morphospace.space.generating.paint import Look, look_of
from morphospace.space.generating.path import LatentPath, tour
from morphospace.space.generating.reconstruct import Pictures, Reconstructions, reconstruct
from morphospace.space.generating.sample import Samples, sample
from morphospace.space.generating.traverse import Grid, Traversal, grid, traverse

__all__ = [
    "Agreement",
    "Components",
    "Deblended",
    "Decoder",
    "Gaussians",
    "Grid",
    "LatentPath",
    "Look",
    "Pictures",
    "Reconstructions",
    "Samples",
    "Traversal",
    "assign",
    "compare_labels",
    "compare_votes",
    "components",
    "deblend",
    "generate",
    "grid",
    "inverse_map",
    "look_of",
    "nested_cuts",
    "plot_agreement",
    "plot_components",
    "plot_deblended",
    "plot_grid",
    "plot_path",
    "plot_reconstructions",
    "plot_samples",
    "plot_traversals",
    "reconstruct",
    "sample",
    "tour",
    "traverse",
]
