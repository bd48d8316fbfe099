"""Texts with marked words, as HTML: whatever a stranger wrote stays text."""

from __future__ import annotations

import html
import itertools
import re
from collections.abc import Iterator, Sequence

from ttame.drawing.word_strength import ClassScale
from ttame.words.tokenised_text import TokenisedText
from ttame.words.word_scores import ScoredWord

LEAST_DRAWN = 0.01
"""Weaker words are written as they are."""

_UNWRITABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
"""Control characters, which HTML does not have and terminals obey, and halves of characters."""


def writable(text: str) -> str:
    """A text of the same length whose every character can be written and none is obeyed.

    Example:
        >>> writable("a\\x1b[31mb\\n")
        'a\\ufffd[31mb\\n'
    """
    return _UNWRITABLE.sub("\ufffd", text.replace("\r", " "))


def marked_text(
    text: TokenisedText, words: Sequence[ScoredWord], scale: ClassScale, *, signed: bool
) -> str:
    """A text, and its pair below it, with its words marked by their scores.

    Needs the style sheet of :func:`ttame.drawing.word_colours.word_style`.

    Args:
        text: that was explained.
        words: all of its words, in order.
        scale: the scale of the class.
        signed: whether scores below 0 speak against the class; else they are not marked.

    Returns:
        A paragraph for the text, and one for its pair. Its direction is that of its own script.

    Example:
        >>> from ttame.words.word_scores import Word
        >>> text = TokenisedText.of("<b>", ("<", "b", ">"), spans=((0, 1), (1, 2), (2, 3)),
        ...     special=(False,) * 3)
        >>> word = ScoredWord(Word("<b>", 0, 3, 0, (0, 1, 2)), 0.5)
        >>> marked_text(text, [word], ClassScale(1.0, 0.0, 1.0, 1.0), signed=True)[-54:]
        '<mark style="--s:.5" title="+0.5">&lt;b&gt;</mark></p>'
    """
    variables = f"--low:{scale.low:.3f};--share:{scale.share:.3f};--fade:{scale.fade:.3f}"
    return "".join(
        f'<p class="words" dir="auto" style="{variables}">'
        f"{''.join(_pieces(whole, [w for w in words if w.word.part == part], scale, signed))}</p>"
        for part, whole in enumerate(text.texts)
    )


def score_in_words(score: float, *, signed: bool) -> str:
    """A score with three digits, and with a sign where signs mean something.

    Example:
        >>> score_in_words(0.12345, signed=True), score_in_words(0.12345, signed=False)
        ('+0.123', '0.123')
    """
    return (f"{score:+.3g}" if signed else f"{score:.3g}").replace("-", "\u2212")


def _pieces(
    whole: str, words: Sequence[ScoredWord], scale: ClassScale, signed: bool
) -> Iterator[str]:
    """The words of one text and what stands between them; those that were not read in one piece."""
    written = 0
    for is_read, run in itertools.groupby(words, key=lambda found: found.is_read):
        together = list(run)
        if not is_read:
            start, end = together[0].word.start, together[-1].word.end
            unread = _escaped(whole[start:end])
            yield f'{_escaped(whole[written:start])}<span class="unread">{unread}</span>'
            written = end
            continue
        for found in together:
            yield _escaped(whole[written : found.word.start]) + _marked(found, scale, signed)
            written = found.word.end
    yield _escaped(whole[written:])


def _marked(found: ScoredWord, scale: ClassScale, signed: bool) -> str:
    strength = scale.drawn(found.score)
    word = _escaped(found.word.text)
    if abs(strength) < LEAST_DRAWN or (strength < 0 and not signed):
        return word
    against = ' class="against"' if strength < 0 else ""
    shown = f"{abs(strength):.2f}".rstrip("0").rstrip(".").removeprefix("0")
    return (
        f'<mark{against} style="--s:{shown}" title="{score_in_words(found.score, signed=signed)}">'
        f"{word}</mark>"
    )


def _escaped(text: str) -> str:
    return html.escape(writable(text))
