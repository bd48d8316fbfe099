"""Heatmaps that can be read, from maps whose values belong to single pixels."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

FINEST_SIDE = 112
"""Cells of the longer side: single pixels of a finer map are not seen on a page."""

CLIPPED_SHARE = 0.01
"""Of the cells, the brightest: a few outliers would leave all others dark."""


def pixel_heatmaps(maps: Tensor) -> Tensor:
    """Scale maps of pixels to [0, 1] so that they can be read.

    Gradients and relevances of pixels have two signs, and a few values far above all others.
    Scaled by minimum and maximum, as maps on a coarse grid are, they would be a uniform wash or an
    empty picture. Here neighbours are averaged down to 112 cells a side, what speaks against the
    class becomes 0, and the brightest 1 % of the cells all become 1. A map without positive values
    is scaled by its minimum, and one that is positive everywhere starts at its minimum.

    For drawing only: measures use :meth:`ttame.Explanation.heatmaps`.

    Args:
        maps: (..., h, w) floating, raw.

    Returns:
        (..., h', w') float32 in [0, 1]; a constant map is 0 everywhere.

    Example:
        >>> pixel_heatmaps(torch.tensor([[-4.0, 0.0], [1.0, 2.0]])).tolist()
        [[0.0, 0.0], [0.5, 1.0]]
    """
    height, width = maps.shape[-2:]
    factor = min(1.0, FINEST_SIDE / max(height, width))
    size = (max(1, round(height * factor)), max(1, round(width * factor)))
    flat = maps.float().reshape(-1, 1, height, width)
    # Averages of float32 differ in their last digit, and a constant map must stay constant.
    constant = flat.amax((-2, -1), keepdim=True) == flat.amin((-2, -1), keepdim=True)
    cells = F.adaptive_avg_pool2d(flat, size)
    lowest = cells.amin((-2, -1), keepdim=True)
    highest = cells.amax((-2, -1), keepdim=True)
    bottom = torch.where(highest > 0, lowest.clamp(min=0), lowest)
    ordered = cells.flatten(1).sort(dim=1).values
    kept = ordered.shape[1] - 1 - int(CLIPPED_SHARE * ordered.shape[1])
    top = ordered[:, kept].reshape(-1, 1, 1, 1)
    # Where less than 1 % of the cells speak for the class at all, clipping would hide them.
    top = torch.where(top > bottom, top, highest)
    spread = torch.where(constant, torch.ones_like(top), (top - bottom).clamp(min=1e-30))
    scaled = torch.where(constant, torch.zeros_like(cells), (cells - bottom) / spread)
    return scaled.clamp(0, 1).reshape(*maps.shape[:-2], *size)
