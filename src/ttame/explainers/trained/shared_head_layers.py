"""The layers that a few-shot head is made of."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ttame.explainers.trained.global_batch_norm import GlobalBatchNorm2d

WIDTH = 64
"""Channels of the branches and of the embedding."""


class Branch(nn.Module):
    """1×1 convolution to the shared width, batch norm, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Batch norm would subtract a bias again: its gradient is rounding, which AdamW enlarges.
        self.convolution = nn.Conv2d(channels, WIDTH, kernel_size=1, bias=False)
        self.batch_norm = GlobalBatchNorm2d(WIDTH)

    def forward(self, features: Tensor, places: Tensor | None = None) -> Tensor:
        """(B, C, h, w) to (B, 64, h, w); ``places`` as of :class:`GlobalBatchNorm2d`."""
        normalised: Tensor = self.batch_norm(self.convolution(features), places)
        return normalised.relu()


class Surroundings(nn.Module):
    """Adds to every place what its neighbours tell: a residual of one depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(WIDTH, WIDTH, kernel_size=3, padding=1, groups=WIDTH, bias=False)
        # Depthwise gradients come in another memory layout, which several processes warn of.
        self.depthwise.weight.register_hook(_plainly_laid_out)  # type: ignore[no-untyped-call]
        self.batch_norm = GlobalBatchNorm2d(WIDTH)
        self.pointwise = nn.Conv2d(WIDTH, WIDTH, kernel_size=1)
        nn.init.zeros_(self.pointwise.weight)
        assert self.pointwise.bias is not None
        nn.init.zeros_(self.pointwise.bias)

    def forward(
        self, features: Tensor, places: Tensor | None = None, present: Tensor | None = None
    ) -> Tensor:
        """(B, 64, h, w) to the same.

        Args:
            features: what was fused.
            places: as of :class:`GlobalBatchNorm2d`.
            present: (B, 1, h, w) bool; what stands elsewhere is as what lies beyond the border.
        """
        inside = features if present is None else features.where(present, 0)
        seen: Tensor = self.pointwise(self.batch_norm(self.depthwise(inside), places).relu())
        return features + seen


def _plainly_laid_out(gradient: Tensor) -> Tensor:
    # contiguous() would leave it: a side of length 1 may have any stride.
    return gradient.clone(memory_format=torch.contiguous_format)
