"""A generative method that is linear, so that all answers are known: images are matrix times latent."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import nn

from morphospace.learn.methods import Method
from morphospace.learn.mixture import Mixture, responsibilities
from morphospace.learn.prepare import Preparation
from morphospace.sky.cutouts import Cutout, Cutouts, CutoutsWriter
from morphospace.sky.stretch import Stretch
from morphospace.space.embeddings import Embeddings
from morphospace.space.generating.decoder import Decoder

SIDE, DIM = 8, 3
#: As they are: nothing is scaled, so that an image decodes to itself.
AS_IT_IS = Preparation(size=SIDE, scale="pixel", units="none", stretch=Stretch("linear"))
WEIGHTS = (0.5, 0.3, 0.2)
MEANS = ((0.0, 0.0, 0.0), (4.0, 0.0, 1.0), (0.0, -5.0, 2.0))
SIGMAS = ((1.0, 0.5, 0.2), (0.4, 0.4, 0.4), (0.3, 1.0, 0.1))


class Linear(Method):
    """Orthonormal columns: encoding is the transpose of decoding, and exact."""

    def __init__(self, bands: int = 1, *, side: int = SIDE, dim: int = DIM, seed: int = 0) -> None:
        nn.Module.__init__(self)
        n = bands * side * side
        columns = np.linalg.qr(np.random.default_rng(seed).normal(size=(n, dim)))[0]
        self.matrix = nn.Linear(dim, n, bias=False)
        self.matrix.weight.data = torch.from_numpy(columns.astype(np.float32))
        self.shape, self.dim, self.encoder_recipe = (bands, side, side), dim, {}

    def decode(self, z):
        return self.matrix(z).unflatten(1, self.shape)

    def encode(self, x):
        mean = x.flatten(1) @ self.matrix.weight
        return mean, torch.full_like(mean, -20.0)


class LinearMixture(Linear):
    def mixture(self):
        weights, means, sigmas = (torch.tensor(v) for v in (WEIGHTS, MEANS, SIGMAS))
        return Mixture(weights.log(), means, 2 * sigmas.log())

    def responsibilities(self, mean, log_variance):
        return responsibilities(self.mixture(), mean, log_variance)


def linear(kind=LinearMixture, *, preparation=AS_IT_IS, bands=1, **options) -> Decoder:
    return Decoder(kind(bands, side=preparation.size), preparation, device="cpu", **options)


def embeddings(decoder: Decoder, n: int = 200, seed: int = 0, **columns) -> Embeddings:
    z, component = decoder.mixture().draw(n, seed=seed)
    return Embeddings.from_arrays(None, [f"o{i}" for i in range(n)], z, columns={"drawn": component, **columns})


def stored(path: Path, images, **known) -> Cutouts:
    """A store of images (N, C, S, S) with ids o0, o1 ..."""
    with CutoutsWriter(path) as writer:
        for i, image in enumerate(np.asarray(images, np.float32)):
            bands = len(image)
            writer.append(Cutout(f"o{i}", image, **{"level": (0.0,) * bands, "sigma": (1.0,) * bands, **known}))
    return Cutouts.open(path)
