"""How one operation shares out relevance: the rules of layer-wise relevance propagation.

A rule is called with the relevance of the operation's output and with the operation's inputs, and
returns the relevances of the inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.explainers.relevance.stabilisers import Divide

LinearMap = Callable[[Tensor, Tensor], Tensor]
"""(input, weight) to output, linear in both, without a bias."""

LinearKind = Literal["joint", "separate", "absolute"]

Limits = Callable[[Tensor], tuple[Tensor, Tensor]]
"""Gives the lowest and highest pixel values for an input, broadcastable to it."""

Bilinear = Callable[[Tensor, Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class LinearRule:
    """Linear layers and convolutions.

    Attributes:
        operation: (input, weight) to output; the bias is ignored.
        kind: ``"joint"`` is the α = 1 rule of Transformer Attribution,
            ``R_in = z⁺ ⊙ W⁺ᵀ(R/Z) + z⁻ ⊙ W⁻ᵀ(R/Z)`` with ``Z = W⁺z⁺ + W⁻z⁻``; ``"separate"``
            divides its two parts by their own sums, which doubles the relevance where both exist;
            ``"absolute"`` takes ``|z|`` and ``|W|``.
        divide: the stabilised division.
        channels: the dimension of the output that the first dimension of the weight makes.
    """

    operation: LinearMap
    kind: LinearKind
    divide: Divide
    channels: int | None = None

    def __call__(
        self, relevance: Tensor, values: Tensor, weight: Tensor, signs: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Relevance of the input from that of the output."""
        weight = _with_signs(weight, signs)
        if self.kind == "absolute":
            return self._by_contribution(relevance, (values.abs(), weight.abs())), None
        positive = values.clamp(min=0), weight.clamp(min=0)
        negative = values.clamp(max=0), weight.clamp(max=0)
        if self.kind == "joint":
            return self._by_contribution(relevance, positive, negative), None
        return self._by_contribution(relevance, positive).add_(
            self._by_contribution(relevance, negative)
        ), None

    def _by_contribution(self, relevance: Tensor, *parts: tuple[Tensor, Tensor]) -> Tensor:
        return by_contribution(self.operation, self.divide, relevance, *parts)


