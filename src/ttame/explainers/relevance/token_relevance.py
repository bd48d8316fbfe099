"""How relevant each token is for a target, where it enters the first block."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.explained_targets import LinearTargets
from ttame.explainers.relevance.attention_relevance import Propagated, propagated
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
    asked = contextlib.nullcontext(entering)
    found = propagated(classifier, table, images, choose, _leaves_at(module, entering), asked)
    return Propagated(found.scores, found.targets, (relevance for (relevance,) in found.by_target))


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
