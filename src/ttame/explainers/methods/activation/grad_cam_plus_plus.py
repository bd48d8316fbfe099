"""Grad-CAM++: Chattopadhay et al., arXiv 1710.11063."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.methods.activation.activation_gradients import (
    ACTIVATION_COST,
    ACTIVATION_NETWORKS,
    ActivationGradientMethod,
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class GradCamPlusPlus(ActivationGradientMethod):
    """Grad-CAM with weights that count every place of an object alike.

    ``S = (Σ_k w_k A_k)⁺``, ``w_k = Σ_xy α_k ⊙ g_k⁺``,
    ``α_k = g_k² / (2 g_k² + (Σ_xy A_k) g_k³ + ε)``, and 0 where ``g_k`` is 0. ``A_k`` is channel k
    of the tapped layer, (h, w); ``g_k = ∂f_c/∂A_k``. This is the paper's closed form for the score
    ``exp f_c``; its common factor ``exp f_c`` is left out, because it only scales the map.

    Maps are (B, K, h, w) on the layer's grid, at least 0 if ``rectified``.

    Deviation: the paper has no ε. The published implementations add 1e-6, which is not small
    compared with the squared gradient of a large network, and then weighs by nearly ``g³``;
    ``epsilon=0`` is the paper's formula. Without ε, ``2 + (Σ_xy A_k) g_k`` may come near 0 where
    features are signed, as a Vision Transformer's are.

    Args:
        classifier: the network to explain.
        layer: dotted name of the layer to read instead of the classifier's last tap.
        rectified: whether the map's negative values become 0, as in the paper.
        epsilon: ε, at least 0.

    Raises:
        ExplainerError: a negative ε.
        TapError: there is no such layer, or its output is not a feature map.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> GradCamPlusPlus(classifier)(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 4, 4])
    """

    card = MethodCard(
        name="grad_cam_plus_plus",
        title="Grad-CAM++",
        family="class activation",
        networks=ACTIVATION_NETWORKS,
        cost=ACTIVATION_COST,
        paper="Chattopadhay et al., arXiv 1710.11063",
        targets=EVERY_TARGET,
    )

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        if not self.epsilon >= 0:
            raise ExplainerError(f"epsilon {self.epsilon}", allowed="0 or a small positive number")
        super().__post_init__()

    def channel_maps(self, features: Tensor, gradients: Tensor) -> Tensor:
        """``w_k A_k``, (B, C, h, w)."""
        totals = features.sum(dim=(2, 3), keepdim=True)
        # Where g is 0 so is g⁺, and the zero in the denominator of ε = 0 must not spread.
        present = gradients != 0
        divisor = 2 * gradients**2 + totals * gradients**3 + self.epsilon
        shares = gradients**2 / torch.where(present, divisor, torch.ones_like(divisor))
        weights = (shares * gradients.relu()).sum(dim=(2, 3), keepdim=True)
        return weights * features
