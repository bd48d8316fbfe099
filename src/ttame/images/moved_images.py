"""Pictures moved by some pixels, and mirrored."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Move(NamedTuple):
    """How pictures are moved.

    Attributes:
        mirrored: whether left and right change places, first.
        down: pixels, upwards if negative.
        right: pixels, to the left if negative.
    """

    mirrored: bool = False
    down: int = 0
    right: int = 0


def moved(images: Tensor, move: Move) -> Tensor:
    """The moved pictures; where nothing was, the pixels of the edge are repeated.

    Args:
        images: (B, C, H, W).
        move: how.

    Returns:
        (B, C, H, W), differentiable.

    Example:
        >>> moved(torch.arange(3.0).reshape(1, 1, 1, 3), Move(right=1)).flatten().tolist()
        [0.0, 0.0, 1.0]
    """
    if move.mirrored:
        images = images.flip(-1)
    reach = max(abs(move.down), abs(move.right))
    if reach == 0:
        return images
    padded = F.pad(images, (reach,) * 4, mode="replicate")
    height, width = images.shape[-2:]
    top, left = reach - move.down, reach - move.right
    return padded[..., top : top + height, left : left + width]


def moved_in(size: tuple[int, int], move: Move) -> Tensor:
    """Which pixels of a moved picture were in it before: (1, 1, H, W) float32 of 0 and 1.

    Example:
        >>> moved_in((1, 3), Move(right=1)).flatten().tolist()
        [0.0, 1.0, 1.0]
    """
    height, width = size
    there = torch.zeros(1, 1, height, width, dtype=torch.float32)
    rows = slice(max(0, move.down), height + min(0, move.down))
    there[..., rows, max(0, move.right) : width + min(0, move.right)] = 1
    return there
