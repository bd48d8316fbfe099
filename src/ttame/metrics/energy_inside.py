"""Energy inside: how much of the map lies on the object."""

from __future__ import annotations

import torch
from torch import Tensor

from ttame.metrics.map_masks import map_values
from ttame.metrics.metric import Metric
from ttame.metrics.pointing_game import without_object_nan
from ttame.metrics.protocol import MapScaling, Protocol, Upsampling


def energy_inside(
    maps: Tensor,
    targets: Tensor,
    *,
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
) -> Tensor:
    """``100 · Σ_object S / Σ S`` with S in [0, 1] (Score-CAM, Wang et al., arXiv 1910.01279).

    The paper's energy-based pointing game. S is scaled by its minimum and maximum, so that no
    energy is negative and maps in any unit compare. Higher is better; the object's share of the
    picture is what chance gives, and what a constant map scores.

    Args:
        maps: (B, h, w) raw.
        targets: (B, H, W) bool, where the object is.
        map_scaling: ``"grid"`` scales maps to [0, 1] before they are resized, ``"pixels"`` after.
        upsampling: how maps are enlarged to the targets' size.

    Returns:
        (B,) float32 in percent, in [0, 100]; NaN without an object.

    Example:
        >>> maps = torch.tensor([[[0.0, 1.0], [2.0, 5.0]]])
        >>> energy_inside(maps, torch.tensor([[[True, False], [False, True]]]))
        tensor([62.5000])
    """
    protocol = Protocol("as asked", map_scaling=map_scaling, upsampling=upsampling)
    values = map_values(maps, (int(targets.shape[1]), int(targets.shape[2])), protocol)
    total = values.sum(dim=(1, 2), keepdim=True)
    values = torch.where(total > 0, values, 1.0)
    share = (values * targets).sum(dim=(1, 2)) / values.sum(dim=(1, 2))
    return without_object_nan(100 * share, targets)


ENERGY_INSIDE = Metric(
    name="energy_inside",
    title="Energy inside",
    better="higher",
    unit="%",
    paper="Wang et al., arXiv 1910.01279",
    measures="the share of the map's value that lies on the object",
    cost="none",
    function=energy_inside,
)
