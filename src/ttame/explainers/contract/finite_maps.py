"""Maps with NaN or infinity are refused."""

from __future__ import annotations

import torch
from torch import Tensor

from ttame.errors import NonFiniteMapError


def refuse_non_finite(maps: Tensor, method: str) -> None:
    """Refuse maps that are not finite; they are never drawn as blanks.

    Args:
        maps: (B, K, h, w).
        method: for the message.

    Raises:
        NonFiniteMapError: a value is NaN or infinite; with the first image that has one.
    """
    # One reduction: a sum is finite only if every value is, up to overflow, which is checked.
    if torch.isfinite(maps.sum()) or bool(torch.isfinite(maps).all()):
        return
    broken = (~torch.isfinite(maps)).flatten(1).any(dim=1).nonzero().flatten().tolist()
    raise NonFiniteMapError(
        f"{method} gave NaN or infinite maps for input {broken[0]} of the batch"
        + (f" and {len(broken) - 1} more" if len(broken) > 1 else ""),
        remedy="looking for NaN in the input, in the network's weights, or for fp16 overflow",
    )
