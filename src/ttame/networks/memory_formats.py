"""In which order the numbers of an image lie in memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ttame.errors import ClassifierError
from ttame.networks.frozen_network import frozen
from ttame.networks.layer_outputs import uncompiled
from ttame.networks.network_trace import run_network


def fastest_memory_format(
    network: nn.Module, image: Tensor, *, plain: bool = False
) -> torch.memory_format:
    """Channels-last images make convolutions several times faster, where they are allowed.

    A network that flattens with ``view`` refuses them, so a dry run decides. The weights stay as
    they are: a convolution follows the format of its input.

    Args:
        network: in any mode.
        image: (1, C, H, W), one that the network takes.
        plain: whether to stay with plain images, without a dry run.

    Example:
        >>> fastest_memory_format(nn.Conv2d(3, 8, 3), torch.zeros(1, 3, 8, 8), plain=True)
        torch.contiguous_format
    """
    if plain:
        return torch.contiguous_format
    # More than one image: strides of a single one are ambiguous.
    probe = image.repeat(2, 1, 1, 1)
    try:
        with frozen(network), torch.no_grad():
            run_network(uncompiled(network), probe.contiguous(memory_format=torch.channels_last))
    except ClassifierError:
        return torch.contiguous_format
    return torch.channels_last
