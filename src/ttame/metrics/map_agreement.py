"""Whether maps agree: of a picture, and of the same picture a little shifted or noisy."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ttame.images.moved_images import Move, moved
from ttame.images.saliency_maps import resize_maps
from ttame.metrics.image_generator import image_generator
from ttame.metrics.map_correlation import pearson_correlation
from ttame.metrics.measuring_batch import Explain
from ttame.metrics.metric import Metric

SHIFT_PARTS = 28
"""A shift is the shorter side divided by this: 8 pixels of 224."""

NOISE = 0.1
NOISE_SAMPLES = 2


def agreement_under_shifts(
    explain: Explain, images: Tensor, maps: Tensor, classes: Tensor
) -> Tensor:
    """``mean_d corr(S(x), S(x_d)_−d)``: whether the map goes along when the picture is shifted.

    ``x_d`` is the picture, shifted by d pixels down and to the right, or up and to the left, with
    its border repeated; d is a 28th of the shorter side, 8 pixels of 224. Its map at the size of
    the picture is shifted back, and Pearson's correlation with the picture's own map is taken
    where both are in view; the mean of the two shifts. It is the equivariance of Wang et al.
    (arXiv 2004.04581), measured rather than trained. Higher is better.

    A map that is the same for every picture agrees with itself nearly everywhere: this says
    nothing about faithfulness and is to be read next to metrics that do.

    Args:
        explain: the method that made the maps.
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps of the images.
        classes: (B,) int64, the explained classes.

    Returns:
        (B,) float32 in [−1, 1]; 0 where a map is constant.

    Example:
        >>> def bright(images, classes):
        ...     return images.mean(dim=1)
        >>> images, classes = torch.rand(2, 3, 28, 28), torch.tensor([0, 1])
        >>> agreement_under_shifts(bright, images, bright(images, classes), classes).round()
        tensor([1., 1.])
    """
    height, width = int(images.shape[2]), int(images.shape[3])
    pixels = max(1, round(min(height, width) / SHIFT_PARTS))
    before = resize_maps(maps[:, None].float(), (height, width))[:, 0]
    correlations = []
    for shift in (pixels, -pixels):
        changed = explain(moved(images, Move(down=shift, right=shift)), classes)
        after = resize_maps(changed[:, None].float(), (height, width))[:, 0]
        correlations.append(pearson_correlation(_in_view(before, -shift), _in_view(after, shift)))
    return torch.stack(correlations).mean(dim=0)


def _in_view(maps: Tensor, shift: int) -> Tensor:
    """The part of (B, H, W) maps whose place before a shift was in view, too."""
    first, last = max(0, shift), min(0, shift)
    return maps[:, first : maps.shape[1] + last, first : maps.shape[2] + last]


def agreement_under_noise(
    explain: Explain,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    *,
    noise: float = NOISE,
    samples: int = NOISE_SAMPLES,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
) -> Tensor:
    """``mean_n corr(S(x), S(x + n))``: whether the map stays when the picture gets a little noise.

    n is normal with the standard deviation ``noise``, the correlation Pearson's, on the map's own
    grid. Unlike max-sensitivity (Yeh et al., arXiv 1901.09392) it does not depend on the unit of
    the map and takes the mean of the draws, not the worst. Higher is better. Read it as
    :func:`agreement_under_shifts`.

    Args:
        explain: the method that made the maps.
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps of the images.
        classes: (B,) int64, the explained classes.
        noise: standard deviation, in normalised units: 0.1 is about six grey levels of 255.
        samples: how many n are drawn.
        seed: the seed of the noise.
        numbers: the numbers of the images in the data set, on which the noise depends; 0, 1, … if
            not given.

    Returns:
        (B,) float32 in [−1, 1]; 0 where a map is constant.

    Example:
        >>> def bright(images, classes):
        ...     return images.mean(dim=1)
        >>> images, classes = torch.zeros(1, 3, 2, 2), torch.tensor([0])
        >>> images[..., 0] = 100
        >>> agreement_under_noise(bright, images, bright(images, classes), classes).round()
        tensor([1.])
    """
    generators = [
        image_generator(seed, number, "agreement noise")
        for number in (range(len(images)) if numbers is None else numbers)
    ]
    correlations = []
    for _ in range(samples):
        drawn = [
            torch.randn(images.shape[1:], generator=generator, dtype=torch.float32)
            for generator in generators
        ]
        noisy = images + noise * torch.stack(drawn).to(images)
        correlations.append(pearson_correlation(maps, explain(noisy, classes)))
    return torch.stack(correlations).mean(dim=0)


AGREEMENT_UNDER_SHIFTS = Metric(
    name="agreement_under_shifts",
    title="Agreement under shifts",
    better="higher",
    unit="",
    paper="after Wang et al., arXiv 2004.04581",
    measures="the correlation of the map with that of the picture shifted by a 28th of its "
    "shorter side, shifted back; a map that is always the same has a high one",
    cost="2 maps of shifted images",
    function=agreement_under_shifts,
    bounds=(-1.0, 1.0),
)

AGREEMENT_UNDER_NOISE = Metric(
    name="agreement_under_noise",
    title="Agreement under noise",
    better="higher",
    unit="",
    paper="after Yeh et al., arXiv 1901.09392",
    measures=f"the correlation of the map with those of the picture with {NOISE_SAMPLES} draws of "
    f"noise of {NOISE} on normalised values; a map that is always the same has 1",
    cost=f"{NOISE_SAMPLES} maps of noisy images",
    function=agreement_under_noise,
    bounds=(-1.0, 1.0),
)
