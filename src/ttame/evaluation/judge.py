"""A second classifier that says what changes of a picture do to the explained class."""

from __future__ import annotations

from collections.abc import Callable

import torch.nn.functional as F
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.errors import EvaluationError

_REMEDY = "a classifier with the same classes in the same order"


def refuse_other_classes(classifier: Classifier, judge: Classifier) -> None:
    """Refuse a judge that would be asked about another class than the one explained.

    Names are compared where both have some, whatever their case.

    Raises:
        EvaluationError: another number of classes or of channels, another name of a class, or
            outputs that exclude each other in one of the two only.
    """
    sides = (classifier, judge)
    problem = f"judge {judge.name} for {classifier.name}: "
    counts = [side.number_of_classes for side in sides]
    if counts[0] != counts[1]:
        raise EvaluationError(f"{problem}{counts[1]} classes, not {counts[0]}", remedy=_REMEDY)
    for place, names in enumerate(zip(*(side.class_names or () for side in sides), strict=False)):
        if names[0].casefold() != names[1].casefold():
            raise EvaluationError(
                f"{problem}class {place} is '{names[1]}', not '{names[0]}'", remedy=_REMEDY
            )
    if classifier.outputs.exclusive != judge.outputs.exclusive:
        raise EvaluationError(
            f"{problem}its outputs are {judge.outputs.kind}, not {classifier.outputs.kind}",
            remedy="a judge whose outputs mean the same",
        )
    channels = [side.preprocessing.number_of_channels for side in sides]
    if channels[0] != channels[1]:
        raise EvaluationError(
            f"{problem}pictures of {channels[1]} channels, not {channels[0]}",
            remedy="a judge of the same pictures",
        )


def shown_to_judge(
    classifier: Classifier, judge: Classifier, probabilities: Callable[[Tensor], Tensor]
) -> Callable[[Tensor], Tensor]:
    """Ask the judge about pictures that are prepared for the explained classifier.

    It sees the part of the photo that the explained classifier sees, resized to its own input
    (bilinear, antialiased) and normalised in its own way.

    Args:
        classifier: the explained one.
        judge: the other.
        probabilities: the judge's, of pictures prepared for the judge.

    Returns:
        (B, C, H, W) images, normalised for ``classifier``, to (B, N) probabilities.
    """
    theirs = judge.preprocessing
    own = classifier.preprocessing

    def judged(images: Tensor) -> Tensor:
        pixels = own.denormalise(images.float())
        if tuple(pixels.shape[-2:]) != tuple(theirs.input_size):
            pixels = F.interpolate(pixels, theirs.input_size, mode="bilinear", antialias=True)
        return probabilities(theirs.normalise(pixels).to(judge.device)).to(images.device)

    return judged
