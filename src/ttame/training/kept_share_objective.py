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
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, ClassVar, Literal

from ttame.training.loss_parts import LossParts
from ttame.training.objective import Objective, ObjectiveBatch

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_SOFT_MEANS = (0.35, 0.75)
_HARD_MEANS = (0.1, 0.7)
_HARD_SHARE = 0.6
"""Of the images that are masked by a threshold; the others are masked by a power."""
_SOFTNESS = 0.3
"""Width of the threshold, in standard deviations of the map."""
_MOST_REWARD = 0.5
"""For a masked image that is recognised better than the whole one; without a bound, a few images
with tiny probabilities would decide the step."""


@dataclasses.dataclass(frozen=True)
class KeptShareObjective(Objective):
    """The objective of few-shot heads: the prediction is kept at every share of the picture."""

    kind: Literal["kept-share"] = "kept-share"

    bounded: ClassVar[bool] = True

    def loss(self, batch: ObjectiveBatch) -> tuple[LossParts, Tensor]:
        """See the module."""
        rows = batch.labels[:, None]
        maps = batch.maps(rows)
        scores = batch.masked_scores(random_masks(maps, batch.generator, batch.first_image))
        before, after = (
            batch.classifier.outputs.probabilities(of).gather(1, rows)[:, 0]
            for of in (batch.scores, scores)
        )
        return kept_share_loss(before, after), maps


def kept_share_loss(before: Tensor, after: Tensor) -> LossParts:
    """Compute the loss of masked images.

    Args:
        before: (B,) probabilities of the explained classes on the whole images, in (0, 1].
        after: (B,) the same on the masked images.

    Example:
        >>> import torch
        >>> kept_share_loss(torch.tensor([0.8, 0.1]), torch.tensor([0.6, 0.9])).as_floats()
        {'loss': -0.125, 'drop': -0.125}
    """
    return LossParts({"drop": (1 - after / before).clamp_min(-_MOST_REWARD).mean()})


def random_masks(maps: Tensor, generator: torch.Generator, first_image: int = 0) -> Tensor:
    """Masks of random shares, soft or hard, one for every image.

    Args:
        maps: (B, 1, h, w), before any activation.
        generator: on the CPU; decides shares and kinds.
        first_image: where the maps begin in a batch that several processes share. Each image gets
            the mask that it would get in one process, if the generators are alike.

    Returns:
        (B, 1, h, w) in [0, 1], differentiable.
    """
    import torch

    from ttame.images.saliency_maps import to_unit_range
    from ttame.training.masks_with_means import raised_to_means, thresholded_to_means

    # A row for each image, the earlier ones of the batch too, so that rows do not depend on them.
    drawn = torch.rand(first_image + len(maps), 3, generator=generator, dtype=torch.float32)[
        first_image:
    ].T
    soft_means, hard_means = (
        (low + (high - low) * shares).to(maps)
        for (low, high), shares in zip((_SOFT_MEANS, _HARD_MEANS), drawn[:2], strict=True)
    )
    hard = (drawn[2] < _HARD_SHARE).to(maps.device)
    return torch.where(
        hard[:, None, None, None],
        thresholded_to_means(maps, hard_means, _SOFTNESS),
        raised_to_means(to_unit_range(maps), soft_means),
    )
