"""What has to hold before anything can be differentiated."""

from __future__ import annotations

import contextlib

import torch
from torch import Tensor

from ttame.errors import ExplainerError
from ttame.networks.loans import Lent, Loan


def differentiating() -> contextlib.AbstractContextManager[None]:
    """Record gradients while the block lasts, also where the caller has switched them off.

    Example:
        >>> with torch.inference_mode(), differentiating():
        ...     (2 * torch.ones(1).requires_grad_()).requires_grad
        True
    """
    return Lent(_Differentiating())


class _Differentiating(Loan[None]):
    def __init__(self) -> None:
        super().__init__()
        self._inference: torch.inference_mode | None = None
        self._gradients_before: bool | None = None

    def begin(self) -> None:
        self._gradients_before = torch.is_grad_enabled()
        if torch.is_inference_mode_enabled():
            self._inference = torch.inference_mode(False)
            self._inference.__enter__()
        torch.set_grad_enabled(True)

    def undo(self) -> None:
        if not self.in_its_thread() or self._gradients_before is None:
            return
        if self._inference is not None:
            # Entered or not; left twice is as good as once. Left it must be: its destructor, at
            # any time later, would bring the modes of today back.
            with contextlib.suppress(AttributeError):
                self._inference.__exit__(None, None, None)
        torch.set_grad_enabled(self._gradients_before)


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
            f"the logits have no gradient: {why_without_graph(scores)}",
            allowed="a forward pass without detach() and torch.inference_mode()",
        )


def why_without_graph(scores: Tensor) -> str:
    """What cuts scores off from the images, in words."""
    if scores.is_inference():
        return "the network computes in torch.inference_mode(), which records none"
    return "the network detaches its features"
