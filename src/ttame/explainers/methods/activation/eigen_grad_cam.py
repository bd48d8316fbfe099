"""Eigen-CAM of features times gradients, as in pytorch-grad-cam."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.methods.activation.activation_gradients import (
    ACTIVATION_COST,
    ACTIVATION_NETWORKS,
    ActivationGradientMethod,
)
from ttame.explainers.methods.activation.eigen_cam import principal_evidence


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class EigenGradCam(ActivationGradientMethod):
    """Eigen-CAM that knows the class: ``S = (X v)⁺``, with ``X`` from features times gradients.

    ``X`` is the (N, C) matrix of ``g_k ⊙ A_k`` at the N = h·w places of the tapped layer, with
    every column centred, and ``v`` its first right singular vector; ``A_k`` is channel k and
    ``g_k = ∂f_c/∂A_k``. No paper defines it: it is Eigen-CAM (arXiv 2008.00299) on what HiResCAM
    sums, known from the library pytorch-grad-cam. Maps are (B, K, h, w) on the layer's grid, at
    least 0 if ``rectified``. Parameters and errors: :class:`ActivationGradientMethod`.

    Deviation: a singular vector's sign is arbitrary, and published code leaves it to the linear
    algebra library, so that some maps come out inverted. Here the sign is that with which the map
    rises where HiResCAM's, the sum of the same products, does.

    Example:
        >>> import torch
        >>> from ttame.testing import tiny_classifier
        >>> eigen_grad_cam = EigenGradCam(tiny_classifier())
        >>> eigen_grad_cam(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 4, 4])
    """

    card = MethodCard(
        name="eigen_grad_cam",
        title="Eigen-Grad-CAM",
        family="class activation",
        networks=ACTIVATION_NETWORKS,
        cost=ACTIVATION_COST,
        paper="Eigen-CAM, arXiv 2008.00299, on features × gradients; library pytorch-grad-cam",
        targets=EVERY_TARGET,
    )

    def channel_maps(self, features: Tensor, gradients: Tensor) -> Tensor:
        """``g_k ⊙ A_k``, (B, C, h, w)."""
        return gradients * features

    def evidence(self, features: Tensor, gradients: Tensor) -> Tensor:
        """The projection ``X v``, (B, h, w)."""
        return principal_evidence(self.channel_maps(features, gradients))
