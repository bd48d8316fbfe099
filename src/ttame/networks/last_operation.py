"""Which operation a network ends with: a sigmoid or softmax makes probabilities of logits."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ttame.errors import TtameError
from ttame.memory_limit import ran_out_of_memory
from ttame.networks.frozen_network import frozen
from ttame.networks.layer_outputs import uncompiled
from ttame.networks.network_trace import blank_image, run_network

_MOVES_ONLY = frozenset(
    {"View", "UnsafeView", "ReshapeAlias", "Squeeze", "Unsqueeze", "Clone", "Alias", "Select"}
    | {"Slice", "Transpose", "Permute", "ToCopy", "T"}
)
"""Operations of autograd that hand on the values as they are."""


def last_operation(network: nn.Module, image_size: tuple[int, int], channels: int = 3) -> str:
    """The operation that computed a network's outputs, as autograd calls it.

    Args:
        network: maps (1, C, H, W) to (1, N) numbers.
        image_size: (H, W) of the blank image that is sent through it.
        channels: C of that image.

    Returns:
        ``"Sigmoid"``, ``"Softmax"``, ``"Addmm"``, …; empty where no gradient leads back.

    Example:
        >>> network = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Sigmoid())
        >>> last_operation(network, (2, 2))
        'Sigmoid'
    """
    network = uncompiled(network)
    try:
        with torch.inference_mode(False), torch.enable_grad(), frozen(network):
            image = blank_image(network, image_size, channels).requires_grad_()
            step: Any = run_network(network, image).grad_fn
    except (TtameError, RuntimeError) as problem:
        if ran_out_of_memory(problem):
            raise
        return ""
    while step is not None and _kind(step) in _MOVES_ONLY:
        step = step.next_functions[0][0]
    return "" if step is None else _kind(step)


def _kind(step: Any) -> str:
    name: str = type(step).__name__
    return name.rstrip("0123456789").removesuffix("Backward")
