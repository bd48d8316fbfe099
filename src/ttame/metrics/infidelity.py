"""Infidelity: whether the map foretells what removing parts of the image does."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ttame.images.pixel_masking import MaskingSpace, mask_images
from ttame.images.preprocessing import Preprocessing
from ttame.images.saliency_maps import resize_maps
from ttame.metrics.image_generator import image_generator
from ttame.metrics.measuring_batch import Probabilities, of_classes
from ttame.metrics.metric import Metric
from ttame.metrics.shared_results import SharedResults

SQUARES = 32
"""How many squares are removed from an image, one at a time."""


def infidelity(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    samples: int = SQUARES,
    space: MaskingSpace = "raw",
    rescaled: bool = False,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    shared: SharedResults | None = None,
) -> Tensor:
    """``E_I[(Σ I ⊙ S − (f(x) − f(x − I)))²]`` over perturbations I (Yeh et al., arXiv 1901.09392).

    f is the probability of the explained class. A perturbation removes one square whose side is a
    quarter of the image's shorter side, placed uniformly at random within the image: ``x − I`` is
    the image with a black square, or one of the mean colour. S is the raw map at the image's
    size, in equal parts on the three colours. Lower is better.

    Args:
        probabilities: (B, 3, H, W) normalised images to (B, C) probabilities in [0, 1].
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw.
        classes: (B,) int64, the explained classes.
        preprocessing: the classifier's own.
        samples: number of squares.
        space: ``"raw"`` for black squares, ``"normalised"`` for those of the mean colour.
        rescaled: multiply every map by the factor that suits it best,
            ``β = E[a b] / E[a²]`` with ``a = Σ I ⊙ S`` and ``b = f(x) − f(x − I)``. Most methods
            leave the unit of their maps open, and without β a map in large units only looks bad.
        seed: the seed of the squares' places.
        numbers: the numbers of the images in the data set, on which the places depend; 0, 1, … if
            not given.
        shared: what other metrics of the same images have computed.

    Returns:
        (B,) float32, at least 0.

    Example:
        >>> def brightness(images):
        ...     return images.mean(dim=(1, 2, 3))[:, None]
        >>> images = torch.rand(1, 3, 8, 8)
        >>> fair = torch.full((1, 8, 8), 1 / 64)  # every pixel adds 1/64 of its brightness
        >>> plain = Preprocessing((8, 8), 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        >>> bool(infidelity(brightness, images, fair, torch.tensor([0]), plain) < 1e-9)
        True
    """
    before = of_classes((shared or SharedResults()).once(probabilities, images), classes)
    squares = removed_squares(images, samples, seed, numbers or range(len(images)))
    foretold, happened = [], []
    for square in squares:
        masked = mask_images(images, 1 - square[:, None].float(), preprocessing, space)
        foretold.append(sum_of_product(images - masked, maps))
        happened.append(before - of_classes(probabilities(masked), classes))
    return infidelity_of(torch.stack(foretold, 1), torch.stack(happened, 1), rescaled=rescaled)


def infidelity_of(foretold: Tensor, happened: Tensor, *, rescaled: bool) -> Tensor:
    """The mean squared difference of what the map foretells and what happened.

    Args:
        foretold: (B, N), ``Σ I ⊙ S`` of N perturbations.
        happened: (B, N), ``f(x) − f(x − I)``.
        rescaled: multiply ``foretold`` by the factor that suits it best.

    Returns:
        (B,).

    Example:
        >>> foretold, happened = torch.tensor([[2.0, 4.0]]), torch.tensor([[1.0, 2.0]])
        >>> infidelity_of(foretold, happened, rescaled=False)
        tensor([2.5000])
        >>> infidelity_of(foretold, happened, rescaled=True)
        tensor([0.])
    """
    if rescaled:
        # Scaled first: squares of tiny gradients would vanish in float32.
        largest = foretold.abs().amax(dim=1, keepdim=True)
        foretold = foretold / largest.masked_fill(largest == 0, 1)
        squares = foretold.square().sum(dim=1, keepdim=True)
        both = (foretold * happened).sum(dim=1, keepdim=True)
        foretold = foretold * both / squares.masked_fill(squares == 0, 1)
    return (foretold - happened).square().mean(dim=1)


def sum_of_product(perturbations: Tensor, maps: Tensor) -> Tensor:
    """``Σ I ⊙ S`` with the map at the image's size, in equal parts on the colours.

    Args:
        perturbations: (B, 3, H, W).
        maps: (B, h, w) raw.

    Returns:
        (B,).

    Example:
        >>> sum_of_product(torch.ones(1, 3, 2, 2), torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]))
        tensor([10.])
    """
    size = (int(perturbations.shape[2]), int(perturbations.shape[3]))
    values = resize_maps(maps[:, None].float(), size)
    return (perturbations.mean(dim=1, keepdim=True) * values).sum(dim=(1, 2, 3))


def removed_squares(
    images: Tensor, samples: int, seed: int, numbers: Sequence[int]
) -> Iterator[Tensor]:
    """Draw one square for every image, several times.

    Args:
        images: (B, 3, H, W).
        samples: how often.
        seed: the seed of the places.
        numbers: B numbers of images in the data set.

    Yields:
        (B, H, W) bool, true where pixels are removed.
    """
    height, width = int(images.shape[2]), int(images.shape[3])
    side = max(1, min(height, width) // 4)
    free = torch.tensor([height - side + 1, width - side + 1])
    draws = [
        torch.rand(
            samples, 2, generator=image_generator(seed, number, "squares"), dtype=torch.float32
        )
        for number in numbers
    ]
    corners = (torch.stack(draws, dim=1) * free).long().to(images.device)  # (samples, B, 2)
    rows = torch.arange(height, device=images.device)[None, :, None]
    columns = torch.arange(width, device=images.device)[None, None, :]
    for corner in corners:
        down = rows - corner[:, 0, None, None]
        across = columns - corner[:, 1, None, None]
        yield (down >= 0) & (down < side) & (across >= 0) & (across < side)


INFIDELITY = Metric(
    name="infidelity",
    title="Infidelity",
    better="lower",
    unit="",
    paper="Yeh et al., arXiv 1901.09392",
    measures=(
        "the mean squared error of the map, best rescaled, as a forecast of what the class's "
        f"probability loses when one of {SQUARES} random squares is removed"
    ),
    cost=f"{SQUARES + 1} forward",
    function=infidelity,
    options={"space": "masked_in"},
    fixed={"rescaled": True},
    bounds=(0.0, math.inf),
)
