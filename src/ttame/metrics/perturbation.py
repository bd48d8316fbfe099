"""Positive and negative perturbation: black out pixels, and watch the accuracy fall."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ttame.images.pixel_masking import MaskingSpace, mask_images
from ttame.images.preprocessing import Preprocessing
from ttame.metrics.changed_images import accuracy, scores_of_versions
from ttame.metrics.map_masks import ranking_of
from ttame.metrics.measuring_batch import Probabilities
from ttame.metrics.metric import Metric
from ttame.metrics.pixel_ranking import PixelOrder, in_order, removed_pixels
from ttame.metrics.protocol import MapScaling, Protocol, Upsampling
from ttame.metrics.shared_results import SharedResults

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
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    seed: int = 0,
    exclusive: bool = True,
    shared: SharedResults | None = None,
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
        probabilities: (B, 3, H, W) normalised images to (B, C) probabilities in [0, 1].
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        classes: (B,) int64; the labels, or the explained classes.
        preprocessing: the classifier's own.
        order: which pixels go first.
        shares: the shares of removed pixels, increasing, each between 0 and 1.
        space: ``"raw"`` makes removed pixels black, as published; ``"normalised"`` gives them the
            mean colour.
        map_scaling: ``"grid"`` scales maps to [0, 1] before they are resized, ``"pixels"`` after.
        upsampling: how maps are enlarged to the images' size.
        seed: the seed of the order of equal values.
        exclusive: whether exactly one class is true of an image. Of independent findings the
            accuracy is 100 where the class's own probability is one half or more.
        shared: what other metrics of the same images have computed.

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
    points = perturbation_curve(
        probabilities, images, maps, classes, preprocessing, order=order, shares=shares,
        space=space, map_scaling=map_scaling, upsampling=upsampling, seed=seed,
        exclusive=exclusive, shared=shared,
    )  # fmt: skip
    heights = torch.stack(list(points.values()), dim=1)
    places = torch.tensor(list(points), dtype=heights.dtype, device=heights.device)
    return torch.trapezoid(heights, places, dim=1)


def perturbation_curve(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    order: PixelOrder = "most relevant first",
    shares: tuple[float, ...] = _SHARES,
    space: MaskingSpace = "raw",
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    seed: int = 0,
    exclusive: bool = True,
    shared: SharedResults | None = None,
) -> dict[float, Tensor]:
    """The curve of the accuracy whose area :func:`perturbation` is; arguments as there.

    Returns:
        Share, 0 and those of ``shares``, to (B,) float32, 0 or 100.

    Example:
        >>> def bright(images):
        ...     brightness = images.mean(dim=(1, 2, 3)).sigmoid()
        ...     return torch.stack([brightness, 1 - brightness], dim=1)
        >>> images = torch.tensor([2.1, -2.0, -2.0, 2.0]).reshape(1, 1, 2, 2).repeat(1, 3, 1, 1)
        >>> perturbation_curve(bright, images, images[:, 0], torch.tensor([0]),
        ...                    Preprocessing.imagenet(2), shares=(0.25, 0.5))
        {0.0: tensor([100.]), 0.25: tensor([0.]), 0.5: tensor([0.])}
    """
    protocol = Protocol(
        "as asked", removed_shares=tuple(shares), masked_in=space, map_scaling=map_scaling,
        upsampling=upsampling, seed=seed,
    )  # fmt: skip
    shared = shared or SharedResults()
    clean = accuracy(exclusive=exclusive)(shared.once(probabilities, images), classes)
    scores = shared.once(
        _scores, probabilities, images, maps, classes, preprocessing, protocol, order,
        exclusive=exclusive, shared=shared,
    )  # fmt: skip
    return {0.0: clean, **dict(zip(protocol.removed_shares, scores.unbind(dim=1), strict=True))}


def _scores(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    protocol: Protocol,
    order: PixelOrder,
    *,
    exclusive: bool,
    shared: SharedResults,
) -> Tensor:
    """(B, S), a column for each share."""
    versions = blackened_images(images, maps, preprocessing, protocol, order, shared=shared)
    return scores_of_versions(probabilities, versions, classes, accuracy(exclusive=exclusive))


def blackened_images(
    images: Tensor,
    maps: Tensor,
    preprocessing: Preprocessing,
    protocol: Protocol,
    order: PixelOrder,
    *,
    shared: SharedResults | None = None,
) -> Iterator[Tensor]:
    """Images without the first pixels of the ranking, for every share.

    Args:
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        preprocessing: the classifier's own.
        protocol: its shares, masking space, scaling of maps and seed.
        order: which pixels go first.
        shared: what other metrics of the same images have computed.

    Yields:
        (B, 3, H, W) float, normalised.
    """
    size = (int(images.shape[2]), int(images.shape[3]))
    ranking = (shared or SharedResults()).once(ranking_of, maps, size, protocol)
    first = in_order(ranking, order)
    for share in protocol.removed_shares:
        kept = ~removed_pixels(first, share, size)
        yield mask_images(images, kept[:, None], preprocessing, protocol.masked_in)


_OPTIONS = {"shares": "removed_shares", "space": "masked_in"}

POSITIVE_PERTURBATION = Metric(
    name="positive_perturbation",
    title="Positive perturbation",
    better="lower",
    unit="%",
    paper="Chefer et al., arXiv 2012.09838",
    measures="the area under the accuracy while the most relevant pixels are blacked out first",
    cost="1 forward per share",
    function=perturbation,
    options=_OPTIONS,
    fixed={"order": "most relevant first"},
    curve=perturbation_curve,
)

NEGATIVE_PERTURBATION = Metric(
    name="negative_perturbation",
    title="Negative perturbation",
    better="higher",
    unit="%",
    paper="Chefer et al., arXiv 2012.09838",
    measures="the area under the accuracy while the least relevant pixels are blacked out first",
    cost="1 forward per share",
    function=perturbation,
    options=_OPTIONS,
    fixed={"order": "least relevant first"},
    curve=perturbation_curve,
)
