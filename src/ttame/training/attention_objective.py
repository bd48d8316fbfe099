"""The loss of T-TAME, TAME and L-CAM: keep the prediction with a small and smooth mask.

With ``y`` the classifier's own top-1 class on the unmasked image and ``S`` the selected maps after
the sigmoid, B × K' × h × w::

    loss = 1.5 · CE(f(masked image), y)  +  2 · mean((S + 0.0005)^0.3)  +  0.01 · V
    V    = 1/(2B) · Σ over all maps [ Σ(∂_x S)² + Σ(∂_y S)² + 0.3 · Σ_border S² ]

(arXiv 2403.04523, 2301.07407.) No labels are needed.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal

from ttame.explainers.trained.settings_part import ABOVE_ZERO, ZERO_OR_MORE, number
from ttame.training.loss_parts import LossParts
from ttame.training.objective import Objective, ObjectiveBatch

if TYPE_CHECKING:
    from torch import Tensor

MapSelection = Literal["random", "diagonal", "max"]

_AREA_OFFSET = 0.0005
"""Keeps the slope of the power finite at 0; the published constant."""


@dataclasses.dataclass(frozen=True)
class TTameObjective(Objective):
    """The published objective. Its constants belong to a batch of 32: smoothness sums B² maps.

    Attributes:
        map_selection: Which maps area and smoothness shape: random, each image's maps for the
            labels of the whole batch (published); diagonal, the own label's only; or max, as many
            maps as the batch has images, those of highest logit.
        cross_entropy_weight: Weight of the cross entropy in the t-tame loss.
        area_weight: Weight of the area term in the t-tame loss.
        area_power: Power to which the maps are raised in the area term.
        smoothness_weight: Weight of the smoothness term in the t-tame loss.
        border_weight: Weight of the border in the smoothness term.
    """

    kind: Literal["t-tame"] = "t-tame"
    map_selection: MapSelection = "random"
    cross_entropy_weight: float = number(1.5, ZERO_OR_MORE)
    area_weight: float = number(2.0, ZERO_OR_MORE)
    area_power: float = number(0.3, ABOVE_ZERO)
    smoothness_weight: float = number(0.01, ZERO_OR_MORE)
    border_weight: float = number(0.3, ZERO_OR_MORE)

    def loss(self, batch: ObjectiveBatch) -> tuple[LossParts, Tensor]:
        """See the module."""
        classes = selected_classes(batch.scores, batch.labels_of_all(), self.map_selection)
        maps = batch.maps(classes)
        own = own_maps(maps, self.map_selection, batch.first_image)
        scores = batch.masked_scores(own.sigmoid())
        log_probabilities = batch.classifier.outputs.log_probabilities(scores)
        return objective(maps.sigmoid(), log_probabilities, batch.labels, self), own


def objective(
    maps: Tensor, log_probabilities: Tensor, labels: Tensor, settings: TTameObjective
) -> LossParts:
    """Compute the weighted loss terms.

    Args:
        maps: (B, K', h, w), the selected maps after the sigmoid, in (0, 1).
        log_probabilities: (B, C), of the masked images. Of findings that do not exclude each
            other the cross entropy is that of the label alone.
        labels: (B,) int64, the classifier's top-1 on the unmasked images.
        settings: weights, power and border weight.
    """
    import torch.nn.functional as F

    return LossParts(
        {
            "cross_entropy": settings.cross_entropy_weight * F.nll_loss(log_probabilities, labels),
            "area": settings.area_weight * area(maps, settings.area_power),
            "smoothness": settings.smoothness_weight * smoothness(maps, settings.border_weight),
        }
    )


def area(maps: Tensor, power: float = 0.3) -> Tensor:
    """``mean((S + 0.0005)^power)``; with power 1 the plain mean, as published.

    Example:
        >>> import torch
        >>> area(torch.full((1, 1, 2, 2), 0.25), power=1)
        tensor(0.2500)
    """
    if power == 1:
        return maps.mean()
    return (maps + _AREA_OFFSET).pow(power).mean()


def smoothness(maps: Tensor, border_weight: float = 0.3) -> Tensor:
    """Squared forward differences, plus the weighted squares of the border, over 2B.

    First and last row and first and last column count, so corners count twice. The sum runs over
    all maps but is divided by the batch size only, so with B maps per image its weight grows with
    the batch: the published coefficient belongs to B = 32.

    Args:
        maps: (B, K', h, w), not necessarily square.
        border_weight: 0.3 as published.

    Example:
        >>> import torch
        >>> smoothness(torch.ones(1, 1, 2, 2), border_weight=1.0)  # 8 border values, over 2
        tensor(4.)
    """
    across = (maps[..., :, 1:] - maps[..., :, :-1]).square().sum()
    down = (maps[..., 1:, :] - maps[..., :-1, :]).square().sum()
    edges = (maps[..., 0, :], maps[..., -1, :], maps[..., :, 0], maps[..., :, -1])
    border = sum((edge.square().sum() for edge in edges), start=maps.new_zeros(()))
    return (across + down + border_weight * border) / (2 * len(maps))


def selected_classes(logits: Tensor, batch_labels: Tensor, selection: MapSelection) -> Tensor:
    """Say which maps of every image area and smoothness shape.

    Args:
        logits: (B, C) of this process's unmasked images.
        batch_labels: (B',) int64, the labels of the whole batch, over all processes.
        selection: see :class:`TTameObjective`.

    Returns:
        (B',) int64, the same for all images, for ``"random"``; else (B, K'): K' = 1 for
        ``"diagonal"``, B' (at most C) for ``"max"``.
    """
    if selection == "random":
        return batch_labels
    count = 1 if selection == "diagonal" else min(len(batch_labels), logits.shape[1])
    return logits.topk(count, dim=1).indices


def own_maps(maps: Tensor, selection: MapSelection, first_image: int = 0) -> Tensor:
    """Pick each image's map for its own label out of the selected ones.

    Args:
        maps: (B, K', h, w), computed for :func:`selected_classes`.
        selection: as there.
        first_image: where this process's images begin in the whole batch.

    Returns:
        (B, 1, h, w).
    """
    if selection == "random":
        window = maps[:, first_image : first_image + len(maps)]
        return window.diagonal(dim1=0, dim2=1).permute(2, 0, 1)[:, None]
    return maps[:, :1]
