"""Keeping gradients through ``nn.MultiheadAttention`` fast while its weights are frozen."""

from __future__ import annotations

import contextlib
from typing import Any

from torch import Tensor, nn

from ttame.networks.layer_outputs import watching_inputs
from ttame.networks.module_walk import all_modules


def one_product_attention(network: nn.Module) -> contextlib.AbstractContextManager[None]:
    """Lay out the input of batch-first self-attention so that it is projected in one product.

    ``nn.MultiheadAttention(batch_first=True)`` works on a transposed view of its input. With
    frozen weights PyTorch then multiplies token by token, forwards and backwards, which makes a
    training step through torchvision's ViT-B/16 a tenth slower on a CPU. The same numbers in the
    other memory order take the fast way. The layout of the input is all that changes, the hooks
    are removed, and other threads are not affected.
    """
    layers = [
        module
        for module in all_modules(network)
        if isinstance(module, nn.MultiheadAttention) and module.batch_first
    ]
    return watching_inputs([(layer, _sequence_first_in_memory) for layer in layers])


def _sequence_first_in_memory(
    _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
    if len(args) < 3 or not isinstance(args[0], Tensor) or args[0].ndim != 3:
        return None
    if not (args[0] is args[1] and args[1] is args[2]):
        return None
    laid_out = args[0].transpose(0, 1).contiguous().transpose(0, 1)
    return (laid_out, laid_out, laid_out, *args[3:]), kwargs
