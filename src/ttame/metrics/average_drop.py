"""Average Drop, Increase in Confidence and Average Gain on soft-masked images."""

from __future__ import annotations

from torch import Tensor

from ttame.images.pixel_masking import MaskingSpace
from ttame.images.preprocessing import Preprocessing
from ttame.metrics.map_masks import masked_confidence, share_masks
from ttame.metrics.measuring_batch import Probabilities, of_classes
from ttame.metrics.metric import Metric
from ttame.metrics.protocol import MapScaling, MaskKind, Protocol, Ties, Upsampling
from ttame.metrics.shared_results import SharedResults


def average_drop(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    kept_share: float = 1.0,
    space: MaskingSpace = "raw",
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    mask: MaskKind = "soft",
    ties: Ties = "kept",
    seed: int = 0,
    shared: SharedResults | None = None,
) -> Tensor:
    """How much of the class's probability is lost when only what the map shows is left.

    ``100 · max(0, p − p′) / p`` with ``p`` the probability on the image and ``p′`` on the masked
    image (Chattopadhyay et al., arXiv 1710.11063; the T-TAME protocol). Lower is better. A map
    that hides nothing has an Average Drop near 0: read it with Increase in Confidence, and with
    the map's mean value.

    Args:
        probabilities: (B, 3, H, W) normalised images to (B, C) probabilities in [0, 1].
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        classes: (B,) int64, the explained classes.
        preprocessing: the classifier's own.
        kept_share: share of pixels kept, 1, 0.5 or 0.15 in the published tables.
        space: ``"raw"`` makes removed pixels black, as published; ``"normalised"`` gives them the
            mean colour.
        map_scaling: ``"grid"`` scales maps to [0, 1] before they are resized, ``"pixels"`` after.
        upsampling: how maps are enlarged to the images' size.
        mask: ``"soft"`` keeps the map's values, ``"binary"`` makes those that stay 1.
        ties: ``"kept"`` keeps every pixel that equals the threshold, ``"trimmed"`` exactly the
            share.
        seed: the seed of the order of equal values, where ties are trimmed.
        shared: what other metrics of the same images have computed.

    Returns:
        (B,) float32 in percent, in [0, 100]. Where p is 0 nothing can be lost: 0.

    Raises:
        TtameError: ``kept_share`` is outside (0, 1], for example a percentage.

    Example:
        >>> import torch
        >>> def bright(images):
        ...     brightness = images.mean(dim=(1, 2, 3)).sigmoid()
        ...     return torch.stack([brightness, 1 - brightness], dim=1)
        >>> images = torch.ones(2, 3, 8, 8)
        >>> maps = torch.arange(64.0).reshape(1, 8, 8).repeat(2, 1, 1)
        >>> classes = torch.tensor([0, 1])
        >>> preprocessing = Preprocessing.imagenet(8)
        >>> average_drop(bright, images, maps, classes, preprocessing, kept_share=0.5)
        tensor([59.3372,  0.0000])
    """
    before, after = confidences(
        probabilities, images, maps, classes, preprocessing, kept_share=kept_share, space=space,
        map_scaling=map_scaling, upsampling=upsampling, mask=mask, ties=ties, seed=seed,
        shared=shared,
    )  # fmt: skip
    return drop_of(before, after)


