"""LibraGrad: Mehri et al., Balancing Gradient Flow, CVPR 2025, arXiv 2411.16760."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from ttame.explainers.contract.explainer import Explained, Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.methods.gradient.input_x_gradient import input_times_gradient
from ttame.explainers.relevance.image_chunks import explain_in_chunks
from ttame.explainers.relevance.libra_rules import LIBRA_RULES, libra_scores
from ttame.explainers.relevance.propagation import check_propagation


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class LibraGrad(Explainer[Explained]):
    """Pixels times gradients whose backward pass is balanced: ``S = Σ_rgb x ⊙ ∂̃f_c/∂x``, signed.

    ``x`` is the normalised image, ``f_c`` the class's logit. The gradient ``∂̃`` is pruned and
    scaled so that it is complete: together with what the biases contribute, each bias times its own
    ``∂̃``, a map sums to the logit. Position embeddings and class tokens count as biases.

    - layer norm, RMS norm: the standard deviation, or norm, counts as a constant;
    - attention: its probabilities count as constants, so that all goes through the values;
    - activations ``z Φ(z)`` such as GELU and SiLU: the gate counts as a constant, ``∂̃ = f(z)/z``;
      so does a sigmoid that is a factor;
    - products of two factors that both depend on the image: half the gradient for each;
    - what is locally affine, such as linear layers, ReLU and maxima: the gradient.

    A network of locally affine operations alone, such as most CNNs with ReLU, gets the maps of
    ``input_x_gradient``; there the gradient is complete already. Where no gates are sigmoids, the
    maps are those of ``attn_lrp`` with ``attention_is_constant``. The method is also an option,
    ``libra``, of ``input_x_gradient``, ``integrated_gradients`` and ``smooth_grad``.

    Only a summary of the paper was at hand. Certain from it: what completeness means, that paths
    of normalisation, softmax, gated activations and products are pruned or scaled, and that the
    forward pass stays as it is. Uncertain: which of two complete choices the paper makes where
    there are several. Here the softmax is pruned rather than scaled, products are halved, and
    activations without a gate (tanh, ELU, softplus) have the slope ``f(z)/z``.

    Args:
        classifier: any network of operations that have a rule.

    Raises:
        ExplainerError: the network has an operation without a rule; the message names it.

    Example:
        >>> import torch
        >>> from ttame.testing import tiny_classifier
        >>> libra_grad = LibraGrad(tiny_classifier("vit", size=32))
        >>> libra_grad(torch.zeros(2, 3, 32, 32), "top2").maps.shape
        torch.Size([2, 2, 32, 32])
    """

    card = MethodCard(
        name="libra_grad",
        title="LibraGrad",
        family="gradient",
        networks="any whose operations have a rule",
        cost="1 forward, 1 backward with pruned paths per class",
        paper="Mehri et al., CVPR 2025, arXiv 2411.16760",
        targets=EVERY_TARGET,
        map_is="pixels",
        explains=("images", "texts"),
    )

    bytes_per_image: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._keep(bytes_per_image=check_propagation(self.classifier, LIBRA_RULES, self.method))

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        scores = libra_scores(self.classifier)
        return explain_in_chunks(
            self.classifier,
            images,
            request,
            self.bytes_per_image,
            lambda some, theirs: input_times_gradient(scores, some, theirs),
        )
