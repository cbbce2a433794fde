"""A run made ready to go both ways: images to latents, latents to images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from morphospace.errors import ConfigError, DataError, ShapeError
from morphospace.learn.data import check_noise, collate_stacks
from morphospace.learn.devices import named_device
from morphospace.learn.methods import METHODS, Method
from morphospace.learn.methods.vae import VAE
from morphospace.learn.prepare import Preparation
from morphospace.learn.record import load_method, preparation_of
from morphospace.learn.views import plain_view
from morphospace.runs import Run
from morphospace.sky.cutouts import Cutouts
from morphospace.sky.stacks import stacks
from morphospace.space.embeddings import Embeddings
from morphospace.space.generating.density import Gaussians

__all__ = ["Decoder", "Encoded", "Numbers", "opened"]

Numbers = Literal["float32", "bfloat16"]
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.InstanceNorm2d, nn.GroupNorm, nn.LayerNorm)


class Encoded(NamedTuple):
    """Some images and what the encoder says of them."""

    rows: NDArray[np.int64]  # (B,), row numbers of the data
    ids: list[str]
    x: Tensor  # (B, C, S, S), what the network sees, on its device
    mean: Tensor  # (B, d)
    log_variance: Tensor  # (B, d)


class Decoder:
    """A trained autoencoder made ready to encode and to decode.

    Parameters
    ----------
    method : Method
        With ``decode(z)`` and ``encode(x)``; set to evaluation.
    preparation : Preparation
        What images go through before the network, undone behind the decoder.
    run : Run, optional
        Where they come from.
    device : str
        ``cpu``, ``cuda``, ``mps``; ``auto`` takes a GPU if there is one.
    numbers : {"float32", "bfloat16"}
        What the networks compute in; bfloat16 is faster where the processor has it and good to about 1 in 250.
    batch_size : int, >= 1
        Images under way at a time; changes the speed and nothing else.

    Raises
    ------
    ConfigError
        If the method has no decoder; those that have one are named.
    ShapeError
        If the decoder makes images of another size than the run's.
    """

    def __init__(
        self,
        method: Method,
        preparation: Preparation,
        *,
        run: Run | None = None,
        device: str = "auto",
        numbers: Numbers = "float32",
        batch_size: int = 256,
    ) -> None:
        if not callable(getattr(method, "decode", None)):
            msg = _no_decoder(type(method).__name__, run)
            raise ConfigError(msg)
        if numbers not in ("float32", "bfloat16"):
            msg = f"numbers must be 'float32' or 'bfloat16'; got {numbers!r}."
            raise ConfigError(msg)
        if batch_size < 1:
            msg = f"batch_size must be at least 1; got {batch_size}."
            raise ConfigError(msg)
        self.device = named_device(device)
        self.dtype: torch.dtype = getattr(torch, numbers)
        self.preparation = preparation
        self.run = run
        self.batch_size = batch_size
        self.method: Any = method.eval().to(self.device)
        self.method.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._autocast = self._lower_numbers()
        self.dim = int(method.dim)
        self.bands = self._check_size()

    @classmethod
    def open(
        cls,
        run: Run | str | Path,
        *,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
        device: str = "auto",
        numbers: Numbers = "float32",
        batch_size: int = 256,
    ) -> Decoder:
        """Open a finished run.

        Parameters
        ----------
        run : Run or path
        encoder, decoder : Module, optional
            The encoder and the decoder, where the run's is not one of morphospace's own.
        device, numbers, batch_size
            See `Decoder`.

        Raises
        ------
        ConfigError
            If the method of the run has no decoder (those that have one are named), or one of your own that was not given.
        """
        run = run if isinstance(run, Run) else Run.open(run)
        name = str(run.config.get("method", {}).get("name", "no method"))
        kind = METHODS.get(name)
        if kind is None or not hasattr(kind, "decode"):
            msg = _no_decoder(name, run)
            raise ConfigError(msg)
        method = load_method(run, network=encoder, decoder=decoder)
        return cls(method, preparation_of(run), run=run, device=device, numbers=numbers, batch_size=batch_size)

    @property
    def name(self) -> str:
        """Name for messages."""
        return "this method" if self.run is None else f"run '{self.run.path}'"

    @property
    def space_id(self) -> str:
        """Fingerprint of the space of the latents; ``""`` without a run."""
        return "" if self.run is None else self.run.space_id()

    @property
    def size(self) -> int:
        """Side of the images, in pixels."""
        return self.preparation.size

    def mixture(self) -> Gaussians:
        """Return the density to draw from: the mixture of the method, or N(0, I) for a VAE.

        Raises
        ------
        ConfigError
            If the method has none.
        NotFittedError
            If its mixture was never started.
        """
        if callable(getattr(self.method, "mixture", None)):
            weights, means, log_variances = (t.detach().double().cpu().numpy() for t in self.method.mixture())
            weights = np.exp(weights - weights.max())
            return Gaussians(weights / weights.sum(), means, np.exp(0.5 * log_variances))
        if isinstance(self.method, VAE):
            return Gaussians.normal(self.dim)
        msg = (
            f"{self.name} is a plain autoencoder ({type(self.method).__name__}), which has no density to draw from; fit one to "
            "its embeddings, density=Gaussians.fit(emb.vectors, k=10) or --embeddings EMB -k 10, or train a VAE or VaDE."
        )
        raise ConfigError(msg)

    def spread(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and standard deviation of each latent over the training images, (d,) each.

        Those of the density where the method comes without a run.
        """
        if self.run is not None:
            reference = self.run.tensors("reference")
            variance = torch.linalg.inv(reference["precision"].double()).diagonal().clamp_min(0)
            return reference["mean"].double().numpy(), variance.sqrt().numpy()
        density = self.mixture()
        mean = density.weights @ density.means
        second = density.weights @ (density.means**2 + density.sigmas**2)
        return mean, np.sqrt(second - mean**2)

    @torch.no_grad()
    def decode(self, z: ArrayLike | Tensor) -> Tensor:
        """Turn latents into images, which stay on the device.

        Parameters
        ----------
        z : array or Tensor, (N, d)
            As many at once as are given.

        Returns
        -------
        Tensor, (N, C, S, S)
            In stretched units, what the network sees.

        Raises
        ------
        ShapeError
            If the latents have another length.
        """
        latents = z if isinstance(z, Tensor) else torch.from_numpy(np.array(z, np.float32))
        if latents.ndim != 2 or latents.shape[1] != self.dim:
            msg = f"latents of {self.name} must be (N, {self.dim}); got shape {tuple(latents.shape)}."
            raise ShapeError(msg)
        with self._numbers():
            images: Tensor = self.method.decode(latents.to(self.device, torch.float32, non_blocking=True))
        return images

    def images(self, z: ArrayLike | Tensor) -> NDArray[np.float32]:
        """Turn latents (N, d) into images (N, C, S, S) in memory, batch by batch; in stretched units."""
        latents = z if isinstance(z, Tensor) else torch.from_numpy(np.array(z, np.float32))
        out = np.empty((len(latents), self.bands, self.size, self.size), np.float32)
        for first in range(0, len(latents), self.batch_size):
            part = slice(first, first + self.batch_size)
            out[part] = self.decode(latents[part]).float().cpu().numpy()
        return out

    @torch.no_grad()
    def encode(self, data: Cutouts, rows: Sequence[int] | NDArray[np.int64] | None = None) -> Iterator[Encoded]:
        """Turn cutouts into latents, batch by batch.

        Parameters
        ----------
        data : Cutouts
            Native pixels, of any size.
        rows : sequence of int, optional
            Rows to read, in this order; all when None.

        Raises
        ------
        ShapeError
            If the images have another number of bands than the run.
        """
        wanted = np.arange(len(data)) if rows is None else np.asarray(rows, np.int64)
        for first in range(0, len(wanted), self.batch_size):
            part = wanted[first : first + self.batch_size]
            x, ids = self._prepared(data, part)
            mean, log_variance = self.posteriors(x)
            yield Encoded(part, ids, x, mean, log_variance)

    @torch.no_grad()
    def posteriors(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance, (B, d) each, float32, for prepared images (B, C, S, S) on the device."""
        with self._numbers():
            mean, log_variance = self.method.encode(x)
        return mean.float(), log_variance.float()

    def _lower_numbers(self) -> bool:
        """Bring the networks to the type of `numbers`, or tell that each operation has to choose its own.

        The method's own parameters stay: a mixture in bfloat16 would be another. Networks with norms stay too, and
        autocast does what it can, at four fifths of the speed.
        """
        if self.dtype == torch.float32:
            return False
        if any(isinstance(layer, _NORMS) for layer in self.method.modules()):
            return True
        for network in self.method.children():
            network.to(self.dtype)
            network.register_forward_pre_hook(_in_numbers(self.dtype))
        return False

    def _numbers(self) -> torch.autocast:
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self._autocast)

    @torch.no_grad()
    def probabilities(self, encoded: Encoded) -> Tensor:
        """Return the probability of each component, (B, k), for images that were encoded.

        Raises
        ------
        ConfigError
            If the method has no mixture.
        """
        if not callable(getattr(self.method, "responsibilities", None)):
            msg = (
                f"{self.name} has no mixture ({type(self.method).__name__}), so no cluster probabilities; VaDE has one."
            )
            raise ConfigError(msg)
        found: Tensor = self.method.responsibilities(encoded.mean, encoded.log_variance)
        return found

    def check_space(self, emb: Embeddings) -> None:
        """Refuse embeddings that are not the latents of this run.

        Raises
        ------
        DataError
            If they are of another space (what differs in the preparation is named), or averaged over turned images:
            the mean of eight latents is the latent of no image.
        """
        if emb.provenance.get("average"):
            msg = (
                f"embeddings {emb.name} are averages over turned images (average='{emb.provenance['average']}'), which no "
                "decoder can turn back into an image; embed again without average."
            )
            raise DataError(msg)
        if emb.dim != self.dim or (emb.space_id and self.space_id and emb.space_id != self.space_id):
            msg = f"embeddings {emb.name} are not latents of {self.name}: {self._difference(emb)}; embed with this run."
            raise DataError(msg)

    def _difference(self, emb: Embeddings) -> str:
        if emb.dim != self.dim:
            return f"they have {emb.dim} dimensions, the run {self.dim}"
        theirs = _flat(emb.provenance.get("preparation") or {})
        ours = _flat({} if self.run is None else self.run.config["preparation"])
        for key in sorted({*theirs, *ours}):
            if theirs and theirs.get(key) != ours.get(key):
                return f"their {key} is {theirs.get(key)}, that of the run {ours.get(key)}"
        return f"their space is {emb.space_id[:8]}…, that of the run {self.space_id[:8]}…"

    def _prepared(self, data: Cutouts, rows: NDArray[np.int64]) -> tuple[Tensor, list[str]]:
        block = list(stacks(data, rows.tolist()))
        for stack in block:
            if stack.images.shape[1] != self.bands:
                msg = (
                    f"cutout '{stack.ids[0]}' has {stack.images.shape[1]} bands and {self.name} was trained on "
                    f"{self.bands}; give cutouts with the same bands."
                )
                raise ShapeError(msg)
            quiet = [n for n, s in zip(stack.ids, stack.sigma, strict=True) if (s <= 0).any()]
            check_noise(self.preparation, quiet, len(stack.ids))
        collated = collate_stacks(block, self.preparation)
        return plain_view(collated.to(self.device), self.preparation), [name for s in block for name in s.ids]

    def _check_size(self) -> int:
        made = tuple(self.decode(np.zeros((1, self.dim))).shape[1:])
        wanted = self.size
        bands = made[0] if self.run is None else int(self.run.config["bands"])
        if made != (bands, wanted, wanted):
            msg = (
                f"the decoder of {self.name} makes images of {' x '.join(map(str, made))} (bands, height, width) where "
                f"{bands} x {wanted} x {wanted} were prepared; give it size={wanted}, or prepare with size={made[-1]}."
            )
            raise ShapeError(msg)
        return bands


def _in_numbers(dtype: torch.dtype) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
    """Make a hook that gives a network its input in the type of its weights."""
    return lambda _, given: tuple(x.to(dtype) for x in given)


def opened(run: Run | str | Path | Decoder) -> Decoder:
    """Return a decoder as it is, and a run made ready."""
    return run if isinstance(run, Decoder) else Decoder.open(run)


def _no_decoder(name: str, run: Run | None) -> str:
    able = sorted(key for key, kind in METHODS.items() if hasattr(kind, "decode"))
    where = "this method" if run is None else f"run '{run.path}'"
    return (
        f"{where} was trained with {name}, which has no decoder and makes no images; "
        f"methods with one are {', '.join(able) or 'none yet'}."
    )


def _flat(table: Any, prefix: str = "") -> dict[str, Any]:  # noqa: ANN401
    found: dict[str, Any] = {}
    for key, value in table.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found
