"""Class scores of a segmentation network: the sum of a class's logits over a region."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttame.errors import ClassifierError
from ttame.networks.frozen_network import frozen
from ttame.networks.given_module import refuse_other_than_module
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.network_trace import blank_image


class ScoresOfRegions(nn.Module):
    """A segmentation network as one of class scores, for :class:`ttame.Classifier`.

    The score of class k is the sum, or the average, of its logits over a region: a map then says
    what in the image raises them there, also from outside the region.

    Args:
        network: maps (B, 3, H, W) to (B, K, h, w) logits, or to an output that holds them as
            ``["out"]`` (torchvision) or ``.logits`` (transformers). It is used as it is. Where
            (h, w) is not (H, W), the logits are enlarged, bilinearly.
        region: (H, W) bool, the same for all classes, or (K, H, W), one for each; of the images as
            the network gets them. :func:`predicted_regions` makes it. If not given, the region of
            class k is where k has the largest logit: in each image separately, and in each masked
            one, which is rarely what perturbation methods and metrics should measure.
        average: the average over the region instead of the sum; of one region for all classes, so
            that a softmax of the scores makes probabilities that pages and metrics can speak of.

    Example:
        >>> region = torch.zeros(4, 4, dtype=torch.bool)
        >>> region[0, :2] = True
        >>> scores = ScoresOfRegions(nn.Conv2d(3, 5, 1), region)(torch.rand(2, 3, 4, 4))
        >>> scores.shape
        torch.Size([2, 5])
    """

    region: Tensor | None

    def __init__(
        self, network: nn.Module, region: Tensor | None = None, *, average: bool = False
    ) -> None:
        super().__init__()
        refuse_other_than_module(network)
        if region is not None:
            region = _checked_region(region).to(blank_image(network, (1, 1)).device)
        self.network = network
        self.average = average
        self.register_buffer("region", region, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, H, W) to (B, K)."""
        size = (int(images.shape[2]), int(images.shape[3]))
        logits = pixel_logits(self.network(images), size)
        region = _regions_of(logits) if self.region is None else self.region
        allowed = (logits.shape[2:], logits.shape[1:], logits.shape)
        if region.shape not in allowed:
            raise ClassifierError(
                f"a region of shape {tuple(region.shape)} for {logits.shape[1]} classes on images "
                f"of {size[0]}x{size[1]} pixels",
                allowed=f"{size} or ({logits.shape[1]}, {size[0]}, {size[1]})",
                remedy="ttame.predicted_regions(network, images)",
            )
        weights = region.to(logits.dtype)
        if self.average:
            weights = weights / weights.sum(dim=(-2, -1), keepdim=True).clamp_min(1)
        return (logits * weights).sum(dim=(2, 3))


@gives_everything_back
def predicted_regions(network: nn.Module, images: Tensor) -> Tensor:
    """Where a segmentation network sees each class in one image.

    Args:
        network: as for :class:`ScoresOfRegions`; in eval mode meanwhile.
        images: (1, 3, H, W), normalised.

    Returns:
        (K, H, W) bool: for each class, where its logit is the largest.

    Raises:
        ClassifierError: not one image, or the network returns no logits of pixels.

    Example:
        >>> predicted_regions(nn.Conv2d(3, 5, 1), torch.rand(1, 3, 4, 4)).sum().item()
        16
    """
    refuse_other_than_module(network)
    if not isinstance(images, Tensor) or images.ndim != 4 or len(images) != 1:
        raise ClassifierError("regions of other than one image", allowed="(1, 3, H, W)")
    with torch.no_grad(), frozen(network):
        size = (int(images.shape[2]), int(images.shape[3]))
        return _regions_of(pixel_logits(network(images.to(blank_image(network, (1, 1)))), size))[0]


def pixel_logits(output: Any, size: tuple[int, int]) -> Tensor:
    """The (B, K, H, W) logits in what a segmentation network returned.

    Args:
        output: a tensor, ``{"out": ...}``, or an output with ``.logits``.
        size: (H, W), to which they are enlarged.

    Raises:
        ClassifierError: there are none.

    Example:
        >>> pixel_logits({"out": torch.zeros(1, 5, 2, 2)}, (4, 4)).shape
        torch.Size([1, 5, 4, 4])
    """
    if isinstance(output, Mapping):
        output = output.get("out", output.get("logits", output))
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.ndim != 4:
        came = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ClassifierError(
            f"a segmentation network that returns {came}",
            allowed='(B, K, h, w) logits, or an output with ["out"] or .logits',
            remedy="a module around it that returns the logits",
        )
    if tuple(logits.shape[2:]) == size:
        return logits
    return F.interpolate(logits, size, mode="bilinear", align_corners=False)


def _regions_of(logits: Tensor) -> Tensor:
    """(B, K, H, W) bool: where each class has the largest logit."""
    classes = torch.arange(logits.shape[1], device=logits.device)
    return logits.detach().argmax(dim=1, keepdim=True) == classes[:, None, None]


def _checked_region(region: Any) -> Tensor:
    if not isinstance(region, Tensor) or region.dtype != torch.bool or region.ndim not in (2, 3):
        came = type(region).__name__
        if isinstance(region, Tensor):
            came = f"a {region.dtype} tensor of shape {tuple(region.shape)}"
        raise ClassifierError(
            f"{came} as region",
            allowed="a bool tensor of shape (H, W) or (K, H, W)",
            remedy="ttame.predicted_regions(network, images)",
        )
    if not bool(region.any()):
        raise ClassifierError("an empty region", allowed="at least one pixel")
    return region.detach().clone()
