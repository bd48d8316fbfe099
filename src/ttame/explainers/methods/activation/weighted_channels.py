"""The map of a class activation method: its channels, weighted and added."""

from __future__ import annotations

import torch
from torch import Tensor


def precise(tensor: Tensor) -> Tensor:
    """The tensor in float64, or float32 where the device has nothing better."""
    return tensor.float() if tensor.device.type == "mps" else tensor.double()


def weighted_channels(weights: Tensor, features: Tensor) -> Tensor:
    """``S = Σ_k w_k A_k`` for every class.

    Added in float64: the channels of a normalised token sum to 0, so that nearly equal weights
    leave little but what float32 rounds off.

    Args:
        weights: (B, K, C).
        features: (B, C, h, w).

    Returns:
        (B, K, h, w) float32, signed.

    Example:
        >>> weighted_channels(torch.tensor([[[1.0, -1.0]]]), torch.ones(1, 2, 3, 3)).sum()
        tensor(0.)
    """
    return torch.einsum("bkc,bchw->bkhw", precise(weights), precise(features)).float()
