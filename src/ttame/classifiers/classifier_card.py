"""What a notebook shows of a classifier."""

# ruff: noqa: D102 - what the attributes of the protocol say stands in ttame.Classifier
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from ttame.features.tap_choice import Family
from ttame.images.preprocessing import Preprocessing
from ttame.notebook.cards import card, facts, line
from ttame.outputs import Outputs

_MOST_NAMES = 5


class Described(Protocol):
    """What of a classifier is shown; see :class:`ttame.Classifier`."""

    name: str
    preprocessing: Preprocessing
    outputs: Outputs
    class_names: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def number_of_classes(self) -> int: ...
    @property
    def family(self) -> Family: ...
    @property
    def taps(self) -> Sequence[Any]: ...
    @property
    def device(self) -> Any: ...


def classifier_card(classifier: Described) -> str:
    """Its classes, preprocessing and taps as a card of HTML."""
    count = classifier.number_of_classes
    taps = "; ".join(tap.in_words() for tap in classifier.taps)
    return card(
        f"Classifier {classifier.name}",
        line(f"{classifier.family}, {count} class{'es' * (count != 1)}, on {classifier.device}"),
        facts(
            [
                ("classes", _names(classifier.class_names)),
                ("outputs", classifier.outputs.in_words),
                ("preprocessing", classifier.preprocessing.in_words()),
                ("read at", taps),
                ("note", "; ".join(classifier.notices)),
            ]
        ),
    )


def _names(names: Sequence[str]) -> str:
    """The first names, in words.

    Example:
        >>> _names(("cat", "dog")), _names("abcdefg")
        ('cat, dog', 'a, b, c, d, e and 2 more')
    """
    shown = ", ".join(names[:_MOST_NAMES])
    return shown + (f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else "")
