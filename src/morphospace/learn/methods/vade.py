"""Variational deep embedding (Jiang et al. 2017) with the phases of s3VDC (Cao et al. 2020)."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from morphospace.config import call_from
from morphospace.errors import ConfigError, NotFittedError
from morphospace.learn.likelihoods import Likelihood
from morphospace.learn.methods.ae import NARROWEST, WIDEST
from morphospace.learn.methods.base import Batch, Phase
from morphospace.learn.methods.vae import VAE, Divergence
from morphospace.learn.mixture import (
    Mixture,
    bounded,
    kl_mixture,
    kl_normal,
    log_responsibilities,
    responsibilities,
)
from morphospace.learn.mixture_start import (
    MOST_COMPONENTS,
    check_enough,
    fit_mapped,
    fit_mixture,
    fit_rounded,
    least_images,
)

__all__ = ["Plan", "VaDE"]

logger = logging.getLogger(__name__)
_NARROWEST, _WIDEST = -9.0, 9.0  # bounds of the log-variance of a component
_WIDEST_START = 0.25  # variance of posteriors at the start, in units of that of the kinds
_SETTLING = 20  # batches that settle the batch norms before a start
_DEAD = 0.01  # part of an equal share of the images, below which a component is dead
_WARMUP, _ANNEAL, _STATIC = range(3)


@dataclass(frozen=True)
class Plan:
    """The phases of a VaDE: a warm-up without mixture, then periods in which the mixture's weight rises and stays.

    Parameters
    ----------
    warmup : float, 0 to 1
        Part of all epochs for the warm-up.
    weight : float, >= 0
        Of the divergence from N(0, I) in the warm-up.
    beta : float, >= 0
        Of the divergence from the mixture afterwards; 1 is the bound itself.
    batches : int, >= 1
        From whose latents the mixture is started.
    periods : int, >= 1
        How often the weight of the mixture rises from 0 as (t / T)^3 and then stays at beta.
    anneal : float, 0 to 1
        Part of a period in which it rises.
    spread : float, >= 0
        Largest difference of the logarithms of an image's responsibilities in training; 0 for no limit.
    sampled : bool
        Whether responsibilities are those of the sample, as in the paper, or those for which the bound is highest.
    balance : float, 0 to 1, optional
        Part of the divergence's gradient that goes to the mixture, the rest to the posterior; both whole if not given.
    settle : int, >= 0
        Epochs without a better loss after which warm-up and static phases end; 0 to run all of them.
    target : {"view", "plain"}
        What the decoder has to make of a view: the view, or the image as it is, undistorted. With ``plain`` the space need
        not know how the view was distorted.
    pairs : bool
        Whether each image comes in two views that share their component: whatever the views differ in is then no matter of
        kind.
    start : {"gmm", "round", "map"}
        Of the mixture: a diagonal one fitted to the latents as they are; in the axes in which kinds are round
        (`fit_rounded`); or from groups on a map of neighbourhoods (`fit_mapped`), which takes half a minute and finds most.
    hold : float, >= 0
        Nats that it costs in the first anneal, for each nat of the cross-entropy, that the mixture sees an image in another
        component than the map's group: neighbourhoods are no Gaussians, and the space learns to make them so. 0 for not.

    Raises
    ------
    ConfigError
        If a value is out of range.
    """

    warmup: float = 0.3
    weight: float = 0.01
    beta: float = 1.0
    batches: int = 200
    periods: int = 2
    anneal: float = 0.5
    spread: float = 0.0
    sampled: bool = False
    balance: float | None = None
    settle: int = 0
    target: Literal["view", "plain"] = "view"
    pairs: bool = False
    start: Literal["gmm", "round", "map"] = "gmm"
    hold: float = 0.0

    def __post_init__(self) -> None:
        shares = (self.warmup, self.anneal, 0.5 if self.balance is None else self.balance)
        if not all(0 <= share <= 1 for share in shares) or self.warmup == 1:
            msg = f"warmup, anneal and balance of a plan must lie in [0, 1], warmup below 1; got {shares}."
            raise ConfigError(msg)
        least = {"batches": 1, "periods": 1, "weight": 0, "beta": 0, "spread": 0, "settle": 0, "hold": 0}
        for name, low in least.items():
            if not getattr(self, name) >= low:
                msg = f"{name} of a plan must be at least {low}; got {getattr(self, name)}."
                raise ConfigError(msg)
        if self.hold and self.start != "map":
            msg = (
                f"hold of a plan is for the groups of start 'map'; start is '{self.start}'. Use start='map' or hold=0."
            )
            raise ConfigError(msg)


class VaDE(VAE):
    """A variational autoencoder whose prior is a mixture of Gaussians: it finds kinds while it learns the space.

    Parameters
    ----------
    encoder, layer, latents, decoder, size, likelihood, free_bits
        See `VAE`.
    k : int or "auto"
        Number of components; with ``auto`` as many, of at most 30, as a Dirichlet process uses at the start.
    plan : Plan or mapping
        Phases of the training and the weights of the divergence in them; a mapping has the arguments of a `Plan`.

    Raises
    ------
    ConfigError
        If an option is out of range or the decoder cannot make images of `size`.

    Notes
    -----
    Jiang et al. 2017, section 3: its bound, and q(c|x) = p(c|z); phases, (t / T)^3 and the start from mini-batches of Cao et
    al. 2020; `balance` of Hafner et al. 2021, algorithm 2; `free_bits` as in `VAE`. Departures: responsibilities are by default
    those that make the bound highest, E[log N] in the place of one sample's log N; log-variances are bent into bounds; a
    component with less than a hundredth of an equal share of the images at the start of a phase is left out from then on.
    """

    paper = "Jiang et al. 2017"
    bibtex = """@inproceedings{jiang2017vade,
  title = {Variational Deep Embedding: An Unsupervised and Generative Approach to Clustering},
  author = {Jiang, Zhuxi and Zheng, Yin and Tan, Huachun and Tang, Bangsheng and Zhou, Hanning},
  booktitle = {IJCAI},
  year = {2017}
}
@article{cao2020s3vdc,
  title = {Simple, Scalable, and Stable Variational Deep Clustering},
  author = {Cao, Lele and Asadi, Sahar and Zhu, Wenfei and Schmidli, Christian and Sj{\\"o}berg, Michael},
  journal = {arXiv:2005.08047},
  year = {2020}
}"""

    def __init__(
        self,
        encoder: nn.Module,
        *,
        layer: str | int | None = None,
        latents: int = 20,
        decoder: str | nn.Module = "residual",
        size: int = 64,
        likelihood: Likelihood = "gaussian",
        k: int | Literal["auto"] = 10,
        free_bits: float = 0.0,
        plan: Plan | Mapping[str, Any] = Plan(),
    ) -> None:
        name = type(self).__name__
        self.plan = (
            plan if isinstance(plan, Plan) else call_from(plan, Plan, "method.plan", source=f"options of {name}")
        )
        super().__init__(
            encoder,
            layer=layer,
            latents=latents,
            decoder=decoder,
            size=size,
            likelihood=likelihood,
            beta=self.plan.beta,
            free_bits=free_bits,
        )
        if k != "auto" and not (isinstance(k, int) and k >= 1):
            msg = f"k of {name} must be at least 1, or 'auto'; got {k!r}."
            raise ConfigError(msg)
        self.k = k
        if (self.plan.target == "plain" and likelihood == "noisy") or (self.plan.start != "gmm" and k == "auto"):
            msg = (
                f"the plan of {type(self).__name__} does not fit: target 'plain' has no noise for likelihood 'noisy', start "
                f"'{self.plan.start}' needs a number k. Use target='view', start='gmm'."
            )
            raise ConfigError(msg)
        self.view_sizes = (1.0, 1.0) if self.plan.pairs else (1.0,)
        self.needs_plain = self.plan.target == "plain"
        slots = MOST_COMPONENTS if k == "auto" else k
        self.component_logits = nn.Parameter(torch.zeros(slots))
        self.component_means = nn.Parameter(torch.zeros(slots, latents))
        self.component_widths = nn.Parameter(torch.zeros(slots, latents))  # log-variances, before their bounds
        self.alive: Tensor
        self.stage: Tensor
        self.axes: Tensor
        self.axes_inverse: Tensor
        self.centre: Tensor
        self.register_buffer("alive", torch.zeros(slots, dtype=torch.bool))
        self.register_buffer("axes", torch.eye(latents))
        self.register_buffer("axes_inverse", torch.eye(latents))
        self.register_buffer("centre", torch.zeros(latents))
        self.groups: Tensor
        self.register_buffer("stage", torch.zeros((), dtype=torch.int64))
        self.register_buffer("groups", torch.zeros(0, dtype=torch.int64))  # of the images in the first anneal, by row

    def phases(self) -> list[Phase]:
        """Return the warm-up and the periods."""
        plan = self.plan
        period = (1 - plan.warmup) / plan.periods
        found = [Phase("warm-up", plan.warmup, plan.settle)]
        for i in range(1, plan.periods + 1):
            found.append(Phase(f"anneal {i}", period * plan.anneal))
            found.append(Phase(f"static {i}", period * (1 - plan.anneal), plan.settle))
        return found

    def param_groups(self, lr: float) -> list[dict[str, object]]:
        """Return the optimiser's groups; the mixture has no weight decay."""
        mixture = (self.component_logits, self.component_means, self.component_widths)
        ours = {id(p) for p in mixture}
        network = [p for p in self.parameters() if p.requires_grad and id(p) not in ours]
        decay, rest = ([p for p in network if (p.ndim > 1) is matrix] for matrix in (True, False))
        return [
            {"params": decay, "lr": lr},
            {"params": rest, "lr": lr, "weight_decay": 0.0},
            {"params": list(mixture), "lr": lr, "weight_decay": 0.0},
        ]

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log-variance of the posterior, (N, latents) each, float32; the latter in (-12, 6)."""
        mean, log_variance = super().encode(x)
        return _turned(mean - self.centre, self.axes), log_variance

    def make(self, z: Tensor) -> Tensor:
        """Return what the decoder makes of vectors, before the likelihood's own curve."""
        return super().make(_turned(z, self.axes_inverse) + self.centre)

    def on_phase_start(self, phase: Phase, batches: Iterable[Batch]) -> None:
        """Start the mixture from the latents of the warm-up, or leave out its dead components.

        Too few images for it are refused before the warm-up already.

        Raises
        ------
        DataError
            If there are fewer than 5 images for each component.
        """
        source = iter(batches)
        if phase.name == "warm-up":
            first, again = itertools.tee(source)
            super().on_phase_start(phase, first)
            self._check_images(again)
            return
        self.stage.fill_(_ANNEAL if phase.name.startswith("anneal") else _STATIC)
        mean, log_variance, rows = self._posteriors(source)
        if not bool(self.alive.any()):
            self._start(mean, log_variance, rows)
        else:
            self.groups = self.groups[:0]
            self._bury(responsibilities(self.mixture(), mean, log_variance))

    def mixture(self) -> Mixture:
        """Return the living components: log-weights (k,), means (k, latents) and log-variances (k, latents), float32.

        Raises
        ------
        NotFittedError
            If the training has not come to the mixture's start.
        """
        if not bool(self.alive.any()):
            msg = f"this {type(self).__name__} has no mixture yet: it begins after the warm-up. Train it to its end."
            raise NotFittedError(msg)
        return Mixture(
            self.component_logits[self.alive].float().log_softmax(dim=0),
            self.component_means[self.alive].float(),
            bounded(self.component_widths[self.alive], _NARROWEST, _WIDEST),
        )

    def responsibilities(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Return the probability of each living component, (N, k), for posteriors (N, latents)."""
        return responsibilities(self.mixture(), mean, log_variance)

    def divergence(self, mean: Tensor, log_variance: Tensor, z: Tensor, progress: float) -> Divergence:
        """Return the divergence of posteriors, of which `z` is a sample, from the mixture; in the warm-up from N(0, I)."""
        stage = int(self.stage)
        if stage == _WARMUP:
            # the mixture has no part in it yet, but processes that train together want a gradient of every parameter
            unused = 0.0 * sum(p.sum() for p in (self.component_logits, self.component_means, self.component_widths))
            return Divergence(kl_normal(mean, log_variance), torch.zeros_like(mean[:, 0]) + unused, self.plan.weight)
        weight = self.plan.beta * (progress**3 if stage == _ANNEAL else 1.0)
        mixture = self.mixture()
        if self.plan.balance is None:
            return Divergence(*self._from_mixture(mixture, mean, log_variance, z), weight)
        still = (t.detach() for t in (mean, log_variance, z))
        learns = self._from_mixture(mixture, *still)
        holds = self._from_mixture(Mixture(*(t.detach() for t in mixture)), mean, log_variance, z)
        part = self.plan.balance
        dimensions, component = (part * one + (1 - part) * other for one, other in zip(learns, holds, strict=True))
        return Divergence(dimensions, component, weight)

    upright = ("component", "probability")  # a mean of numbers of components is none

    def further(self, batch: Batch, mean: Tensor, log_variance: Tensor) -> dict[str, Tensor]:
        """Return what it costs that images leave the groups of the start, while these are held."""
        if not len(self.groups):
            return {}
        n = len(self.view_sizes)
        log_gamma = log_responsibilities(self.mixture(), mean, log_variance)
        known = batch.rows.clamp_max(len(self.groups) - 1)
        group = torch.where(batch.rows == known, self.groups[known], -1).repeat(n)
        missed = F.nll_loss(log_gamma, group, ignore_index=-1, reduction="sum") / len(group)
        return {"held": self.plan.hold * missed}

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """Return what `VAE` does, the most probable "component" and its "probability", and those of all, "p_0", "p_1"...

        Before the mixture has started the first two are NaN, and the others are not there.
        """
        mean, log_variance = self.encode(x)
        gamma = mean.new_empty(len(mean), 0)
        probability = component = torch.full_like(mean[:, 0], torch.nan)
        if bool(self.alive.any()):
            gamma = self.responsibilities(mean, log_variance)
            probability, component = gamma.max(dim=1)
        return {
            "vector": mean,
            "width": torch.exp(0.5 * log_variance).mean(dim=1),
            "error": self.errors(x, mean),
            "component": component.float(),
            "probability": probability,
            **{f"p_{c}": gamma[:, c] for c in range(gamma.shape[1])},
        }

    def _from_mixture(self, mixture: Mixture, mean: Tensor, log_variance: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        where = (z, None) if self.plan.sampled else (mean, log_variance)
        n = len(self.view_sizes)
        log_gamma = log_responsibilities(mixture, *where, spread=self.plan.spread, views=n)
        found = kl_mixture(mixture, mean, log_variance, log_gamma.repeat(n, 1))
        return found.dimensions, found.component / n

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:  # noqa: ANN401
        kept = state_dict.get(f"{prefix}groups")
        if kept is not None:  # as long as there are images, in a checkpoint of the first anneal
            self.groups = self.groups.new_empty(kept.shape)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _check_images(self, batches: Iterable[Batch]) -> None:
        n = 0
        for batch in itertools.islice(batches, self.plan.batches):
            n += len(batch.rows)
            if n >= least_images(self.k):
                return
        check_enough(n, self.k)

    @torch.no_grad()
    def _posteriors(self, batches: Iterable[Batch]) -> tuple[Tensor, Tensor, Tensor]:
        """Return means, log-variances and row numbers of images, seen as they are where the batch has that."""
        was_training = self.training
        source = itertools.islice(batches, self.plan.batches)
        first = list(itertools.islice(source, _SETTLING))
        self._settle([self.seen(batch) for batch in first])
        self.eval()
        found = []
        for batch in itertools.chain(first, source):
            seen = self.seen(batch)
            x = batch.views[-1] if self.needs_plain else seen[: len(batch.rows)]
            found.append((*self.encode(x), batch.rows))
        self.train(was_training)
        mean, log_variance, rows = zip(*found, strict=True)
        return torch.cat(mean), torch.cat(log_variance), torch.cat(rows)

    @torch.no_grad()
    def _settle(self, blocks: list[Tensor]) -> None:
        """Take the averages of the encoder's batch norms anew, over whole batches with the weights of this moment.

        They lag behind: after few steps an encoder at rest puts images where it never does in training, and a mixture that
        starts there is left by all of them at the next step.
        """
        norms = [m for m in self.encoder.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d | nn.SyncBatchNorm)]
        momenta = [norm.momentum for norm in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the mean of all
        self.train()
        for x in blocks if norms else []:
            self.encode(x)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum

    @torch.no_grad()
    def _start(self, mean: Tensor, log_variance: Tensor, rows: Tensor) -> None:
        seed = int(torch.randint(2**31 - 1, ()))  # of the state that a checkpoint brings back
        if self.plan.start != "gmm" and self.k != "auto":
            fit = fit_rounded if self.plan.start == "round" else fit_mapped
            found, centre, axes, groups = fit(mean.cpu().numpy(), self.k, seed=seed)
            # the mixture is of posteriors: means and their widths. After a short warm-up these are far wider than the kinds,
            # whose own spread is 1 in these axes, and would drown them: all images in the heaviest component
            width = (axes.square() @ log_variance.mean(dim=0).exp().cpu()).clamp_max(_WIDEST_START)
            found = found._replace(log_variances=(found.log_variances.exp() + width).log())
            self._turn(centre.to(mean), axes.to(mean), width.to(mean))
            if self.plan.hold:
                self.groups = rows.new_full((_highest(rows) + 1,), -1)
                self.groups[rows] = groups.to(rows)
        else:
            z = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
            found = fit_mixture(z.cpu().numpy(), self.k, seed=seed)
        n = len(found.means)
        self.alive[:n] = True
        self.component_logits[:n] = found.log_weights.to(mean)
        self.component_means[:n] = found.means.to(mean)
        self.component_widths[:n] = found.log_variances.to(mean).clamp(_NARROWEST + 1, _WIDEST - 1)
        logger.info("mixture of %d components started from %d images", n, len(mean))

    @torch.no_grad()
    def _turn(self, centre: Tensor, axes: Tensor, variance: Tensor) -> None:
        """Turn the space between encoder and decoder; all widths begin anew at `variance`."""
        self.centre.copy_(centre)
        self.axes.copy_(axes)
        self.axes_inverse.copy_(torch.linalg.inv(axes.double()))
        head: nn.Linear = self.encoder.head  # type: ignore[assignment]
        head.weight[self.latents :] = 0.0
        head.bias[self.latents :] = variance.log().clamp(NARROWEST + 1, WIDEST - 1)

    @torch.no_grad()
    def _bury(self, gamma: Tensor) -> None:
        share = gamma.mean(dim=0)  # (k,)
        dead = share < _DEAD / len(share)
        if bool(dead.any()):
            numbers = self.alive.nonzero()[:, 0]
            logger.warning(
                "component %s of %d holds less than %.2g of the images and is left out; %d remain. Ask for a smaller k.",
                ", ".join(str(int(n)) for n in numbers[dead]),
                len(share),
                _DEAD / len(share),
                int((~dead).sum()),
            )
            self.alive[numbers[dead]] = False


def _highest(rows: Tensor) -> int:
    """Return the highest row number that any of the processes has seen."""
    highest = rows.max()
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.all_reduce(highest, op=torch.distributed.ReduceOp.MAX)
    return int(highest)


def _turned(x: Tensor, axes: Tensor) -> Tensor:
    # a matrix product would be computed in half precision under autocast
    return (x[:, None] * axes).sum(dim=2)
