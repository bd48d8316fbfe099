"""How relevant each token is for a target, where it enters the first block."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.explained_targets import LinearTargets
from ttame.classifiers.linear_end import scoring_in_the_last_layer
from ttame.explainers.passes.block_attention import gradients_by_target
from ttame.explainers.passes.widening import in_float32
from ttame.explainers.relevance.attention_relevance import Propagated, half_precision_scale
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.recording import widened
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.networks.layer_outputs import first_tensor, uncompiled, watching_inputs


def token_relevance(
    classifier: Explainable,
    block: str,
    table: RuleTable,
    images: Tensor,
    choose: Callable[[Tensor], LinearTargets],
) -> Propagated[Tensor]:
    """Propagate the relevance of targets to the tokens that enter a block in its first run.

    Args:
        classifier: the network.
        block: name of the first block.
        table: the rules.
        images: (B, C, 1, T).
        choose: says the targets of the (B, C) scores; called once.

    Returns:
        For each target of a text, (B, T, D) relevances.
    """
    module = uncompiled(classifier.network).get_submodule(block)
    entering: list[Tensor] = []
    with (
        torch.enable_grad(),
        _leaves_at(module, entering),
        scoring_in_the_last_layer(classifier),
        propagating(
            table,
            "relevance propagation",
            classifier.name,
            images=len(images),
            network=classifier.network,
        ),
        in_float32(classifier.network, classifier.dtype),
    ):
        scores = classifier.logits(images.detach())
    targets = choose(scores.detach())
    scale = half_precision_scale(scores)
    with torch.enable_grad():
        values = targets.of(scores) * scale

    def by_target() -> Iterator[Tensor]:
        for (relevance,) in gradients_by_target(values, entering):
            yield widened(relevance) / scale

    return Propagated(scores.detach(), targets, by_target())


@contextlib.contextmanager
def _leaves_at(block: nn.Module, entering: list[Tensor]) -> Iterator[None]:
    """Let the tokens that enter a block for the first time begin the graph, and keep them."""

    def begin(
        _module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        tokens = first_tensor((args, kwargs))
        if entering or tokens is None:
            return None
        entering.append(tokens.detach().requires_grad_())
        return (
            tuple(entering[0] if value is tokens else value for value in args),
            {name: entering[0] if value is tokens else value for name, value in kwargs.items()},
        )

    with watching_inputs([(block, begin)]):
        yield
