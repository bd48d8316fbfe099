"""How one operation shares out relevance: the backward passes of rules, without a network.

Each is called with the relevance of the operation's output and with the operation's inputs, and
returns the relevances of the inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.explainers.relevance.operation_calls import LinearMap
from ttame.explainers.relevance.stabilisers import Divide

Bilinear = Callable[[Tensor, Tensor], Tensor]


@dataclasses.dataclass(frozen=True)
class AverageShares:
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
class ProductShares:
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
        of_left, of_right = of_left.mul_(left), of_right.mul_(right)
        if self.images is None:
            return of_left.mul_(0.5), of_right.mul_(0.5)
        return normalised(of_left, of_right, relevance, self.images, self.divide)


@dataclasses.dataclass(frozen=True)
class SumShares:
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
    operation: LinearMap,
    divide: Divide,
    relevance: Tensor,
    *parts: tuple[Tensor, Tensor],
    bias: Tensor | None = None,
) -> Tensor:
    """``Σ_parts v ⊙ Wᵀ(R/Z)`` with ``Z = Σ_parts W v + b``.

    Args:
        operation: (values, weight) to output.
        divide: the stabilised division.
        relevance: R, of the output.
        *parts: pairs of values v and weight W: a share of the input meets a share of the weight.
        bias: b, broadcastable to the output; what falls to it, no input gets.

    Example:
        >>> from ttame.explainers.relevance.stabilisers import divide_sign_aware
        >>> values, weight = torch.tensor([[2.0, 1.0]]), torch.tensor([[3.0, -2.0]])
        >>> by_contribution(torch.nn.functional.linear, divide_sign_aware, torch.ones(1, 1),
        ...                 (values, weight))
        tensor([[ 1.5000, -0.5000]])
    """
    leaves = [values.detach().requires_grad_() for values, _ in parts]
    with torch.enable_grad():
        total = operation(leaves[0], parts[0][1])
        for leaf, (_, weight) in zip(leaves[1:], parts[1:], strict=True):
            total = total + operation(leaf, weight)
    outputs = total.detach() if bias is None else total.detach() + bias
    quotient = divide(relevance, outputs)
    gradients = torch.autograd.grad(total, leaves, quotient)
    result = gradients[0] * parts[0][0]
    for gradient, (values, _) in zip(gradients[1:], parts[1:], strict=True):
        result.addcmul_(gradient, values)
    return result


def normalised(
    of_left: Tensor, of_right: Tensor, relevance: Tensor, images: int, divide: Divide
) -> tuple[Tensor, Tensor]:
    """Scale the relevances of two inputs so that together they are the relevance of the output.

    ``R̄_u = R_u · |ΣR_u|/(|ΣR_u|+|ΣR_v|) · ΣR/ΣR_u``, and the same for v; the sums run over one
    image, so that the images of a batch do not influence each other.

    Args:
        of_left: R_u, its first dimension the images, or windows of them; overwritten.
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
                remedy="one image per call",
            )
        return values.reshape(images, -1).sum(dim=1)

    def scaled(values: Tensor, factor: Tensor) -> Tensor:
        return values.reshape(images, -1).mul_(factor[:, None]).reshape(values.shape)

    left, right, whole = by_image(of_left), by_image(of_right), by_image(relevance)
    magnitude = left.abs() + right.abs()
    return (
        scaled(of_left, divide(divide(left.abs(), magnitude) * whole, left)),
        scaled(of_right, divide(divide(right.abs(), magnitude) * whole, right)),
    )
