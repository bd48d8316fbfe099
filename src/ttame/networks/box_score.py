"""The score of a box: a detector as a network that says how sure it is of one object."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ttame.errors import ClassifierError, kind_of
from ttame.networks.given_module import refuse_other_than_module


class ScoreOfBox(nn.Module):
    """A detector as a network of one probability, for :class:`ttame.Classifier`.

    Of all boxes that the detector finds in an image, with the label that is asked for, it is the
    largest product of score and overlap (intersection over union) with the box that is asked for:
    the score of the box itself while it is found as it was, and 0 if nothing there is found. The
    overlap is held fixed in gradients, so that maps say what makes the detector surer of the box,
    not what moves it.

    Pass ``outputs="sigmoid probabilities"`` to the classifier: the class score is the logarithm of
    the odds of that probability.

    Args:
        detector: maps (B, 3, H, W) to one dictionary per image with ``boxes``, (N, 4) left, top,
            right, bottom in pixels of the images as it gets them; ``scores``, (N,) in [0, 1]; and
            ``labels``, (N,) int; as torchvision's detectors do. It is used as it is.
        box: left, top, right, bottom.
        label: the label of the object; any if not given.

    Example:
        >>> class Detector(nn.Module):
        ...     def forward(self, images):
        ...         boxes = torch.tensor([[0.0, 0.0, 4.0, 4.0], [4.0, 4.0, 8.0, 8.0]])
        ...         return [{"boxes": boxes, "scores": torch.tensor([0.9, 0.6]),
        ...                  "labels": torch.tensor([1, 2])} for _ in images]
        >>> ScoreOfBox(Detector(), (0, 0, 4, 8), label=1)(torch.zeros(1, 3, 8, 8))
        tensor([[0.4500]])
    """

    def __init__(
        self, detector: nn.Module, box: Sequence[float] | Tensor, label: int | None = None
    ) -> None:
        super().__init__()
        refuse_other_than_module(detector, "detector")
        left, top, right, bottom = _checked_box(box)
        self.network = detector
        self.box = (left, top, right, bottom)
        self.label = label

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, 1) in [0, 1]."""
        found = self.network(images)
        if not isinstance(found, list | tuple) or not all(_is_detection(each) for each in found):
            raise ClassifierError(
                f"a detector that returns {_in_words(found)}",
                allowed="a list with one dictionary per image: boxes, scores, labels",
                remedy="a module around it that does, in eval mode",
            )
        return torch.stack([self._score(each, images) for each in found])

    def _score(self, found: Mapping[str, Tensor], images: Tensor) -> Tensor:
        overlaps = overlaps_with(self.box, found["boxes"].detach())
        if self.label is not None:
            overlaps = overlaps * (found["labels"] == self.label)
        products = found["scores"] * overlaps.to(found["scores"].dtype)
        # Joined with what was found, so that gradients have a way where nothing was.
        nothing = products.new_zeros(1)
        return torch.cat([products, nothing]).max(dim=0, keepdim=True).values.to(images.dtype)


def overlaps_with(box: Sequence[float], boxes: Tensor) -> Tensor:
    """Intersection over union of one box with each of (N, 4) boxes, (N,) in [0, 1].

    Example:
        >>> overlaps_with((0, 0, 2, 2), torch.tensor([[0.0, 0, 2, 2], [1, 0, 3, 2], [4, 4, 5, 5]]))
        tensor([1.0000, 0.3333, 0.0000])
    """
    left, top, right, bottom = box
    wide = (boxes[:, 2].clamp_max(right) - boxes[:, 0].clamp_min(left)).clamp_min(0)
    high = (boxes[:, 3].clamp_max(bottom) - boxes[:, 1].clamp_min(top)).clamp_min(0)
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    shared = wide * high
    return shared / (areas + (right - left) * (bottom - top) - shared)


def _checked_box(box: Any) -> tuple[float, float, float, float]:
    try:
        left, top, right, bottom = (float(side) for side in box)
    except (TypeError, ValueError):
        left = top = right = bottom = 0.0
    if not (left < right and top < bottom):
        raise ClassifierError(
            f"box {box!r:.60}", allowed="left, top, right, bottom in pixels of the network's input"
        )
    return left, top, right, bottom


def _is_detection(found: Any) -> bool:
    return isinstance(found, Mapping) and {"boxes", "scores", "labels"} <= found.keys()


def _in_words(found: Any) -> str:
    if isinstance(found, Tensor):
        return f"a tensor of shape {tuple(found.shape)}"
    if isinstance(found, Mapping):
        return f"a dictionary of {', '.join(map(str, found))}"[:100]
    return f"{kind_of(found)}"
