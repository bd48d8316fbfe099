"""Rules in the language of AttnLRP: gradients with a few operations differentiated otherwise.

What goes backwards is ``g = R/z``, so that relevance is input times gradient in the end. Operations
that are linear in their inputs keep their gradient.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.explainers.relevance.function_arguments import (
    computed_anew,
    out_of_place,
    two_operands,
)
from ttame.explainers.relevance.held_scales import SCALE_HELD
from ttame.explainers.relevance.matches import WEIGHTED
from ttame.explainers.relevance.operation_calls import (
    OperationCall,
    depends_on_image,
    weighted_call,
)
from ttame.explainers.relevance.recording import recorded
from ttame.explainers.relevance.rule import Carried, Rule

SMALLEST_INPUT = 1e-6
"""Where an activation's input is 0, ``f(z)/z`` is taken here: near its limit, the slope at 0."""


@dataclasses.dataclass(frozen=True)
class Gradient(Rule):
    """The gradient as it is: the ε rule without ε, Taylor's expansion of the softmax.

    Achtibat et al., AttnLRP, ICML 2024.
    """

    carries: ClassVar[Carried] = "gradient"

    def apply(self, call: OperationCall) -> Any:
        """Run the operation."""
        if call.operation in WEIGHTED.names and weighted_call(call) is None:
            return NotImplemented
        return computed_anew(call.function, call.args, call.kwargs)


@dataclasses.dataclass(frozen=True)
class GammaGradient(Rule):
    """Linear layers and convolutions with contributions of the output's sign made larger.

    Where the output y is positive, positive contributions ``z w`` count ``1 + γ`` times; where it
    is negative, the negative ones do. In gradients: ``g_in = Σ_j w̃_ij g_j y_j / ỹ_j`` with the
    weights w̃ of that sign and ``ỹ = Σ w̃ z + b̃``. γ = 0 is the gradient. With relevance instead of
    gradients it is :class:`ttame.explainers.relevance.weighted_rules.Gamma`.

    Args:
        gamma: γ, at least 0.
    """

    gamma: float = 0.25
    carries: ClassVar[Carried] = "gradient"

    def __post_init__(self) -> None:
        if not 0 <= self.gamma < float("inf"):
            raise ExplainerError(f"gamma={self.gamma!r} for GammaGradient", allowed="at least 0")

    def apply(self, call: OperationCall) -> Any:
        """Run the linear map and record its modified gradient."""
        found = weighted_call(call)
        if found is None:
            return NotImplemented
        backward = _GammaGradients(found.operation, self.gamma, found.bias)
        return recorded(found.run, backward, found.values, found.weight)


