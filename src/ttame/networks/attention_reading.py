"""Attention probabilities, also where a fused kernel never writes them down.

``A = softmax(QKᵀ/√d)`` is computed in parts instead of by a fused kernel while the block runs, and
what the network goes on with is the very tensor that was shown, so that gradients with respect to
it exist. Only the calling thread is affected, and nothing of the network is touched.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor, nn

from ttame.networks.function_replacement import replacing_functions
from ttame.networks.layer_outputs import (
    InputAction,
    OutputAction,
    first_tensor,
    watching,
    watching_inputs,
)

AttentionAction = Callable[[int, Tensor], Tensor | None]
"""Called with the number of a block and its (B, heads, T, T) attention probabilities; a tensor
that it returns takes their place in the network."""


@contextlib.contextmanager
def reading_attention(tokens: int | None = None) -> Iterator[list[Tensor]]:
    """Collect the attention probabilities that are computed while the block runs in this thread.

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
        if _is_attention(probabilities, tokens):
            collected.append(probabilities)
        return probabilities

    with replacing_functions({"softmax": keep}):
        yield collected


@contextlib.contextmanager
def watching_attention(
    blocks: Sequence[nn.Module], action: AttentionAction, *, batch_axis: int = 0
) -> Iterator[None]:
    """Call an action with the attention probabilities of each block while the block runs.

    Only softmaxes from every token of a block to every token of it count: (..., T, T) where T is
    the length of the block's input. A block that has none of them, or several, calls the action
    never, or several times.

    Args:
        blocks: modules whose input is (B, T, D) tokens.
        action: ``action(number of the block, probabilities)``; a tensor that it returns takes the
            place of the probabilities in the network.
        batch_axis: 1 where their input is (T, B, D) instead.
    """
    running: list[tuple[int, int]] = []

    def entering(index: int) -> InputAction:
        def enter(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            tokens = first_tensor((args, kwargs))
            is_row = tokens is not None and tokens.ndim == 3
            length = tokens.shape[1 - batch_axis] if tokens is not None and is_row else 0
            running.append((index, length))

        return enter

    def leave(_module: nn.Module, _output: Any) -> None:
        running.pop()

    def show(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
        probabilities: Tensor = function(*args, **kwargs)
        if not running or not _is_attention(probabilities, running[-1][1]):
            return probabilities
        replacement = action(running[-1][0], probabilities)
        return probabilities if replacement is None else replacement

    entries = [(block, entering(index)) for index, block in enumerate(blocks)]
    exits: list[tuple[nn.Module, OutputAction]] = [(block, leave) for block in blocks]
    with watching_inputs(entries), watching(exits), replacing_functions({"softmax": show}):
        yield


def _is_attention(probabilities: Tensor, tokens: int | None) -> bool:
    shape = probabilities.shape
    return len(shape) >= 3 and (tokens is None or tuple(shape[-2:]) == (tokens, tokens))
