"""Layer-wise relevance propagation through a whole network: which rule goes where."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ttame.classifiers.function_replacement import Operation, Replacement
from ttame.explainers.posthoc.option_checks import check_choice
from ttame.explainers.relevance.function_arguments import (
    convolution_arguments,
    linear_arguments,
    out_of_place,
    two_operands,
    two_summands,
)
from ttame.explainers.relevance.propagation import (
    PassedOn,
    Redistribution,
    Rule,
    follow_by_signs,
    has_moved_only,
)
from ttame.explainers.relevance.sharing_rules import (
    AverageRule,
    Limits,
    LinearKind,
    LinearMap,
    LinearRule,
    PixelRule,
    ProductRule,
    SumRule,
)
from ttame.explainers.relevance.stabilisers import DIVISIONS, Stabiliser


@dataclasses.dataclass(frozen=True)
class ConservingPass:
    """The rules of one relevance pass.

    Linear layers and convolutions follow ``linear``, averages give to the inputs of their own
    sign, sums follow ``sums``, products of two tensors follow ``products``; what has one input
    and no weights (GELU, softmax, normalisation, multiplication by a constant) passes relevance on
    place by place. A product with a tensor that does not depend on the image is linear.

    Attributes:
        linear: see :class:`LinearRule`.
        sums: ``"normalised"`` by image, ``"plain"``, or ``"absolute"``: by ``|u|`` and ``|v|``.
        products: ``"normalised"`` by image or ``"halved"``.
        stabiliser: the division.
        limits: pixel limits for the z^B rule of the layers that see the image itself; without
            them these layers follow ``linear``.
        images: B.
    """

    linear: LinearKind = "joint"
    sums: Literal["normalised", "plain", "absolute"] = "normalised"
    products: Literal["normalised", "halved"] = "normalised"
    stabiliser: Stabiliser = "sign-aware"
    limits: Limits | None = None
    images: int = 1

    def replacements(self) -> dict[Operation, Replacement]:
        """What runs instead of the network's operations."""
        return {
            "linear": self._linear,
            "convolution": self._convolution,
            "matrix product": self._matrix_product,
            "add": self._add,
            "subtract": self._subtract,
            "multiply": self._multiply,
            "divide": self._divide,
            "average": self._average,
            "softmax": _pass_on,
            "normalisation": _pass_on,
            "activation": _pass_on,
            "batch norm": self._batch_norm,
        }

    def weighted(
        self,
        run: LinearMap,
        operation: LinearMap,
        values: Tensor,
        weight: Tensor,
        channels: int | None,
    ) -> Tensor:
        """Run a linear map and record its rule."""
        divide = DIVISIONS[self.stabiliser]
        rule: Rule = LinearRule(operation, self.linear, divide, channels)
        if self.limits is not None and has_moved_only(values):
            rule = PixelRule(operation, self.limits, divide, channels)
        return self.redistributed(run, rule, values, weight)

    def redistributed(self, run: Callable[..., Tensor], rule: Rule, *inputs: Tensor) -> Tensor:
        """Run an operation and record a rule."""
        output: Tensor = Redistribution.apply(run, rule, *inputs)
        return output

    def _linear(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        values, weight, bias = linear_arguments(*args, **kwargs)
        if weight.requires_grad:
            return NotImplemented

        def by_rows(values: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
            # One product: torch would multiply token by token where the tokens are transposed.
            rows = values.reshape(-1, values.shape[-1])
            output: Tensor = function(rows, weight, bias)
            return output.reshape(*values.shape[:-1], -1)

        return self.weighted(lambda z, w: by_rows(z, w, bias), by_rows, values, weight, -1)

    def _convolution(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        values, weight, bias, settings = convolution_arguments(*args, **kwargs)
        if weight.requires_grad:
            return NotImplemented
        return self.weighted(
            lambda z, w: function(z, w, bias, *settings),
            lambda z, w: function(z, w, None, *settings),
            values,
            weight,
            1,
        )

    def _matrix_product(self, _function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        left, right = two_operands(*args, **kwargs)
        if not right.requires_grad:
            return self.weighted(torch.matmul, torch.matmul, left, right, None)
        if not left.requires_grad:

            def from_left(values: Tensor, weight: Tensor) -> Tensor:
                return torch.matmul(weight, values)

            return self.weighted(from_left, from_left, right, left, None)
        return self._product(torch.matmul, left, right)

    def _multiply(self, _function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        left, right = two_operands(*args, **kwargs)
        if _is_signal(left) and _is_signal(right):
            return self._product(torch.mul, left, right)
        values, factor = (left, right) if _is_signal(left) else (right, left)
        if isinstance(factor, Tensor):
            along = [-d for d, size in enumerate(reversed(factor.shape), start=1) if size > 1]
            if len(along) == 1:
                follow_by_signs(values, factor.flatten(), along[0])
        if isinstance(factor, Tensor) and factor.ndim and factor.shape != values.shape:
            # The factor may be the larger one: then the relevances of the copies add.
            values = values.expand((values.detach() * factor).shape)
        return PassedOn.apply(lambda tensor: torch.mul(tensor, factor), values)

    def _divide(self, _function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        left, right = two_operands(*args, **kwargs)
        if _is_signal(right):
            return NotImplemented
        return PassedOn.apply(lambda tensor: torch.div(tensor, right), left)

    def _product(self, operation: LinearMap, left: Tensor, right: Tensor) -> Tensor:
        images = self.images if self.products == "normalised" else None
        rule = ProductRule(operation, images, DIVISIONS[self.stabiliser])
        return self.redistributed(operation, rule, left, right)

    def _add(self, _function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        left, right, alpha = two_summands(*args, **kwargs)
        return self._sum(left, _scaled(right, alpha))

    def _subtract(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        left, right, alpha = two_summands(*args, **kwargs)
        if function is torch.Tensor.__rsub__:
            left, right = right, left
        return self._sum(left, _scaled(right, -alpha))

    def _sum(self, left: Any, right: Any) -> Tensor:
        if not isinstance(left, Tensor) or not isinstance(right, Tensor):
            values, number = (left, right) if isinstance(left, Tensor) else (right, left)
            shifted: Tensor = PassedOn.apply(lambda tensor: torch.add(tensor, number), values)
            return shifted
        images = self.images if self.sums == "normalised" else None
        rule = SumRule(images, DIVISIONS[self.stabiliser], absolute=self.sums == "absolute")
        return self.redistributed(torch.add, rule, left, right)

    def _average(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        values, *settings = args

        def run(tensor: Tensor) -> Tensor:
            result: Tensor = function(tensor, *settings, **kwargs)
            return result

        return self.redistributed(run, AverageRule(run, DIVISIONS[self.stabiliser]), values)

    def _batch_norm(self, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        values = args[0]
        # torch's own order is another one than that of torch.nn.functional.
        place = 1 if function is torch.batch_norm else 3
        scale = kwargs.get("weight", args[place] if len(args) > place else None)
        if scale is not None:
            follow_by_signs(values, scale, 1)
        return _pass_on(function, args, kwargs)


def conserving_pass(
    method: str,
    linear: LinearKind,
    additions: Literal["normalised", "plain"],
    matrix_products: Literal["normalised", "halved"],
    stabiliser: Stabiliser,
) -> ConservingPass:
    """The rules that a method's options name.

    Raises:
        ExplainerError: an option has another value.
    """
    check_choice(method, "linear", linear, ("joint", "separate"))
    check_choice(method, "additions", additions, ("normalised", "plain"))
    check_choice(method, "matrix_products", matrix_products, ("normalised", "halved"))
    check_choice(method, "stabiliser", stabiliser, tuple(DIVISIONS))
    return ConservingPass(linear, additions, matrix_products, stabiliser)


def _pass_on(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    values, *settings = args
    return PassedOn.apply(out_of_place(function, settings, kwargs), values)


def _scaled(summand: Any, factor: Any) -> Any:
    """The relevance of αv is that of v."""
    if factor == 1:
        return summand
    if not _is_signal(summand):
        return summand * factor
    return PassedOn.apply(lambda tensor: tensor * factor, summand)


def _is_signal(value: Any) -> bool:
    """Whether a value depends on the image."""
    return isinstance(value, Tensor) and value.requires_grad
