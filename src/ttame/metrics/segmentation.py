"""ImageNet-segmentation: the map, cut at its mean, as a segmentation of the object."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from ttame.metrics.map_masks import map_values
from ttame.metrics.metric import Column, Metric
from ttame.metrics.pointing_game import without_object_nan
from ttame.metrics.protocol import MapScaling, Protocol, Upsampling

_CLASSES = ("background", "foreground")


def pixel_accuracy(
    maps: Tensor,
    targets: Tensor,
    *,
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
) -> Tensor:
    """Share of pixels that ``S > mean(S)`` puts on the right side of the object's border.

    Chefer et al., arXiv 2012.09838, on Guillaumin et al.'s ImageNet-segmentation; S is scaled by
    its minimum and maximum. Higher is better. Images have one size, so that the mean over images
    is the accuracy over all pixels.

    Args:
        maps: (B, h, w) raw.
        targets: (B, H, W) bool, where the object is.
        map_scaling: ``"grid"`` scales maps to [0, 1] before they are resized, ``"pixels"`` after.
        upsampling: how maps are enlarged to the targets' size.

    Returns:
        (B,) float32 in percent; NaN without an object.

    Example:
        >>> maps = torch.tensor([[[0.0, 1.0], [4.0, 5.0]]])
        >>> pixel_accuracy(maps, torch.tensor([[[False, True], [True, True]]]))
        tensor([75.])
    """
    right = _foreground(_values(maps, targets, map_scaling, upsampling)) == targets
    return without_object_nan(100 * right.float().mean(dim=(1, 2)), targets)


def overlaps(
    maps: Tensor,
    targets: Tensor,
    *,
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
) -> dict[str, Tensor]:
    """Pixels that segmentation and object share, and that either covers, for both classes.

    Arguments as for :func:`pixel_accuracy`.

    Returns:
        ``"intersection.background"``, ``"union.background"``, ``"intersection.foreground"`` and
        ``"union.foreground"``, (B,) float32 each as shares of the picture; NaN without an object.

    Example:
        >>> maps = torch.tensor([[[0.0, 1.0], [4.0, 5.0]]])
        >>> found = overlaps(maps, torch.tensor([[[False, True], [True, True]]]))
        >>> found["intersection.foreground"], found["union.foreground"]
        (tensor([0.5000]), tensor([0.7500]))
    """
    found = _foreground(_values(maps, targets, map_scaling, upsampling))
    shares = {}
    for name, ours, theirs in zip(_CLASSES, (~found, found), (~targets, targets), strict=True):
        shares[f"intersection.{name}"] = (ours & theirs).float().mean(dim=(1, 2))
        shares[f"union.{name}"] = (ours | theirs).float().mean(dim=(1, 2))
    return {name: without_object_nan(share, targets) for name, share in shares.items()}


def mean_iou(means: Mapping[str, np.ndarray]) -> np.ndarray:
    """Mean over the two classes of intersection over union, pooled over the set.

    Args:
        means: the means of what :func:`overlaps` returns, over images.

    Returns:
        In percent, in the shape of the means. A class that neither side has counts as found.

    Example:
        >>> half, whole = np.array([0.5]), np.array([1.0])
        >>> mean_iou({"intersection.background": half, "union.background": half,
        ...           "intersection.foreground": half, "union.foreground": whole})
        array([75.])
    """
    ratios = []
    for name in _CLASSES:
        intersection, union = means[f"intersection.{name}"], means[f"union.{name}"]
        ratios.append(np.where(union > 0, intersection / np.where(union > 0, union, 1), 1.0))
    return 100 * (ratios[0] + ratios[1]) / 2


def average_precision(
    maps: Tensor,
    targets: Tensor,
    *,
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
) -> Tensor:
    """Average precision of the scores [1 − S, S] for background and object, pooled.

    Every pixel is ranked twice, as background by ``1 − S`` and as object by S;
    ``AP = Σ_n (R_n − R_{n−1}) P_n`` over falling thresholds, equal scores together. The mean over
    images is the published mAP. Arguments as for :func:`pixel_accuracy`.

    Returns:
        (B,) float32 in percent; NaN without an object.

    Example:
        >>> maps = torch.tensor([[[0.0, 1.0], [4.0, 5.0]]])
        >>> average_precision(maps, torch.tensor([[[False, False], [True, True]]]))
        tensor([100.])
    """
    values = _values(maps, targets, map_scaling, upsampling).flatten(1)
    object_ = targets.flatten(1)
    scores = torch.cat([1 - values, values], dim=1)
    falling, order = scores.sort(dim=1, descending=True)
    right = torch.cat([~object_, object_], dim=1).gather(1, order).float()
    ranks = torch.arange(1, right.shape[1] + 1, device=right.device)
    precision = right.cumsum(dim=1) / ranks
    # Equal scores are reached together, so all of them have the precision of the last.
    rising = -falling
    last = torch.searchsorted(rising.contiguous(), rising.contiguous(), right=True) - 1
    total = (precision.gather(1, last) * right).sum(dim=1) / right.sum(dim=1)
    return without_object_nan(100 * total, targets)


def _values(
    maps: Tensor, targets: Tensor, map_scaling: MapScaling, upsampling: Upsampling
) -> Tensor:
    protocol = Protocol("as asked", map_scaling=map_scaling, upsampling=upsampling)
    return map_values(maps, (int(targets.shape[1]), int(targets.shape[2])), protocol)


def _foreground(values: Tensor) -> Tensor:
    return values > values.mean(dim=(1, 2), keepdim=True)


def _columns(metric: Metric, protocol: Protocol) -> tuple[Column, ...]:
    names = [f"{part}.{side}" for side in _CLASSES for part in ("intersection", "union")]
    return (
        Column("pixel_accuracy", "Pixel accuracy"),
        Column("mean_average_precision", "mAP"),
        Column(
            "mean_iou",
            "mIoU",
            parts=tuple(f"segmentation.{name}" for name in names),
            combine=lambda means: mean_iou({n: means[f"segmentation.{n}"] for n in names}),
        ),
    )


SEGMENTATION = Metric(
    name="segmentation",
    title="Segmentation",
    better="higher",
    unit="%",
    paper="Chefer et al., arXiv 2012.09838",
    measures="how well the map, cut at its mean, segments the object",
    cost="none",
    function=overlaps,
    also={"pixel_accuracy": pixel_accuracy, "mean_average_precision": average_precision},
    columns=_columns,
)
