"""Positive and negative perturbation: black out pixels, and watch the accuracy fall."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from ttame.metrics.changed_images import curve_over_shares, scores_of_versions, still_top_1
from ttame.metrics.map_masks import map_values
from ttame.metrics.measuring_batch import MeasuringBatch, Probabilities
from ttame.metrics.metric import Metric
from ttame.metrics.pixel_ranking import (
    PixelOrder,
    in_order,
    most_relevant_first,
    removed_pixels,
)
from ttame.metrics.protocol import Protocol
from ttame.pixel_masking import MaskingSpace, mask_images
from ttame.preprocessing import Preprocessing

_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def perturbation(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    order: PixelOrder = "most relevant first",
    shares: tuple[float, ...] = _SHARES,
    space: MaskingSpace = "raw",
    seed: int = 0,
) -> Tensor:
    """The area under accuracy against the share of pixels that are blacked out.

    The accuracy a(q), 100 where the class is top-1 and 0 elsewhere, of the image whose first q of
    the pixels are black; the area by the trapezoid rule over 0 and the shares, with the clean
    accuracy at 0, not divided by the width (Chefer et al., arXiv 2012.09838). Most relevant first
    is "positive perturbation", lower is better; least relevant first is "negative perturbation",
    higher is better.

    Deviations: exactly the share is removed whatever values are equal. Removed pixels are black in
    the network's own preprocessing; published is black where mean and deviation are 0.5.

    Args:
        probabilities: the classifier's softmax output.
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        classes: (B,) int64; the labels, or the explained classes.
        preprocessing: the classifier's own.
        order: which pixels go first.
        shares: of removed pixels, increasing, each between 0 and 1.
        space: ``"raw"`` makes removed pixels black, as published.
        seed: of the order of equal values.

    Returns:
        (B,) float32 in percent, in [0, 100 · last share].

    Example:
        >>> def bright(images):
        ...     brightness = images.mean(dim=(1, 2, 3)).sigmoid()
        ...     return torch.stack([brightness, 1 - brightness], dim=1)
        >>> images = torch.tensor([2.1, -2.0, -2.0, 2.0]).reshape(1, 1, 2, 2).repeat(1, 3, 1, 1)
        >>> preprocessing = Preprocessing.imagenet(2)
        >>> classes = torch.tensor([0])
        >>> perturbation(bright, images, images[:, 0], classes, preprocessing, shares=(0.25, 0.5))
        tensor([12.5000])
    """
    protocol = Protocol("perturbation", removed_shares=shares, masked_in=space, seed=seed)
    clean = still_top_1(probabilities(images), classes)
    versions = blackened_images(images, maps, preprocessing, protocol, order)
    return _area(clean, scores_of_versions(probabilities, versions, classes, still_top_1), shares)


def blackened_images(
    images: Tensor,
    maps: Tensor,
    preprocessing: Preprocessing,
    protocol: Protocol,
    order: PixelOrder,
) -> Iterator[Tensor]:
    """Images without the first pixels of the ranking, for every share.

    Args:
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        preprocessing: the classifier's own.
        protocol: its shares, masking space, scaling of maps and seed.
        order: which pixels go first.

    Yields:
        (B, 3, H, W) float, normalised.
    """
    size = (int(images.shape[2]), int(images.shape[3]))
    ranking = most_relevant_first(map_values(maps, size, protocol), protocol.seed)
    first = in_order(ranking, order)
    for share in protocol.removed_shares:
        kept = ~removed_pixels(first, share, size)
        yield mask_images(images, kept[:, None], preprocessing, protocol.masked_in)


def _area(clean: Tensor, scores: Tensor, shares: tuple[float, ...]) -> Tensor:
    """Trapezoid rule from 0 to the last share: (B,) and (B, S) to (B,)."""
    heights = torch.cat([clean[:, None], scores], dim=1)
    places = torch.tensor((0.0, *shares), dtype=heights.dtype, device=heights.device)
    return torch.trapezoid(heights, places, dim=1)


def _measured(
    name: str, order: PixelOrder
) -> Callable[[MeasuringBatch, Protocol], dict[str, Tensor]]:
    def measure(batch: MeasuringBatch, protocol: Protocol) -> dict[str, Tensor]:
        versions = blackened_images(batch.images, batch.maps, batch.preprocessing, protocol, order)
        scores = scores_of_versions(batch.probabilities, versions, batch.classes, still_top_1)
        clean = still_top_1(batch.all_before, batch.classes)
        points = curve_over_shares(name, scores, protocol)
        area = _area(clean, scores, protocol.removed_shares)
        return {name: area, f"{name}.curve@0": clean, **points}

    return measure


POSITIVE_PERTURBATION = Metric(
    name="positive_perturbation",
    title="Positive perturbation",
    better="lower",
    unit="%",
    paper="Chefer et al., arXiv 2012.09838",
    measures="the area under the accuracy while the most relevant pixels are blacked out first",
    cost="1 forward a share",
    measure=_measured("positive_perturbation", "most relevant first"),
)

NEGATIVE_PERTURBATION = Metric(
    name="negative_perturbation",
    title="Negative perturbation",
    better="higher",
    unit="%",
    paper="Chefer et al., arXiv 2012.09838",
    measures="the area under the accuracy while the least relevant pixels are blacked out first",
    cost="1 forward a share",
    measure=_measured("negative_perturbation", "least relevant first"),
)