def increase_in_confidence(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    kept_share: float = 1.0,
    space: MaskingSpace = "raw",
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    mask: MaskKind = "soft",
    ties: Ties = "kept",
    seed: int = 0,
    shared: SharedResults | None = None,
) -> Tensor:
    """Whether the class became more probable when only what the map shows was left.

    ``100 · 1[p′ > p]``, strictly; the mean over images is the published percentage. Higher is
    better. Arguments as for :func:`average_drop`.

    Returns:
        (B,) float32, 0 or 100.

    Example:
        >>> import torch
        >>> def bright(images):
        ...     brightness = images.mean(dim=(1, 2, 3)).sigmoid()
        ...     return torch.stack([brightness, 1 - brightness], dim=1)
        >>> images = torch.ones(2, 3, 8, 8)
        >>> maps = torch.arange(64.0).reshape(1, 8, 8).repeat(2, 1, 1)
        >>> classes = torch.tensor([0, 1])
        >>> preprocessing = Preprocessing.imagenet(8)
        >>> increase_in_confidence(bright, images, maps, classes, preprocessing, kept_share=0.5)
        tensor([  0., 100.])
    """
    before, after = confidences(
        probabilities, images, maps, classes, preprocessing, kept_share=kept_share, space=space,
        map_scaling=map_scaling, upsampling=upsampling, mask=mask, ties=ties, seed=seed,
        shared=shared,
    )  # fmt: skip
    return increase_of(before, after)


def drop_of(before: Tensor, after: Tensor) -> Tensor:
    """``100 · max(0, before − after) / before``, 0 where ``before`` is 0.

    Example:
        >>> import torch
        >>> drop_of(torch.tensor([0.8, 0.5, 0.0]), torch.tensor([0.2, 0.6, 0.0]))
        tensor([75.,  0.,  0.])
    """
    lost = (before - after).clamp_min(0)
    return 100 * lost / before.masked_fill(before == 0, 1)


def increase_of(before: Tensor, after: Tensor) -> Tensor:
    """``100 · 1[after > before]``.

    Example:
        >>> import torch
        >>> increase_of(torch.tensor([0.5, 0.5]), torch.tensor([0.6, 0.5]))
        tensor([100.,   0.])
    """
    return 100 * (after > before).to(before.dtype)


def confidences(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    kept_share: float = 1.0,
    space: MaskingSpace = "raw",
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    mask: MaskKind = "soft",
    ties: Ties = "kept",
    seed: int = 0,
    shared: SharedResults | None = None,
) -> tuple[Tensor, Tensor]:
    """The class's probability on the images and on the masked images, each (B,)."""
    shared = shared or SharedResults()
    protocol = Protocol(
        "as asked", kept_shares=(kept_share,), masked_in=space, map_scaling=map_scaling,
        upsampling=upsampling, mask=mask, ties=ties,
        # It orders trimmed ties and nothing else: otherwise no second pass for another seed.
        seed=seed if ties == "trimmed" else 0,
    )  # fmt: skip
    after = shared.once(
        masked_confidence, probabilities, images, maps, classes, preprocessing, kept_share, protocol
    )
    return of_classes(shared.once(probabilities, images), classes), after


def published_masks(maps: Tensor, size: tuple[int, int], kept_share: float = 1.0) -> Tensor:
    """Raw maps to soft masks as T-TAME's test does it.

    Min–max on the map's own grid, bilinear upsampling, then every value below the map's
    ``1 − kept_share`` quantile is set to 0.

    Args:
        maps: (B, K, h, w) raw.
        size: (H, W) of the images.
        kept_share: in (0, 1].

    Returns:
        (B, K, H, W) float32 in [0, 1].

    Raises:
        TtameError: ``kept_share`` is outside (0, 1], for example a percentage.
    """
    protocol = Protocol("t-tame", kept_shares=(kept_share,))
    return share_masks(maps.flatten(0, 1), size, kept_share, protocol).reshape(
        *maps.shape[:2], *size
    )


