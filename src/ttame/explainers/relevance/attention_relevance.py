"""How relevant each block's attention is for a class."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.linear_end import scoring_in_the_last_layer
from ttame.classifiers.transformer_layout import TransformerLayout
from ttame.explainers.contract.explainer import ChooseClasses
from ttame.explainers.passes.block_attention import (
    attention_graph,
    block_modules,
    gradients_by_class,
)
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.recording import widened
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.networks.layer_outputs import watching_inputs

Relevance = TypeVar("Relevance")


@dataclasses.dataclass(frozen=True)
class Propagated(Generic[Relevance]):
    """What a relevance pass gives.

    Attributes:
        logits: (B, C).
        classes: (B, K).
        by_class: for each of the K classes the relevances of what was asked for; each step walks
            through the graph once.
    """

    logits: Tensor
    classes: Tensor
    by_class: Iterator[Relevance]


def attention_relevance(
    classifier: Classifier,
    layout: TransformerLayout,
    table: RuleTable,
    images: Tensor,
    choose_classes: ChooseClasses,
    first_block: int,
) -> Propagated[list[Tensor]]:
    """Propagate the relevance of classes to the attention of blocks.

    Args:
        classifier: the network.
        layout: from :func:`ttame.explainers.passes.block_attention.attending_layout`.
        table: the rules.
        images: (B, 3, H, W).
        choose_classes: called once.
        first_block: the first whose attention is asked for; the pass ends there.

    Returns:
        For each class an image, (B, heads, T, T) for each block from the first on: relevances
        that start as 1 at the logit.
    """
    blocks = block_modules(classifier, layout)[first_block:]
    with (
        torch.enable_grad(),
        _graph_from_input_of(blocks[0]),
        scoring_in_the_last_layer(classifier),
        propagating(
            table,
            "relevance propagation",
            classifier.name,
            images=len(images),
            network=classifier.network,
        ),
        attention_graph(blocks) as probabilities,
    ):
        logits = classifier.logits(images.detach())
    classes = choose_classes(logits.detach())
    scale = half_precision_scale(logits)
    with torch.enable_grad():
        scores = logits.gather(1, classes) * scale

    def by_class() -> Iterator[list[Tensor]]:
        for relevances in gradients_by_class(scores, probabilities):
            yield [
                widened(one).reshape(len(images), -1, *one.shape[-2:]) / scale for one in relevances
            ]

    return Propagated(logits.detach(), classes, by_class())


def half_precision_scale(logits: Tensor) -> float:
    """What relevance starts as, to be divided out at the end.

    Relevance is spread over so many places that it would underflow in float16. The rules are
    homogeneous, so that another start changes nothing else.
    """
    return 4096.0 if logits.dtype == torch.float16 else 1.0


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
