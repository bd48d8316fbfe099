"""AttnLRP's backward pass: gradients with a few operations differentiated otherwise.

Relevance is input times gradient, if the gradients are these. Linear operations keep their own.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ttame.classifiers.function_replacement import Operation, Replacement
from ttame.explainers.relevance.function_arguments import (
    convolution_arguments,
    linear_arguments,
    out_of_place,
    two_operands,
)
from ttame.explainers.relevance.propagation import Redistribution

SMALLEST_INPUT = 1e-6
"""Where an activation's input is 0, ``f(z)/z`` is taken here: near its limit, the slope at 0."""


@dataclasses.dataclass(frozen=True)
class GradientPass:
    """The rules of AttnLRP.

    Attributes:
        attention_is_constant: whether no relevance goes through the softmax (CP-LRP).
        gamma_linear: γ of linear layers; 0 keeps their gradient.
        gamma_convolution: γ of convolutions; 0 keeps their gradient.
    """

    attention_is_constant: bool = False
    gamma_linear: float = 0.0
    gamma_convolution: float = 0.0

    def replacements(self) -> dict[Operation, Replacement]:
        """What runs instead of the network's operations."""
        return {
            "linear": self._linear,
            "convolution": self._convolution,
            "matrix product": _halved_product(torch.matmul),
            "multiply": _halved_product(torch.mul),
            "softmax": self._softmax,
            "normalisation": _normalisation,
            "activation": _activation,
            "divide": _divide,
            "add": _as_it_is,
            "subtract": _as_it_is,
            "average": _as_it_is,
            "batch norm": _as_it_is,
        }

    def _linear(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        values, weight, bias = linear_arguments(*args, **kwargs)
        if weight.requires_grad:
            return NotImplemented
        if not self.gamma_linear:
            return function(*args, **kwargs)
        rule = GammaRule(function, self.gamma_linear, bias)
        return Redistribution.apply(lambda z, w: function(z, w, bias), rule, values, weight)

    def _convolution(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        values, weight, bias, settings = convolution_arguments(*args, **kwargs)
        if weight.requires_grad:
            return NotImplemented
        if not self.gamma_convolution:
            return function(*args, **kwargs)

        def without_bias(values: Tensor, weight: Tensor) -> Tensor:
            output: Tensor = function(values, weight, None, *settings)
            return output

        as_channels = None if bias is None else bias.reshape(-1, *[1] * (weight.ndim - 2))
        rule = GammaRule(without_bias, self.gamma_convolution, as_channels)
        return Redistribution.apply(
            lambda z, w: function(z, w, bias, *settings), rule, values, weight
        )

    def _softmax(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        probabilities = function(*args, **kwargs)
        return probabilities.detach() if self.attention_is_constant else probabilities


@dataclasses.dataclass(frozen=True)
class GammaRule:
    """Linear layers and convolutions with contributions of the output's sign made larger.

    Where the output y is positive, positive contributions ``z w`` count ``1 + γ`` times; where it
    is negative, the negative ones do. In gradients: ``g_in = Σ_j w̃_ij g_j y_j / ỹ_j`` with the
    weights w̃ of that sign and ``ỹ = Σ w̃ z + b̃``. γ = 0 is the gradient.

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


def _as_it_is(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    return function(*args, **kwargs)


def _halved_product(operation: Callable[..., Tensor]) -> Replacement:
    """The gradients of both factors are halved, if both depend on the image."""

    def rule(gradient: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, ...]:
        leaves = [tensor.detach().requires_grad_() for tensor in (left, right)]
        with torch.enable_grad():
            product = operation(*leaves)
        return torch.autograd.grad(product, leaves, gradient / 2)

    def replacement(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        factors = two_operands(*args, **kwargs)
        if all(isinstance(factor, Tensor) and factor.requires_grad for factor in factors):
            return Redistribution.apply(operation, rule, *factors)
        return function(*args, **kwargs)

    return replacement


def _divide(_function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The divisor counts as a constant, like the standard deviation of a normalisation."""
    left, right = two_operands(*args, **kwargs)
    if not isinstance(left, Tensor) or not left.requires_grad:
        return NotImplemented
    return torch.div(left, right.detach() if isinstance(right, Tensor) else right)


def _activation(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The slope is ``f(z)/z``."""
    values, *settings = args
    run = out_of_place(function, settings, kwargs)

    def rule(gradient: Tensor, values: Tensor) -> tuple[Tensor]:
        near_zero = values.abs() < SMALLEST_INPUT
        at = values.masked_fill(near_zero, SMALLEST_INPUT)
        return (gradient * run(at) / at,)

    return Redistribution.apply(run, rule, values)


def _normalisation(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """The standard deviation, or norm, counts as a constant."""
    values, *settings = args
    held = _SCALE_HELD.get(function)
    if held is None:
        return NotImplemented

    def run(tensor: Tensor) -> Tensor:
        result: Tensor = function(tensor, *settings, **kwargs)
        return result

    def rule(gradient: Tensor, values: Tensor) -> tuple[Tensor, ...]:
        leaf = values.detach().requires_grad_()
        with torch.enable_grad():
            output = held(leaf, *settings, **kwargs)
        return torch.autograd.grad(output, leaf, gradient)

    return Redistribution.apply(run, rule, values)


def _layer_norm(
    values: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    del cudnn_enable
    dimensions = tuple(range(-len(normalized_shape), 0))
    centred = values - values.mean(dim=dimensions, keepdim=True)
    variance = values.detach().var(dim=dimensions, keepdim=True, correction=0)
    scaled = centred * (variance + eps).rsqrt()
    del bias  # it has no gradient
    return scaled if weight is None else scaled * weight


def _rms_norm(
    values: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    eps: float | None = None,
) -> Tensor:
    dimensions = tuple(range(-len(normalized_shape), 0))
    eps = torch.finfo(values.dtype).eps if eps is None else eps
    mean_square = values.detach().square().mean(dim=dimensions, keepdim=True)
    scaled = values * (mean_square + eps).rsqrt()
    return scaled if weight is None else scaled * weight


def _normalize(
    values: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: None = None
) -> Tensor:
    del out
    norm: Tensor = torch.linalg.vector_norm(values.detach(), p, dim, keepdim=True)
    return values / norm.clamp(min=eps)


_SCALE_HELD: dict[Callable[..., Any], Callable[..., Tensor]] = {
    F.layer_norm: _layer_norm,
    torch.layer_norm: _layer_norm,
    F.rms_norm: _rms_norm,
    torch.rms_norm: _rms_norm,
    F.normalize: _normalize,
}
