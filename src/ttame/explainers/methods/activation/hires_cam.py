"""HiResCAM: Draelos and Carin, arXiv 2011.08891."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.methods.activation.activation_gradients import (
    ACTIVATION_COST,
    ACTIVATION_NETWORKS,
    ActivationGradientMethod,
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class HiResCam(ActivationGradientMethod):
    """Features times gradients, place by place: ``S = (Σ_k g_k ⊙ A_k)⁺``.

    ``A_k`` is channel k of the tapped layer, (h, w), and ``g_k = ∂f_c/∂A_k``, which is not
    averaged over the places as in Grad-CAM: a place counts only if it does raise the logit. Maps
    are (B, K, h, w) on the layer's grid, at least 0 if ``rectified``. Parameters and errors:
    :class:`ActivationGradientMethod`.

    Example:
        >>> import torch
        >>> from ttame.testing import tiny_classifier
        >>> hires_cam = HiResCam(tiny_classifier())
        >>> hires_cam(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 4, 4])
    """

    card = MethodCard(
        name="hires_cam",
        title="HiResCAM",
        family="class activation",
        networks=ACTIVATION_NETWORKS,
        cost=ACTIVATION_COST,
        paper="Draelos and Carin, arXiv 2011.08891",
        targets=EVERY_TARGET,
    )

    def channel_maps(self, features: Tensor, gradients: Tensor) -> Tensor:
        """``g_k ⊙ A_k``, (B, C, h, w)."""
        return gradients * features
