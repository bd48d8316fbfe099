"""LayerCAM: Jiang et al., IEEE Transactions on Image Processing 2021, document 9462463."""

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
class LayerCam(ActivationGradientMethod):
    """Features weighted by their positive gradients: ``S = (Σ_k g_k⁺ ⊙ A_k)⁺``.

    ``A_k`` is channel k of the tapped layer, (h, w), and ``g_k = ∂f_c/∂A_k``. Because every place
    has its own weight, the method also works on early layers with fine grids; name one with
    ``layer``. Maps are (B, K, h, w) on the layer's grid, at least 0 if ``rectified``. Parameters
    and errors: :class:`ActivationGradientMethod`.

    Example:
        >>> import torch
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> LayerCam(classifier, layer="1")(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 8, 8])
    """

    card = MethodCard(
        name="layer_cam",
        title="LayerCAM",
        family="class activation",
        networks=ACTIVATION_NETWORKS,
        cost=ACTIVATION_COST,
        paper="Jiang et al., IEEE Transactions on Image Processing 2021",
        targets=EVERY_TARGET,
    )

    def channel_maps(self, features: Tensor, gradients: Tensor) -> Tensor:
        """``g_k⁺ ⊙ A_k``, (B, C, h, w)."""
        return gradients.relu() * features
