"""Grad-CAM without averaging and without negative products, as in pytorch-grad-cam."""

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
class GradCamElementwise(ActivationGradientMethod):
    """Positive products of features and gradients, place by place: ``S = Σ_k (g_k ⊙ A_k)⁺``.

    ``A_k`` is channel k of the tapped layer, (h, w), and ``g_k = ∂f_c/∂A_k``. HiResCAM cuts off
    what is negative after the sum over channels; here it is cut off before, so that channels that
    speak against the class do not count, and the map is never negative. No paper defines it: it
    is known from the library pytorch-grad-cam, as ``GradCAMElementWise``. For features that are not
    negative it is LayerCAM. Maps are (B, K, h, w) on the layer's grid. Parameters and errors:
    :class:`ActivationGradientMethod`; ``rectified`` changes nothing.

    Example:
        >>> import torch
        >>> from ttame.testing import tiny_classifier
        >>> elementwise = GradCamElementwise(tiny_classifier())
        >>> elementwise(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 4, 4])
    """

    card = MethodCard(
        name="grad_cam_elementwise",
        title="Element-wise Grad-CAM",
        family="class activation",
        networks=ACTIVATION_NETWORKS,
        cost=ACTIVATION_COST,
        paper="none; known from the library pytorch-grad-cam",
        targets=EVERY_TARGET,
    )

    def channel_maps(self, features: Tensor, gradients: Tensor) -> Tensor:
        """``(g_k ⊙ A_k)⁺``, (B, C, h, w)."""
        return (gradients * features).relu()
