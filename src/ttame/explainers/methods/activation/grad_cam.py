"""Grad-CAM: Selvaraju et al., arXiv 1610.02391."""

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
class GradCam(ActivationGradientMethod):
    """Gradient-weighted class activation mapping: ``S = (Σ_k w_k A_k)⁺``, ``w_k = mean_xy g_k``.

    ``A_k`` is channel k of the tapped layer, (h, w); ``g_k = ∂f_c/∂A_k`` the gradient of the
    class's logit. On a Vision Transformer the channels are those of the patch tokens. Maps are
    (B, K, h, w) on the layer's grid, at least 0 if ``rectified``. Parameters and errors:
    :class:`ActivationGradientMethod`.

    Example:
        >>> import torch
        >>> from ttame.testing import tiny_classifier
        >>> grad_cam = GradCam(tiny_classifier())
        >>> grad_cam(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 4, 4])
    """

    card = MethodCard(
        name="grad_cam",
        title="Grad-CAM",
        family="class activation",
        networks=ACTIVATION_NETWORKS,
        cost=ACTIVATION_COST,
        paper="Selvaraju et al., arXiv 1610.02391",
        targets=EVERY_TARGET,
    )

    def channel_maps(self, features: Tensor, gradients: Tensor) -> Tensor:
        """``mean_xy(g_k) A_k``, (B, C, h, w)."""
        weights = gradients.mean(dim=(2, 3), keepdim=True)
        return weights * features
