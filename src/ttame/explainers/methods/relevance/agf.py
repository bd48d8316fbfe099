"""AGF: Gur et al., Visualization of Supervised and Self-Supervised Neural Networks, AAAI 2021."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

from ttame.classifiers.linear_end import scoring_in_the_last_layer
from ttame.errors import ExplainerError
from ttame.explainers.contract.differentiation import require_graph
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import LINEAR_TARGETS, LRP_LICENCE_NOTE, MethodCard
from ttame.explainers.contract.request import RawMaps, Request, mixing_class_maps
from ttame.explainers.relevance.conserving_table import conserving_table
from ttame.explainers.relevance.function_arguments import convolution_arguments
from ttame.explainers.relevance.image_chunks import explain_in_chunks
from ttame.explainers.relevance.matches import WEIGHTED, Operation, SeesImage
from ttame.explainers.relevance.operation_calls import LinearMap, OperationCall, weighted_call
from ttame.explainers.relevance.operation_rules import Product, Sum
from ttame.explainers.relevance.pixel_relevance import highest_of_image, lowest_of_image
from ttame.explainers.relevance.propagation import check_propagation, propagating
from ttame.explainers.relevance.recording import recorded, widened
from ttame.explainers.relevance.rule import Rule
from ttame.explainers.relevance.weighted_map import Weighted
from ttame.explainers.relevance.weighted_rules import Absolute, ZBox
from ttame.networks.function_replacement import replacing_functions


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Agf(Explainer):
    """Attribution guided factorisation: relevance corrected by factorised features and gradients.

    Relevance starts as ``softmax(f_c · exp(−½((f − f_c)/σ)²))`` over all classes, ``f`` the logits
    and ``σ = max|f − f_c|``, and goes back to the pixels. A convolution with input X, weights W and
    relevance R of its output gives its input ``C + r − Σr/#(C≠0)``, where

    - ``C = |X| ⊙ |W|ᵀ(R / |W||X|)``, relevance by absolute contribution;
    - ``r = (F_x + M)/(1 + e^{−C}) + F_∇ + A₁``, so shifted, where C is not 0, that it sums to 0;
    - ``M = (mean_channels X ⊙ ∇X)⁺`` over its maximum, ``∇X = ∂f_c/∂X``;
    - ``F_x``, ``F_∇``: how much a place resembles relevant places more than others:
      ``H = sigmoid(10 · X/max|X|)``, or with ∇X; ``ρ`` its means over the places where the channel
      sum of C is positive and negative; ``W = ((ρᵀρ + I)⁻¹ ρᵀ H)⁺``, ``F = (W₊ − W₋)⁺``;
    - ``A₁ = |W|ᵀ(R / |W|1)``, relevance if the input were 1 everywhere.

    The first convolution follows the z^B rule between the smallest and largest value of the image.
    Maxima and sums run over one image. The map is the sum over colours, signed, in pixels.

    Two forward passes, and for each class one backward pass and one relevance pass.

    Beyond the paper, which explains VGG and ResNets: linear layers follow ``C`` alone, residual
    additions share by ``|u|`` and ``|v|``, averages give to the inputs of their own sign, batch
    norm and activations pass relevance on, and the factors of a gate get half each.

    Args:
        classifier: a convolutional network of operations that have a rule.

    Raises:
        ExplainerError: the network is not convolutional, or has an operation without a rule.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> agf = Agf(tiny_classifier())
        >>> agf(torch.ones(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 16, 16])
    """

    card = MethodCard(
        name="agf",
        title="Attribution Guided Factorization",
        family="relevance propagation",
        networks="CNNs",
        cost="2 forward, 1 backward and 1 relevance pass of about 6 forward per class",
        paper="Gur et al., AAAI 2021, arXiv 2012.02166",
        targets=LINEAR_TARGETS,
        map_is="pixels",
        licence_note=LRP_LICENCE_NOTE,
    )

    bytes_per_image: int = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        if self.classifier.family != "CNN":
            raise ExplainerError(
                f"{self.method} is not defined for {self.classifier.name}, a "
                f"{self.classifier.family}: it factorises the feature maps of convolutions",
                remedy="transformer_attribution, attn_lrp or full_lrp",
            )
        if not self.classifier.taps:
            raise ExplainerError(
                f"{self.method} is not defined for {self.classifier.name}, which has no taps: it "
                "factorises the feature maps of convolutions",
                remedy="full_lrp",
            )
        bytes_per_image = check_propagation(
            self.classifier, _RULES, self.method, "full_lrp or grad_cam"
        )
        self._keep(bytes_per_image=bytes_per_image)

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        return mixing_class_maps(images, request, self._maps_of_classes)

    def _maps_of_classes(self, images: Tensor, request: Request) -> RawMaps:
        return explain_in_chunks(
            self.classifier, images, request, self.bytes_per_image, self._maps_of_chunk
        )

    def _maps_of_chunk(self, images: Tensor, request: Request) -> RawMaps:
        with torch.enable_grad(), _reading_convolution_inputs() as inputs:
            logits = self.classifier.logits(images.detach().clone().requires_grad_())
        targets = request.linear_targets(logits.detach()).single_classes()
        scores = targets.of(logits).sum(dim=0)
        require_graph(scores)
        leaf = images.detach().clone().requires_grad_()
        gradients = _CurrentGradients()
        rules = _RULES.with_first((Operation("convolution"), Factorised(gradients)))
        with (
            torch.enable_grad(),
            scoring_in_the_last_layer(self.classifier),
            propagating(rules, self.method, self.classifier.name),
        ):
            output = self.classifier.logits(leaf)
        maps = []
        for index, score in enumerate(scores):
            more = index + 1 < len(scores)
            gradients.now_are(torch.autograd.grad(score, inputs, retain_graph=more))
            start = relevance_of_classes(logits.detach(), targets.classes[:, index])
            (relevance,) = torch.autograd.grad(output, leaf, start, retain_graph=more)
            maps.append(widened(relevance).sum(dim=1))
        return RawMaps(logits, targets, torch.stack(maps, dim=1))


_OF_PIXELS = ZBox(lowest_of_image, highest_of_image)

_RULES = conserving_table(Absolute(), Sum("absolute"), Product("halved")).with_first(
    (WEIGHTED & SeesImage(), _OF_PIXELS)
)
"""All rules but that of convolutions, which need the class's gradients."""


