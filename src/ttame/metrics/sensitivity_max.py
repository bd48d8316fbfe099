"""Max-sensitivity: how much the map changes when the image hardly does."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ttame.metrics.image_generator import image_generator
from ttame.metrics.measuring_batch import Explain
from ttame.metrics.metric import Metric

RADIUS = 0.02
SAMPLES = 10


def sensitivity_max(
    explain: Explain,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    *,
    radius: float = RADIUS,
    samples: int = SAMPLES,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
) -> Tensor:
    """``max_d ‖S(x + d) − S(x)‖ / ‖S(x)‖`` over ``‖d‖∞ ≤ r`` (Yeh et al., arXiv 1901.09392).

    The maximum is that of noise images d drawn uniformly from [−r, r] for every normalised
    value. S is the raw map on its own grid, ‖ ‖ the Euclidean norm. Lower is better.

    Args:
        explain: the method that made the maps.
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps of the images.
        classes: (B,) int64, the explained classes.
        radius: r, in normalised units.
        samples: how many d are drawn.
        seed: the seed of the noise.
        numbers: the numbers of the images in the data set, on which the noise depends; 0, 1, … if
            not given.

    Returns:
        (B,) float32, at least 0. Where the map is 0 everywhere, the change itself.

    Example:
        >>> images = torch.rand(2, 3, 4, 4)
        >>> def fixed(images, classes):
        ...     return torch.ones(len(images), 4, 4)
        >>> classes = torch.tensor([0, 1])
        >>> sensitivity_max(fixed, images, fixed(images, classes), classes)
        tensor([0., 0.])
    """
    generators = [
        image_generator(seed, number, "sensitivity") for number in numbers or range(len(images))
    ]
    largest = torch.zeros(len(images), device=maps.device, dtype=torch.float32)
    for _ in range(samples):
        noise = uniform_noise(images, radius, generators)
        largest = torch.maximum(largest, relative_change(maps, explain(images + noise, classes)))
    return largest


def uniform_noise(images: Tensor, radius: float, generators: Sequence[torch.Generator]) -> Tensor:
    """Noise in [−r, r], each image's from its own generator; the images' shape and device."""
    shape = images.shape[1:]
    drawn = torch.stack(
        [torch.rand(shape, generator=generator, dtype=torch.float32) for generator in generators]
    )
    return radius * (2 * drawn - 1).to(images)


def relative_change(maps: Tensor, others: Tensor) -> Tensor:
    """``‖S′ − S‖ / ‖S‖``, with 1 for ``‖S‖`` where that is 0.

    Args:
        maps: (B, h, w).
        others: (B, h, w).

    Returns:
        (B,).

    Example:
        >>> relative_change(torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[3.0, 5.0]]]))
        tensor([0.2000])
    """
    length = maps.flatten(1).norm(dim=1)
    change: Tensor = (others - maps).flatten(1).norm(dim=1) / length.masked_fill(length == 0, 1)
    return change


SENSITIVITY_MAX = Metric(
    name="sensitivity_max",
    title="Max-sensitivity",
    better="lower",
    unit="",
    paper="Yeh et al., arXiv 1901.09392",
    measures=(
        f"the largest relative change of the map under {SAMPLES} draws of noise up to {RADIUS} "
        "on normalised values"
    ),
    cost=f"{SAMPLES} maps of noisy images",
    function=sensitivity_max,
    bounds=(0.0, math.inf),
)
