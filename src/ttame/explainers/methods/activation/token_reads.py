"""What patches give to the tokens in front of them, block by block, to first order.

Where a class token gathers what attention adds to it, but not in one residual stream of one kind of
block (:mod:`ttame.features.token_contributions`), there are gradients. Every block reads the
patches at its first normalisation, where their features ``X_b`` are taken for inputs of their own:
what one block makes of patches for the next one has no gradient. Then only the way through the
class token, and whatever else stands in front of the patches, is left from a block to score c.
There patch t gives

    Σ_b  Σ_k (∂f_c / ∂X_bk(t)) X_bk(t)

to the score, to first order; attention's probabilities and what normalisations divide by count as
constants. In a residual stream without MLPs that is what tokens add to the class token.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.explainers.contract.differentiation import differentiating
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_gradients import target_gradients
from ttame.explainers.relevance.held_divisors import holding_divisors
from ttame.features.block_norms import block_norms
from ttame.features.feature_taps import LayerOutput
from ttame.features.layer_layouts import describe_layer
from ttame.features.tap_influence import tap_influence
from ttame.networks.function_replacement import replacing_functions
from ttame.networks.layer_outputs import put_first_tensor, uncompiled
from ttame.networks.network_trace import NetworkTrace

_AT_ONCE = 8
"""Layers looked at in one pass."""

_MOST_TRIED = 8


@dataclasses.dataclass(frozen=True)
class TokenReads:
    """Where blocks read the patches from which the tokens in front of them gather.

    Attributes:
        layers: the first normalisation of each block on the coarsest grid, in their order.
    """

    layers: tuple[LayerOutput, ...]


def find_token_reads(classifier: Explainable) -> TokenReads | None:
    """Find them by looking: patches must matter in each block, and nowhere behind the last one.

    Returns:
        ``None`` where there are no such blocks, or scores depend on patches behind them, or on
        tokens of another grid.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> found = find_token_reads(tiny_classifier("vit", size=64))
        >>> [str(tap) for tap in found.layers][-1]
        'blocks.1.norm1'
    """
    network, trace = uncompiled(classifier.network), classifier.trace
    if trace.output.is_meta:
        return None
    norms = [tap for tap in block_norms(network, trace) if tap.prefix_tokens]
    idle: list[LayerOutput] = []
    for start in range(0, len(norms), _AT_ONCE):
        part = norms[start : start + _AT_ONCE]
        idle += tap_influence(network, trace, part, part).idle
    layers = tuple(tap for tap in norms if tap not in idle)
    return TokenReads(layers) if layers and _is_gathered(network, trace, layers[-1]) else None


def _is_gathered(network: nn.Module, trace: NetworkTrace, last: LayerOutput) -> bool:
    """Whether scores are decided behind the last block, by tokens in front of the patches alone.

    There everything has to go through one layer, past which no other grid has its own tokens, and
    its patches must not matter any more.
    """
    order = trace.by_name()[last.layer].order
    behind = [
        tap
        for layer in trace.layers
        if layer.order > order and len(layer.shape) == 3
        if (tap := describe_layer(network, trace, layer)) is not None
        if (tap.grid, tap.channels, tap.prefix_tokens)
        == (last.grid, last.channels, last.prefix_tokens)
    ]
    for tap in behind[: -_MOST_TRIED - 1 : -1]:
        found = tap_influence(network, trace, [tap], [tap])
        if found.passed is False:
            return bool(found.idle)
    return False


def token_evidence(
    classifier: Explainable, reads: TokenReads, images: Tensor, request: Request
) -> RawMaps:
    """What each patch gives to the targets by way of the tokens in front of the patches.

    One pass forward, and one backward for each target.
    """
    size = (int(images.shape[-2]), int(images.shape[-1]))
    last = reads.layers[-1]
    with differentiating():
        logits, factors = _read(classifier, reads, images)
        targets = request.linear_targets(logits.detach())
        grid = last.grid_at(size, factors.shape[1])
        maps = [
            gradient.float().reshape(-1, *grid)
            for gradient in target_gradients(logits, targets, factors)
        ]
    return RawMaps(logits, targets, torch.stack(maps, dim=1))


def _read(classifier: Explainable, reads: TokenReads, images: Tensor) -> tuple[Tensor, Tensor]:
    """Scores, and a factor for each patch, (B, h·w), with which all blocks read it: 1.

    The derivative of a score by the factor is Σ_b Σ_k (∂f/∂X_bk) X_bk.
    """
    network, factors = uncompiled(classifier.network), list[Tensor]()

    def as_input(tap: LayerOutput, output: Any) -> Any:
        tokens = tap.tensor(output)
        first, patches = tokens[:, : tap.prefix_tokens], tokens[:, tap.prefix_tokens :].detach()
        if not factors:
            factors.append(torch.ones_like(patches[:, :, 0]).requires_grad_())
        return put_first_tensor(output, torch.cat([first, patches * factors[0][:, :, None]], 1))

    def constant(function: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        return function(*args, **kwargs).detach()

    with contextlib.ExitStack() as stack:
        for tap in reads.layers:
            change = _for_tap(as_input, tap)
            stack.enter_context(tap.exchanging(network, classifier.trace, change))
        stack.enter_context(holding_divisors())
        stack.enter_context(replacing_functions({"softmax": constant}))
        logits = classifier.logits(images.detach().clone())
    return logits, factors[0]


def _for_tap(change: Any, tap: LayerOutput) -> Any:
    return lambda output: change(tap, output)
