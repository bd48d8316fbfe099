"""L-CAM's head: one 1×1 convolution of the last feature map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.errors import (
    ExplainerError,
    either,
)
from ttame.explainers.trained.attention_head import map_grid, mix_channels, sum_of_resized
from ttame.explainers.trained.head import HeadPlan
from ttame.explainers.trained.head_settings import HeadSettings, LCamHeadSettings
from ttame.explainers.trained.token_gated_head import TokenGatedHead


class LCamHead(TokenGatedHead):
    """L-CAM's attention mechanism (arXiv 2209.11189).

    With ``F`` the features of the last tap, C × h × w, the map of class k is ``w_k ∗ F + b_k``, on
    the grid of the tap, at most 56 rows. Training masks with its sigmoid.

    Args:
        channels: C of the one tap.
        number_of_classes: K.
        settings: the settings of this kind.
        seed: the seed of the initial weights (PyTorch's defaults for convolutions).

    Raises:
        ExplainerError: not one tap.

    Example:
        >>> LCamHead([8], number_of_classes=5)([torch.randn(2, 8, 7, 7)], torch.tensor([3])).shape
        torch.Size([2, 1, 7, 7])
    """

    Settings: ClassVar[type[HeadSettings]] = LCamHeadSettings
    settings: LCamHeadSettings

    def __init__(
        self,
        channels: Sequence[int],
        number_of_classes: int,
        settings: LCamHeadSettings = LCamHeadSettings(),  # noqa: B008 - frozen
        *,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if len(channels) != 1:
            raise ExplainerError(
                f"an l-cam head on {len(channels)} taps",
                allowed="one tap, the last feature map",
                remedy=either("taps=[the last one]", "--taps with the last one"),
            )
        if channels[0] < 1 or number_of_classes < 1:
            raise ExplainerError(
                f"a head for channels {list(channels)} and {number_of_classes} classes",
                allowed="a tap with a channel, and at least one class",
            )
        self.channels = tuple(channels)
        self.number_of_classes = number_of_classes
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.fusion = nn.Conv2d(channels[0], number_of_classes, kernel_size=1)

    @classmethod
    def plan(cls, classifier: Explainable, settings: HeadSettings) -> HeadPlan:
        """A head on the classifier's last tap."""
        return cls._planned(classifier.with_taps(classifier.taps[-1:]), settings)

    def forward(self, feature_maps: Sequence[Tensor], classes: Tensor | None = None) -> Tensor:
        """Compute the maps of some classes, before the sigmoid.

        Args:
            feature_maps: one (B, C, h, w).
            classes: ``None`` for all K; (K',) int64 for the same classes for every image;
                (B, K') for classes of their own.

        Returns:
            (B, K', S, S') in the dtype of the features.
        """
        (features,) = feature_maps
        size = (int(features.shape[2]), int(features.shape[3]))
        weight, bias = self.fusion.weight.flatten(1), self.fusion.bias
        assert bias is not None
        maps = mix_channels(features, weight if classes is None else weight[classes])
        total = sum_of_resized({size: maps}, map_grid(size))
        return total + (bias if classes is None else bias[classes])[..., None, None]
