"""The few-shot loss: keep the class, whatever share of the picture its map is allowed to keep.

T-TAME asks for a mask that keeps the prediction and is small, so one weight decides how much is
hidden, and the order of the places is learned only where that mask happens to end. But a map is
judged, and looked at, at many shares. Here every image is masked at a share of its own, drawn at
random, and nothing has to be balanced against the size of the mask: its mean is given.

With ``z`` the map of the class before any activation, ``v`` its min–max over the picture, ``p`` the
class's probability on the whole image and ``q`` on the masked one::

    mask  =  v^g                  g such that mean(mask) = s,  s ~ U(0.35, 0.75)    soft, 40 %
    mask  =  σ((z/σ_z − t)/0.3)   t such that mean(mask) = s,  s ~ U(0.1, 0.7)      hard, 60 %
    loss  =  mean over the images of  max(1 − q/p, −0.5)

Soft masks are what Average Drop measures at 100 %, hard ones what it measures at 50 % and 15 %.
How bright a map is does not matter to this loss.

Some of the images may have their most relevant places removed instead, by the complement of a hard
mask, and then what is left of the class is the loss::

    mask  =  1 − σ((z/σ_z − t)/0.3)   mean 1 − s,  s ~ U(0.05, 0.5)
    loss  =  min(q/p, 1.5)

``measure`` takes differences of probabilities instead of ratios, ``p − q`` and ``q − p``, which is
what sufficiency and comprehensiveness of texts measure, and which has a bound without being cut.
``shares`` draws the shares of hard masks evenly in their logarithm, down to two of a hundred
places. ``runner_up`` explains the second class of some images, so that maps of classes which the
network does not predict are trained as well.

``random_masks`` adds a loss of another kind, whose gradient does not go through the classifier; see
:mod:`ttame.training.random_mask_agreement`.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal, Self

from ttame.explainers.trained.settings_part import (
    ABOVE_ZERO,
    UP_TO_ONE,
    ZERO_OR_MORE,
    Range,
    number,
)
from ttame.training.loss_parts import LossParts
from ttame.training.objective import Objective, ObjectiveBatch, WhatIsLeft

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_SOFT_MEANS = (0.35, 0.75)
_HARD_MEANS = (0.1, 0.7)
_REMOVED_MEANS = (0.05, 0.5)
"""Without more than half of the picture hardly any class is left, wherever the rest is."""
_SMALLEST_SHARE = 0.02
"""Of shares that are drawn evenly in their logarithm."""
_MOST_REWARD = 0.5
"""For a masked image that is recognised better than the whole one; without a bound, a few images
with tiny probabilities would decide the step. The same bounds what an image may cost whose class
becomes more probable when the most relevant places are removed."""
_ENOUGH_MASKS = Range("0, or 4 and more", lambda value: value == 0 or value >= 4)
"""A correlation of three numbers without their mean and the share of two is always 1 or -1."""
_MASKS_IN_VALIDATION = 16
"""Enough for a mean over many photos; a training may take hundreds."""


@dataclasses.dataclass(frozen=True)
class KeptShareObjective(Objective):
    """The objective of few-shot heads: the prediction is kept at every share of the picture.

    Attributes:
        hard: The share of images that are masked by a threshold; the others are masked by a power.
        edge: The width of a threshold, in standard deviations of the map.
        straight_through: Thresholds make masks of zeros and ones, with the gradient of their edge.
        removing: The share of images whose most relevant places are removed instead of kept; the
            loss is then what is left of the class.
        measure: Whether a loss is a ratio of probabilities, as in Average Drop, or their
            difference, as in sufficiency and comprehensiveness.
        shares: Whether the shares that thresholds keep or remove are drawn evenly, or evenly in
            their logarithm, from 2 % on.
        runner_up: The share of images whose second most probable class is explained instead of the
            first.
        random_masks: How many random masks are shown for each photo or text in each step, to
            compare what they leave of the class with how much of the map they cover; 0 for none, or
            4 and more. A step then takes as many forward passes more, and no backward pass.
        random_weight: Weight of how little the two agree, 1 − their correlation.
        random_measure: What a random mask leaves of a class: its probability compared with that on
            the whole input (ratio), or the logarithm of its odds.
        consistency: Weight of how little the map of a photo agrees with that of the photo mirrored
            and shifted, 1 − their correlation; a step then takes one forward pass more.
    """

    kind: Literal["kept-share"] = "kept-share"
    hard: float = number(0.6, UP_TO_ONE)
    edge: float = number(0.3, ABOVE_ZERO)
    straight_through: bool = False
    removing: float = number(0.0, UP_TO_ONE)
    measure: Literal["ratio", "difference"] = "ratio"
    shares: Literal["even", "logarithmic"] = "even"
    runner_up: float = number(0.0, UP_TO_ONE)
    consistency: float = number(0.0, ZERO_OR_MORE)
    random_masks: int = number(0, _ENOUGH_MASKS)
    random_weight: float = number(1.0, ABOVE_ZERO)
    random_measure: WhatIsLeft = "ratio"

    bounded: ClassVar[bool] = True
    explains: ClassVar[tuple[str, ...]] = ("images", "texts")

    def loss(self, batch: ObjectiveBatch) -> tuple[LossParts, Tensor]:
        """See the module."""
        rows = _explained(batch, self.runner_up)
        maps = batch.maps(rows)
        masks, removed = random_masks(maps, self, batch.generator, batch.first_image, batch.places)
        scores = batch.masked_scores(masks)
        before, after = (
            batch.classifier.outputs.probabilities(of).gather(1, rows)[:, 0]
            for of in (batch.scores, scores)
        )
        removed_or_none = removed if self.removing else None
        parts = kept_share_loss(before, after, removed_or_none, self.measure)
        return LossParts({**parts.weighted, **self._more_parts(batch, rows, maps)}), maps

    def in_validation(self) -> Self:
        """With at most 16 random masks."""
        masks = min(self.random_masks, _MASKS_IN_VALIDATION)
        return dataclasses.replace(self, random_masks=masks)

    def _more_parts(self, batch: ObjectiveBatch, rows: Tensor, maps: Tensor) -> dict[str, Tensor]:
        """What is asked of the maps (B, 1, h, w) besides keeping classes (B, 1), weighted."""
        parts = {}
        if self.consistency:
            from ttame.training.consistency import inconsistency

            parts["consistency"] = self.consistency * inconsistency(batch, rows, maps)
        if self.random_masks:
            from ttame.training.random_mask_agreement import random_mask_disagreement

            found = random_mask_disagreement(
                batch, rows, maps, self.random_masks, self.random_measure
            )
            parts["random_masks"] = self.random_weight * found
        return parts


def _explained(batch: ObjectiveBatch, runner_up: float) -> Tensor:
    """(B, 1) int64: the top-1 classes, and of some images, drawn at random, the second ones."""
    import torch

    rows = batch.labels[:, None]
    if not runner_up or batch.scores.shape[1] < 2:
        return rows
    # Their own numbers, so that masks are those of a training without.
    own = torch.Generator().manual_seed(batch.generator.initial_seed() + 2)
    count = batch.first_image + len(rows)
    drawn = torch.rand(count, generator=own, dtype=torch.float32)[batch.first_image :]
    second = batch.scores.topk(2, dim=1).indices[:, 1:]
    return torch.where((drawn < runner_up).to(rows.device)[:, None], second, rows)


def kept_share_loss(
    before: Tensor,
    after: Tensor,
    removed: Tensor | None = None,
    measure: Literal["ratio", "difference"] = "ratio",
) -> LossParts:
    """Compute the loss of masked images.

    Args:
        before: (B,) probabilities of the explained classes on the whole images, in (0, 1].
        after: (B,) the same on the masked images.
        removed: (B,) bool, whether the most relevant places are removed; they are kept on the
            other images, and on all if not given.
        measure: of the loss; see :class:`KeptShareObjective`.

    Returns:
        ``drop``, and with ``removed`` also ``left``: each the sum over its images divided by B.

    Example:
        >>> import torch
        >>> before, after = torch.tensor([0.8, 0.1]), torch.tensor([0.6, 0.9])
        >>> kept_share_loss(before, after).as_floats()
        {'loss': -0.125, 'drop': -0.125}
        >>> kept_share_loss(before, after, torch.tensor([True, False])).as_floats()
        {'loss': 0.125, 'drop': -0.25, 'left': 0.375}
    """
    if measure == "difference":
        drop, left = before - after, after - before
    else:
        kept = after / before
        drop, left = (1 - kept).clamp_min(-_MOST_REWARD), kept.clamp_max(1 + _MOST_REWARD)
    if removed is None:
        return LossParts({"drop": drop.mean()})
    return LossParts({"drop": (drop * ~removed).mean(), "left": (left * removed).mean()})


def random_masks(
    maps: Tensor,
    objective: KeptShareObjective,
    generator: torch.Generator,
    first_image: int = 0,
    places: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Masks of random shares, one for every image.

    Args:
        maps: (B, 1, h, w), before any activation.
        objective: says which kinds of masks there are, and how many of each.
        generator: on the CPU; decides shares and kinds.
        first_image: where the maps begin in a batch that several processes share. Each image gets
            the mask that it would get in one process, if the generators are alike.
        places: (B, 1, h, w) bool, at least two of each image: shares are theirs, and the mask is 1
            at all others; ``None`` for all places.

    Returns:
        Masks (B, 1, h, w) in [0, 1], differentiable, and (B,) bool, whether they remove the most
        relevant places.
    """
    import torch

    # A row for each image, the earlier ones of the batch too, so that rows do not depend on them.
    count = first_image + len(maps)
    columns = 4 if objective.removing else 3
    drawn = torch.rand(count, columns, generator=generator, dtype=torch.float32)[first_image:].T
    # Without the fourth draw, trainings that remove nothing are what they were before it existed.
    removed = drawn[-1] < objective.removing
    if places is None:
        masks = _masks(maps, objective, drawn, removed)
    else:
        rows = zip(maps, places, drawn.T, removed, strict=True)
        masks = torch.stack([_row_mask(*row, objective) for row in rows])
    return masks, removed.to(maps.device)