@dataclasses.dataclass
class _CurrentGradients:
    """The gradients of all convolutions' inputs for the class that is propagated at the moment.

    Attributes:
        of_inputs: in the order of the calls.
        seen: how many convolutions have been called under the rules.
    """

    of_inputs: tuple[Tensor, ...] = ()
    seen: int = 0

    def now_are(self, of_inputs: tuple[Tensor, ...]) -> None:
        """Another class is propagated."""
        self.of_inputs = of_inputs

    def number_of_next(self) -> int:
        """Count a convolution that is called under the rules."""
        self.seen += 1
        return self.seen - 1


def relevance_of_classes(logits: Tensor, classes: Tensor) -> Tensor:
    """What relevance starts with: ``softmax(f_c · exp(−½((f − f_c)/σ)²))``.

    Args:
        logits: (B, C).
        classes: (B,).

    Example:
        >>> relevance_of_classes(torch.tensor([[4.0, 0.0]]), torch.tensor([0]))
        tensor([[0.8283, 0.1717]])
    """
    values = widened(logits)
    chosen = values.gather(1, classes[:, None])
    distance = values - chosen
    width = distance.abs().amax(dim=1, keepdim=True).clamp(min=torch.finfo(values.dtype).tiny)
    start = (chosen * torch.exp(-0.5 * (distance / width) ** 2)).softmax(dim=1)
    return start.to(logits.dtype)


