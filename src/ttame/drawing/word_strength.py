"""How strongly the words of a text are coloured, so that classes can be compared or stand alone."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, get_args

from ttame.errors import UnknownNameError

WordStrength = Literal["own", "shared", "probability", "stretched"]
"""``"own"``: each class is scaled by its own largest score, so that an improbable class looks as
convincing as a probable one. ``"shared"``: by the largest score of all classes of the text.
``"probability"``: as its own, but fading with the probability of the class. ``"stretched"``: from
the lowest score of the words to the highest, for scores of one sign that differ little."""


@dataclasses.dataclass(frozen=True)
class ClassScale:
    """What turns the scores of one class of one text into strengths of colour.

    Nothing is coloured at a score of 0, and a word of half the score is half as strong: unlike
    pictures, which are scaled from their lowest value on, because a sentence of two words would
    show nothing of the weaker one.

    Attributes:
        largest: magnitude of the scores of this class.
        low: share of it that every word has at least, in [0, 1); 0 where scores have signs.
        share: the largest magnitude of this class, of that of all classes, in [0, 1].
        fade: the probability of this class, of that of the most probable one, in [0, 1].

    Example:
        >>> scale = ClassScale(largest=0.5, low=0.5, share=0.25, fade=0.1)
        >>> [scale.drawn(0.375, strength) for strength in ("own", "shared", "stretched")]
        [0.75, 0.1875, 0.5]
    """

    largest: float
    low: float
    share: float
    fade: float

    def drawn(self, score: float, strength: WordStrength = "own") -> float:
        """The strength of a word, in [-1, 1]; below 0 where it speaks against the class.

        NaN stays NaN: the network did not read the word.
        """
        if math.isnan(score):
            return score
        own = max(-1.0, min(1.0, score / self.largest)) if self.largest else 0.0
        if strength == "stretched":
            return math.copysign(max(0.0, abs(own) - self.low) / (1 - self.low), own)
        return own * {"own": 1.0, "shared": self.share, "probability": self.fade}[strength]


def class_scales(
    scores: Sequence[Sequence[float]], probabilities: Sequence[float], *, signed: bool
) -> tuple[ClassScale, ...]:
    """The scale of each explained class of a text.

    Args:
        scores: (K, W) of its words, NaN where the network did not read one. Unsigned ones below 0
            are drawn as 0.
        probabilities: K of the classes.
        signed: whether scores below 0 speak against the class.

    Example:
        >>> first, second = class_scales([[0.5, -1.0], [0.25, 0.0]], [0.8, 0.2], signed=True)
        >>> first.largest, second.share, second.fade
        (1.0, 0.25, 0.25)
    """
    ends = [_ends(row, signed=signed) for row in scores]
    most = max((highest for _, highest in ends), default=0.0)
    surest = max(probabilities, default=0.0)
    return tuple(
        ClassScale(
            highest,
            low=lowest / highest if 0 < lowest < highest else 0.0,
            share=highest / most if most else 0.0,
            fade=probability / surest if surest else 0.0,
        )
        for (lowest, highest), probability in zip(ends, probabilities, strict=True)
    )


def check_word_strength(strength: str) -> None:
    """Refuse a strength that there is not.

    Raises:
        UnknownNameError: no such strength.
    """
    known = get_args(WordStrength)
    if strength not in known:
        raise UnknownNameError(f"strength {strength!r}", allowed=", ".join(known))


def _ends(scores: Sequence[float], *, signed: bool) -> tuple[float, float]:
    """What every word has at least, and the largest magnitude."""
    read = [score for score in scores if not math.isnan(score)]
    if signed:
        return 0.0, max(map(abs, read), default=0.0)
    return max(0.0, min(read, default=0.0)), max(0.0, max(read, default=0.0))
