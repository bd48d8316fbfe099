"""Pointing game: whether the map is highest where the object is."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ttame.errors import TtameError
from ttame.metrics.map_masks import map_values
from ttame.metrics.metric import Metric
from ttame.metrics.protocol import MapScaling, Protocol, Upsampling


def pointing_game(
    maps: Tensor,
    targets: Tensor,
    *,
    tolerance: int = 0,
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
) -> Tensor:
    """Whether the map's maximum, at the image's size, lies on the object.

    A hit if it does or if the object is at most ``tolerance`` pixels away (Zhang et al., arXiv
    1608.00507, allow 15). Tables average the images of a class first, then the classes. Higher is
    better.

    Deviation: where several pixels share the maximum, the share of them that hit, which is what
    breaking ties at random gives on average. A constant map so scores what chance does, wherever
    the first of its pixels lies.

    Args:
        maps: (B, h, w) raw.
        targets: (B, H, W) bool, where the object is.
        tolerance: in pixels.
        map_scaling: ``"grid"`` scales maps to [0, 1] before they are resized, ``"pixels"`` after.
        upsampling: how maps are enlarged to the targets' size.

    Returns:
        (B,) float32 in percent: 0 or 100 unless there are ties; NaN without an object.

    Example:
        >>> maps = torch.tensor([[[0.0, 1.0], [2.0, 5.0]]])
        >>> targets = torch.tensor([[[False, False], [True, False]]])
        >>> pointing_game(maps, targets), pointing_game(maps, targets, tolerance=1)
        (tensor([0.]), tensor([100.]))
    """
    protocol = Protocol("as asked", map_scaling=map_scaling, upsampling=upsampling)
    values = map_values(maps, (int(targets.shape[1]), int(targets.shape[2])), protocol)
    highest = values == values.amax(dim=(1, 2), keepdim=True)
    hits = highest & near(targets, tolerance)
    share = hits.sum(dim=(1, 2)) / highest.sum(dim=(1, 2))
    return without_object_nan(100 * share, targets)


def near(targets: Tensor, distance: int) -> Tensor:
    """Where the object is at most ``distance`` pixels away.

    Args:
        targets: (B, H, W) bool.
        distance: Euclidean, in pixels.

    Returns:
        (B, H, W) bool.

    Raises:
        TtameError: the distance is negative.

    Example:
        >>> near(torch.tensor([[[True, False, False]]]), 1)
        tensor([[[ True,  True, False]]])
    """
    if distance < 0:
        raise TtameError(f"tolerance {distance}", allowed="at least 0 pixels", remedy="15")
    offsets = torch.arange(-distance, distance + 1, device=targets.device)
    disc = (offsets[:, None] ** 2 + offsets**2 <= distance**2).float()
    reached = F.conv2d(targets[:, None].float(), disc[None, None], padding=distance)
    return reached[:, 0] > 0.5


def without_object_nan(values: Tensor, targets: Tensor) -> Tensor:
    """NaN for the images whose object is nowhere, (B,) float32; the other values as they are."""
    return values.masked_fill(~targets.flatten(1).any(dim=1), torch.nan)


POINTING_GAME = Metric(
    name="pointing_game",
    title="Pointing game",
    better="higher",
    unit="%",
    paper="Zhang et al., arXiv 1608.00507",
    measures="the share of images whose map is highest on the object, averaged over classes",
    cost="none",
    function=pointing_game,
    per_class=True,
)
