"""Explanations of texts as HTML: the words of each text, marked class by class."""

# ruff: noqa: D102 - what the attributes of the protocol say stands in ttame.text.TextExplanation
from __future__ import annotations

import itertools
import unicodedata
from collections.abc import Sequence
from typing import Protocol

from torch import Tensor

from ttame.drawing.captions import percent
from ttame.drawing.marked_words import marked_text, score_in_words, writable
from ttame.drawing.word_colours import word_style
from ttame.drawing.word_strength import ClassScale, WordStrength, class_scales
from ttame.notebook import cards
from ttame.words.tokenised_text import TokenisedText
from ttame.words.word_scores import ScoredWord

MOST_DRAWN_CLASSES = 12
"""Of more explained classes only so many are drawn, the most probable ones."""

STRONGEST = 6
"""Words that are named below a text, with their scores."""


class ScoredTexts(Protocol):
    """What of an explanation is written; see :class:`ttame.text.TextExplanation`."""

    @property
    def classes(self) -> Tensor: ...
    @property
    def class_probabilities(self) -> Tensor: ...
    @property
    def has_evidence(self) -> Tensor: ...
    @property
    def method(self) -> str: ...
    @property
    def signed(self) -> bool: ...
    @property
    def texts(self) -> tuple[TokenisedText, ...]: ...
    def __len__(self) -> int: ...
    def one_text(self, text: int | None) -> int: ...
    def word_scores(self, text: int | None = None) -> Tensor: ...
    def scored_words(
        self, class_: int | str = 0, text: int | None = None
    ) -> tuple[ScoredWord, ...]: ...
    def class_label(self, index: int) -> str: ...
    def target_label(self, image: int, place: int) -> str: ...


def title_of(explained: ScoredTexts) -> str:
    """What heads a card."""
    return f"Explanation by {explained.method or 'an unnamed method'}"


def card_of(explained: ScoredTexts, strength: WordStrength = "own", most: int | None = None) -> str:
    """The texts one below the other, each class with its marked words.

    Args:
        explained: the texts.
        strength: see :data:`ttame.drawing.word_strength.WordStrength`.
        most: characters; a remark says how many texts there are besides. All if not given.
    """
    parts: list[str] = []
    for text in range(len(explained)):
        section = _section(explained, text)
        if most is not None and parts and sum(map(len, parts)) + len(section) > most:
            break
        parts.append(section)
    left_out = len(explained) - len(parts)
    remark = (
        f"{len(parts)} of {len(explained)} texts; explanation[i] shows another one"
        if left_out
        else ""
    )
    shown = f'<style>{word_style()}</style><div class="{strength}">{"".join(parts)}</div>'
    legend = legend_in_words(signed=explained.signed)
    return cards.card(title_of(explained), cards.line(legend), shown, cards.line(remark))


def page_of(explained: ScoredTexts, strength: WordStrength) -> str:
    """The card of all texts as a page that needs nothing else."""
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{cards.escaped(title_of(explained))}</title>\n"
        "<style>:root{color-scheme:light dark}body{margin:1rem auto;max-width:74rem;"
        "padding:0 1rem}</style>\n"
        f"</head>\n<body>\n{card_of(explained, strength)}\n</body>\n</html>\n"
    )


def legend_in_words(*, signed: bool) -> str:
    """How to read the marks."""
    speaks_for = "Orange with a line below: speaks for the class"
    if not signed:
        return f"{speaks_for}, the stronger, the more. A word's score shows when it is pointed at."
    return (
        f"{speaks_for}. Blue with a line above: speaks against it. The stronger, the more; a "
        "word's score shows when it is pointed at."
    )


def scales_of(explained: ScoredTexts, text: int) -> tuple[ClassScale, ...]:
    """The scale of each explained class of a text."""
    scores = explained.word_scores(text).tolist()
    probabilities = explained.class_probabilities[text].tolist()
    return class_scales(scores, probabilities, signed=explained.signed)


def drawn_places(explained: ScoredTexts, text: int) -> list[int]:
    """The explained classes of a text that are drawn, in their order."""
    probabilities = explained.class_probabilities[text]
    if len(probabilities) <= MOST_DRAWN_CLASSES:
        return list(range(len(probabilities)))
    places: list[int] = probabilities.topk(MOST_DRAWN_CLASSES).indices.tolist()
    return places


def figures_of(explained: ScoredTexts, text: int, place: int) -> str:
    """What stands next to a label: the probability, and whether the scores say anything."""
    label = explained.target_label(text, place)
    name = explained.class_label(int(explained.classes[text, place]))
    behind = "" if name == label else f"· {name} "
    figure = f"{behind}{percent(float(explained.class_probabilities[text, place]))}"
    blank = not bool(explained.has_evidence[text, place])
    return figure + (" · no evidence" if blank else "")


