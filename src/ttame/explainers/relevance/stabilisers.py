"""Division of relevance by numbers that may be zero."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Stabiliser = Literal["sign-aware", "published"]

Divide = Callable[[Tensor, Tensor], Tensor]

EPSILON = 1e-9


def divide_sign_aware(relevance: Tensor, total: Tensor, epsilon: float = EPSILON) -> Tensor:
    """``a / (b + sign(b)·ε)``, and 0 where b = 0: a division never grows by its stabiliser.

    Example:
        >>> divide_sign_aware(torch.ones(3), torch.tensor([2.0, 0.0, -2.0])).tolist()
        [0.5, 0.0, -0.5]
    """
    return _quotient(relevance, total.sign().mul_(epsilon).add_(total), total)


def divide_as_published(relevance: Tensor, total: Tensor) -> Tensor:
    """``a / (b + ε)``, and 0 where b = 0: for negative b the stabiliser brings b nearer to 0.

    Where b + ε happens to be 0, the divisor is ε.
    """
    stabilised = total + EPSILON
    return _quotient(relevance, stabilised.masked_fill_(stabilised == 0, EPSILON), total)


DIVISIONS: dict[Stabiliser, Divide] = {
    "sign-aware": divide_sign_aware,
    "published": divide_as_published,
}


def _quotient(relevance: Tensor, stabilised: Tensor, total: Tensor) -> Tensor:
    # In place where possible: for attention's (T, T) numbers, allocating a new block takes several
    # times as long as dividing.
    fits = relevance.shape == stabilised.shape and relevance.dtype == stabilised.dtype
    quotient = torch.div(relevance, stabilised, out=stabilised if fits else None)
    return quotient.masked_fill_(total == 0, 0)
