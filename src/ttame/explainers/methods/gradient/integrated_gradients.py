"""Integrated gradients: Sundararajan et al., arXiv 1703.01365."""

from __future__ import annotations

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import ChooseClasses, Explainer, RawMaps
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.methods.gradient.averaged_gradients import averaged_gradients

Baseline = Literal["black", "mean"]
Quadrature = Literal["gauss-legendre", "midpoint", "right"]


class IntegratedGradients(Explainer):
    """Gradients on the way from a baseline to the image.

    ``S = Σ_rgb (x − x′) ⊙ ∫₀¹ ∂f_c/∂x (x′ + t (x − x′)) dt``, where ``x`` is the normalised image,
    ``x′`` the baseline and ``f_c`` the class's logit. Maps are (B, K, H, W) on the pixels, signed.
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
            baseline's colour gets no relevance.

    Raises:
        ExplainerError: no steps, or an unknown quadrature or baseline.

    Example:
        >>> from torch import nn
        >>> from ttame.images.preprocessing import Preprocessing
        >>> network = nn.Sequential(
        ...     nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        ...     nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
        >>> classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16))
        >>> explainer = IntegratedGradients(classifier, steps=8)
        >>> explainer(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 16, 16])
    """

    card = MethodCard(
        name="integrated_gradients",
        title="Integrated gradients",
        family="gradient",
        networks="any",
        cost="1 + 50 forward, 50 backward a class",
        paper="Sundararajan et al., arXiv 1703.01365",
        map_is="pixels",
    )

    def __init__(
        self,
        classifier: Classifier,
        *,
        steps: int = 50,
        quadrature: Quadrature = "gauss-legendre",
        baseline: Baseline = "black",
    ) -> None:
        if steps < 1:
            raise ExplainerError(f"{steps} steps", allowed="at least 1")
        for given, known in ((quadrature, Quadrature), (baseline, Baseline)):
            if given not in get_args(known):
                raise ExplainerError(f"{given!r}", allowed=" or ".join(get_args(known)))
        self.classifier = classifier
        self.baseline = baseline
        self.points, self.weights = quadrature_rule(steps, quadrature)
        self.options = {"steps": steps, "quadrature": quadrature, "baseline": baseline}

    def _raw_maps(self, images: Tensor, choose_classes: ChooseClasses) -> RawMaps:
        with torch.no_grad():
            logits = self.classifier.logits(images)
        classes = choose_classes(logits)
        images = images.detach().to(logits.device)
        baseline = self._baseline(images)

        def on_the_way(some: Tensor, number: int) -> Tensor:
            return baseline + self.points[number] * (some - baseline)

        gradients = averaged_gradients(
            self.classifier,
            images,
            classes,
            weights=self.weights,
            variant=on_the_way,
            memory_budget=self.memory_budget,
            progress=self.progress,
        )
        distance = (images - baseline).float()[:, None]
        return RawMaps(logits, classes, (distance * gradients).sum(dim=2))

    def _baseline(self, images: Tensor) -> Tensor:
        """(3, 1, 1), normalised."""
        black = self.classifier.preprocessing.black(images)
        return black if self.baseline == "black" else torch.zeros_like(black)


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
