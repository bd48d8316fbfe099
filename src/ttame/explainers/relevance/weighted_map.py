"""A linear map at work: what a rule for linear layers and convolutions is told."""

from __future__ import annotations

import dataclasses

from torch import Tensor

from ttame.explainers.relevance.operation_calls import LinearMap
from ttame.explainers.relevance.sharing_rules import by_contribution
from ttame.explainers.relevance.stabilisers import Divide

_LEAST_RAISED = 0.05
"""Of the size of contributions; with less, a difference would be rounding."""

_LEAST_OF_BIAS = 1e-3
"""The same, of the bias."""


@dataclasses.dataclass(frozen=True)
class Weighted:
    """A linear map at work, of which a rule is asked for its inputs' relevances.

    Attributes:
        values: z, the input; float32 where the network computes in half precision.
        weight: W.
        bias: b, broadcastable to the output, or ``None``.
        operation: (z, W) to Wz, without the bias; with other values and weights of these shapes
            it gives the sums that a rule divides by.
        output: Wz + b as the network computed it, where a rule reads it and it is exact enough.
        back: (R, W) to Wᵀ R, where it is known.
    """

    values: Tensor
    weight: Tensor
    bias: Tensor | None
    operation: LinearMap
    output: Tensor | None = None
    back: LinearMap | None = None

    def shared(
        self,
        relevance: Tensor,
        divide: Divide,
        *parts: tuple[Tensor, Tensor],
        bias: Tensor | None = None,
    ) -> Tensor:
        """``Σ_parts v ⊙ Wᵀ(R/Z)`` with ``Z = Σ_parts W v + b``, in the shape of the input.

        Args:
            relevance: R, of the output.
            divide: the stabilised division.
            *parts: pairs of values v and weight W.
            bias: b, if it takes a share.
        """
        return by_contribution(self.operation, divide, relevance, *parts, bias=bias)

    @property
    def raising(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The parts that raise the output: ``(zw)⁺ = z⁺w⁺ + z⁻w⁻``."""
        values, weight = self.values, self.weight
        return (
            (values.clamp(min=0), weight.clamp(min=0)),
            (values.clamp(max=0), weight.clamp(max=0)),
        )

    @property
    def lowering(self) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """The parts that lower the output: ``(zw)⁻ = z⁺w⁻ + z⁻w⁺``."""
        (positive, rising), (negative, falling) = self.raising
        return (positive, falling), (negative, rising)

    def raising_sum(self) -> Tensor | None:
        """``W⁺z⁺ + W⁻z⁻`` as ``(|W||z| + Wz) / 2``: one product instead of two.

        Returns:
            In the shape of the output; ``None`` where the network's output is not known, or one is
            so much lowered that the difference would be rounding.
        """
        if self.output is None:
            return None
        size = self.operation(self.values.abs(), self.weight.abs())
        total = (size + (self.output if self.bias is None else self.output - self.bias)).mul_(0.5)
        least = _LEAST_RAISED * size
        if self.bias is not None:
            least += _LEAST_OF_BIAS * self.bias.abs()
        return None if bool((total < least).any()) else total
