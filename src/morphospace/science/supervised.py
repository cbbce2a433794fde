"""Supervised training of an encoder and a linear head: the method behind fine-tuning and the CNN baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Self

import torch
from torch import Tensor, nn
from torch.nn import functional

from morphospace.errors import ConfigError
from morphospace.learn.methods.base import Batch, Loss, Method
from morphospace.science.votes import check_questions, concentrations, dirichlet_multinomial_loss

__all__ = ["Answer", "Supervised", "blocks_of"]

#: Children that hold the blocks of a network in a row, by the names that networks of timm and torchvision give them.
_ROWS = ("blocks", "stages", "layers", "features")


@dataclass(frozen=True)
class Answer:
    """What a head is asked for.

    Parameters
    ----------
    task : {"classes", "values", "votes"}
    width : int, >= 1
        Numbers of each object: classes or answers; 1 for values.
    questions : tuple of int
        Votes: numbers of answers of each question; one question when not given.

    Raises
    ------
    ConfigError
        If they do not go together.
    """

    task: Literal["classes", "values", "votes"] = "classes"
    width: int = 2
    questions: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "questions", tuple(self.questions))
        if self.task not in ("classes", "values", "votes"):
            msg = f"task of an Answer must be classes, values or votes; got '{self.task}'."
            raise ConfigError(msg)
        if self.width < (1 if self.task == "values" else 2) or (self.task == "values" and self.width != 1):
            msg = f"an Answer needs width 1 for values and at least 2 for {self.task}; got {self.width}."
            raise ConfigError(msg)
        if self.task == "votes":
            check_questions(self.questions, self.width)


class Supervised(Method):
    """Train an encoder with a linear head on classes, values or votes.

    Parameters
    ----------
    encoder : Module
        (B, C, H, W) to (B, D), trained before or from scratch.
    answer : Answer
        What the head gives: two classes by default.
    layer : str or int, optional
        Layer of the encoder to read instead of its output.
    blocks : int, optional
        How many of its blocks, from the last, are trained; 0 for the head alone, all when not given.
    layer_decay : float, above 0, up to 1
        Factor of the learning rate from each block to the one before it.
    dropout : float, 0 to 1
        Of the vector, before the head.
    smoothing : float, 0 to 1
        Label smoothing of classes.
    class_weights : sequence of float
        Weight of each class in the loss, equal when not given.

    Raises
    ------
    ConfigError
        If an option is out of range.

    Notes
    -----
    Classes: cross-entropy of ``Batch.label``, where -1 is passed over. Values (standardised) and votes are rows of
    `targets`, by ``Batch.rows``. Votes: Walmsley et al. 2022, eq. 4. Layer-wise rates: Clark et al. 2020, sect. 3.2. The
    head stands behind a norm without weights; blocks that are not trained keep their batch statistics too.
    """

    paper = "cross-entropy with labels"
    view_sizes = (1.0,)
    targets: Tensor | None
    weight: Tensor | None

    def __init__(
        self,
        encoder: nn.Module,
        *,
        answer: Answer | None = None,
        layer: str | int | None = None,
        blocks: int | None = None,
        layer_decay: float = 1.0,
        dropout: float = 0.0,
        smoothing: float = 0.0,
        class_weights: Sequence[float] = (),
    ) -> None:
        super().__init__(encoder, layer=layer)
        if not (0 < layer_decay <= 1 and 0 <= dropout < 1 and 0 <= smoothing < 1):
            msg = (
                "Supervised needs 0 < layer_decay <= 1, 0 <= dropout < 1 and 0 <= smoothing < 1; "
                f"got {layer_decay}, {dropout} and {smoothing}."
            )
            raise ConfigError(msg)
        self.answer, self.blocks = answer or Answer(), blocks
        self.layer_decay, self.dropout, self.smoothing = layer_decay, dropout, smoothing
        self.class_weights = tuple(class_weights)
        norm = nn.BatchNorm1d(self.dim, affine=False)
        self.head = nn.Sequential(norm, nn.Dropout(dropout), nn.Linear(self.dim, self.answer.width))
        self.register_buffer("targets", None, persistent=False)
        weight = torch.tensor(self.class_weights) if self.class_weights else None
        self.register_buffer("weight", weight, persistent=False)
        parts = blocks_of(self.network)
        self._trained = parts if blocks is None else parts[len(parts) - min(blocks, len(parts)) :]
        self._still = parts[: len(parts) - len(self._trained)]
        for part in self._still:
            part.requires_grad_(False)

    def set_targets(self, targets: Tensor) -> None:
        """Give the values (N, 1), standardised, or the votes (N, K) of all rows of the data."""
        self.targets = targets.float()

    def train(self, mode: bool = True) -> Self:
        """Set training mode, but for blocks that are not trained."""
        super().train(mode)
        for part in self._still:
            part.eval()
        return self

    def forward(self, batch: Batch, progress: float) -> Loss:
        """Return the loss of a batch with labels."""
        scores = self.head(self.encoder(batch.views[0]).float())
        stats: dict[str, Tensor] = {}
        if self.answer.task == "classes":
            label = self._labels(batch)
            total = functional.cross_entropy(
                scores, label, weight=self.weight, ignore_index=-1, label_smoothing=self.smoothing
            )
            known = label >= 0
            stats["accuracy"] = (scores.detach().argmax(1) == label)[known].float().mean().nan_to_num()
        else:
            target = self._targets(batch)
            if self.answer.task == "values":
                total = functional.mse_loss(scores, target)
            else:
                total = dirichlet_multinomial_loss(concentrations(scores), target, self.answer.questions).mean()
        return Loss(total, {self.answer.task: total.detach()}, stats)

    def _labels(self, batch: Batch) -> Tensor:
        if batch.label is None:
            msg = "Supervised needs labels, but the samples bring none; give each a 'label' (a whole number), or use finetune."
            raise ConfigError(msg)
        return batch.label

    def _targets(self, batch: Batch) -> Tensor:
        if self.targets is None:
            msg = f"Supervised needs targets for {self.answer.task}; call set_targets, or use finetune."
            raise ConfigError(msg)
        found: Tensor = self.targets[batch.rows.to(self.targets.device)]
        return found

    def scores(self, x: Tensor) -> Tensor:
        """Return logits of classes, standardised values or concentrations of votes, (B, width)."""
        out: Tensor = self.head(self.encoder(x).float())
        return concentrations(out) if self.answer.task == "votes" else out

    def param_groups(self, lr: float) -> list[dict[str, object]]:
        """Return the optimiser's groups: the head, then each trained block at a rate lower by `layer_decay`."""
        groups = _groups(list(self.head.parameters()), lr)
        for depth, part in enumerate(reversed(self._trained), start=1):
            groups += _groups(list(part.parameters()), lr * self.layer_decay**depth)
        return groups


