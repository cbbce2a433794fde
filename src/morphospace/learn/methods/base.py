"""The contract of a method: how encoders are trained, in one small class."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn

from morphospace.errors import ConfigError
from morphospace.learn.layers import Intercept, representation_size
from morphospace.learn.losses import correlation_loss
from morphospace.sky.stretch import Stretch

__all__ = ["Batch", "Loss", "Method", "Phase"]


class Batch(NamedTuple):
    """What a method sees at one step."""

    views: list[Tensor]  # each (B, C, S, S) float32; row i of all is one object
    flux: list[Tensor]  # the same before the stretch; empty unless the method's needs_flux is set
    mask: list[Tensor]  # each (B, 1, S, S) float32, 1 = valid; empty unless needs_flux is set
    sigma: Tensor  # (B, C) float32, noise in the units of flux
    rows: Tensor  # (B,) int64, row numbers of the data
    label: Tensor | None = (
        None  # (B,) int64, classes of samples that bring one, else -1; not for methods without labels
    )
    spectrum: Tensor | None = None  # (B, L) float32


class Loss(NamedTuple):
    """What a method answers."""

    total: Tensor  # (), differentiable
    terms: dict[str, Tensor]  # parts of the total, without gradient
    stats: dict[str, Tensor]  # figures to watch, without gradient


class Phase(NamedTuple):
    """A stretch of the training with one objective."""

    name: str = "train"
    share: float = 1.0  # part of all epochs
    settle: int = 0  # epochs without a better loss after which it ends before its share; 0 to run all


class Method(nn.Module):
    """Parent of every method.

    The loop calls ``method(batch, progress)`` and nothing inside it; `progress` runs from 0 to 1 in a phase, so that
    schedules are functions of it. Keep each constructor argument in an attribute of its name: a run records and rebuilds
    the method from these.

    Parameters
    ----------
    encoder : Module
        (B, C, H, W) to (B, D).
    layer : str or int, optional
        Layer of the encoder to read instead of its output, by name or number.
    decorrelate : float, >= 0
        Weight of the correlation between dimensions of the encoder's vectors; see `with_redundancy`.

    Attributes
    ----------
    encoders : mapping of str to Module
        By modality; the one named "image" is what `embed` uses.
    view_sizes : tuple of float
        Side of each view as a multiple of the preparation's size; two entries of 1.0 are two full views.
    needs_flux : bool
        Whether the batch shall carry flux and masks.
    needs_plain : bool
        Whether the batch shall carry, as its last view, the image as it is.
    upright : tuple of str
        Columns of `outputs` that are no quantities to be averaged over turned images: `embed` keeps those of the upright one.
    stretch : Stretch
        The curve between flux and views; `train` sets it to that of its views.
    paper, bibtex : str
        What METHODS.md cites.
    """

    paper: str = "a method of our own"
    bibtex: str = ""

    view_sizes: tuple[float, ...] = (1.0, 1.0)
    needs_flux: bool = False
    needs_plain: bool = False
    upright: tuple[str, ...] = ()
    stretch: Stretch = Stretch("linear")

    def __init__(self, encoder: nn.Module, *, layer: str | int | None = None, decorrelate: float = 0.0) -> None:
        super().__init__()
        if not decorrelate >= 0:
            msg = f"decorrelate of {type(self).__name__} must not be negative; got {decorrelate}."
            raise ConfigError(msg)
        self.encoder = encoder if layer is None else Intercept(encoder, layer)
        recipe = getattr(encoder, "recipe", None)
        self.encoder_recipe: dict[str, Any] = dict(recipe) if isinstance(recipe, Mapping) else {}
        self.layer = layer
        self.decorrelate = decorrelate
        self.dim = representation_size(self.encoder)

    @property
    def network(self) -> nn.Module:
        """The encoder as it was given, whole where a layer is intercepted."""
        return self.encoder.network if isinstance(self.encoder, Intercept) else self.encoder

    @property
    def encoders(self) -> Mapping[str, nn.Module]:
        """The encoders by modality."""
        return {"image": self.encoder}

    def phases(self) -> list[Phase]:
        """Return the phases of the training; one unless the method says otherwise."""
        return [Phase()]

    def on_phase_start(self, phase: Phase, batches: Iterable[Batch]) -> None:
        """Prepare a phase from the data; state belongs in buffers."""

    def forward(self, batch: Batch, progress: float) -> Loss:
        """Return the loss of a batch; changes no state but batch statistics."""
        raise NotImplementedError

    def after_step(self, loss: Loss, progress: float) -> None:
        """Change state after an optimiser step: moving averages, centres, queues."""

    def projections(self, x: Tensor) -> Tensor:
        """Return (B, P), what the loss compares; collapse is seen in these."""
        raise NotImplementedError

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Return "vector" (B, D) and any columns of one number a row."""
        return {"vector": self.encoder(x)}

    def param_groups(self, lr: float) -> list[dict[str, object]]:
        """Return the optimiser's groups: weight decay for matrices, none for norms and biases."""
        decay = [p for p in self.parameters() if p.requires_grad and p.ndim > 1]
        rest = [p for p in self.parameters() if p.requires_grad and p.ndim <= 1]
        return [{"params": decay, "lr": lr}, {"params": rest, "lr": lr, "weight_decay": 0.0}]

    def with_redundancy(self, loss: Loss, z1: Tensor, z2: Tensor) -> Loss:
        """Add the correlation between dimensions of the vectors of both views, where `decorrelate` asks for it.

        A contrastive loss is content with a few dimensions of the projection, and leaves those of the vector copies of one
        another: on a few thousand images an effective rank of 4 to 7 of 128, and of 20 to 50 with a weight of 0.05, which
        also tells classes apart better (docs/benchmarks.md).
        """
        if not self.decorrelate:
            return loss
        redundancy = self.decorrelate * (correlation_loss(z1) + correlation_loss(z2))
        return Loss(loss.total + redundancy, {**loss.terms, "redundancy": redundancy.detach()}, loss.stats)

    def two_views(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return the two views of a batch.

        Raises
        ------
        ConfigError
            If there are not exactly two.
        """
        if len(batch.views) != 2:
            name = type(self).__name__
            msg = f"{name} needs 2 views per image; got {len(batch.views)}. Use a method made for multi-crop, or two views."
            raise ConfigError(msg)
        return batch.views[0], batch.views[1]
