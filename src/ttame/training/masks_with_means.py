"""Masks of given means, whose gradients know that a mean is given."""

from __future__ import annotations

import torch
from torch import Tensor

from ttame.explainers.trained.map_scale import exponents_for_means

_SMALLEST_RANGE = 1e-6
_SMALLEST_VALUE = 1e-4
"""Values of a min–maxed map below it are taken for it: a power has no slope at 0."""
_BISECTIONS = 30


def raised_to_means(maps: Tensor, means: Tensor) -> Tensor:
    """``v^g`` with the exponent that gives every map its mean, whatever happens to ``v``.

    The exponent depends on the map. A last Newton step, whose value is nothing, carries the
    gradient of this dependence, so that the gradient of a mask's mean is zero.

    Args:
        maps: (B, 1, h, w) in [0, 1].
        means: (B,) in (0, 1).

    Example:
        >>> raised_to_means(torch.tensor([[[[0.0, 0.5, 0.25]]]]), torch.tensor([0.25])).mean()
        tensor(0.2500)
    """
    flat = maps.flatten(1).clamp_min(_SMALLEST_VALUE)
    exponents = exponents_for_means(flat, means)[:, None]
    with torch.no_grad():
        slopes = (flat**exponents * flat.log()).mean(dim=1, keepdim=True)
    exponents = exponents - _newton_step((flat**exponents).mean(dim=1, keepdim=True), slopes)
    return (flat**exponents).reshape(maps.shape)


def thresholded_to_means(maps: Tensor, means: Tensor, softness: float) -> Tensor:
    """``σ((z/σ_z − t)/softness)`` with the threshold that gives every mask its mean.

    As in :func:`raised_to_means`, the gradient of a mask's mean is zero.

    Args:
        maps: (B, 1, h, w), any range; divided by their standard deviation ``σ_z``, which counts
            as constant.
        means: (B,) in (0, 1).
        softness: width of the threshold, in standard deviations.

    Example:
        >>> maps = torch.tensor([[[[0.0, 3.0, 5.0]]]])
        >>> thresholded_to_means(maps, torch.tensor([0.5]), softness=0.3).mean()
        tensor(0.5000)
    """
    flat = maps.flatten(1)
    flat = flat - flat.detach().mean(dim=1, keepdim=True)
    spread = flat.detach().std(dim=1, keepdim=True, correction=0)
    # A constant map stays as it is: divided by next to nothing it would have a huge gradient.
    flat = flat / torch.where(spread > _SMALLEST_RANGE, spread, torch.ones_like(spread))
    wanted = means[:, None]
    with torch.no_grad():
        low = flat.amin(dim=1, keepdim=True) - 10 * softness
        high = flat.amax(dim=1, keepdim=True) + 10 * softness
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            too_much = ((flat - middle) / softness).sigmoid().mean(dim=1, keepdim=True) > wanted
            low, high = torch.where(too_much, middle, low), torch.where(too_much, high, middle)
        threshold = (low + high) / 2
        masks = ((flat - threshold) / softness).sigmoid()
        slopes = -(masks * (1 - masks)).mean(dim=1, keepdim=True) / softness
    kept = ((flat - threshold) / softness).sigmoid().mean(dim=1, keepdim=True)
    threshold = threshold - _newton_step(kept, slopes)
    return ((flat - threshold) / softness).sigmoid().reshape(maps.shape)


def _newton_step(means: Tensor, slopes: Tensor) -> Tensor:
    """Zero, with the gradient of what a Newton step takes back when the means move."""
    flat = slopes.abs() < 1e-8
    step = means / torch.where(flat, torch.full_like(slopes, torch.inf), slopes)
    return step - step.detach()
