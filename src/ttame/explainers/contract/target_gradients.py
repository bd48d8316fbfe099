"""Gradients of several targets from one forward pass."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.errors import ExplainerError
from ttame.explainers.contract.differentiation import why_without_graph


def target_gradients(scores: Tensor, targets: ExplainedTargets, of: Tensor) -> Iterator[Tensor]:
    """Differentiate each image's own targets: one backward pass per target.

    The images of a batch do not influence each other, so one pass serves them all.

    Args:
        scores: (B, C) with a graph.
        targets: K of each image.
        of: (B, ...), what the scores are differentiated with respect to.

    Yields:
        K gradients in the shape of ``of``, the k-th for the k-th target of every image.

    Raises:
        ExplainerError: the targets do not depend on it.

    Example:
        >>> from ttame.classifiers.explained_targets import ExplainedClasses
        >>> inputs = torch.ones(1, 2).requires_grad_()
        >>> scores = inputs * torch.tensor([3.0, 4.0])
        >>> [gradient.tolist() for gradient in target_gradients(
        ...     scores, ExplainedClasses(torch.tensor([[1, 0]])), inputs)]
        [[[0.0, 4.0]], [[3.0, 0.0]]]
    """
    values = targets.of(scores).sum(dim=0).unbind()
    for index, value in enumerate(values):
        gradient: Tensor | None = None
        if value.requires_grad:
            more = index + 1 < len(values)
            (gradient,) = torch.autograd.grad(value, of, retain_graph=more, allow_unused=True)
        if gradient is None:
            cut = scores.is_inference()
            raise ExplainerError(
                "the logits have no gradient here: "
                + ("" if cut else "they do not depend on it, or ")
                + why_without_graph(scores),
                remedy="the network without it" if cut else "another layer",
            )
        yield gradient
