"""How relevant each block's attention is for a target."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.explained_targets import LinearTargets
from ttame.classifiers.linear_end import scoring_in_the_last_layer
from ttame.classifiers.transformer_layout import TransformerLayout
from ttame.explainers.passes.block_attention import (
    attention_graph,
    block_modules,
    gradients_by_target,
)
from ttame.explainers.passes.widening import in_float32
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.recording import widened
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.networks.layer_outputs import watching_inputs

Relevance = TypeVar("Relevance")


@dataclasses.dataclass(frozen=True)
class Propagated(Generic[Relevance]):
    """What a relevance pass gives.

    Attributes:
        scores: (B, C).
        targets: K of each image.
        by_target: for each of the K targets the relevances of what was asked for; each step walks
            through the graph once.
    """

    scores: Tensor
    targets: LinearTargets
    by_target: Iterator[Relevance]


def attention_relevance(
    classifier: Explainable,
    layout: TransformerLayout,
    table: RuleTable,
    images: Tensor,
    choose: Callable[[Tensor], LinearTargets],
    first_block: int,
) -> Propagated[list[Tensor]]:
    """Propagate the relevance of targets to the attention of blocks.

    Args:
        classifier: the network.
        layout: from :func:`ttame.explainers.passes.block_attention.attending_layout`.
        table: the rules.
        images: (B, 3, H, W).
        choose: says the targets of the (B, C) scores; called once.
        first_block: the first whose attention is asked for; the pass ends there.

    Returns:
        For each target an image, (B, heads, T, T) for each block from the first on: relevances
        that start as 1 at the score of a class.
    """
    blocks = block_modules(classifier, layout)[first_block:]
    begun, asked = _graph_from_input_of(blocks[0]), attention_graph(blocks)
    found = propagated(classifier, table, images, choose, begun, asked)

    def by_target() -> Iterator[list[Tensor]]:
        for relevances in found.by_target:
            yield [one.reshape(len(images), -1, *one.shape[-2:]) for one in relevances]

    return dataclasses.replace(found, by_target=by_target())


def propagated(
    classifier: Explainable,
    table: RuleTable,
    images: Tensor,
    choose: Callable[[Tensor], LinearTargets],
    begun: contextlib.AbstractContextManager[None],
    asked: contextlib.AbstractContextManager[Sequence[Tensor]],
) -> Propagated[list[Tensor]]:
    """Propagate the relevance of targets to tensors of a forward pass.

    Args:
        classifier: the network.
        table: the rules.
        images: (B, C, H, W).
        choose: says the targets of the (B, C) scores; called once.
        begun: lets the graph of the pass begin where nothing is asked before.
        asked: gives the tensors whose relevance is asked for; they may appear during the pass.

    Returns:
        For each target the relevances of these tensors, float32, in their shapes.
    """
    with (
        torch.enable_grad(),
        begun,
        scoring_in_the_last_layer(classifier),
        propagating(
            table,
            "relevance propagation",
            classifier.name,
            images=len(images),
            network=classifier.network,
        ),
        asked as tensors,
        in_float32(classifier.network, classifier.dtype),
    ):
        scores = classifier.logits(images.detach())
    targets = choose(scores.detach())
    scale = half_precision_scale(scores)
    with torch.enable_grad():
        values = targets.of(scores) * scale

    def by_target() -> Iterator[list[Tensor]]:
        for relevances in gradients_by_target(values, tensors):
            # Only half precision has a scale; dividing by 1 would copy all attention.
            yield [widened(one) if scale == 1 else widened(one) / scale for one in relevances]

    return Propagated(scores.detach(), targets, by_target())


def half_precision_scale(scores: Tensor) -> float:
    """What relevance starts as, to be divided out at the end.

    Relevance is spread over so many places that it would underflow in float16. The rules are
    homogeneous, so that another start changes nothing else.
    """
    return 4096.0 if scores.dtype == torch.float16 else 1.0


@contextlib.contextmanager
def _graph_from_input_of(block: nn.Module) -> Iterator[None]:
    """Let a block's input require a gradient, so that nothing before it keeps activations."""

    def begun(value: Any) -> Any:
        floating = isinstance(value, Tensor) and value.is_floating_point()
        return value.detach().requires_grad_() if floating else value

    def begin(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (begun(args[0]), *args[1:]), kwargs
        first = next(iter(kwargs))
        return args, {**kwargs, first: begun(kwargs[first])}

    with watching_inputs([(block, begin)]):
        yield