@contextlib.contextmanager
def _reading_convolution_inputs() -> Iterator[list[GradientEdge]]:
    """Collect where in the graph each convolution gets its input, in the order of the calls."""
    inputs: list[GradientEdge] = []

    def keep(function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        values = convolution_arguments(*args, **kwargs)[0]
        if values.requires_grad:
            # Not the tensor: something may add to it in place later, and it is another one then.
            inputs.append(get_gradient_edge(values))
        return function(*args, **kwargs)

    with replacing_functions({"convolution": keep}):
        yield inputs


@dataclasses.dataclass(frozen=True)
class Factorised(Rule):
    """Factorisation at every convolution but the first; see :class:`Agf`.

    Attributes:
        gradients: filled in before the rule is used.
    """

    gradients: _CurrentGradients

    def apply(self, call: OperationCall) -> Any:
        """Run the convolution and record its rule."""
        number = self.gradients.number_of_next()
        if call.sees_image:
            return _OF_PIXELS.apply(call)
        found = weighted_call(call)
        if found is None:
            return NotImplemented
        shares = FactorisedShares(found.operation, lambda: self.gradients.of_inputs[number])
        return recorded(found.run, shares, found.values, found.weight)


@dataclasses.dataclass(frozen=True)
class FactorisedShares:
    """How a convolution shares out relevance; see :class:`Agf`.

    Attributes:
        operation: (input, weight) to output, without the bias.
        gradient: asked for ∂f_c/∂X, (B, C, h, w), when the rule is used.
    """

    operation: LinearMap
    gradient: Callable[[], Tensor]

    def __call__(self, relevance: Tensor, values: Tensor, weight: Tensor) -> tuple[Tensor, None]:
        """Relevance of the input X, (B, C, h, w), from that of the output."""
        layer = Weighted(values, weight, None, self.operation)
        share = Absolute().share(relevance, layer)
        uniform = Absolute().share(
            relevance, dataclasses.replace(layer, values=torch.ones_like(values))
        )
        gradient = widened(self.gradient())
        agreement = (values * gradient).mean(dim=1, keepdim=True).clamp(min=0)
        correction = (
            (factorised(values, share) + to_largest(agreement)) * share.sigmoid()
            + factorised(gradient, share)
            + uniform
        )
        return _shifted(share, correction), None


def factorised(features: Tensor, relevance: Tensor) -> Tensor:
    """How much more each place resembles the relevant places than the irrelevant ones.

    Args:
        features: (B, C, h, w).
        relevance: (B, C, h, w); a place is relevant where its channel sum is positive, irrelevant
            where it is negative.

    Returns:
        (B, 1, h, w), not negative.
    """
    places = torch.sigmoid(10 * to_largest(features)).flatten(2)
    of_place = relevance.sum(dim=1).flatten(1)
    members = torch.stack([of_place > 0, of_place < 0], dim=2).to(places.dtype)
    # A group without places has no representative: zeros, which nothing resembles.
    representatives = places @ members / members.sum(dim=1, keepdim=True).clamp(min=1)
    transposed = representatives.transpose(1, 2)
    gram = transposed @ representatives + torch.eye(2).to(places)
    weights = torch.linalg.solve(gram, transposed @ places).clamp(min=0)
    more: Tensor = (weights[:, 0] - weights[:, 1]).clamp(min=0)
    return more.reshape(len(features), 1, *features.shape[2:])


def to_largest(values: Tensor) -> Tensor:
    """Values of each image over their largest magnitude; zeros stay zeros."""
    largest = values.abs().amax(dim=(1, 2, 3), keepdim=True)
    return values / largest.masked_fill(largest == 0, 1)


def _shifted(share: Tensor, correction: Tensor) -> Tensor:
    """``C + r − Σr/#(C≠0)`` where C is not 0, so that the sum is that of C."""
    relevant = share != 0
    correction = correction * relevant
    count = relevant.sum(dim=(1, 2, 3), keepdim=True).clamp(min=1)
    mean = correction.sum(dim=(1, 2, 3), keepdim=True) / count
    return share + correction - mean * relevant
