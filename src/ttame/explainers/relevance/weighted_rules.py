"""Rules for what has weights: linear layers, convolutions, matrix products with a constant.

In the formulas ``z_i`` are the inputs, ``w_ij`` the weights, ``b_j`` the bias, ``R_j`` is the
relevance of output j and ``R_i`` that of input i; ``(·)⁺`` and ``(·)⁻`` keep the positive and the
negative part. The names are zennit's where it has one. Where a batch norm or a layer scale follows
that is passed by :class:`ttame.explainers.relevance.operation_rules.Pass`, weights and bias are
those of the two together.
"""

from __future__ import annotations

import dataclasses
import functools
from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.explainers.relevance.operation_calls import LinearMap, OperationCall, weighted_call
from ttame.explainers.relevance.recording import Following, recorded, widened
from ttame.explainers.relevance.rule import Rule
from ttame.explainers.relevance.stabilisers import (
    DIVISIONS,
    Stabiliser,
    divide_sign_aware,
)
from ttame.explainers.relevance.weighted_map import Weighted


class WeightedRule(Rule):
    """A rule for linear maps; a formula to be filled in.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class ByWeight(WeightedRule):
        ...     def share(self, relevance, layer):
        ...         part = torch.ones_like(layer.values), layer.weight.abs()
        ...         return layer.shared(relevance, divide_sign_aware, part)
    """

    @property
    def reads_output(self) -> bool:
        """Whether the formula is quicker with the output that the network computed."""
        return False

    @abstractmethod
    def share(self, relevance: Tensor, layer: Weighted) -> Tensor:
        """Relevance of the input.

        Args:
            relevance: the relevance of the output, in its shape.
            layer: the linear map with its input.

        Returns:
            In the shape of ``layer.values``.
        """

    def apply(self, call: OperationCall) -> Any:
        """Run the linear map and record the formula."""
        found = weighted_call(call)
        if found is None:
            return NotImplemented
        back = found.back if self.reads_output else None
        backward = _Backward(self.share, found.operation, found.bias, found.channels, back)
        return recorded(found.run, backward, found.values, found.weight)


@dataclasses.dataclass(frozen=True)
class Epsilon(WeightedRule):
    """The ε rule: ``R_i = z_i Σ_j w_ij R_j / (y_j + ε sign y_j)``, ``y_j = Σ_i z_i w_ij + b_j``.

    Bach et al., On Pixel-Wise Explanations, PLoS ONE 2015. Relevance is conserved up to the
    shares of the bias and of ε. An output that is exactly 0 gives nothing.

    Args:
        epsilon: ε, at least 0; the larger, the less of weak and contradicting contributions.
    """

    epsilon: float = 1e-6

    def __post_init__(self) -> None:
        _require_not_negative("Epsilon", epsilon=self.epsilon)

    def share(self, relevance: Tensor, layer: Weighted) -> Tensor:
        """Relevance of the input."""
        divide = functools.partial(divide_sign_aware, epsilon=self.epsilon)
        return layer.shared(relevance, divide, (layer.values, layer.weight), bias=layer.bias)


@dataclasses.dataclass(frozen=True)
class ZPlus(WeightedRule):
    """The z⁺ rule: ``R_i = Σ_j (z_i w_ij)⁺ / Σ_i (z_i w_ij)⁺ R_j``, the bias ignored.

    Montavon et al., Explaining Nonlinear Classification Decisions with Deep Taylor Decomposition,
    2017, there for positive inputs. With inputs of both signs it is the α = 1 rule of Transformer
    Attribution. Relevance is conserved, but for outputs that no input raises.

    Args:
        parts: ``"joint"``, or ``"separate"``: ``z⁺w⁺`` and ``z⁻w⁻`` are divided by their own sums,
            which doubles the relevance where both exist; some published code does so.
        stabiliser: ``"sign-aware"`` or ``"published"``, of the division.
    """

    parts: Literal["joint", "separate"] = "joint"
    stabiliser: Stabiliser = "sign-aware"

    def __post_init__(self) -> None:
        _require_word("ZPlus", "parts", self.parts, ("joint", "separate"))
        _require_word("ZPlus", "stabiliser", self.stabiliser, tuple(DIVISIONS))

    @property
    def reads_output(self) -> bool:
        """If the parts are joint: their sum is half of what the output and its size are."""
        return self.parts == "joint"

    def share(self, relevance: Tensor, layer: Weighted) -> Tensor:
        """Relevance of the input."""
        divide = DIVISIONS[self.stabiliser]
        if self.parts == "joint":
            total = layer.raising_sum()
            if total is None or layer.back is None:
                return layer.shared(relevance, divide, *layer.raising)
            quotient, (risen, fallen) = divide(relevance, total), layer.raising
            result = layer.back(quotient, risen[1]).mul_(risen[0])
            return result.addcmul_(layer.back(quotient, fallen[1]), fallen[0])
        positive, negative = (layer.shared(relevance, divide, part) for part in layer.raising)
        return positive.add_(negative)


