"""What attention adds to the residual stream of a transformer, and what a score makes of it.

Each block adds to the tokens what its attention gives, and then what its MLP gives; where it
normalises, in front of either or behind the sum, the stream goes on. Here a network runs so that
gradients follow the stream alone: what MLPs and later attention make of a token counts as a
constant, and so do the divisors of normalisations. The gradient with respect to what attention
adds is then how much the score draws from it along the direct path.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ttame.classifiers.any_classifier import Explainable
from ttame.explainers.contract.differentiation import differentiating
from ttame.features.layer_layouts import token_blocks
from ttame.features.stream_watch import AttentionParts, Function, StreamWatch
from ttame.networks.layer_outputs import uncompiled


@dataclasses.dataclass(frozen=True, eq=False)
class AddedAttention:
    """What the attention of one block adds to the tokens: ``W [A_1 V_1; …; A_H V_H]``, and a bias.

    Attributes:
        probabilities: A, (B, H, T, T).
        values: V, (B, H, T, d).
        weight: W, (D, H·d), of the output projection.
        added: (B, T, D), a leaf of the graph.
    """

    probabilities: Tensor
    values: Tensor
    weight: Tensor
    added: Tensor

    def drawn_from_tokens(self, gradient: Tensor) -> Tensor:
        """What a score draws from each token through this block.

        ``Σ_r ⟨g_r, W [A_1(r, t) V_1(t); …]⟩`` over the rows r of the block.

        Args:
            gradient: g, (B, T, D), of the score with respect to ``added``.

        Returns:
            (B, T) float32 or wider.
        """
        images, heads, tokens, _ = self.probabilities.shape
        wide = torch.promote_types(torch.float32, gradient.dtype)
        gradient, weight, values, probabilities = (
            part.detach().to(wide)
            for part in (gradient, self.weight, self.values, self.probabilities)
        )
        by_head = (gradient @ weight).reshape(images, tokens, heads, -1).transpose(1, 2)
        return (by_head @ values.transpose(-2, -1) * probabilities).sum(dim=(1, 2))


def read_stream(
    classifier: Explainable, images: Tensor
) -> tuple[Tensor, tuple[AddedAttention, ...]] | None:
    """Run a network with its residual stream alone in the graph.

    Args:
        classifier: the classifier of a transformer.
        images: (B, C, H, W).

    Returns:
        (B, C) scores, and what each block's attention adds, in the order of the run; ``None`` where
        the blocks are not of this kind.
    """
    found = token_blocks(classifier.trace)
    if found is None:
        return None
    network = uncompiled(classifier.network)
    stream = _Stream()
    with (
        differentiating(),
        stream.watching([network.get_submodule(block.name) for block in found.blocks]),
    ):
        scores = classifier.logits(images.detach())
    runs = sum(len(block.runs) for block in found.blocks)
    if stream.is_lost or len(stream.added) != runs or not scores.requires_grad:
        return None
    return scores, tuple(stream.added)


class _Stream(StreamWatch):
    """Keeps the stream alone in the graph, and collects what attention adds."""

    def __init__(self) -> None:
        super().__init__()
        self.added: list[AddedAttention] = []

    def summed(self, stream: Tensor, branch: Tensor, total: Callable[[], Tensor]) -> Tensor:
        del total
        return torch.add(stream, branch.detach())

    def attended(
        self,
        stream: Tensor,
        branch: Tensor,
        total: Callable[[], Tensor],
        attention: AttentionParts,
    ) -> Tensor:
        del total
        added = branch.detach().requires_grad_()
        self.added.append(
            AddedAttention(attention.probabilities, attention.values, attention.weight, added)
        )
        return torch.add(stream, added)

    def normalised(
        self, function: Function, args: Any, kwargs: dict[str, Any], *, stream: bool
    ) -> Any:
        del stream
        return _held(function, args, kwargs)


def _held(function: Function, args: Any, kwargs: dict[str, Any]) -> Any:
    """A layer norm whose divisor counts as a constant; other normalisations as they are."""
    if function not in (F.layer_norm, torch.layer_norm):
        return function(*args, **kwargs)
    output = function(*args, **kwargs)
    named = dict(zip(("input", "shape", "weight", "bias", "eps"), args, strict=False))
    named |= {"shape": kwargs.get("normalized_shape", named.get("shape"))}
    named |= {key: value for key, value in kwargs.items() if key != "normalized_shape"}
    values, weight = named["input"], named.get("weight")
    if not values.requires_grad:
        return output
    dimensions = tuple(range(-len(named["shape"]), 0))
    fixed = values.detach()
    scale = (fixed.var(dim=dimensions, keepdim=True, correction=0) + named.get("eps", 1e-5)).rsqrt()
    linear = (values - values.mean(dim=dimensions, keepdim=True)) * scale
    linear = linear if weight is None else linear * weight.detach()
    # The network's own numbers, with the gradient of the linear map.
    return output.detach() + (linear - linear.detach())