@dataclasses.dataclass(frozen=True)
class PixelRule:
    """The z^B rule for a layer that sees pixels between a lowest and a highest value.

    ``R_in = x ⊙ Wᵀ S − l ⊙ W⁺ᵀ S − h ⊙ W⁻ᵀ S`` with ``S = R / (W x − W⁺ l − W⁻ h)``.

    Attributes:
        operation: (input, weight) to output.
        limits: gives l and h for the input.
        divide: the stabilised division.
        channels: the dimension of the output that the first dimension of the weight makes.
    """

    operation: LinearMap
    limits: Limits
    divide: Divide
    channels: int | None = None

    def __call__(
        self, relevance: Tensor, values: Tensor, weight: Tensor, signs: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Relevance of the input from that of the output."""
        weight = _with_signs(weight, signs)
        lowest, highest = (limit.expand_as(values) for limit in self.limits(values))
        parts = (
            (values, weight),
            (lowest, -weight.clamp(min=0)),
            (highest, -weight.clamp(max=0)),
        )
        return by_contribution(self.operation, self.divide, relevance, *parts), None


@dataclasses.dataclass(frozen=True)
class AverageRule:
    """Means, sums and average pooling: to the inputs that have the output's sign.

    ``R_in = z⁺ ⊙ ∂Σz⁺/∂z⁺ (R/Σz⁺)`` where the output is positive, and the same with z⁻ where it is
    negative. Sharing by ``z/Σz`` would divide by what is left after cancelling.

    Attributes:
        operation: the average, of one input.
        divide: the stabilised division.
    """

    operation: Callable[[Tensor], Tensor]
    divide: Divide

    def __call__(self, relevance: Tensor, values: Tensor) -> tuple[Tensor]:
        """Relevance of the input from that of the average."""
        is_negative = self.operation(values) < 0
        weight = values.new_empty(0)

        def to_part(relevance: Tensor, part: Tensor) -> Tensor:
            return by_contribution(
                lambda part, _: self.operation(part), self.divide, relevance, (part, weight)
            )

        positive = to_part(relevance.masked_fill(is_negative, 0), values.clamp(min=0))
        negative = to_part(relevance.masked_fill(~is_negative, 0), values.clamp(max=0))
        return (positive.add_(negative),)


@dataclasses.dataclass(frozen=True)
class ProductRule:
    """Matrix products and products of two tensors that both depend on the image.

    ``R_a = a ⊙ ∂Z/∂a (R/Z)`` and the same for b: each is the whole relevance, so the two are
    halved, or normalised as sums are (see :func:`normalised`).

    Attributes:
        operation: (a, b) to Z.
        images: B; ``None`` halves.
        divide: the stabilised division.
    """

    operation: Bilinear
    images: int | None
    divide: Divide

    def __call__(self, relevance: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Relevances of both factors from that of the product."""
        leaves = [tensor.detach().requires_grad_() for tensor in (left, right)]
        with torch.enable_grad():
            product = self.operation(*leaves)
        quotient = self.divide(relevance, product.detach())
        of_left, of_right = torch.autograd.grad(product, leaves, quotient)
        of_left, of_right = of_left * left, of_right * right
        if self.images is None:
            return of_left.mul_(0.5), of_right.mul_(0.5)
        return normalised(of_left, of_right, relevance, self.images, self.divide)


@dataclasses.dataclass(frozen=True)
class SumRule:
    """Residual additions ``u + v``: ``R_u = u R/(u+v)``, ``R_v = v R/(u+v)``.

    Attributes:
        images: B, to normalise both by image (see :func:`normalised`); ``None`` leaves them.
        divide: the stabilised division.
        absolute: share by ``|u|`` and ``|v|``.
    """

    images: int | None
    divide: Divide
    absolute: bool = False

    def __call__(self, relevance: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        """Relevances of both summands from that of the sum."""
        shapes = left.shape, right.shape
        if self.absolute:
            left, right = left.abs(), right.abs()
        quotient = self.divide(relevance, left + right)
        of_left, of_right = left * quotient, right * quotient
        if self.images is not None:
            of_left, of_right = normalised(of_left, of_right, relevance, self.images, self.divide)
        return of_left.sum_to_size(shapes[0]), of_right.sum_to_size(shapes[1])


def by_contribution(
    operation: LinearMap, divide: Divide, relevance: Tensor, *parts: tuple[Tensor, Tensor]
) -> Tensor:
    """``Σ_parts v ⊙ Wᵀ(R/Z)`` with ``Z = Σ_parts W v``.

    Args:
        operation: (values, weight) to output.
        divide: the stabilised division.
        relevance: R, of the output.
        *parts: pairs of values v and weight W: a share of the input meets a share of the weight.
    """
    leaves = [values.detach().requires_grad_() for values, _ in parts]
    with torch.enable_grad():
        total = operation(leaves[0], parts[0][1])
        for leaf, (_, weight) in zip(leaves[1:], parts[1:], strict=True):
            total = total + operation(leaf, weight)
    quotient = divide(relevance, total.detach())
    gradients = torch.autograd.grad(total, leaves, quotient)
    result = gradients[0] * parts[0][0]
    for gradient, (values, _) in zip(gradients[1:], parts[1:], strict=True):
        result.addcmul_(gradient, values)
    return result


def _with_signs(weight: Tensor, signs: Tensor | None) -> Tensor:
    if signs is None:
        return weight
    return weight * signs.to(weight).reshape(-1, *[1] * (weight.ndim - 1))


def normalised(
    of_left: Tensor, of_right: Tensor, relevance: Tensor, images: int, divide: Divide
) -> tuple[Tensor, Tensor]:
    """Scale the relevances of two inputs so that together they are the relevance of the output.

    ``R̄_u = R_u · |ΣR_u|/(|ΣR_u|+|ΣR_v|) · ΣR/ΣR_u``, and the same for v; the sums run over one
    image, so that the images of a batch do not influence each other.

    Args:
        of_left: R_u, its first dimension the images, or windows of them.
        of_right: R_v, likewise.
        relevance: R.
        images: B.
        divide: the stabilised division.

    Raises:
        ExplainerError: the first dimension does not hold the images.

    Example:
        >>> from ttame.explainers.relevance.stabilisers import divide_sign_aware
        >>> normalised(torch.tensor([[3.0]]), torch.tensor([[-2.0]]), torch.tensor([[1.0]]), 1,
        ...            divide_sign_aware)
        (tensor([[0.6000]]), tensor([[0.4000]]))
    """

    def by_image(values: Tensor) -> Tensor:
        if len(values) % images:
            raise ExplainerError(
                f"relevance of shape {tuple(values.shape)} for {images} images",
                allowed="operations whose first dimension is the batch",
                remedy="one image a call",
            )
        return values.reshape(images, -1).sum(dim=1)

    def scaled(values: Tensor, factor: Tensor) -> Tensor:
        return values.reshape(images, -1).mul(factor[:, None]).reshape(values.shape)

    left, right, whole = by_image(of_left), by_image(of_right), by_image(relevance)
    magnitude = left.abs() + right.abs()
    return (
        scaled(of_left, divide(divide(left.abs(), magnitude) * whole, left)),
        scaled(of_right, divide(divide(right.abs(), magnitude) * whole, right)),
    )
