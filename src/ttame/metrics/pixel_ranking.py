"""Which pixels come first: an exact ranking, whatever values are equal.

Thresholds by percentile go wrong where many values are equal, as they are in every map that went
through a ReLU: asked for 50 % of the pixels of a map that is mostly zero, they take all of them.
"""

from __future__ import annotations

import functools
from typing import Literal

import torch
from torch import Tensor

PixelOrder = Literal["most relevant first", "least relevant first"]


def most_relevant_first(values: Tensor, seed: int = 0) -> Tensor:
    """Rank the pixels of every map, the most relevant first.

    Equal values are ordered by one random order of the pixels, which depends on the seed and on
    the number of pixels only: it is the same for all methods, images and batches.

    Args:
        values: (B, H, W), finite.
        seed: the seed of the order of equal values.

    Returns:
        (B, H·W) int64, indices of pixels in row-major order. Reversed, it ranks the least relevant
        pixels first.

    Example:
        >>> most_relevant_first(torch.tensor([[[0.1, 0.9], [0.4, 0.2]]]))
        tensor([[1, 2, 3, 0]])
    """
    flat = values.flatten(1)
    order_of_ties = _order_of_ties(flat.shape[1], seed).to(flat.device)
    places = flat[:, order_of_ties].argsort(dim=1, descending=True, stable=True)
    return order_of_ties[places]


def in_order(ranking: Tensor, order: PixelOrder) -> Tensor:
    """A ranking of :func:`most_relevant_first`, from the end where the least relevant come first.

    Example:
        >>> in_order(torch.tensor([[2, 0, 1]]), "least relevant first")
        tensor([[1, 0, 2]])
    """
    return ranking if order == "most relevant first" else ranking.flip(1)


def removed_pixels(order: Tensor, share: float, size: tuple[int, int]) -> Tensor:
    """Mark the first pixels of a ranking.

    Args:
        order: (B, H·W) from :func:`most_relevant_first`, or its reverse.
        share: the share of the pixels, in [0, 1].
        size: (H, W).

    Returns:
        (B, H, W) bool, True at exactly ``round(share · H · W)`` pixels of every image.

    Example:
        >>> order = most_relevant_first(torch.tensor([[[0.1, 0.9], [0.4, 0.2]]]))
        >>> removed_pixels(order, 0.5, (2, 2))
        tensor([[[False,  True],
                 [ True, False]]])
    """
    height, width = size
    first = order[:, : round(share * height * width)]
    marked = torch.zeros(order.shape, dtype=torch.bool, device=order.device)
    return marked.scatter_(1, first, True).reshape(-1, height, width)


def ranks(order: Tensor) -> Tensor:
    """The place of every pixel in a ranking, 0 for the first.

    Args:
        order: (B, H·W) from :func:`most_relevant_first`.

    Returns:
        (B, H·W) int64.

    Example:
        >>> ranks(torch.tensor([[1, 2, 3, 0]]))
        tensor([[3, 0, 1, 2]])
    """
    places = torch.arange(order.shape[1], device=order.device).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, places)


@functools.lru_cache(maxsize=8)
def _order_of_ties(pixels: int, seed: int) -> Tensor:
    return torch.randperm(pixels, generator=torch.Generator().manual_seed(seed))
