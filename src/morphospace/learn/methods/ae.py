"""Autoencoders (Hinton & Salakhutdinov 2006), and what all methods with a decoder share."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from morphospace.errors import ConfigError, ShapeError
from morphospace.learn.decoders import AbsentDecoder
from morphospace.learn.decoders import decoder as named_decoder
from morphospace.learn.layers import Intercept, input_bands
from morphospace.learn.likelihoods import (
    LIKELIHOODS,
    Likelihood,
    negative_log_likelihood,
    noisy_loss,
    stretched_sigma,
)
from morphospace.learn.methods.base import Batch, Loss, Method, Phase

__all__ = ["AE", "Headed"]

LEAST_SIGMA = 0.02  # of a stretched pixel: what calibration and the stretch's own pixels leave
NARROWEST, WIDEST = -12.0, 6.0  # bounds of the log-variance of a posterior
_MOST_BERNOULLI = 1.5  # brighter pixels are no probabilities, whatever gain the views have


class Headed(nn.Module):
    """An encoder and the linear layer that makes latents of its vectors."""

    def __init__(self, network: nn.Module, n_in: int, n_out: int) -> None:
        super().__init__()
        self.network = network
        self.head = nn.Linear(n_in, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, n_out) for images (B, C, H, W)."""
        out: Tensor = self.head(self.network(x))
        return out