def strongest_in_words(words: Sequence[ScoredWord], *, signed: bool) -> str:
    """The words with the highest scores, and with signs those with the lowest, for a line.

    Example:
        >>> from ttame.words.word_scores import Word
        >>> words = [ScoredWord(Word(text, 0, 1, 0, (0,)), score)
        ...          for text, score in (("good", 1.0), ("not", -0.5), ("a", 0.0))]
        >>> strongest_in_words(words, signed=True)
        'for: good +1; against: not −0.5'
        >>> strongest_in_words(words, signed=False)
        'strongest: good 1'
    """
    read = sorted((each for each in words if each.is_read), key=lambda each: -each.score)
    most = [each for each in read[:STRONGEST] if each.score > 0]
    least = [each for each in read[: -STRONGEST - 1 : -1] if each.score < 0] if signed else []
    said = (("for" if signed else "strongest", most), ("against", least))
    return "; ".join(
        f"{head}: {', '.join(_word_in_words(each, signed) for each in each_list)}"
        for head, each_list in said
        if each_list
    )


def unread_in_words(words: Sequence[ScoredWord]) -> str:
    """How much of a text the network did not read, and why; empty if it read all of it.

    What was cut off stands at an end of a text. Tokenizers also leave out words of control
    characters and the like, wherever they stand.

    Example:
        >>> from ttame.words.word_scores import Word
        >>> words = [ScoredWord(Word(text, 0, 1, 0, ()), score)
        ...          for text, score in (("so", 1.0), ("\\u200b", float("nan")), ("good", 0.5))]
        >>> unread_in_words(words)
        '1 of 3 words was not read: the tokenizer leaves it out'
    """
    unread = sum(not each.is_read for each in words)
    cut = sum(map(_cut_off, ([w for w in words if w.word.part == part] for part in (0, 1))))
    left_out = unread - cut
    said = (
        (cut, "the text is too long for the classifier"),
        (left_out, f"the tokenizer leaves {'it' if left_out == 1 else 'them'} out"),
    )
    return "; ".join(
        f"{count} of {len(words)} words {'was' if count == 1 else 'were'} not read: {reason}"
        for count, reason in said
        if count
    )


def _cut_off(words: Sequence[ScoredWord]) -> int:
    """How many words of one text stand before the first or behind the last that was read."""
    ends = [[*itertools.takewhile(_is_unread, order)] for order in (words, words[::-1])]
    # If none was read, both ends are the whole.
    found = ends[:1] if len(ends[0]) == len(words) else ends
    return sum(len(end) for end in found if any(_has_letters(each) for each in end))


def _is_unread(found: ScoredWord) -> bool:
    return not found.is_read


def _has_letters(found: ScoredWord) -> bool:
    return any(map(str.isalnum, found.word.text))


def _word_in_words(found: ScoredWord, signed: bool) -> str:
    word = _bare(writable(found.word.text))
    word = word if len(word) <= 40 else f"{word[:39]}…"
    # A word may turn the direction of writing; what comes after it must not turn.
    word = word if word.isascii() else f"\u2068{word}\u2069"
    return f"{word} {score_in_words(found.score, signed=signed)}"


def _bare(word: str) -> str:
    """A word from its first letter or digit to its last one with its marks, if it has any.

    Example:
        >>> _bare('"good",'), _bare("..."), _bare("\\U0001f600")
        ('good', '...', '😀')
    """
    kinds = [unicodedata.category(each)[0] for each in word]
    letters = [place for place, kind in enumerate(kinds) if kind in "LN"]
    if not letters:
        return word
    return word[letters[0] : max(place for place, kind in enumerate(kinds) if kind in "LNM") + 1]


def _section(explained: ScoredTexts, text: int) -> str:
    """One text: a heading per class, the marked words, and the strongest of them in words."""
    scales, said = scales_of(explained, text), explained.texts[text]
    heading = f"Text {text + 1} of {len(explained)}" if len(explained) > 1 else ""
    parts = [cards.line(heading)]
    words: tuple[ScoredWord, ...] = ()
    places = drawn_places(explained, text)
    for place in places:
        words = explained.scored_words(place, text)
        label = cards.escaped(writable(explained.target_label(text, place)))
        figures = cards.escaped(figures_of(explained, text, place))
        parts += [
            f'<p style="margin-top:.5em"><b><bdi>{label}</bdi></b> '
            f'<span class="faint">{figures}</span></p>',
            marked_text(said, words, scales[place], signed=explained.signed),
            cards.line(strongest_in_words(words, signed=explained.signed)),
        ]
    n_classes = explained.classes.shape[1]
    if len(places) < n_classes:
        parts.append(cards.line(f"the {len(places)} most probable of {n_classes} classes"))
    parts.append(cards.line(unread_in_words(words)))
    return f'<div style="margin-top:1em">{"".join(parts)}</div>'