@dataclasses.dataclass(frozen=True)
class AlphaBeta(WeightedRule):
    """The αβ rule: ``R_i = Σ_j (α (z_i w_ij)⁺/y_j⁺ − β (z_i w_ij)⁻/y_j⁻) R_j``.

    With ``y_j± = Σ_i (z_i w_ij)± + b_j±``. Bach et al., PLoS ONE 2015. Relevance is conserved
    up to the shares of the bias, where an output has contributions of both signs.

    Args:
        alpha: α, at least 1.
        beta: β = α − 1.

    Raises:
        ExplainerError: another β.
    """

    alpha: float = 2.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        _require_not_negative("AlphaBeta", alpha=self.alpha, beta=self.beta)
        if abs(self.alpha - self.beta - 1) > 1e-6:
            raise ExplainerError(
                f"AlphaBeta with alpha={self.alpha} and beta={self.beta}",
                allowed="alpha - beta = 1, which conserves relevance",
                remedy=f"beta={max(self.alpha - 1, 0)} with alpha={max(self.alpha, 1)}",
            )

    def share(self, relevance: Tensor, layer: Weighted) -> Tensor:
        """Relevance of the input."""
        positive, negative = (
            (None, None)
            if layer.bias is None
            else (layer.bias.clamp(min=0), layer.bias.clamp(max=0))
        )
        raised = layer.shared(relevance, divide_sign_aware, *layer.raising, bias=positive)
        if not self.beta:
            return self.alpha * raised
        lowered = layer.shared(relevance, divide_sign_aware, *layer.lowering, bias=negative)
        return self.alpha * raised - self.beta * lowered


@dataclasses.dataclass(frozen=True)
class Gamma(WeightedRule):
    """The γ rule: contributions of the output's sign count ``1 + γ`` times.

    ``R_i = Σ_j z_i w_ij (1 + γ_ij) / ỹ_j R_j``: ``γ_ij`` is γ where ``z_i w_ij`` has the sign of
    the output ``y_j``, else 0, and ``ỹ_j`` is the sum of these contributions, the bias's too.
    Montavon et al., Layer-Wise Relevance Propagation: An Overview, 2019, there for positive inputs
    and outputs.
    Relevance is conserved up to the shares of the bias.

    Args:
        gamma: γ, at least 0; 0 is the ε rule without ε, a large γ comes near the z⁺ rule.
    """

    gamma: float = 0.25

    def __post_init__(self) -> None:
        _require_not_negative("Gamma", gamma=self.gamma)

    def share(self, relevance: Tensor, layer: Weighted) -> Tensor:
        """Relevance of the input."""
        output = layer.operation(layer.values, layer.weight)
        if layer.bias is not None:
            output = output + layer.bias
        of_positive = self._of_outputs(relevance.masked_fill(output <= 0, 0), layer, "raise")
        of_negative = self._of_outputs(relevance.masked_fill(output >= 0, 0), layer, "lower")
        return of_positive.add_(of_negative)

    def _of_outputs(
        self, relevance: Tensor, layer: Weighted, favoured: Literal["raise", "lower"]
    ) -> Tensor:
        more_positive = layer.weight + self.gamma * layer.weight.clamp(min=0)
        more_negative = layer.weight + self.gamma * layer.weight.clamp(max=0)
        weights = (more_positive, more_negative)
        bias = layer.bias
        if favoured == "lower":
            weights = (more_negative, more_positive)
        if bias is not None:
            clamped = bias.clamp(min=0) if favoured == "raise" else bias.clamp(max=0)
            bias = bias + self.gamma * clamped
        return layer.shared(
            relevance,
            divide_sign_aware,
            (layer.values.clamp(min=0), weights[0]),
            (layer.values.clamp(max=0), weights[1]),
            bias=bias,
        )


Limit = float | Tensor | Callable[[Tensor], Tensor]
"""A number, a tensor that is broadcastable to the input, or what gives one for an input."""


@dataclasses.dataclass(frozen=True)
class ZBox(WeightedRule):
    """The z^B rule, for a layer whose inputs lie between a lowest value l and a highest value h.

    ``R_i = Σ_j (z_i w_ij − l_i w_ij⁺ − h_i w_ij⁻) / Σ_i (…) R_j``, the bias ignored. Montavon et
    al., Explaining Nonlinear Classification Decisions with Deep Taylor Decomposition, 2017. No
    share is negative, and relevance is conserved.

    Args:
        low: l: a number, a tensor broadcastable to the input, or a function from the input to it.
        high: h, likewise. See :mod:`ttame.explainers.relevance.pixel_relevance` for those of each
            image and those that a classifier's preprocessing allows.
        stabiliser: ``"sign-aware"`` or ``"published"``, of the division.
    """

    low: Limit
    high: Limit
    stabiliser: Stabiliser = "sign-aware"

    def __post_init__(self) -> None:
        _require_word("ZBox", "stabiliser", self.stabiliser, tuple(DIVISIONS))

    def share(self, relevance: Tensor, layer: Weighted) -> Tensor:
        """Relevance of the input."""
        values, weight = layer.values, layer.weight
        return layer.shared(
            relevance,
            DIVISIONS[self.stabiliser],
            (values, weight),
            (_limit(self.low, values), -weight.clamp(min=0)),
            (_limit(self.high, values), -weight.clamp(max=0)),
        )