def _row_mask(
    row: Tensor, places: Tensor, drawn: Tensor, removed: Tensor, objective: KeptShareObjective
) -> Tensor:
    """The mask of one map (1, h, w), as if its places were all there is."""
    inside = row[places][None, None, None]
    mask = _masks(inside, objective, drawn[:, None], removed[None])
    return row.new_ones(row.shape).masked_scatter(places, mask)


def _masks(maps: Tensor, objective: KeptShareObjective, drawn: Tensor, removed: Tensor) -> Tensor:
    """Masks by numbers in [0, 1) that were drawn for each image: (3, B) or more."""
    import torch

    from ttame.images.saliency_maps import to_unit_range
    from ttame.training.masks_with_means import raised_to_means, thresholded_to_means

    soft_means = _spread(_SOFT_MEANS, drawn[0]).to(maps)
    hard_means, removed_means = (
        _spread(means, drawn[1], objective.shares).to(maps)
        for means in (_HARD_MEANS, _REMOVED_MEANS)
    )
    removed, hard = removed.to(maps.device), (drawn[2] < objective.hard).to(maps.device)
    tops = thresholded_to_means(
        maps, torch.where(removed, removed_means, hard_means), objective.edge
    )
    if objective.straight_through:
        tops = tops + (tops.detach().round() - tops.detach())
    removed, hard = removed[:, None, None, None], hard[:, None, None, None]
    soft = raised_to_means(to_unit_range(maps), soft_means)
    return torch.where(removed, 1 - tops, torch.where(hard, tops, soft))


def _spread(means: tuple[float, float], drawn: Tensor, shares: str = "even") -> Tensor:
    """Numbers in [0, 1) spread over a range of means; over its logarithm from a smaller one on."""
    low, high = means
    if shares == "logarithmic":
        return high * (_SMALLEST_SHARE / high) ** drawn
    return low + (high - low) * drawn
