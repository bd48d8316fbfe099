"""Class sensitivity: whether another class gets another map."""

from __future__ import annotations

import torch
from torch import Tensor

from ttame.metrics.map_correlation import pearson_correlation
from ttame.metrics.measuring_batch import Explain, Probabilities
from ttame.metrics.metric import Metric
from ttame.metrics.shared_results import SharedResults


def class_sensitivity(
    explain: Explain,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    probabilities: Probabilities,
    *,
    shared: SharedResults | None = None,
) -> Tensor:
    """How alike the maps of the explained class and of the least probable class are.

    Pearson's correlation of the two raw maps (Rebuffi et al., CVPR 2020). Lower is better. The
    least probable class, because the second most probable one is often a sibling that lies in
    the same place, so that equal maps would be right.

    Args:
        explain: the method that made the maps.
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps of the explained classes.
        classes: (B,) int64, the explained classes.
        probabilities: (B, 3, H, W) normalised images to (B, C) probabilities in [0, 1].
        shared: what other metrics of the same images have computed.

    Returns:
        (B,) float32 in [−1, 1]; exactly 1 where both maps are the same, constant ones included;
        0 where only one of them is constant.

    Example:
        >>> fixed = torch.tensor([[[0.0, 1.0], [2.0, 3.0]]])
        >>> class_sensitivity(lambda images, classes: fixed, torch.rand(1, 3, 2, 2), fixed,
        ...                   torch.tensor([0]), lambda images: torch.tensor([[0.7, 0.2, 0.1]]))
        tensor([1.])
    """
    before = (shared or SharedResults()).once(probabilities, images)
    others = explain(images, least_probable(before, classes))
    same = (maps == others).flatten(1).all(dim=1)
    return pearson_correlation(maps, others).masked_fill(same, 1)


def least_probable(probabilities: Tensor, classes: Tensor) -> Tensor:
    """The least probable class other than the explained one; the first of equals.

    Args:
        probabilities: (B, C).
        classes: (B,) int64.

    Returns:
        (B,) int64.

    Example:
        >>> least_probable(torch.tensor([[0.7, 0.1, 0.2], [0.2, 0.1, 0.7]]), torch.tensor([0, 1]))
        tensor([1, 0])
    """
    return probabilities.scatter(1, classes[:, None], torch.inf).argmin(dim=1)


CLASS_SENSITIVITY = Metric(
    name="class_sensitivity",
    title="Class sensitivity",
    better="lower",
    unit="",
    paper="Rebuffi et al., CVPR 2020",
    measures=(
        "the correlation of the map with that of the least probable class; 1 means that the map "
        "does not depend on the class"
    ),
    cost="1 map of another class",
    function=class_sensitivity,
    bounds=(-1.0, 1.0),
)
