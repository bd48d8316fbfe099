"""What a few-shot head reads of its classifier, and how that is found."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.features_from import taken_apart
from ttame.classifiers.linear_end import (
    LinearEnd,
    evidence_tap,
    find_class_layer,
    find_linear_end,
    width_read,
)
from ttame.errors import (
    ExplainerError,
    setting,
)
from ttame.explainers.trained.head_settings import SharedHeadSettings
from ttame.features.read_contributions import read_contributions_tap
from ttame.features.tap_choice import MOST_TAPS
from ttame.features.tap_names import Tap, parse_tap
from ttame.files.bounded_reading import UnreadableFileError
from ttame.files.json_files import checked_as
from ttame.networks.layer_outputs import uncompiled

_WIDEST = 10**7
_LONGEST_NAME = 10_000
"""Far from what anybody has."""


@dataclasses.dataclass(frozen=True)
class SharedHeadInputs:
    """What a few-shot head reads of its classifier.

    Attributes:
        channels: the channels of every tap, first to last.
        branched: positions of the taps that a branch reads; the first one gives the grid.
        pooled: position of the tap that holds what a place gives to the last linear layer: the
            features which the classifier pools for it, or what each token adds to the class token
            that it reads. ``None`` without, and then there is no prior. This tap may have a branch
            as well.
        class_layer: dotted name of the linear layer that gives the logits; empty if there is
            none, and then an embedding is learned for every class.
        class_width: length of the rows of this layer; 0 without it.

    Raises:
        ExplainerError: inputs that do not fit together.
    """

    channels: tuple[int, ...]
    branched: tuple[int, ...]
    pooled: int | None = None
    class_layer: str = ""
    class_width: int = 0

    def __post_init__(self) -> None:
        positions = {*self.branched, *([] if self.pooled is None else [self.pooled])}
        if not self.branched or positions != set(range(len(self.channels))):
            raise ExplainerError(
                f"branches on taps {list(self.branched)[:9]} of {len(self.channels)}",
                allowed="at least one, and every tap read",
            )
        if bool(self.class_layer) != bool(self.class_width):
            raise ExplainerError(
                f"class layer {self.class_layer!r:.60} with rows of length {self.class_width}",
                allowed="both or neither",
            )
        if not 0 <= self.class_width <= _WIDEST or len(self.class_layer) > _LONGEST_NAME:
            raise ExplainerError(
                f"class layer {self.class_layer!r:.60} with rows of length {self.class_width}",
                allowed=f"a name of up to {_LONGEST_NAME} letters, rows of up to {_WIDEST} numbers",
            )
        if self.pooled is not None and self.channels[self.pooled] != self.class_width:
            raise ExplainerError(
                f"pooled features with {self.channels[self.pooled]} channels for class weights of "
                f"{self.class_width}",
                allowed="the features that the classifier pools for its last linear layer",
            )

    def as_json(self) -> dict[str, Any]:
        """Return plain values for a JSON file, without the channels, which every head has."""
        return {
            "branched": list(self.branched),
            "pooled": self.pooled,
            "class_layer": self.class_layer,
            "class_width": self.class_width,
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any], channels: tuple[int, ...]) -> SharedHeadInputs:
        """Read what :meth:`as_json` gave, possibly from a stranger's file.

        Raises:
            ExplainerError: it is something else, or does not fit together.
        """
        names = {field.name for field in dataclasses.fields(cls)} - {"channels"}
        if set(content) != names:
            raise ExplainerError(
                f"a few-shot head with inputs {', '.join(sorted(content)[:9])[:100]}",
                allowed=", ".join(sorted(names)),
            )
        try:
            return checked_as(cls, {**content, "channels": channels})
        except UnreadableFileError as problem:
            raise ExplainerError(f"inputs of a few-shot head {problem}") from problem


def check_settings(
    inputs: SharedHeadInputs, number_of_classes: int, settings: SharedHeadSettings
) -> None:
    """Refuse what gives no head, or one with a part that is never used.

    Raises:
        ExplainerError: it says which.
    """
    if number_of_classes < 1 or min(inputs.channels) < 1:
        raise ExplainerError(
            f"a head for channels {list(inputs.channels)} and {number_of_classes} classes",
            allowed="taps with channels, and at least one class",
        )
    if ("prior" in settings.parts) != (inputs.pooled is not None):
        raise ExplainerError(
            f"prior={'prior' in settings.parts} with pooled={inputs.pooled}",
            allowed="a prior where there are pooled features, and nowhere else",
        )
    if settings.contrast and (inputs.pooled is None or number_of_classes < 2):
        raise ExplainerError(
            f"contrast in a head of {number_of_classes} classes with pooled={inputs.pooled}",
            allowed="a prior and at least two classes",
        )
    if not settings.parts:
        raise ExplainerError(
            "a few-shot head without prior, embedding and gate", allowed="at least one of them"
        )


def find_inputs(classifier: Explainable, *, prior: bool) -> tuple[Explainable, SharedHeadInputs]:
    """See what a few-shot head can read of a classifier.

    It has a prior where the classifier's logits are linear in pooled features, in their normalised
    average, or in a class token; see :func:`ttame.classifiers.linear_end.find_linear_end`. Of a
    class token it reads what each token adds to it; where that is not found, the patch tokens
    behind the final normalisation. Where other layers, such as BERT's pooler, turn the first token
    into what the last linear layer reads, it is what tokens add to that to first order, see
    :mod:`ttame.features.read_contributions`. Features of another network are not evidence of this
    one.

    Args:
        classifier: with the taps that branches are to read.
        prior: whether one is wanted.

    Returns:
        The classifier with all taps that are read, perhaps one more, and what reads them.

    Raises:
        ExplainerError: the classifier has more taps than leave room for the pooled features.
    """
    explained, other = taken_apart(classifier)
    end = find_linear_end(explained)
    if end is not None and not end.layer:
        end = None  # Maps of classes, without features that a row of weights looks for.
    layer = end.layer if end is not None else find_class_layer(explained)
    width = width_read(explained, layer) if layer else 0
    branched = classifier.taps
    pooled = None
    evidence = _evidence(classifier, end, layer) if prior and layer and other is None else None
    if evidence is not None:
        classifier = _also_reading(classifier, evidence)
        pooled = str(evidence)
    read = [str(tap) for tap in classifier.taps]
    return classifier, SharedHeadInputs(
        channels=tuple(tap.channels for tap in classifier.taps),
        branched=tuple(read.index(str(tap)) for tap in branched),
        pooled=None if pooled is None else read.index(pooled),
        class_layer=layer or "",
        class_width=width,
    )


def _evidence(classifier: Explainable, end: LinearEnd | None, layer: str) -> Tap | None:
    """Where a place's own part of the logits is read, exactly or to first order."""
    if end is not None:
        return evidence_tap(classifier, end)
    return read_contributions_tap(uncompiled(classifier.network), classifier.trace, layer)


def _also_reading(classifier: Explainable, evidence: Tap) -> Explainable:
    """The classifier with this tap among its own."""
    taps = classifier.taps
    if str(evidence) in map(str, taps):
        return classifier
    if len(taps) == MOST_TAPS:
        raise ExplainerError(
            f"a few-shot head on {len(taps)} taps and the features that {classifier.name} pools",
            allowed=f"{MOST_TAPS} taps altogether",
            remedy=f"{MOST_TAPS - 1} taps, or {setting('without', 'prior')}",
        )
    return classifier.with_taps([*taps, evidence])


def evidence_in_words(layer: str) -> str:
    """What a prior is made of, given the name of its tap.

    Example:
        >>> evidence_in_words("contributions:norm")
        'contributions:norm, what each token adds to the class token'
        >>> evidence_in_words("layer4")
        'layer4, the features of each place'
    """
    return f"{layer}, {parse_tap(layer).in_words}"