class AE(Method):
    """Squeeze an image through a few numbers and make it again from them.

    Parameters
    ----------
    encoder : Module
        (B, C, S, S) to (B, D); a linear layer makes latents of its output.
    layer : str or int, optional
        Layer of the encoder to read instead of its output.
    latents : int, >= 1
        Length of the vectors.
    decoder : str or Module
        ``light``, ``residual``, ``astrovader`` or a module of your own, (B, latents) to (B, C, S, S).
    size : int, >= 8
        Side S of the images; that of the views.
    likelihood : {"squared", "gaussian", "bernoulli", "noisy"}
        How a reconstruction is judged; see `negative_log_likelihood`. ``noisy`` takes each pixel's noise and the mask, so
        that blank pixels cost nothing: use it with views that change no noise (blur, gain and noise at 0).

    Raises
    ------
    ConfigError
        If an option is unknown or the decoder cannot make images of `size`.

    Notes
    -----
    Hinton & Salakhutdinov 2006 without its layer-wise start. The loss is in nats for each pixel.
    """

    paper = "Hinton & Salakhutdinov 2006"
    bibtex = """@article{hinton2006reducing,
  title = {Reducing the Dimensionality of Data with Neural Networks},
  author = {Hinton, Geoffrey E. and Salakhutdinov, Ruslan R.},
  journal = {Science},
  volume = {313},
  pages = {504},
  year = {2006}
}"""

    view_sizes: tuple[float, ...] = (1.0,)
    numbers = 1  # of the encoder for each latent

    def __init__(
        self,
        encoder: nn.Module,
        *,
        layer: str | int | None = None,
        latents: int = 32,
        decoder: str | nn.Module = "residual",
        size: int = 64,
        likelihood: Likelihood = "gaussian",
    ) -> None:
        super().__init__(encoder, layer=layer)
        name = type(self).__name__
        if likelihood not in LIKELIHOODS:
            msg = f"likelihood of {name} must be one of {', '.join(LIKELIHOODS)}; got '{likelihood}'."
            raise ConfigError(msg)
        if latents < 1:
            msg = f"latents of {name} must be at least 1; got {latents}."
            raise ConfigError(msg)
        self.bands = input_bands(encoder) or int(getattr(encoder, "bands", 1))
        self.encoder = Headed(self.encoder, self.dim, self.numbers * latents)
        self.dim = self.latents = latents
        self.size = size
        self.likelihood: Likelihood = likelihood
        self.needs_flux = likelihood == "noisy"
        if isinstance(decoder, str):
            self.decoder = decoder
            self.generator = named_decoder(decoder, latents=latents, bands=self.bands, size=size)
        else:
            self.decoder = type(decoder).__qualname__
            self.generator = decoder

    @property
    def network(self) -> nn.Module:
        """The encoder as it was given, without the layer that makes latents of its vectors."""
        inner: nn.Module = self.encoder.network  # type: ignore[assignment]
        return inner.network if isinstance(inner, Intercept) else inner

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the posterior, (N, latents) each, float32.

        An autoencoder gives points: their log-variance is the least that there is, -12.
        """
        mean = self.encoder(x).float()
        return mean, torch.full_like(mean, NARROWEST)

    def decode(self, z: Tensor) -> Tensor:
        """Return images (N, C, S, S), float32, in stretched units, for vectors (N, latents)."""
        raw = self.make(z).float()
        return raw.sigmoid() if self.likelihood == "bernoulli" else raw

    def make(self, z: Tensor) -> Tensor:
        """Return what the decoder makes of vectors, before the likelihood's own curve."""
        raw: Tensor = self.generator(z)
        return raw

    def on_phase_start(self, phase: Phase, batches: Iterable[Batch]) -> None:
        """Look at a batch, and refuse images that the likelihood is not made for.

        Raises
        ------
        ConfigError
            If pixels are no probabilities, or the noise of stretched pixels cannot be known.
        """
        if self.likelihood == "noisy" and not self.stretch.invertible:
            msg = f"likelihood 'noisy' needs a stretch with an inverse; '{self.stretch.kind}' has none. Use asinh or linear."
            raise ConfigError(msg)
        batch = next(iter(batches), None) if self.likelihood == "bernoulli" else None
        if batch is not None:
            low, high = (float(v) for v in torch.aminmax(batch.views[0]))
            if high > _MOST_BERNOULLI or low < -_MOST_BERNOULLI:
                msg = (
                    f"likelihood 'bernoulli' needs pixels from 0 to 1; these lie between {low:.3g} and {high:.3g}. Use "
                    "units='range' with the stretch linear (a = 1), or likelihood='gaussian'."
                )
                raise ConfigError(msg)

    def forward(self, batch: Batch, progress: float) -> Loss:
        """Return what the reconstruction of a batch costs, in nats for each pixel."""
        x = self.seen(batch)
        cost = self.reconstruction_cost(batch, self.make(self.encode(x)[0])).mean()
        total = cost / x[0].numel()
        return Loss(total, {"reconstruction": total.detach()}, {})

    def seen(self, batch: Batch) -> Tensor:
        """Return the views of a batch as one block, (V * N, C, S, S), one view after the other.

        Raises
        ------
        ConfigError
            If there are not as many as the method asks for.
        ShapeError
            If its size is not the decoder's.
        """
        name = type(self).__name__
        n = len(self.view_sizes)
        if len(batch.views) != n + self.needs_plain:
            msg = f"{name} needs {n + self.needs_plain} view(s) per image; got {len(batch.views)}."
            raise ConfigError(msg)
        x = batch.views[0] if n == 1 else torch.cat(batch.views[:n])
        if x.shape[1:] != (self.bands, self.size, self.size):
            msg = (
                f"the decoder of this {name} makes images of {self.bands} x {self.size} x {self.size} and the views are "
                f"{' x '.join(str(n) for n in x.shape[1:])}; give size={x.shape[-1]} to {name}, or the views its size."
            )
            raise ShapeError(msg)
        return x

    def reconstruction_cost(self, batch: Batch, raw: Tensor) -> Tensor:
        """Return -log p(x), (V * N,) in nats, of the views of a batch given what the decoder makes."""
        n = len(self.view_sizes)
        x = torch.cat(batch.views[-1:] * n if self.needs_plain else batch.views)
        if self.likelihood == "noisy":
            noise = batch.sigma.repeat(n, 1)
            sigma = stretched_sigma(torch.cat(batch.flux), noise, self.stretch, least=LEAST_SIGMA)
            return noisy_loss(raw, x, sigma, torch.cat(batch.mask))
        return negative_log_likelihood(self.likelihood, raw, x)

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Return "vector" (B, latents) and "error", the mean squared difference of the reconstruction's pixels."""
        mean, _ = self.encode(x)
        return {"vector": mean, "error": self.errors(x, mean)}

    def errors(self, x: Tensor, z: Tensor) -> Tensor:
        """Return (N,), the mean squared difference between images and what is made of vectors, in stretched units.

        NaN where the decoder is one of the user's own that was not given when the run was opened.
        """
        if isinstance(self.generator, AbsentDecoder):
            return torch.full_like(z[:, 0], torch.nan)
        return (self.decode(z) - x.float()).square().flatten(1).mean(dim=1)
