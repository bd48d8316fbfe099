"""A blob in the middle: photographers put the object there, and every method must beat that."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class CentreGaussian(Explainer):
    """The same Gaussian for every image: ``S = exp(−(u² + v²) / 2σ²)``.

    ``u`` and ``v`` are the distances of a cell's middle from the image's middle, as shares of the
    image's height and width, so that the blob has the image's aspect ratio. The baseline of a fair
    table: datasets show their objects in the middle. Maps are (B, K, h, w) on the grid of the
    classifier's last tap, in (0, 1], the same for all images and classes.

    Args:
        classifier: gives the grid and the prediction.
        width: σ, as a share of the image's sides.

    Raises:
        ExplainerError: a width that is not positive.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> blob = CentreGaussian(tiny_classifier())
        >>> blob(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 4, 4])
    """

    card = MethodCard(
        name="centre_gaussian",
        title="Centre Gaussian",
        family="baseline",
        networks="any",
        cost="1 forward, for the prediction only",
        paper="none; a baseline",
        targets=EVERY_TARGET,
        class_specific=False,
    )

    width: float = 0.25

    def __post_init__(self) -> None:
        if not self.width > 0:
            allowed = "a positive share of the image's sides"
            raise ExplainerError(f"width {self.width}", allowed=allowed)

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        read = self.classifier.read_features(images)
        targets = request.targets(read.logits)
        rows, columns = read.grid
        blob = self._profile(rows)[:, None] * self._profile(columns)
        return RawMaps(
            read.logits, targets, blob.to(read.logits.device).expand(*targets.shape, -1, -1)
        )

    def _profile(self, cells: int) -> Tensor:
        distance = (torch.arange(cells, dtype=torch.float32) + 0.5) / cells - 0.5
        return torch.exp(-(distance**2) / (2 * self.width**2))
