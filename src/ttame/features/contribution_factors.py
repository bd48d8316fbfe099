"""What every token adds to the class token, before it is multiplied out.

A token's contribution is a vector as wide as the network; computing it for every token of every
block takes as long as an output projection each. Whoever wants no more than its product with a few
rows, and its average, needs the factors alone::

    w_k · u_t    =  Σ_blocks Σ_h  A_h(t) (S W_o)_h^T w_k · V_h(t)
    mean_t u_t   =  Σ_blocks  S W_o [ mean_t A_1(t) V_1(t); …; mean_t A_H(t) V_H(t) ]

in the words of :mod:`ttame.features.token_contributions`. The final normalisation, with the divisor
of the class token, is a factor too: ``w · γ (u − mean u) / d = (γ w − mean(γ w)) · u / d``.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any, Self

import torch
from torch import Tensor, nn

from ttame.features.normalised_average import divisor_of
from ttame.features.tap_reading import TapReading
from ttame.features.token_contributions import Passage, TokenContributions, WatchedContributions
from ttame.networks.network_trace import NetworkTrace


class FactoredPassage(Passage):
    """A passage that keeps the factors of what it finds."""

    def __init__(self, tokens: Tensor, batch_axis: int = 0) -> None:
        super().__init__(tokens, batch_axis)
        self.pending: tuple[Tensor, Tensor] | None = None
        self.factors: _Block | None = None

    def see_product(self, left: Any, right: Any) -> None:
        """Keep what the class token attends to, and the values."""
        super().see_product(left, right)
        # Weighted just now, and not waiting for the projection since an earlier product.
        if self.weighted is not None and self.pending is None:
            images, length = self.shape[self.batch_axis], self.shape[1 - self.batch_axis]
            attended = left.reshape(images, -1, length, length)[:, :, 0]
            self.pending = attended, right.reshape(images, -1, *right.shape[-2:])

    def see_linear(self, weight: Tensor, bias: Tensor | None) -> None:
        """Keep the output projection."""
        before, pending = self.contributions, self.pending
        super().see_linear(weight, bias)
        self.pending = None
        if pending is not None and self.contributions is not before:
            self.factors = _Block(*pending, weight, weight.new_ones(len(weight)))

    def see_factors(self, factors: Sequence[Any]) -> None:
        """Keep the layer scale."""
        before = self.contributions
        super().see_factors(factors)
        if self.factors is not None and self.contributions is not before:
            for factor in factors:
                if isinstance(factor, Tensor) and factor.shape == self.factors.scale.shape:
                    scale = self.factors.scale * factor
                    self.factors = dataclasses.replace(self.factors, scale=scale)


@dataclasses.dataclass(frozen=True, eq=False)
class _Block:
    """The factors of one block.

    Attributes:
        attended: (B, heads, T), the class token's row of the attention.
        values: (B, heads, T, d).
        weight: (D, heads · d) of the output projection.
        scale: (D,), layer scale; ones without.
    """

    attended: Tensor
    values: Tensor
    weight: Tensor
    scale: Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class ContributionFactors:
    """The contributions of the tokens of a batch, not yet multiplied out.

    Attributes:
        blocks: their factors, first to last.
        gain: (D,) of the final normalisation; ones without.
        divisor: (B, 1), by which it divides the class token.
        centres: whether it takes the mean out.
    """

    blocks: tuple[_Block, ...]
    gain: Tensor
    divisor: Tensor
    centres: bool

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of them in one row, from which :meth:`of_tensors` makes this again."""
        parts = [tuple(vars(block).values()) for block in self.blocks]
        return (self.gain, self.divisor, *sum(parts, ()))

    @classmethod
    def of_tensors(cls, tensors: Sequence[Tensor], *, centres: bool) -> Self:
        """Made again, in float32."""
        gain, divisor, *rest = (tensor.float() for tensor in tensors)
        blocks = tuple(_Block(*rest[first : first + 4]) for first in range(0, len(rest), 4))
        return cls(blocks, gain, divisor, centres)

    def products(self, rows: Tensor) -> Tensor:
        """(B, K, T) products of (B, K, D) or (1, K, D) rows with each token's contribution."""
        sought = self._through_norm(rows * self.gain)
        total = rows.new_zeros(())
        for block in self.blocks:
            _, heads, _, width = block.values.shape
            # Weights first: OpenVINO 2026 takes a square matrix that is multiplied from the right
            # both as it is and transposed for one and the same.
            asked = block.weight.T @ (sought * block.scale).transpose(1, 2)
            asked = asked.reshape(-1, heads, width, asked.shape[2])
            found = (block.values @ asked).transpose(2, 3)
            total = total + (found * block.attended[:, :, None]).sum(dim=1)
        return total / self.divisor[:, :, None]

    def average(self, first: int) -> Tensor:
        """(B, D) average of the contributions of all tokens but the ``first`` ones."""
        total = self.gain.new_zeros(())
        for block in self.blocks:
            length = block.values.shape[2]
            counts = torch.arange(length, device=self.gain.device) >= first
            shares = block.attended * (counts / (length - first))
            found = (shares[:, :, None] @ block.values).flatten(1)
            total = total + found @ block.weight.T * block.scale
        return self._through_norm(total) * self.gain / self.divisor

    def _through_norm(self, vectors: Tensor) -> Tensor:
        return vectors - vectors.mean(dim=-1, keepdim=True) if self.centres else vectors


class FactorReading:
    """Watches the blocks of one pass for the factors of a tap of contributions.

    Args:
        network: not behind ``torch.compile``.
        trace: of the network.
        tap: what is read in factors.
    """

    def __init__(self, network: nn.Module, trace: NetworkTrace, tap: TokenContributions) -> None:
        norm = network.get_submodule(tap.layer)
        assert isinstance(norm, nn.LayerNorm | nn.RMSNorm)
        self.norm = norm
        self.centres = isinstance(norm, nn.LayerNorm)
        self._reading = TapReading(network, trace)
        self._found: WatchedContributions = tap.watched(self._reading, FactoredPassage)

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch while the block runs one pass."""
        with self._reading.watching():
            yield

    def found(self) -> ContributionFactors:
        """What was seen."""
        blocks = [
            seen.factors for seen in self._found.passages if isinstance(seen, FactoredPassage)
        ]
        token = self._found.class_token
        assert token is not None
        gain = self.norm.weight
        return ContributionFactors(
            tuple(block for block in blocks if block is not None),
            gain if isinstance(gain, Tensor) else token.new_ones(token.shape[-1]),
            divisor_of(self.norm, token),
            self.centres,
        )
