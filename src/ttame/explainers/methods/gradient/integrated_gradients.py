"""Integrated gradients: Sundararajan et al., arXiv 1703.01365."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explained, Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.option_checks import check_choice
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.methods.gradient.averaged_gradients import averaged_gradients
from ttame.explainers.relevance.libra_rules import check_libra, chosen_scores

Baseline = Literal["black", "mean", "mask", "padding", "zero"]
Quadrature = Literal["gauss-legendre", "midpoint", "right"]


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class IntegratedGradients(Explainer[Explained]):
    """Gradients on the way from a baseline to the image.

    ``S = Σ_rgb (x − x′) ⊙ ∫₀¹ ∂f_c/∂x (x′ + t (x − x′)) dt``, where ``x`` is the normalised image,
    ``x′`` the baseline and ``f_c`` the class's logit. Maps are (B, K, H, W) on the pixels, signed.
    Of a text, x are its word embeddings, summed over their width, and a map is of its tokens.
    They are complete: a map sums to ``f_c(x) − f_c(x′)``, up to the error of the quadrature.

    The integral is a weighted sum over ``steps`` points. ``"gauss-legendre"``, the default, is
    exact for polynomials up to degree 2·steps − 1 and needs the fewest points where the network
    is smooth; ``"midpoint"`` takes the middles of equal intervals; ``"right"`` their right ends,
    which is the paper's sum and the least exact.

    Args:
        classifier: the network to explain; any will do.
        steps: points on the way.
        quadrature: where they lie and how they count.
        baseline: ``"black"`` pixels, which the paper advises for photos: nothing is shown. Or
            ``"mean"``, the dataset's mean colour, zero after normalising. What has the
            baseline's colour gets no relevance. For texts the embedding that stands for every
            word: that of the ``"mask"`` token, of ``"padding"``, or ``"zero"``; special tokens
            stay as they are. The first that the kind of classifier has if not given.
        libra: whether paths of the backward pass are pruned and scaled as in LibraGrad, see
            :class:`ttame.explainers.methods.gradient.libra_grad.LibraGrad`; for transformers.
            A map then no longer sums to the difference.

    Raises:
        ExplainerError: no steps, or an unknown quadrature or baseline.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> explainer = IntegratedGradients(classifier, steps=8)
        >>> explainer(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 16, 16])
    """

    card = MethodCard(
        name="integrated_gradients",
        title="Integrated gradients",
        family="gradient",
        networks="any",
        cost="1 + 50 forward, 50 backward per class",
        paper="Sundararajan et al., arXiv 1703.01365",
        targets=EVERY_TARGET,
        map_is="pixels",
        explains=("images", "texts"),
    )

    steps: int = 50
    quadrature: Quadrature = "gauss-legendre"
    baseline: Baseline | None = None
    libra: bool = False

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ExplainerError(f"{self.steps} steps", allowed="at least 1")
        check_choice(self.method, "quadrature", self.quadrature, get_args(Quadrature))
        check_choice(self.method, "baseline", self._baseline, self.classifier.grounds)
        check_libra(self.classifier, self.libra, self.method)

    @property
    def _baseline(self) -> str:
        """The usual one of the kind of classifier where nothing was said."""
        return self.classifier.grounds[0] if self.baseline is None else self.baseline

    def _decided(self) -> dict[str, Any]:
        return {"baseline": self._baseline}

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        with torch.no_grad():
            logits = self.classifier.logits(images)
        targets = request.targets(logits)
        points, weights = quadrature_rule(self.steps, self.quadrature)
        images = images.detach().to(logits.device)
        name, classifier = self._baseline, self.classifier
        baseline = classifier.ground(images, name)

        def on_the_way(some: Tensor, number: int) -> Tensor:
            start = classifier.ground(some, name)
            return start + points[number] * (some - start)

        gradients = averaged_gradients(
            self.classifier,
            images,
            targets,
            weights=weights,
            variant=on_the_way,
            request=request,
            scores=chosen_scores(self.classifier, self.libra),
        )
        distance = (images - baseline).float()[:, None]
        return RawMaps(logits, targets, (distance * gradients).sum(dim=2))


def quadrature_rule(
    steps: int, quadrature: Quadrature
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Points in [0, 1] and their weights, which sum to 1.

    Example:
        >>> quadrature_rule(2, "midpoint")
        ((0.25, 0.75), (0.5, 0.5))
        >>> quadrature_rule(2, "right")
        ((0.5, 1.0), (0.5, 0.5))
    """
    if quadrature == "gauss-legendre":
        points, weights = np.polynomial.legendre.leggauss(steps)
        return tuple(((points + 1) / 2).tolist()), tuple((weights / 2).tolist())
    shift = 0.5 if quadrature == "midpoint" else 1.0
    return tuple((n + shift) / steps for n in range(steps)), (1 / steps,) * steps
