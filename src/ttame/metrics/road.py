"""ROAD: remove pixels so that their absence is not visible, and ask whether the class survives."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ttame.images.preprocessing import Preprocessing
from ttame.metrics.changed_images import accuracy, probability_of_class, scores_of_versions
from ttame.metrics.image_generator import image_generator
from ttame.metrics.linear_imputation import impute_linearly
from ttame.metrics.map_masks import ranking_of
from ttame.metrics.measuring_batch import Probabilities
from ttame.metrics.metric import Metric
from ttame.metrics.pixel_ranking import PixelOrder, in_order, removed_pixels
from ttame.metrics.protocol import MapScaling, Protocol, RoadScore, Upsampling
from ttame.metrics.shared_results import SharedResults

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
    score: RoadScore = "accuracy",
    noise: float = 0.01,
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    exclusive: bool = True,
    shared: SharedResults | None = None,
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
        probabilities: (B, 3, H, W) normalised images to (B, C) probabilities in [0, 1].
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        classes: (B,) int64, the explained classes.
        preprocessing: the classifier's own.
        order: which pixels go first.
        shares: the shares of removed pixels, each between 0 and 1.
        score: whether the class is still top-1 (of independent findings: still found, at a
            probability of one half or more), or its probability.
        noise: standard deviation, of imputed pixels only.
        map_scaling: ``"grid"`` scales maps to [0, 1] before they are resized, ``"pixels"`` after.
        upsampling: how maps are enlarged to the images' size.
        seed: the seed of the noise and of the order of equal values.
        numbers: the numbers of the images in their data set; the noise depends on them. The place
            in the batch unless given.
        exclusive: whether exactly one class is true of an image.
        shared: what other metrics of the same images have computed.

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
    points = road_curve(
        probabilities, images, maps, classes, preprocessing, order=order, shares=shares,
        score=score, noise=noise, map_scaling=map_scaling, upsampling=upsampling, seed=seed,
        numbers=numbers, exclusive=exclusive, shared=shared,
    )  # fmt: skip
    return torch.stack(list(points.values()), dim=1).mean(dim=1)


def road_curve(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    order: PixelOrder = "most relevant first",
    shares: tuple[float, ...] = _SHARES,
    score: RoadScore = "accuracy",
    noise: float = 0.01,
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    exclusive: bool = True,
    shared: SharedResults | None = None,
) -> dict[float, Tensor]:
    """The curve over the removed shares whose mean :func:`road` is; arguments as there.

    Returns:
        Share to (B,) float32 in percent, in [0, 100].

    Example:
        >>> def bright(images):
        ...     brightness = images.mean(dim=(1, 2, 3)).sigmoid()
        ...     return torch.stack([brightness, 1 - brightness], dim=1)
        >>> images = torch.ones(1, 3, 8, 8)
        >>> images[:, :, :4] = -2
        >>> road_curve(bright, -images, images.mean(dim=1), torch.tensor([0]),
        ...            Preprocessing.imagenet(8), shares=(0.4,))
        {0.4: tensor([100.])}
    """
    protocol = Protocol(
        "as asked", removed_shares=tuple(shares), road_score=score, road_noise=noise, seed=seed,
        map_scaling=map_scaling, upsampling=upsampling,
    )  # fmt: skip
    numbers = tuple(range(len(images)) if numbers is None else numbers)
    shared = shared or SharedResults()
    scores = shared.once(
        _scores, probabilities, images, maps, classes, preprocessing, numbers, protocol, order,
        exclusive=exclusive, shared=shared,
    )  # fmt: skip
    return dict(zip(protocol.removed_shares, scores.unbind(dim=1), strict=True))


def _scores(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    numbers: tuple[int, ...],
    protocol: Protocol,
    order: PixelOrder,
    *,
    exclusive: bool,
    shared: SharedResults,
) -> Tensor:
    """(B, S), a column for each share."""
    versions = imputed_images(
        images, maps, preprocessing, numbers, protocol, (order,), shared=shared
    )
    of_accuracy = protocol.road_score == "accuracy"
    score = accuracy(exclusive=exclusive) if of_accuracy else probability_of_class
    return scores_of_versions(probabilities, versions, classes, score)


def imputed_images(
    images: Tensor,
    maps: Tensor,
    preprocessing: Preprocessing,
    numbers: Sequence[int],
    protocol: Protocol,
    orders: tuple[PixelOrder, ...],
    *,
    shared: SharedResults | None = None,
) -> Iterator[Tensor]:
    """Images with pixels removed and imputed, for every order and, within it, every share.

    Args:
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        preprocessing: the classifier's own.
        numbers: the numbers of the images in their data set.
        protocol: its shares, noise, scaling of maps and seed.
        orders: which pixels go first.
        shared: what other metrics of the same images have computed.

    Yields:
        (B, 3, H, W) float, normalised.
    """
    size = (int(images.shape[2]), int(images.shape[3]))
    pixels = preprocessing.denormalise(images)
    once = (shared or SharedResults()).once
    noise = protocol.road_noise * once(_noise, tuple(numbers), images, protocol.seed)
    ranking = once(ranking_of, maps, size, protocol)
    for order in orders:
        first = in_order(ranking, order)
        for share in protocol.removed_shares:
            removed = removed_pixels(first, share, size)
            imputed = impute_linearly(pixels, removed).addcmul_(removed[:, None], noise)
            yield preprocessing.normalise(imputed)


def _noise(numbers: Sequence[int], like: Tensor, seed: int) -> Tensor:
    """Standard normal, shape of ``like``; drawn on the CPU, so that all devices draw the same."""
    fields = [
        torch.randn(
            like.shape[1:],
            generator=image_generator(seed, number, "road noise"),
            dtype=torch.float32,
        )
        for number in numbers
    ]
    return torch.stack(fields).to(like)


_OPTIONS = {"shares": "removed_shares", "score": "road_score", "noise": "road_noise"}

ROAD_MOST_RELEVANT_FIRST = Metric(
    name="road_most_relevant_first",
    title="ROAD, most relevant first",
    better="lower",
    unit="%",
    paper="Rong et al., arXiv 2202.00449",
    measures="how often the class survives when the most relevant pixels are removed and imputed "
    "from their neighbours, averaged over the removed shares",
    cost="1 imputation and 1 forward per share",
    function=road,
    options=_OPTIONS,
    fixed={"order": "most relevant first"},
    curve=road_curve,
)

ROAD_LEAST_RELEVANT_FIRST = Metric(
    name="road_least_relevant_first",
    title="ROAD, least relevant first",
    better="higher",
    unit="%",
    paper="Rong et al., arXiv 2202.00449",
    measures="how often the class survives when the least relevant pixels are removed and imputed "
    "from their neighbours, averaged over the removed shares",
    cost="1 imputation and 1 forward per share",
    function=road,
    options=_OPTIONS,
    fixed={"order": "least relevant first"},
    curve=road_curve,
)
