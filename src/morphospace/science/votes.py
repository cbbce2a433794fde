"""Votes of volunteers: the likelihood of their counts under a Dirichlet-multinomial distribution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from morphospace.errors import ConfigError, ShapeError

__all__ = ["check_questions", "concentrations", "dirichlet_multinomial_loss", "expected_fractions"]

MOST = 100.0  # largest concentration above 1


def check_questions(questions: Sequence[int], n_answers: int) -> tuple[int, ...]:
    """Return the numbers of answers of each question; one question of all answers when none is given.

    Raises
    ------
    ConfigError
        If they do not add up to the number of answers, or a question has fewer than two.
    """
    sizes = tuple(questions) or (n_answers,)
    if sum(sizes) != n_answers or min(sizes) < 2:
        msg = f"questions must have at least 2 answers each and {n_answers} together; got {sizes}."
        raise ConfigError(msg)
    return sizes


def concentrations(scores: Tensor) -> Tensor:
    """Turn a network's scores into concentrations between 1 and 101.

    Parameters
    ----------
    scores : Tensor, (..., A), float
        Any real numbers.

    Notes
    -----
    Walmsley et al. 2022, sect. 3.1: 1 + 100 sigmoid, which keeps each marginal without poles at 0 and 1.
    """
    return 1.0 + MOST * torch.sigmoid(scores)


def dirichlet_multinomial_loss(concentration: Tensor, votes: Tensor, questions: Sequence[int] = ()) -> Tensor:
    """Return the negative log-likelihood of the votes of each object.

    Parameters
    ----------
    concentration : Tensor, (B, A), float, > 0
        Of the Dirichlet distribution over the answers.
    votes : Tensor, (B, A), >= 0
        Numbers of votes; a question without votes adds nothing.
    questions : sequence of int, optional
        Numbers of answers of each question, in the order of the columns; one question of all A when not given.

    Returns
    -------
    Tensor, (B,), float
        In nats, summed over the questions; 0 where nobody voted.

    Raises
    ------
    ShapeError
        If the shapes differ or are not (B, A).
    ConfigError
        If the questions do not add up to A.

    Notes
    -----
    Walmsley et al. 2022, eqs. 3 and 4; the multinomial coefficient is kept, so that it is a true likelihood.
    """
    if concentration.shape != votes.shape or votes.ndim != 2:
        msg = (
            f"concentrations and votes must both be (B, A); got {tuple(concentration.shape)} and {tuple(votes.shape)}."
        )
        raise ShapeError(msg)
    sizes = list(check_questions(questions, votes.shape[1]))
    total = concentration.new_zeros(len(votes))
    k = votes.to(concentration.dtype)
    for a, n in zip(
        torch.split(concentration, sizes, dim=1),
        torch.split(k, sizes, dim=1),
        strict=True,
    ):
        whole, cast = a.sum(dim=1), n.sum(dim=1)
        total = total - torch.lgamma(whole) - torch.lgamma(cast + 1) + torch.lgamma(whole + cast)
        total = total - (torch.lgamma(a + n) - torch.lgamma(a) - torch.lgamma(n + 1)).sum(dim=1)
    return functional.relu(total)  # rounding only: a likelihood of counts is at most 1


def expected_fractions(concentration: Tensor, questions: Sequence[int] = ()) -> Tensor:
    """Return the expected share of each answer among the votes on its question, (B, A); each question adds up to 1."""
    sizes = list(check_questions(questions, concentration.shape[1]))
    return torch.cat([a / a.sum(dim=1, keepdim=True) for a in torch.split(concentration, sizes, dim=1)], dim=1)
