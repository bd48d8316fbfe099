"""Texts with marked words, for a terminal of any colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ttame.drawing.marked_words import writable
from ttame.drawing.word_colours import TERMINAL_AGAINST, TERMINAL_FOR
from ttame.drawing.word_strength import ClassScale, WordStrength
from ttame.words.tokenised_text import TokenisedText
from ttame.words.word_scores import ScoredWord

if TYPE_CHECKING:
    from rich.text import Text

STEPS = (0.1, 0.35, 0.65)
"""From these strengths on a word is coloured, underlined too, and printed on colour."""


def terminal_text(
    text: TokenisedText,
    words: Sequence[ScoredWord],
    scale: ClassScale,
    *,
    signed: bool,
    strength: WordStrength = "own",
) -> Text:
    """A text, and its pair on a new line, with its words styled in three steps.

    Nobody knows whether a terminal is light or dark, so both colours can be read on either. A
    terminal without colours shows bold and underlined words; a file has the plain text.

    Args:
        text: that was explained.
        words: all of its words, in order.
        scale: the scale of the class.
        signed: whether scores below 0 speak against the class; else they are not marked.
        strength: see :data:`ttame.drawing.word_strength.WordStrength`.

    Example:
        >>> from ttame.words.word_scores import Word
        >>> text = TokenisedText.of("so good", ("so", "good"), spans=((0, 2), (3, 7)),
        ...     special=(False, False))
        >>> words = [ScoredWord(Word("so", 0, 2, 0, (0,)), 0.0),
        ...          ScoredWord(Word("good", 3, 7, 0, (1,)), 1.0)]
        >>> found = terminal_text(text, words, ClassScale(1.0, 0.0, 1.0, 1.0), signed=False)
        >>> found.plain, [(span.start, span.end) for span in found.spans]
        ('so good', [(3, 7)])
    """
    from rich.text import Text

    # One character each, so that places stay what they are.
    shown = Text(" / ".join(writable(whole) for whole in text.texts))
    begins = (0, len(text.text) + 3)
    for found in words:
        drawn = scale.drawn(found.score, strength)
        style = "" if drawn < 0 and not signed else _style(drawn)
        if style:
            begin = begins[found.word.part]
            shown.stylize(style, begin + found.word.start, begin + found.word.end)
    return shown


def _style(strength: float) -> str:
    """How a word of a strength looks; nothing of a weak one, little of one that was not read."""
    if math.isnan(strength):
        return "dim"
    steps = sum(abs(strength) >= step for step in STEPS)
    colour = TERMINAL_FOR if strength > 0 else TERMINAL_AGAINST
    # Without colours, what speaks against the class is in italics.
    slant = "" if strength > 0 else "italic "
    looks = ("", colour, f"bold underline {colour}", f"bold underline bright_white on {colour}")
    return slant + looks[steps] if steps else ""
