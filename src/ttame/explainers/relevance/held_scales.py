"""Normalisations whose divisor counts as a constant in the backward pass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def _layer_norm(
    values: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    del cudnn_enable
    dimensions = tuple(range(-len(normalized_shape), 0))
    centred = values - values.mean(dim=dimensions, keepdim=True)
    variance = values.detach().var(dim=dimensions, keepdim=True, correction=0)
    scaled = centred * (variance + eps).rsqrt()
    del bias  # it has no gradient
    return scaled if weight is None else scaled * weight


def _rms_norm(
    values: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    dimensions = tuple(range(-len(normalized_shape), 0))
    eps = torch.finfo(values.dtype).eps if eps is None else eps
    mean_square = values.detach().square().mean(dim=dimensions, keepdim=True)
    scaled = values * (mean_square + eps).rsqrt()
    return scaled if weight is None else scaled * weight


def _normalize(
    values: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None
) -> Tensor:
    del out
    norm: Tensor = torch.linalg.vector_norm(values.detach(), p, dim, keepdim=True)
    return values / norm.clamp(min=eps)


SCALE_HELD: dict[Callable[..., Any], Callable[..., Tensor]] = {
    F.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    F.rms_norm: _rms_norm,
    torch.rms_norm: _rms_norm,
    F.normalize: _normalize,
}
"""Normalisation to a function of the same arguments whose divisor has no gradient; its output is
without the bias, which has none either."""
