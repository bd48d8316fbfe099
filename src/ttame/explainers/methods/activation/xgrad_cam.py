"""XGrad-CAM: Fu et al., Axiom-based Grad-CAM, arXiv 2008.02312."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.methods.activation.activation_gradients import (
    ACTIVATION_COST,
    ACTIVATION_NETWORKS,
    ActivationGradientMethod,
)

STABILISER = 1e-7


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class XGradCam(ActivationGradientMethod):
    """Grad-CAM with the gradient averaged by the activation: ``S = (Σ_k w_k A_k)⁺``.

    ``w_k = Σ_xy (g_k ⊙ A_k) / (Σ_xy A_k + 1e-7)``, where ``A_k`` is channel k of the tapped layer,
    (h, w), and ``g_k = ∂f_c/∂A_k``. The map before rectification then sums to ``Σ g ⊙ A``, which
    the paper's conservation axiom asks for. Maps are (B, K, h, w) on the layer's grid, at least 0
    if ``rectified``. Parameters and errors: :class:`ActivationGradientMethod`.

    The weight is unstable where ``Σ_xy A_k`` is near 0, as it can be where features are signed:
    expect noise on the patch tokens of Vision Transformers and on the linear bottlenecks that end
    the stages of MobileNets and EfficientNets. There, name a rectified ``layer``.

    Example:
        >>> import torch
        >>> from ttame.testing import tiny_classifier
        >>> xgrad_cam = XGradCam(tiny_classifier())
        >>> xgrad_cam(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 4, 4])
    """

    card = MethodCard(
        name="xgrad_cam",
        title="XGrad-CAM",
        family="class activation",
        networks=ACTIVATION_NETWORKS,
        cost=ACTIVATION_COST,
        paper="Fu et al., arXiv 2008.02312",
        targets=EVERY_TARGET,
    )

    def channel_maps(self, features: Tensor, gradients: Tensor) -> Tensor:
        """``w_k A_k``, (B, C, h, w)."""
        weighed = (gradients * features).sum(dim=(2, 3), keepdim=True)
        weights = weighed / (features.sum(dim=(2, 3), keepdim=True) + STABILISER)
        return weights * features
