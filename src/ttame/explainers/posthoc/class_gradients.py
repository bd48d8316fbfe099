"""Gradients of the logits of several classes from one forward pass."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from ttame.errors import ExplainerError


@contextlib.contextmanager
def differentiating() -> Iterator[None]:
    """Record gradients while the block lasts, also where the caller has switched them off.

    Example:
        >>> with torch.inference_mode(), differentiating():
        ...     (2 * torch.ones(1).requires_grad_()).requires_grad
        True
    """
    with torch.inference_mode(False), torch.enable_grad():
        yield


def requiring_gradients(images: Tensor) -> Tensor:
    """A copy of the images that gradients are taken with respect to.

    Integers cannot have gradients and stay as they are; the classifier refuses them in words.
    """
    return images.detach().clone().requires_grad_(images.is_floating_point())


def require_graph(scores: Tensor) -> None:
    """Refuse scores that nothing can be differentiated from.

    Raises:
        ExplainerError: they have no graph.
    """
    if not scores.requires_grad:
        raise ExplainerError(
            "the logits have no gradient: the network detaches its features",
            allowed="a forward pass without torch.no_grad() and detach()",
        )


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
