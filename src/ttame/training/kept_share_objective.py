"""The few-shot loss: keep the class, whatever share of the picture its map is allowed to keep.

T-TAME asks for a mask that keeps the prediction and is small, so one weight decides how much is
hidden, and the order of the places is learned only where that mask happens to end. But a map is
judged, and looked at, at many shares. Here every image is masked at a share of its own, drawn at
random, and nothing has to be balanced against the size of the mask: its mean is given.

With ``z`` the map of the class before any activation, ``v`` its min–max over the picture, ``p`` the
class's probability on the whole image and ``q`` on the masked one::

    mask  =  v^g            with g such that mean(mask) = s,  s ~ U(0.35, 0.75)      soft, 40 %
    mask  =  σ((z/σ_z − t)/0.3)   with t such that mean(mask) = s,  s ~ U(0.1, 0.7)  hard, 60 %
    loss  =  max(1 − q/p, −0.5)  +  (mean(v) − μ)²

The exponent and the threshold are found by bisection; a last Newton step carries their gradient,
so that the mean stays what it is when the map moves. Soft masks are what Average Drop at 100 %
measures, hard ones what it measures at 50 % and 15 %. The second term is the only one that knows
how bright a map is by itself: its min–max has the mean ``μ``, the operating point.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ttame.training.loss_parts import LossParts

_SOFT_MEANS = (0.35, 0.75)
_HARD_MEANS = (0.1, 0.7)
_HARD_SHARE = 0.6
"""Of the images that are masked by a threshold; the others are masked by a power."""
_SOFTNESS = 0.3
"""Width of the threshold, in standard deviations of the map."""
_MOST_REWARD = 0.5
"""For a masked image that is recognised better than the whole one; without a bound, a few images
with tiny probabilities would decide the step."""
_MEAN_MAP_WEIGHT = 0.7
_BISECTIONS = 30
_SMALLEST = 1e-4
"""Values of a min–maxed map below it are taken for it: a power has no slope at 0."""


def kept_share_loss(maps: Tensor, before: Tensor, after: Tensor, mean_map: float) -> LossParts:
    """Compute the loss of masked images.

    Args:
        maps: (B, 1, h, w), before any activation.
        before: (B,) probabilities of the explained classes on the whole images, in (0, 1].
        after: (B,) the same on the masked images.
        mean_map: the operating point: the wanted mean of a min–maxed map, in (0, 1).

    Example:
        >>> maps = torch.tensor([[[[0.0, 1.0]]]])
        >>> loss = kept_share_loss(maps, torch.tensor([0.8]), torch.tensor([0.6]), mean_map=0.5)
        >>> loss.as_floats()
        {'loss': 0.25, 'drop': 0.25, 'mean_map': 0.0}
    """
    drop = (1 - after / before).clamp_min(-_MOST_REWARD)
    distance = min_maxed(maps).mean(dim=(1, 2, 3)) - mean_map
    return LossParts({"drop": drop.mean(), "mean_map": _MEAN_MAP_WEIGHT * distance.square().mean()})


def random_masks(maps: Tensor, generator: torch.Generator) -> Tensor:
    """Masks of random shares, soft or hard, one for every image.

    Args:
        maps: (B, 1, h, w), before any activation.
        generator: on the CPU; decides shares and kinds.

    Returns:
        (B, 1, h, w) in [0, 1], differentiable.
    """
    count = len(maps)
    soft_means, hard_means = (
        (low + (high - low) * torch.rand(count, generator=generator)).to(maps)
        for low, high in (_SOFT_MEANS, _HARD_MEANS)
    )
    hard = (torch.rand(count, generator=generator) < _HARD_SHARE).to(maps.device)
    return torch.where(
        hard[:, None, None, None],
        thresholded_to_mean(maps, hard_means),
        raised_to_mean(min_maxed(maps), soft_means),
    )


def min_maxed(maps: Tensor) -> Tensor:
    """Every image's map from 0 to 1; 0 everywhere if it is constant."""
    low, high = maps.amin(dim=(1, 2, 3), keepdim=True), maps.amax(dim=(1, 2, 3), keepdim=True)
    return (maps - low) / (high - low).clamp_min(1e-6)


def raised_to_mean(maps: Tensor, means: Tensor) -> Tensor:
    """``v^g`` with the exponent that gives every map its mean.

    Args:
        maps: (B, 1, h, w) in [0, 1].
        means: (B,) in (0, 1).

    Example:
        >>> raised_to_mean(torch.tensor([[[[0.0, 0.5, 0.25]]]]), torch.tensor([0.25])).mean()
        tensor(0.2500)
    """
    flat = maps.flatten(1).clamp_min(_SMALLEST)
    wanted = means[:, None]
    with torch.no_grad():
        low, high = torch.full_like(wanted, -7.0), torch.full_like(wanted, 7.0)
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            too_bright = (flat ** middle.exp()).mean(dim=1, keepdim=True) > wanted
            low, high = torch.where(too_bright, middle, low), torch.where(too_bright, high, middle)
        exponent = ((low + high) / 2).exp()
        slope = (flat**exponent * flat.log()).mean(dim=1, keepdim=True)
    exponent = exponent - _newton((flat**exponent).mean(dim=1, keepdim=True), slope)
    return (flat**exponent).reshape(maps.shape)


def thresholded_to_mean(maps: Tensor, means: Tensor, softness: float = _SOFTNESS) -> Tensor:
    """``σ((z/σ_z − t)/softness)`` with the threshold that gives every mask its mean.

    Args:
        maps: (B, 1, h, w), any range; divided by their standard deviation, which counts as
            constant.
        means: (B,) in (0, 1).
        softness: width of the threshold, in standard deviations.

    Example:
        >>> thresholded_to_mean(torch.tensor([[[[0.0, 3.0, 5.0]]]]), torch.tensor([0.5])).mean()
        tensor(0.5000)
    """
    flat = maps.flatten(1)
    flat = flat / flat.detach().std(dim=1, keepdim=True, correction=0).clamp_min(1e-6)
    wanted = means[:, None]
    with torch.no_grad():
        margin = 10 * softness
        low = flat.amin(dim=1, keepdim=True) - margin
        high = flat.amax(dim=1, keepdim=True) + margin
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            too_much = ((flat - middle) / softness).sigmoid().mean(dim=1, keepdim=True) > wanted
            low, high = torch.where(too_much, middle, low), torch.where(too_much, high, middle)
        threshold = (low + high) / 2
        mask = ((flat - threshold) / softness).sigmoid()
        slope = -(mask * (1 - mask)).mean(dim=1, keepdim=True) / softness
    kept = ((flat - threshold) / softness).sigmoid().mean(dim=1, keepdim=True)
    threshold = threshold - _newton(kept, slope)
    return ((flat - threshold) / softness).sigmoid().reshape(maps.shape)


def _newton(mean: Tensor, slope: Tensor) -> Tensor:
    """Zero, with the gradient of what a Newton step takes back when the mean moves."""
    step = mean / torch.where(slope.abs() < 1e-8, torch.full_like(slope, torch.inf), slope)
    return step - step.detach()
