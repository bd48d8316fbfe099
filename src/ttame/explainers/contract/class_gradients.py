"""Gradients of the logits of several classes from one forward pass."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ttame.errors import ExplainerError


def class_gradients(logits: Tensor, classes: Tensor, of: Tensor) -> Iterator[Tensor]:
    """Differentiate each image's own logit of each explained class: one backward pass a class.

    The images of a batch do not influence each other, so one pass serves them all.

    Args:
        logits: (B, C) with a graph.
        classes: (B, K) int64.
        of: (B, ...), what the logits are differentiated with respect to.

    Yields:
        K gradients in the shape of ``of``, the k-th for the classes ``classes[:, k]``.

    Raises:
        ExplainerError: the logits do not depend on it.

    Example:
        >>> inputs = torch.ones(1, 2).requires_grad_()
        >>> logits = inputs * torch.tensor([3.0, 4.0])
        >>> [gradient.tolist() for gradient in class_gradients(
        ...     logits, torch.tensor([[1, 0]]), inputs)]
        [[[0.0, 4.0]], [[3.0, 0.0]]]
    """
    scores = logits.gather(1, classes).sum(dim=0).unbind()
    for index, score in enumerate(scores):
        gradient: Tensor | None = None
        if score.requires_grad:
            more = index + 1 < len(scores)
            (gradient,) = torch.autograd.grad(score, of, retain_graph=more, allow_unused=True)
        if gradient is None:
            raise ExplainerError(
                "the logits have no gradient here: they do not depend on it, or the network "
                "detaches its features",
                remedy="another layer",
            )
        yield gradient
