"""What a few-shot head makes of the rows of its classifier's last linear layer."""

from __future__ import annotations

import torch
from torch import Tensor

_SMALLEST_SPREAD = 1e-12
"""Of class weights; a classifier whose last layer still is zero has none to divide by."""


def with_what_is_there(sought: Tensor, evidence: Tensor) -> Tensor:
    """What (K, D) or (B, K, D) classes look for, next to what of it each image has: (B, K, 2·D)."""
    pooled = evidence.mean(dim=(2, 3))
    present = pooled / pooled.std(dim=1, keepdim=True, correction=0).clamp_min(_SMALLEST_SPREAD)
    found = sought * present[:, None]
    return torch.cat([sought.expand_as(found), found], dim=2)


def rows_in_common(class_weights: Tensor) -> tuple[Tensor, Tensor]:
    """The mean (D,) of (C, D) class weights, and the standard deviation of all their entries."""
    spread = class_weights.std(correction=0).clamp_min(_SMALLEST_SPREAD)
    return class_weights.mean(dim=0), spread
