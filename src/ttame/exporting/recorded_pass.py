"""Recording a pass of a network, with what is read on the way, as plain operations."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError, TtameError, either
from ttame.exporting.one_pass_maps import MapSource

_EXAMPLES = 2
"""Images that are recorded where any number is to be accepted; one would be a constant."""


class _Pass(nn.Module):
    """One pass of a network with hooks that are there for this pass only."""

    def __init__(self, classifier: Classifier, source: MapSource) -> None:
        super().__init__()
        self.network = classifier.network
        # Not a part: its weights belong to the second step.
        self.parts = (classifier, source)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        classifier, source = self.parts
        read = source.read(classifier, images)
        return (read.scores, *read.tensors)


@torch.no_grad()
def recorded_pass(classifier: Classifier, source: MapSource, batch_size: int | None) -> nn.Module:
    """Record one pass: what the hooks did becomes operations, and no hook remains.

    Args:
        classifier: on a network that nobody else uses, frozen.
        source: says what is read.
        batch_size: images in every batch; ``None`` for any number.

    Returns:
        A module from (B, 3, H, W) float32 images to the scores and the tensors that were read, with
        the network's parameters (the same objects, named ``network.…``).

    Raises:
        ClassifierError: the network's code decides by values, or does not take any number of
            images.
    """
    height, width = classifier.preprocessing.input_size
    images = torch.zeros(batch_size or _EXAMPLES, 3, height, width, device=classifier.device)
    any_number = {0: torch.export.Dim("batch", min=1)} if batch_size is None else None
    try:
        program = torch.export.export(
            _Pass(classifier, source), (images,), dynamic_shapes=(any_number,), strict=False
        )
    except TtameError as problem:
        # What the network raised is reported as its failure on images, which these are not.
        if not isinstance(problem, ClassifierError) or problem.__cause__ is None:
            raise
        raise _not_recorded(classifier, problem.__cause__, batch_size) from problem
    except Exception as problem:  # torch.export raises errors of many kinds
        raise _not_recorded(classifier, problem, batch_size) from problem
    recorded: Any = program.module(check_guards=False)
    # Its hooks check shapes, which the caller does, and it refuses both modes, having none.
    for hooks in (recorded._forward_pre_hooks, recorded._forward_pre_hooks_with_kwargs):
        hooks.clear()
    for hooks in (recorded._forward_hooks, recorded._forward_hooks_always_called):
        hooks.clear()
    for name in ("train", "eval"):
        vars(recorded).pop(name, None)
    plain: nn.Module = recorded
    return plain


def _first_line(problem: BaseException) -> str:
    return (str(problem).strip() or type(problem).__name__).splitlines()[0].rstrip(".")


def _not_recorded(
    classifier: Classifier, problem: BaseException, batch_size: int | None
) -> ClassifierError:
    about_batches = batch_size is None and "batch" in str(problem)
    return ClassifierError(
        f"{classifier.name} cannot be recorded as a graph ({_first_line(problem)[:200]})",
        remedy=either("batch_size=1", "the same without --dynamic-batch")
        + ": its code does not take any number of images"
        if about_batches
        else "",
    )
