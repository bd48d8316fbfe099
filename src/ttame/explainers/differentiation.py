"""What has to hold before anything can be differentiated."""

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