def average_gain(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    kept_share: float = 1.0,
    space: MaskingSpace = "raw",
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    mask: MaskKind = "soft",
    ties: Ties = "kept",
    seed: int = 0,
    shared: SharedResults | None = None,
) -> Tensor:
    """How much of what was missing to certainty is gained when only what the map shows is left.

    ``100 · max(0, p′ − p) / (1 − p)`` (Opti-CAM, Zhang et al., arXiv 2301.07002), the other half
    of Average Drop. Higher is better. Arguments as for :func:`average_drop`.

    Returns:
        (B,) float32 in percent, in [0, 100]. Where p is 1 nothing can be gained: 0.

    Example:
        >>> import torch
        >>> def bright(images):
        ...     brightness = images.mean(dim=(1, 2, 3)).sigmoid()
        ...     return torch.stack([brightness, 1 - brightness], dim=1)
        >>> images = torch.ones(2, 3, 8, 8)
        >>> maps = torch.arange(64.0).reshape(1, 8, 8).repeat(2, 1, 1)
        >>> classes = torch.tensor([0, 1])
        >>> preprocessing = Preprocessing.imagenet(8)
        >>> average_gain(bright, images, maps, classes, preprocessing, kept_share=0.5)
        tensor([ 0.0000, 59.3372])
    """
    before, after = confidences(
        probabilities, images, maps, classes, preprocessing, kept_share=kept_share, space=space,
        map_scaling=map_scaling, upsampling=upsampling, mask=mask, ties=ties, seed=seed,
        shared=shared,
    )  # fmt: skip
    return gain_of(before, after)


def gain_of(before: Tensor, after: Tensor) -> Tensor:
    """``100 · max(0, after − before) / (1 − before)``, 0 where ``before`` is 1.

    Example:
        >>> import torch
        >>> gain_of(torch.tensor([0.5, 0.5, 1.0]), torch.tensor([0.75, 0.4, 1.0]))
        tensor([50.,  0.,  0.])
    """
    missing = 1 - before
    return 100 * (after - before).clamp_min(0) / missing.masked_fill(missing <= 0, 1)


def mean_map(maps: Tensor) -> Tensor:
    """``100 · mean |S|``: how much of the picture a map keeps as a soft mask.

    To be read next to Average Drop; ADCC calls it complexity (Poppi et al., arXiv 2104.10252).
    Neither higher nor lower is better.

    Args:
        maps: (B, H, W) in [0, 1]. In a table they are scaled and resized by the protocol.

    Returns:
        (B,) float32 in percent, in [0, 100].

    Example:
        >>> import torch
        >>> mean_map(torch.tensor([[[0.0, 0.5], [0.5, 1.0]]]))
        tensor([50.])
    """
    return 100 * maps.abs().mean(dim=(1, 2))


_SHARES = {"kept_share": "kept_shares", "space": "masked_in"}

AVERAGE_DROP = Metric(
    name="average_drop",
    title="Average Drop",
    better="lower",
    unit="%",
    paper="Chattopadhyay et al., arXiv 1710.11063",
    measures="the share of the class's probability that is lost when only the most relevant "
    "share of the picture is left",
    cost="1 forward per share",
    function=average_drop,
    options=_SHARES,
    for_each="kept_share",
)

INCREASE_IN_CONFIDENCE = Metric(
    name="increase_in_confidence",
    title="Increase in Confidence",
    better="higher",
    unit="%",
    paper="Chattopadhyay et al., arXiv 1710.11063",
    measures="the share of images whose class becomes more probable when only the most relevant "
    "share of the picture is left",
    cost="none beyond Average Drop",
    function=increase_in_confidence,
    options=_SHARES,
    for_each="kept_share",
)

AVERAGE_GAIN = Metric(
    name="average_gain",
    title="Average Gain",
    better="higher",
    unit="%",
    paper="Zhang et al., arXiv 2301.07002",
    measures="how much of the missing certainty is gained when only the most relevant "
    "share of the picture is left",
    cost="none beyond Average Drop",
    function=average_gain,
    options=_SHARES,
    for_each="kept_share",
)


MEAN_MAP = Metric(
    name="mean_map",
    title="Mean map",
    better="neither",
    unit="%",
    paper="none: to be read together with Average Drop",
    measures="how much of the picture the map keeps as a soft mask; a method that hides nothing "
    "loses nothing, so read Average Drop at 100 % together with it",
    cost="none",
    function=mean_map,
    maps="scaled",
)