def _groups(parameters: list[nn.Parameter], lr: float) -> list[dict[str, object]]:
    """Give matrices weight decay, norms and biases none."""
    decay = [p for p in parameters if p.requires_grad and p.ndim > 1]
    rest = [p for p in parameters if p.requires_grad and p.ndim <= 1]
    groups: list[dict[str, object]] = [{"params": decay, "lr": lr}] if decay else []
    return groups + ([{"params": rest, "lr": lr, "weight_decay": 0.0}] if rest else [])


def blocks_of(network: nn.Module) -> list[nn.Module]:
    """Take a network apart into its blocks, from input to output.

    Parameters
    ----------
    network : Module
        Its children are its blocks; a wrapper of one child is looked into, and so are rows of blocks named ``blocks``,
        ``stages``, ``layers`` or ``features``.

    Returns
    -------
    list of Module
        Every parameter is in exactly one; those that belong to the network itself (tokens, positions) go with the first.
    """
    children = list(network.named_children())
    own = list(network.parameters(recurse=False))
    if not children:
        return [network]
    if len(children) == 1 and not own:
        return blocks_of(children[0][1])
    found: list[nn.Module] = []
    for name, child in children:
        row = name in _ROWS and isinstance(child, nn.Sequential | nn.ModuleList)
        found += list(child.children()) if row else [child]
    if own:
        found[0] = _With(found[0], own)
    return found


class _With(nn.Module):
    """A block and parameters of the network itself, which are trained or kept together."""

    def __init__(self, block: nn.Module, own: list[nn.Parameter]) -> None:
        super().__init__()
        self.block, self.own = block, nn.ParameterList(own)
