"""Running a network so that gradients take what it divides by for constants."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from ttame.explainers.relevance.held_scales import SCALE_HELD
from ttame.networks.loans import Lent
from ttame.networks.torch_mode_loans import InFunctionMode


def holding_divisors() -> contextlib.AbstractContextManager[None]:
    """Let divisors of normalisations have no gradient, in this thread, while the block runs.

    Layer norm, RMS norm, ``F.normalize``, cosines, and what is divided by a norm or a standard
    deviation. Values are what they are otherwise.

    Example:
        >>> values = torch.tensor([[3.0, 4.0]], requires_grad=True)
        >>> with holding_divisors():
        ...     scaled = F.normalize(values)
        >>> torch.autograd.grad(scaled[0, 0], values)[0]
        tensor([[0.2000, 0.0000]])
    """
    return Lent(InFunctionMode(_HoldingDivisors()))


def _cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    lengths = [
        torch.linalg.vector_norm(each.detach(), dim=dim, keepdim=True).clamp_min(eps)
        for each in (x1, x2)
    ]
    cosines: Tensor = ((x1 / lengths[0]) * (x2 / lengths[1])).sum(dim=dim)
    return cosines


_HELD: dict[Callable[..., Any], Callable[..., Tensor]] = {
    **SCALE_HELD,
    F.cosine_similarity: _cosine_similarity,
}

_SIZES = frozenset(
    {
        *(torch.norm, torch.functional.norm, torch.Tensor.norm, torch.linalg.norm),
        *(torch.linalg.vector_norm, torch.std, torch.Tensor.std, torch.var, torch.Tensor.var),
        *(torch.rsqrt, torch.Tensor.rsqrt),
    }
)
"""What is there to be divided by."""

_ROOTS = frozenset({torch.sqrt, torch.Tensor.sqrt})
"""The same, where one number is left of all channels."""


class _HoldingDivisors(TorchFunctionMode):
    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if not isinstance(result, Tensor) or not result.requires_grad:
            return result
        if func in _SIZES or (func in _ROOTS and 1 in result.shape[1:]):
            return result.detach()
        held = _HELD.get(func)
        if held is None:
            return result
        linear = held(*args, **kwargs)
        return linear + (result - linear).detach()
