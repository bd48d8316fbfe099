"""Input x gradient: Shrikumar et al., Not Just a Black Box, arXiv 1605.01713."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from ttame.classifiers.any_classifier import Explainable
from ttame.errors import ExplainerError
from ttame.explainers.contract.differentiation import differentiating, requiring_gradients
from ttame.explainers.contract.explainer import Explained, Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_gradients import target_gradients
from ttame.explainers.relevance.libra_rules import check_libra, chosen_scores


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class InputXGradient(Explainer[Explained]):
    """Pixels times their gradients: ``S = Σ_rgb x ⊙ ∂f_c/∂x``.

    ``x`` is the normalised image, ``f_c`` the class's logit. Maps are (B, K, H, W) on the pixels,
    signed. A pixel of the dataset's mean colour has ``x = 0`` and gets none; for a network that is
    linear in the normalised image the map sums to the logit without its bias. Of a text, x are its
    word embeddings, and products are summed over their width.

    Args:
        classifier: the network to explain; any will do.
        libra: whether paths of the backward pass are pruned and scaled as in LibraGrad, see
            :class:`ttame.explainers.methods.gradient.libra_grad.LibraGrad`; for transformers.

    Raises:
        ExplainerError: ``libra``, and the network has an operation that LibraGrad has no rule for;
            or the network classifies texts and normalises word embeddings first.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> InputXGradient(classifier)(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 16, 16])
    """

    card = MethodCard(
        name="input_x_gradient",
        title="Input × gradient",
        family="gradient",
        networks="any",
        cost="1 forward, 1 backward per class",
        paper="Shrikumar et al., arXiv 1605.01713",
        targets=EVERY_TARGET,
        map_is="pixels",
        explains=("images", "texts"),
    )

    libra: bool = False

    def __post_init__(self) -> None:
        check_libra(self.classifier, self.libra, self.method)
        if self.classifier.is_embedded and not self.libra:
            _refuse_normalised_embeddings(self.classifier, self.method)

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        scores = chosen_scores(self.classifier, self.libra)
        return input_times_gradient(scores, images, request)


def input_times_gradient(
    scores: Callable[[Tensor], Tensor], images: Tensor, request: Request
) -> RawMaps:
    """``Σ_rgb x ⊙ ∂f/∂x`` of each target f, (B, K, H, W).

    Args:
        scores: from images to (B, C) scores.
        images: x, (B, 3, H, W).
        request: the targets.
    """
    with differentiating():
        images = requiring_gradients(images)
        logits = scores(images)
        targets = request.targets(logits.detach())
        pixels = images.detach().float()
        maps = [
            (pixels * gradient.float()).sum(dim=1)
            for gradient in target_gradients(logits, targets, images)
        ]
    return RawMaps(logits, targets, torch.stack(maps, dim=1))


_VANISHES = 1e-4
"""A sum of products that is smaller than this share of their sizes is rounding."""


def _refuse_normalised_embeddings(classifier: Explainable, method: str) -> None:
    """Refuse a network that normalises word embeddings before it adds anything to them.

    Then their length does not matter, ``x · ∂f/∂x`` is zero for every token, and what a map shows
    is rounding.

    Raises:
        ExplainerError: it does.
    """
    shape = classifier.blank_image().shape
    generator = torch.Generator().manual_seed(0)
    with differentiating():
        noise = torch.randn(shape, generator=generator, dtype=torch.float32).to(classifier.device)
        leaf = requiring_gradients(noise)
        score = classifier.logits(leaf)[:, 0].sum()
        (gradient,) = torch.autograd.grad(score, leaf)
    products = noise * gradient.float()
    if float(products.sum(dim=1).abs().sum()) <= _VANISHES * float(products.abs().sum()):
        raise ExplainerError(
            f"{method} is not defined for {classifier.name}, which normalises word embeddings "
            "before anything else: their product with the gradient is zero",
            remedy="libra_grad, attn_lrp or integrated_gradients",
        )
