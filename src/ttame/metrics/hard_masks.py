"""Hard masks: what is left of the class with only the most relevant pixels, and without them."""

from __future__ import annotations

from torch import Tensor

from ttame.images.pixel_masking import MaskingSpace, mask_images
from ttame.images.preprocessing import Preprocessing
from ttame.metrics.average_drop import drop_of
from ttame.metrics.map_masks import ranking_of
from ttame.metrics.measuring_batch import Probabilities, of_classes
from ttame.metrics.metric import Column, Metric
from ttame.metrics.pixel_ranking import removed_pixels
from ttame.metrics.protocol import MapScaling, Protocol, Upsampling, percent
from ttame.metrics.shared_results import SharedResults


def hard_mask_kept(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    kept_share: float = 0.5,
    space: MaskingSpace = "raw",
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    seed: int = 0,
    shared: SharedResults | None = None,
) -> Tensor:
    """How much of the class's probability is kept when only the most relevant pixels are shown.

    ``100 · min(1, p′ / p)`` with ``p`` the probability on the image and ``p′`` on the image whose
    most relevant pixels, exactly the share, are as they were and whose others are removed. It is
    100 minus the Average Drop (Chattopadhyay et al., arXiv 1710.11063) of a mask of zeros and
    ones. A soft mask can be fitted like an adversarial pattern, by the brightness it gives to
    each pixel; this one says only which pixels are shown, and a class that becomes more probable
    gains nothing. Higher is better.

    Args:
        probabilities: (B, 3, H, W) normalised images to (B, C) probabilities in [0, 1].
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        classes: (B,) int64, the explained classes.
        preprocessing: the classifier's own.
        kept_share: the share of the pixels, in (0, 1].
        space: ``"raw"`` makes removed pixels black, ``"normalised"`` gives them the mean colour.
        map_scaling: ``"grid"`` scales maps to [0, 1] before they are resized, ``"pixels"`` after.
        upsampling: how maps are enlarged to the images' size.
        seed: the seed of the order of equal values.
        shared: what other metrics of the same images have computed.

    Returns:
        (B,) float32 in percent, in [0, 100]. Where p is 0 nothing can be lost: 100.

    Example:
        >>> import torch
        >>> def brightness(images):
        ...     return images.mean(dim=(1, 2, 3))[:, None]
        >>> images = torch.tensor([0.8, 0.4, 0.2, 0.6]).expand(1, 3, 1, 4)
        >>> plain = Preprocessing((1, 4), (1, 4), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        >>> classes = torch.tensor([0])
        >>> hard_mask_kept(brightness, images, images[:, 0], classes, plain).round()
        tensor([70.])
    """
    protocol = Protocol(
        "as asked", kept_shares=(kept_share,), masked_in=space, map_scaling=map_scaling,
        upsampling=upsampling, seed=seed,
    )  # fmt: skip
    return _left(
        probabilities, images, maps, classes, preprocessing, protocol, shared, removed=False
    )


def hard_mask_removed(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    removed_share: float = 0.5,
    space: MaskingSpace = "raw",
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    seed: int = 0,
    shared: SharedResults | None = None,
) -> Tensor:
    """How much of the class's probability is left when the most relevant pixels are removed.

    As :func:`hard_mask_kept`, of the image without exactly the share of its most relevant pixels:
    ``100 · min(1, p′ / p)``. Lower is better.

    Args:
        removed_share: the share of the pixels, in (0, 1].

    Returns:
        (B,) float32 in percent, in [0, 100].

    Example:
        >>> import torch
        >>> def brightness(images):
        ...     return images.mean(dim=(1, 2, 3))[:, None]
        >>> images = torch.tensor([0.8, 0.4, 0.2, 0.6]).expand(1, 3, 1, 4)
        >>> plain = Preprocessing((1, 4), (1, 4), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        >>> classes = torch.tensor([0])
        >>> left = hard_mask_removed(
        ...     brightness, images, images[:, 0], classes, plain, removed_share=0.25)
        >>> left.round()
        tensor([60.])
    """
    protocol = Protocol(
        "as asked", kept_shares=(removed_share,), masked_in=space, map_scaling=map_scaling,
        upsampling=upsampling, seed=seed,
    )  # fmt: skip
    return _left(
        probabilities, images, maps, classes, preprocessing, protocol, shared, removed=True
    )


def _left(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    protocol: Protocol,
    shared: SharedResults | None,
    *,
    removed: bool,
) -> Tensor:
    shared = shared or SharedResults()
    before = of_classes(shared.once(probabilities, images), classes)
    after = shared.once(
        _confidence, probabilities, images, maps, classes, preprocessing, protocol,
        removed=removed, shared=shared,
    )  # fmt: skip
    return 100 - drop_of(before, after)


def _confidence(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    protocol: Protocol,
    *,
    removed: bool,
    shared: SharedResults,
) -> Tensor:
    """(B,) probability of the class on the masked images."""
    size = (int(images.shape[2]), int(images.shape[3]))
    # Other shares rank the same pixels.
    any_share = Protocol(
        "as asked", map_scaling=protocol.map_scaling, upsampling=protocol.upsampling,
        seed=protocol.seed,
    )  # fmt: skip
    ranking = shared.once(ranking_of, maps, size, any_share)
    most_relevant = removed_pixels(ranking, protocol.kept_shares[0], size)
    shown = ~most_relevant if removed else most_relevant
    masked = mask_images(images, shown[:, None], preprocessing, protocol.masked_in)
    return of_classes(probabilities(masked), classes)


def _columns_of_removed(metric: Metric, protocol: Protocol) -> tuple[Column, ...]:
    return tuple(
        Column(f"{metric.name}@{percent(share)}", f"{metric.title} at {percent(share)} % removed")
        for share in protocol.kept_shares
    )


HARD_MASK_KEPT = Metric(
    name="hard_mask_kept",
    title="Hard mask",
    better="higher",
    unit="%",
    paper="Chattopadhyay et al., arXiv 1710.11063, 100 minus its Average Drop with hard masks",
    measures="the share of the class's probability that is kept when exactly the most relevant "
    "share of the pixels is shown, as it is",
    cost="1 forward per share",
    function=hard_mask_kept,
    options={"kept_share": "kept_shares", "space": "masked_in"},
    for_each="kept_share",
)

HARD_MASK_REMOVED = Metric(
    name="hard_mask_removed",
    title="Hard mask",
    better="lower",
    unit="%",
    paper="Chattopadhyay et al., arXiv 1710.11063, with hard masks of what is not relevant",
    measures="the share of the class's probability that is left when exactly the most relevant "
    "share of the pixels is removed; the shares are those that hard_mask_kept keeps",
    cost="1 forward per share",
    function=hard_mask_removed,
    options={"removed_share": "kept_shares", "space": "masked_in"},
    for_each="removed_share",
    columns=_columns_of_removed,
)