@dataclasses.dataclass(frozen=True)
class HalfGradients(Rule):
    """Products whose factors have half their gradients, if both depend on the image.

    The uniform rule of AttnLRP: for the products Q·Kᵀ and A·V, and those of gates.
    """

    carries: ClassVar[Carried] = "gradient"

    def apply(self, call: OperationCall) -> Any:
        """Run the product and record its modified gradients."""
        operation = _PRODUCTS.get(call.operation)
        if operation is None:
            return NotImplemented
        factors = two_operands(*call.args, **call.kwargs)
        if not all(map(depends_on_image, factors)):
            return call.function(*call.args, **call.kwargs)

        def halved(gradient: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
            leaves = [tensor.detach().requires_grad_() for tensor in (left, right)]
            with torch.enable_grad():
                product = operation(*leaves)
            return torch.autograd.grad(product, leaves, gradient / 2)

        return recorded(operation, halved, *factors)


@dataclasses.dataclass(frozen=True)
class HeldDivisor(Rule):
    """Quotients whose divisor counts as a constant, like the deviation of a normalisation."""

    carries: ClassVar[Carried] = "gradient"

    def apply(self, call: OperationCall) -> Any:
        """Run the quotient without a graph for the divisor."""
        left, right = two_operands(*call.args, **call.kwargs)
        if call.operation != "divide" or not depends_on_image(left):
            return NotImplemented
        return torch.div(left, right.detach() if isinstance(right, Tensor) else right)


@dataclasses.dataclass(frozen=True)
class MeanSlope(Rule):
    """Activations whose slope is ``f(z)/z``, that of the line from 0: the identity rule."""

    carries: ClassVar[Carried] = "gradient"

    def apply(self, call: OperationCall) -> Any:
        """Run the activation and record its modified gradient."""
        values, *settings = call.args
        if any(map(depends_on_image, (*settings, *call.kwargs.values()))):
            return NotImplemented
        run = out_of_place(call.function, settings, call.kwargs)

        def scaled(gradient: Tensor, values: Tensor) -> tuple[Tensor]:
            near_zero = values.abs() < SMALLEST_INPUT
            at = values.masked_fill(near_zero, SMALLEST_INPUT)
            return (gradient * run(at) / at,)

        return recorded(run, scaled, values)


@dataclasses.dataclass(frozen=True)
class HeldScale(Rule):
    """Normalisations whose standard deviation, or norm, counts as a constant.

    The rule of AttnLRP for layer norm and RMS norm.
    """

    carries: ClassVar[Carried] = "gradient"

    def apply(self, call: OperationCall) -> Any:
        """Run the normalisation and record its modified gradient."""
        values, *settings = call.args
        held = SCALE_HELD.get(call.function)
        if held is None:
            return NotImplemented

        def run(tensor: Tensor) -> Tensor:
            result: Tensor = call.function(tensor, *settings, **call.kwargs)
            return result

        def through(gradient: Tensor, values: Tensor) -> tuple[Tensor, ...]:
            leaf = values.detach().requires_grad_()
            with torch.enable_grad():
                output = held(leaf, *settings, **call.kwargs)
            return torch.autograd.grad(output, leaf, gradient)

        return recorded(run, through, values)


_PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "multiply": torch.mul,
    "matrix product": torch.matmul,
}


@dataclasses.dataclass(frozen=True)
class _GammaGradients:
    """The backward pass of :class:`GammaGradient`.

    Attributes:
        operation: (input, weight) to output, without the bias.
        gamma: γ.
        bias: broadcastable to the output, or ``None``.
    """

    operation: Callable[[Tensor, Tensor], Tensor]
    gamma: float
    bias: Tensor | None

    def __call__(self, gradient: Tensor, values: Tensor, weight: Tensor) -> tuple[Tensor, None]:
        """Modified gradient of the input from that of the output."""
        bias = torch.zeros((), dtype=values.dtype, device=values.device)
        if self.bias is not None:
            bias = self.bias.to(values.dtype)
        output = self.operation(values, weight) + bias
        more_positive = weight + self.gamma * weight.clamp(min=0)
        more_negative = weight + self.gamma * weight.clamp(max=0)
        of_positive = self._through(
            (gradient * output).masked_fill(output <= 0, 0),
            (values, more_positive, more_negative),
            bias + self.gamma * bias.clamp(min=0),
        )
        of_negative = self._through(
            (gradient * output).masked_fill(output >= 0, 0),
            (values, more_negative, more_positive),
            bias + self.gamma * bias.clamp(max=0),
        )
        return of_positive.add_(of_negative), None

    def _through(
        self, relevance: Tensor, parts: tuple[Tensor, Tensor, Tensor], bias: Tensor
    ) -> Tensor:
        """Gradients of inputs from the relevance of outputs of one sign."""
        values, for_positive, for_negative = parts
        leaves = [
            values.clamp(min=0).requires_grad_(),
            values.clamp(max=0).requires_grad_(),
        ]
        with torch.enable_grad():
            total = (
                self.operation(leaves[0], for_positive)
                + self.operation(leaves[1], for_negative)
                + bias
            )
        # Not zero where the relevance is none: it is at least the output, in its direction.
        quotient = torch.where(relevance == 0, torch.zeros_like(total), relevance / total.detach())
        positive, negative = torch.autograd.grad(total, leaves, quotient)
        return torch.where(values < 0, negative, positive)
