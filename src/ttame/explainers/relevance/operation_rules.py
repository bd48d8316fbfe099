"""Rules for what has no weights: activations, sums, averages, normalisations, products.

In the formulas ``R`` is the relevance of an operation's output y, ``R_x`` that of its input x. The
names are zennit's where it has one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.explainers.relevance.function_arguments import (
    batch_norm_scale,
    computed_anew,
    out_of_place,
    two_operands,
    two_summands,
)
from ttame.explainers.relevance.held_scales import SCALE_HELD
from ttame.explainers.relevance.operation_calls import OperationCall, depends_on_image
from ttame.explainers.relevance.recording import follow_by, passed_on, recorded, widened
from ttame.explainers.relevance.rule import Carried, Rule
from ttame.explainers.relevance.sharing_rules import AverageShares, ProductShares, SumShares
from ttame.explainers.relevance.stabilisers import (
    DIVISIONS,
    Divide,
    Stabiliser,
    divide_sign_aware,
)
from ttame.networks.function_parts import is_norm


@dataclasses.dataclass(frozen=True)
class Pass(Rule):
    """``R_x = R``, place by place: activations, softmax, normalisation, constant factors.

    Bach et al., PLoS ONE 2015, for activations. For operations with one input that depends on the
    image and an output of its shape: also the product with a constant, the quotient by one, the sum
    with a number.

    A batch norm or layer scale right after a linear map is told to the map, whose rule then sees
    weights and bias multiplied by it, as if the two were one layer.
    """

    def apply(self, call: OperationCall) -> Any:
        """Run the operation and record that relevance passes it."""
        if call.operation in ("multiply", "divide"):
            return _constant_factor(call)
        values, *settings = call.args
        if call.operation in ("add", "subtract"):
            return _number_added(call)
        if any(map(depends_on_image, (*settings, *call.kwargs.values()))):
            return NotImplemented
        if call.operation == "batch norm":
            factor, shift = batch_norm_scale(call.function, call.args, call.kwargs)
            if factor is not None:
                follow_by(values, factor, 1, shift)
        output = passed_on(out_of_place(call.function, settings, call.kwargs), values)
        return output if output.shape == values.shape else NotImplemented


@dataclasses.dataclass(frozen=True)
class Constant(Rule):
    """The output counts as a constant: no relevance goes through it.

    For the softmax of attention, whose relevance then goes to the values alone: Ali et al., XAI for
    Transformers: Better Explanations through Conservative Propagation, ICML 2022.
    """

    carries: ClassVar[Carried] = "either"

    def apply(self, call: OperationCall) -> Any:
        """Run the operation and cut its graph."""
        output = computed_anew(call.function, call.args, call.kwargs)
        return output.detach() if isinstance(output, Tensor) else NotImplemented


@dataclasses.dataclass(frozen=True)
class Norm(Rule):
    """The ε rule without weights: ``R_x = x ∂y/∂x R / (y + ε sign y)``.

    For sums, averages, batch norm and normalisation, whose standard deviation or norm counts as a
    constant. What falls to constants, numbers and biases, no input gets; else it is conserved.

    Args:
        epsilon: ε, at least 0.
    """

    epsilon: float = 1e-9

    def __post_init__(self) -> None:
        if not 0 <= self.epsilon < float("inf"):
            raise ExplainerError(f"epsilon={self.epsilon!r} for Norm", allowed="at least 0")

    def apply(self, call: OperationCall) -> Any:
        """Run the operation and record its shares."""
        divide = functools.partial(divide_sign_aware, epsilon=self.epsilon)
        if call.operation in ("add", "subtract"):
            left, right = _summands(call)
            like = left if isinstance(left, Tensor) else right
            left, right = (
                part if isinstance(part, Tensor) else like.new_tensor(part)
                for part in (left, right)
            )
            return recorded(torch.add, SumShares(None, divide), left, right)
        values, *settings = call.args
        run = _with_settings(call.function, settings, call.kwargs)
        linear: Callable[..., Tensor] | None = None
        if call.operation == "average" or (
            call.operation == "batch norm"
            and batch_norm_scale(call.function, call.args, call.kwargs, fixed=True) != (None, None)
        ):
            linear = call.function
        elif call.operation == "normalisation":
            linear = SCALE_HELD.get(call.function)
        if linear is None:
            return NotImplemented
        shares = _LinearShares(run, _with_settings(linear, settings, call.kwargs), divide)
        return recorded(run, shares, values)


@dataclasses.dataclass(frozen=True)
class Sum(Rule):
    """Sums of two tensors: ``R_u = u R / (u + v)``, ``R_v = v R / (u + v)``.

    A sum with a number passes relevance on.

    Args:
        shares: ``"normalised"``: scaled so that the sums over each image are
            ``|ΣR_u| / (|ΣR_u| + |ΣR_v|)`` of ``ΣR`` and the rest: Chefer et al., CVPR 2021;
            ``"plain"``; or ``"absolute"``, by ``|u|`` and ``|v|``.
        stabiliser: ``"sign-aware"`` or ``"published"``, of the division.
    """

    shares: Literal["normalised", "plain", "absolute"] = "normalised"
    stabiliser: Stabiliser = "sign-aware"

    @property
    def is_linear(self) -> bool:
        """Not if scaled by sums of the relevance."""
        return self.shares != "normalised"

    def apply(self, call: OperationCall) -> Any:
        """Run the sum and record its shares."""
        if call.operation not in ("add", "subtract"):
            return NotImplemented
        left, right = _summands(call)
        if not isinstance(left, Tensor) or not isinstance(right, Tensor):
            return _number_added(call)
        images = call.images if self.shares == "normalised" else None
        divide = DIVISIONS[self.stabiliser]
        shares = SumShares(images, divide, absolute=self.shares == "absolute")
        return recorded(torch.add, shares, left, right)


@dataclasses.dataclass(frozen=True)
class Product(Rule):
    """Products of two tensors that both depend on the image: of attention, of gates.

    ``R_a = a ∂Z/∂a (R / Z)`` and the same for b: each is the whole relevance, so the two are halved
    or normalised. A constant factor passes relevance on, as with :class:`Pass`.

    Args:
        shares: ``"normalised"``: scaled as the shares of :class:`Sum` are, Chefer et al., CVPR
            2021; or ``"halved"``, by which relevance is conserved place by place.
        stabiliser: ``"sign-aware"`` or ``"published"``, of the division.
    """

    shares: Literal["normalised", "halved"] = "normalised"
    stabiliser: Stabiliser = "sign-aware"

    @property
    def is_linear(self) -> bool:
        """Not if scaled by sums of the relevance."""
        return self.shares != "normalised"

    def apply(self, call: OperationCall) -> Any:
        """Run the product and record its shares."""
        operation = _PRODUCTS.get(call.operation)
        if operation is None:
            return NotImplemented
        left, right = two_operands(*call.args, **call.kwargs)
        if not depends_on_image(left) or not depends_on_image(right):
            return _constant_factor(call)
        images = call.images if self.shares == "normalised" else None
        shares = ProductShares(operation, images, DIVISIONS[self.stabiliser])
        return recorded(operation, shares, left, right)


@dataclasses.dataclass(frozen=True)
class SameSign(Rule):
    """Averages and sums over places: to the inputs that have the output's sign.

    ``R_x = x⁺ ∂y⁺/∂x⁺ R / y⁺`` where the output is positive, with ``y⁺`` the average of ``x⁺``, and
    the same with ``x⁻`` where it is negative. Sharing by ``x / y`` would divide by what is left
    after cancelling. Relevance is conserved.

    Args:
        stabiliser: ``"sign-aware"`` or ``"published"``, of the division.
    """

    stabiliser: Stabiliser = "sign-aware"

    def apply(self, call: OperationCall) -> Any:
        """Run the average and record its shares."""
        if call.operation != "average":
            return NotImplemented
        values, *settings = call.args
        run = _with_settings(call.function, settings, call.kwargs)
        return recorded(run, AverageShares(run, DIVISIONS[self.stabiliser]), values)


@dataclasses.dataclass(frozen=True)
class _LinearShares:
    """``x ⊙ Jᵀ(R/y)`` of an operation y(x) that ``linear`` has the Jacobian J of."""

    run: Callable[[Tensor], Tensor]
    linear: Callable[[Tensor], Tensor]
    divide: Divide

    def __call__(self, relevance: Tensor, values: Tensor) -> tuple[Tensor]:
        leaf = values.detach().requires_grad_()
        with torch.enable_grad():
            output = self.linear(leaf)
        quotient = self.divide(relevance, widened(self.run(values)))
        (gradient,) = torch.autograd.grad(output, leaf, quotient)
        return (gradient * values,)


_PRODUCTS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "multiply": torch.mul,
    "matrix product": torch.matmul,
}


def _constant_factor(call: OperationCall) -> Any:
    """A product with, or quotient by, what does not depend on the image."""
    left, right = two_operands(*call.args, **call.kwargs)
    if call.operation == "divide":
        if depends_on_image(right):
            if not is_norm(right):
                return NotImplemented
            right = right.detach()  # as in a normalisation, whose norm counts as a constant
        return passed_on(lambda tensor: torch.div(tensor, right), left)
    if depends_on_image(left) and depends_on_image(right):
        return NotImplemented
    values, factor = (left, right) if depends_on_image(left) else (right, left)
    if isinstance(factor, Tensor):
        along = [-d for d, size in enumerate(reversed(factor.shape), start=1) if size > 1]
        if len(along) == 1:
            follow_by(values, factor.flatten(), along[0])
    if isinstance(factor, Tensor) and factor.ndim and factor.shape != values.shape:
        # The factor may be the larger one: then the relevances of the copies add.
        values = values.expand((values.detach() * factor).shape)
    return passed_on(lambda tensor: torch.mul(tensor, factor), values)


def _summands(call: OperationCall) -> tuple[Any, Any]:
    """u and v of a sum, a difference being the sum with the negative."""
    left, right, alpha = two_summands(*call.args, **call.kwargs)
    if call.operation == "add":
        return left, _scaled(right, alpha)
    if call.function is torch.Tensor.__rsub__:
        left, right = right, left
    return left, _scaled(right, -alpha)


def _number_added(call: OperationCall) -> Any:
    left, right = _summands(call)
    if isinstance(left, Tensor) and isinstance(right, Tensor):
        return NotImplemented
    values, number = (left, right) if isinstance(left, Tensor) else (right, left)
    return passed_on(lambda tensor: torch.add(tensor, number), values)


def _scaled(summand: Any, factor: Any) -> Any:
    """The relevance of αv is that of v."""
    if factor == 1:
        return summand
    if not depends_on_image(summand):
        return summand * factor
    return passed_on(lambda tensor: tensor * factor, summand)


def _with_settings(
    function: Callable[..., Tensor], settings: Any, kwargs: dict[str, Any]
) -> Callable[[Tensor], Tensor]:
    return lambda tensor: function(tensor, *settings, **kwargs)
