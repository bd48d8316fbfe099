"""What can be done to a saliency map: rescale it, resize it, keep its top part.

A *map* is relevance: any real values, higher means more evidence. Nothing here multiplies
pixels; that is :mod:`ttame.images.pixel_masking`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_ROUNDINGS = 16
"""Values of a map that differ by fewer roundings of the largest are the same."""


def to_unit_range(maps: Tensor) -> Tensor:
    """Scale every map to [0, 1] by its own minimum and maximum.

    ``mm(S) = (S − min S) / (max S − min S)``. A map that is constant, but for rounding, carries no
    evidence and becomes 0 everywhere, where the published code returns NaN. The argument is not
    changed.

    Args:
        maps: (..., h, w), any floating dtype, finite.

    Returns:
        (..., h, w), same dtype, in [0, 1]; the maximum is exactly 1 unless the map is constant.

    Example:
        >>> to_unit_range(torch.tensor([[[-2.0, 0.0], [1.0, 2.0]]]))
        tensor([[[0.0000, 0.5000],
                 [0.7500, 1.0000]]])
    """
    lowest = maps.amin(dim=(-2, -1), keepdim=True)
    highest = maps.amax(dim=(-2, -1), keepdim=True)
    spread = highest - lowest
    tells = _tells(lowest, highest)
    scaled = (maps - lowest) / torch.where(tells, spread, 1.0)
    return torch.where(tells, scaled, 0.0).clamp(0, 1)


def has_evidence(maps: Tensor) -> Tensor:
    """Say for every map whether it distinguishes any two places.

    Args:
        maps: (..., h, w).

    Returns:
        (...) bool, False where the map is constant, but for rounding.

    Example:
        >>> has_evidence(torch.zeros(2, 3, 3))
        tensor([False, False])
    """
    return _tells(maps.amin(dim=(-2, -1)), maps.amax(dim=(-2, -1)))


def _tells(lowest: Tensor, highest: Tensor) -> Tensor:
    largest = torch.maximum(lowest.abs(), highest.abs())
    return highest - lowest > _ROUNDINGS * torch.finfo(lowest.dtype).eps * largest


def resize_maps(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize maps bilinearly with half-pixel centres (``align_corners=False``).

    Args:
        maps: (B, K, h, w).
        size: (H, W) in pixels.

    Returns:
        (B, K, H, W), same dtype. Values stay within the range of the input.

    Example:
        >>> resize_maps(torch.eye(2).reshape(1, 1, 2, 2), (4, 4)).shape
        torch.Size([1, 1, 4, 4])
    """
    if tuple(maps.shape[-2:]) == tuple(size):
        return maps
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def keep_above_quantile(maps: Tensor, quantile: float) -> Tensor:
    """Set every value strictly below the map's own quantile to 0 and keep the others as they are.

    The published way to keep "100 / 50 / 15 %" of an image: quantile 0, 0.5, 0.85 of the resized
    map with linear interpolation, one threshold per map. Ties at the threshold are kept, so a
    map with many equal values keeps more than the named share.

    Args:
        maps: (..., h, w) floating.
        quantile: in [0, 1].

    Returns:
        (..., h, w), a new tensor.

    Example:
        >>> keep_above_quantile(torch.tensor([[[0.1, 0.2], [0.3, 0.4]]]), 0.5)
        tensor([[[0.0000, 0.0000],
                 [0.3000, 0.4000]]])
    """
    if quantile == 0:
        return maps.clone()
    # Sorting and interpolating by hand equals torch.quantile, which refuses large inputs.
    flat, _ = maps.flatten(-2).float().sort(dim=-1)
    position = quantile * (flat.shape[-1] - 1)
    below = int(position)
    above = min(below + 1, flat.shape[-1] - 1)
    threshold = torch.lerp(flat[..., below], flat[..., above], position - below)
    return torch.where(maps >= threshold[..., None, None].to(maps.dtype), maps, 0.0)
