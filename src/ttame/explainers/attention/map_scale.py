"""From a head's output to what an explanation holds: raw, a sigmoid, or a min–max with a mean."""

from __future__ import annotations

import torch
from torch import Tensor

from ttame.explainers.attention.head_settings import MapScale
from ttame.saliency_maps import to_unit_range

_SMALLEST_RANGE = 1e-6
_SMALLEST_VALUE = 1e-4
"""Values of a min–maxed map below it are taken for it: a power has no slope at 0."""
_BROAD = 1 / 7
"""Standard deviation of the blur, in sides of the picture."""
_BISECTIONS = 30
_LARGEST_LOGARITHM = 7.0
"""Of an exponent, either way: from 1/1000 to 1000."""


def scaled_maps(maps: Tensor, scale: MapScale, exponent: Tensor | None = None) -> Tensor:
    """Give a head's output the scale that explanations have.

    Args:
        maps: (B, K, h, w), before any activation.
        scale: ``"raw"`` leaves them; ``"sigmoid"``; ``"min-max"`` takes every map from 0 to 1 and
            raises it to ``exponent``.
        exponent: scalar, above 0; for ``"min-max"``.

    Example:
        >>> maps = torch.tensor([[[[1.0, 2.0, 3.0]]]])
        >>> scaled_maps(maps, "min-max", torch.tensor(2.0)).flatten().tolist()
        [0.0, 0.25, 1.0]
    """
    if scale == "sigmoid":
        return maps.sigmoid()
    if scale == "min-max":
        assert exponent is not None
        scaled: Tensor = to_unit_range(maps) ** exponent
        return scaled
    return maps


def with_details(maps: Tensor, share: float) -> Tensor:
    """Keep only a share of what a map has beside its broad shape.

    ``blur(m) + share · (m − blur(m))``, with a Gaussian whose standard deviation is a seventh of
    the side: a cell of the 7×7 grid that most CNNs end with. Fine differences are what a head
    learns by heart first; its broad shape holds for new images.

    Args:
        maps: (B, K, h, w), any range.
        share: from 0, the blurred map, to 1, the map as it is.

    Returns:
        The same shape; constant maps stay as they are.

    Example:
        >>> peak = torch.tensor([[[[0.0, 0.0, 1.0, 0.0, 0.0]]]])
        >>> [round(value, 2) for value in with_details(peak, 0.5).flatten().tolist()]
        [0.01, 0.11, 0.78, 0.11, 0.01]
    """
    if share == 1:
        return maps
    broad = _gaussian(maps.shape[2], maps) @ maps @ _gaussian(maps.shape[3], maps).T
    return broad + share * (maps - broad)


def _gaussian(side: int, like: Tensor) -> Tensor:
    """(side, side) weights of all places for each place, which add up to 1 at the borders too."""
    places = torch.arange(side, dtype=like.dtype, device=like.device)
    distances = (places[:, None] - places) / (side * _BROAD)
    return torch.softmax(-distances.square() / 2, dim=1)


@torch.no_grad()
def exponents_for_means(maps: Tensor, means: Tensor) -> Tensor:
    """Find the powers that give some maps their means, by bisection.

    Args:
        maps: (B, n) in [0, 1]; each row is a map, or several maps together.
        means: (B,) in (0, 1).

    Returns:
        (B,), from 1/1000 to 1000; the nearest of them if no power gives the mean.

    Example:
        >>> maps = torch.tensor([[0.25, 0.25], [0.5, 0.5]])
        >>> exponents_for_means(maps, torch.tensor([0.5, 0.25]))
        tensor([0.5000, 2.0000])
    """
    wanted = means[:, None]
    low = torch.full_like(wanted, -_LARGEST_LOGARITHM)
    high = torch.full_like(wanted, _LARGEST_LOGARITHM)
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        too_bright = (maps ** middle.exp()).mean(dim=1, keepdim=True) > wanted
        low, high = torch.where(too_bright, middle, low), torch.where(too_bright, high, middle)
    return ((low + high) / 2).exp()[:, 0]


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