@dataclasses.dataclass(frozen=True)
class WSquare(WeightedRule):
    """The w² rule: ``R_i = Σ_j w_ij² / Σ_i w_ij² R_j``, whatever the input is.

    Montavon et al., Explaining Nonlinear Classification Decisions with Deep Taylor Decomposition,
    2017. Relevance is conserved.
    """

    def share(self, relevance: Tensor, layer: Weighted) -> Tensor:
        """Relevance of the input."""
        part = torch.ones_like(layer.values), layer.weight.square()
        # Squares of small weights are smaller than a stabiliser, and none is needed: none cancel.
        return layer.shared(relevance, functools.partial(divide_sign_aware, epsilon=0), part)


@dataclasses.dataclass(frozen=True)
class Flat(WeightedRule):
    """The flat rule: ``R_i = Σ_j R_j / n_j``, equal shares for the n_j inputs of output j.

    Lapuschkin et al., Unmasking Clever Hans Predictors, 2019. For the first layers, of which a
    coarser map is wanted. Relevance is conserved.
    """

    def share(self, relevance: Tensor, layer: Weighted) -> Tensor:
        """Relevance of the input."""
        part = torch.ones_like(layer.values), torch.ones_like(layer.weight)
        return layer.shared(relevance, divide_sign_aware, part)


@dataclasses.dataclass(frozen=True)
class Absolute(WeightedRule):
    """By the size of contributions: ``R_i = Σ_j |z_i w_ij| / Σ_i |z_i w_ij| R_j``.

    Gur et al., Visualization of Supervised and Self-Supervised Neural Networks via Attribution
    Guided Factorization, AAAI 2021. Relevance is conserved.
    """

    def share(self, relevance: Tensor, layer: Weighted) -> Tensor:
        """Relevance of the input."""
        return layer.shared(relevance, divide_sign_aware, (layer.values.abs(), layer.weight.abs()))


@dataclasses.dataclass(frozen=True)
class _Backward:
    """The backward pass of a rule, which sees the weights with what follows them."""

    share: Callable[[Tensor, Weighted], Tensor]
    operation: LinearMap
    bias: Tensor | None
    channels: int | None
    back: LinearMap | None = None

    @property
    def reads_output(self) -> bool:
        """Whether the output is kept for the rule."""
        return self.back is not None

    def __call__(
        self,
        relevance: Tensor,
        values: Tensor,
        weight: Tensor,
        following: Following | None = None,
        output: Tensor | None = None,
    ) -> tuple[Tensor, None]:
        bias = None if self.bias is None else widened(self.bias)
        if following is not None:
            weight, bias = _with_following(weight, bias, following)
        # What follows changes the output; half precision is not exact enough.
        exact = output is not None and following is None and output.dtype == values.dtype
        layer = Weighted(values, weight, bias, self.operation, output if exact else None, self.back)
        return self.share(relevance, layer), None


def _with_following(
    weight: Tensor, bias: Tensor | None, following: Following
) -> tuple[Tensor, Tensor | None]:
    signs = following.signs.to(weight)

    def as_channels(values: Tensor) -> Tensor:
        # A convolution's output has the places behind its channels.
        return values.to(weight).reshape(-1, *[1] * (weight.ndim - 2))

    bias = None if bias is None else bias * as_channels(signs)
    if following.shifts is not None:
        shifts = as_channels(following.shifts)
        bias = shifts if bias is None else bias + shifts
    return weight * signs.reshape(-1, *[1] * (weight.ndim - 1)), bias


def _limit(limit: Limit, values: Tensor) -> Tensor:
    found = limit(values) if callable(limit) else limit
    return torch.as_tensor(found, dtype=values.dtype, device=values.device).expand_as(values)


def _require_not_negative(rule: str, **numbers: float) -> None:
    for name, number in numbers.items():
        if not 0 <= number < float("inf"):
            raise ExplainerError(f"{name}={number!r} for {rule}", allowed="at least 0")


def _require_word(rule: str, name: str, came: object, allowed: tuple[str, ...]) -> None:
    if came not in allowed:
        raise ExplainerError(
            f"{name}={came!r} for {rule}", allowed=" or ".join(repr(word) for word in allowed)
        )
