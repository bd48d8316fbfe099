"""Attention probabilities, also where a fused kernel never writes them down."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from ttame.classifiers.function_replacement import replacing_functions


@contextlib.contextmanager
def reading_attention(tokens: int | None = None) -> Iterator[list[Tensor]]:
    """Collect the attention probabilities that are computed while the block runs in this thread.

    ``A = softmax(QKᵀ/√d)`` is computed in parts instead of by a fused kernel, and what the network
    goes on with is the very tensor that is collected, so that gradients with respect to it exist
    if the images require gradients. Nothing of the network is touched.

    Args:
        tokens: T; only (..., T, T) probabilities are collected. ``None`` collects all softmaxes
            with at least three dimensions.

    Yields:
        A list that fills during the forward pass, in the order of the calls: (B, heads, T, T).

    Example:
        >>> import torch
        >>> from torch.nn import functional as F
        >>> query = torch.zeros(1, 2, 5, 4)
        >>> with reading_attention() as probabilities:
        ...     _ = F.scaled_dot_product_attention(query, query, query)
        >>> probabilities[0].shape, float(probabilities[0][0, 0, 0, 0])
        (torch.Size([1, 2, 5, 5]), 0.20000000298023224)
    """
    collected: list[Tensor] = []

    def keep(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        probabilities: Tensor = function(*args, **kwargs)
        shape = probabilities.shape
        if len(shape) >= 3 and (tokens is None or tuple(shape[-2:]) == (tokens, tokens)):
            collected.append(probabilities)
        return probabilities

    with replacing_functions({"softmax": keep}):
        yield collected
