"""ROAD: remove pixels so that their absence is not visible, and ask whether the class survives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import torch
from torch import Tensor

from ttame.metrics.changed_images import (
    curve_over_shares,
    probability_of_class,
    scores_of_versions,
    still_top_1,
)
from ttame.metrics.image_generator import image_generator
from ttame.metrics.linear_imputation import impute_linearly
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
from ttame.preprocessing import Preprocessing

_SHARES = Protocol("road").removed_shares


def road(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    order: PixelOrder = "most relevant first",
    shares: tuple[float, ...] = _SHARES,
    score: Literal["accuracy", "probability"] = "accuracy",
    noise: float = 0.01,
    seed: int = 0,
    numbers: Sequence[int] | None = None,
) -> Tensor:
    """How well the class survives when pixels are removed and imputed, averaged over shares.

    Of each share q the first pixels of the ranking are replaced by noisy linear imputation
    (:mod:`ttame.metrics.linear_imputation`) on pixels in [0, 1], which leaves no edge of the mask
    to see (Rong et al., arXiv 2202.00449). With the most relevant pixels removed first, lower is
    better; with the least relevant first, higher is better.

    Deviations: exactly the share is removed whatever values are equal, where thresholds by
    percentile remove all equal ones; an image has one field of noise for all shares and methods,
    so that they differ by what they remove only.

    Args:
        probabilities: the classifier's softmax output.
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        classes: (B,) int64, the explained classes.
        preprocessing: the classifier's own.
        order: which pixels go first.
        shares: of removed pixels, each between 0 and 1.
        score: whether the class is still top-1, or its probability.
        noise: standard deviation, of imputed pixels only.
        seed: of the noise and of the order of equal values.
        numbers: of the images in their data set; the noise depends on them. The place in the
            batch unless given.

    Returns:
        (B,) float32 in percent, in [0, 100].

    Example:
        >>> def bright(images):
        ...     brightness = images.mean(dim=(1, 2, 3)).sigmoid()
        ...     return torch.stack([brightness, 1 - brightness], dim=1)
        >>> images = torch.ones(1, 3, 8, 8)
        >>> images[:, :, :4] = -2
        >>> preprocessing = Preprocessing.imagenet(8)
        >>> maps = images.mean(dim=1)
        >>> road(bright, -images, maps, torch.tensor([0]), preprocessing, shares=(0.4,))
        tensor([100.])
    """
    protocol = Protocol(
        "road", removed_shares=shares, road_score=score, road_noise=noise, seed=seed
    )
    numbers = range(len(images)) if numbers is None else numbers
    versions = imputed_images(images, maps, preprocessing, numbers, protocol, (order,))
    return scores_of_versions(probabilities, versions, classes, _score(protocol)).mean(dim=1)


def imputed_images(
    images: Tensor,
    maps: Tensor,
    preprocessing: Preprocessing,
    numbers: Sequence[int],
    protocol: Protocol,
    orders: tuple[PixelOrder, ...],
) -> Iterator[Tensor]:
    """Images with pixels removed and imputed, for every order and, within it, every share.

    Args:
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        preprocessing: the classifier's own.
        numbers: of the images in their data set.
        protocol: its shares, noise, scaling of maps and seed.
        orders: which pixels go first.

    Yields:
        (B, 3, H, W) float, normalised.
    """
    size = (int(images.shape[2]), int(images.shape[3]))
    pixels = preprocessing.denormalise(images)
    noise = protocol.road_noise * _noise(numbers, pixels, protocol.seed)
    ranking = most_relevant_first(map_values(maps, size, protocol), protocol.seed)
    for order in orders:
        first = in_order(ranking, order)
        for share in protocol.removed_shares:
            removed = removed_pixels(first, share, size)
            imputed = impute_linearly(pixels, removed).addcmul_(removed[:, None], noise)
            yield preprocessing.normalise(imputed)


def _noise(numbers: Sequence[int], like: Tensor, seed: int) -> Tensor:
    """Standard normal, shape of ``like``; drawn on the CPU, so that all devices draw the same."""
    fields = [
        torch.randn(like.shape[1:], generator=image_generator(seed, number, "road noise"))
        for number in numbers
    ]
    return torch.stack(fields).to(like)


def _score(protocol: Protocol) -> Callable[[Tensor, Tensor], Tensor]:
    return still_top_1 if protocol.road_score == "accuracy" else probability_of_class


_ORDERS: tuple[PixelOrder, ...] = ("most relevant first", "least relevant first")


def _scores(batch: MeasuringBatch, protocol: Protocol) -> dict[PixelOrder, Tensor]:
    """(B, S) for each order, in one go for both metrics."""

    def compute() -> dict[PixelOrder, Tensor]:
        versions = imputed_images(
            batch.images, batch.maps, batch.preprocessing, batch.numbers, protocol, _ORDERS
        )
        scores = scores_of_versions(batch.probabilities, versions, batch.classes, _score(protocol))
        return dict(zip(_ORDERS, scores.chunk(len(_ORDERS), dim=1), strict=True))

    return batch.once(("road", protocol.hash), compute)


def _measured(
    name: str, order: PixelOrder
) -> Callable[[MeasuringBatch, Protocol], dict[str, Tensor]]:
    def measure(batch: MeasuringBatch, protocol: Protocol) -> dict[str, Tensor]:
        scores = _scores(batch, protocol)[order]
        return {name: scores.mean(dim=1), **curve_over_shares(name, scores, protocol)}

    return measure


ROAD_MOST_RELEVANT_FIRST = Metric(
    name="road_most_relevant_first",
    title="ROAD, most relevant first",
    better="lower",
    unit="%",
    paper="Rong et al., arXiv 2202.00449",
    measures="how often the class survives when the most relevant pixels are removed and imputed "
    "from their neighbours, averaged over the removed shares",
    cost="1 imputation and 1 forward a share",
    measure=_measured("road_most_relevant_first", "most relevant first"),
)

ROAD_LEAST_RELEVANT_FIRST = Metric(
    name="road_least_relevant_first",
    title="ROAD, least relevant first",
    better="higher",
    unit="%",
    paper="Rong et al., arXiv 2202.00449",
    measures="how often the class survives when the least relevant pixels are removed and imputed "
    "from their neighbours, averaged over the removed shares",
    cost="1 imputation and 1 forward a share",
    measure=_measured("road_least_relevant_first", "least relevant first"),
)
