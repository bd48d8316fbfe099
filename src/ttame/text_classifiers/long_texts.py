"""Texts that are longer than their classifier reads, cut into windows that it can read."""

from __future__ import annotations

import dataclasses

from ttame.errors import TextError
from ttame.text_classifiers.text_classifier import TextClassifier
from ttame.words.text_windows import TextWindow, plan_windows
from ttame.words.tokenised_text import TokenisedText

SHARED = 8
"""Of the tokens that a window holds, one in so many stands in the next one too."""


@dataclasses.dataclass(frozen=True)
class LongText:
    """A text with its tokens, special ones left out, and the windows that cover it.

    Attributes:
        tokenised: the whole text.
        windows: runs of its tokens, in order; each begins with a word and ends with one, where
            words are not longer than what windows share.
        pieces: the characters of each window.

    Example:
        >>> from ttame.testing import tiny_text_classifier
        >>> long = LongText.of(tiny_text_classifier(), "a really good film " * 20)
        >>> len(long.tokenised.tokens), [(each.start, each.end) for each in long.windows]
        (80, [(0, 30), (27, 57), (50, 80)])
    """

    tokenised: TokenisedText
    windows: tuple[TextWindow, ...]
    pieces: tuple[str, ...]

    @classmethod
    def of(cls, classifier: TextClassifier, text: str) -> LongText:
        """Cut a text of any length.

        Raises:
            TextError: it holds no token, or the classifier takes none but special ones.
        """
        encoded = classifier.tokenising.without_special_tokens(text)
        spans = [span for span in encoded["offset_mapping"] if span[0] < span[1]]
        kept = [place for place, span in enumerate(encoded["offset_mapping"]) if span[0] < span[1]]
        size = classifier.most_tokens - classifier.tokenizer.num_special_tokens_to_add(pair=False)
        if not spans or size < 1:
            raise TextError("a text without tokens", allowed="at least one word")
        tokens = encoded.tokens(0)
        whole = TokenisedText.of(
            text, [tokens[place] for place in kept], spans=spans, special=[False] * len(spans)
        )
        while True:
            windows = _at_words(plan_windows(len(spans), size, size // SHARED), whole)
            pieces = tuple(text[_begin(whole, each) : spans[each.end - 1][1]] for each in windows)
            # A tokenizer may cut the edges of a window into more pieces than it did in the text.
            too_many = classifier.tokenising.longest(pieces) - classifier.most_tokens
            if too_many <= 0 or size == 1:
                return cls(whole, windows, pieces)
            size = max(1, size - too_many)

    def places(self, number: int, piece: TokenisedText) -> list[int]:
        """For each token of a window its place in the window's own text, as it was read there.

        A word that a window cuts in two may be cut into other pieces there: then the token that
        holds the same first character, or else the one behind it, stands for it.

        Args:
            number: the number of the window.
            piece: the window's text, with special tokens.
        """
        window = self.windows[number]
        begin = _begin(self.tokenised, window)
        ends = [(place, span[1]) for place, span in enumerate(piece.spans) if span is not None]
        found, at = [], 0
        for token in range(window.start, window.end):
            first = (self.tokenised.spans[token] or (0, 0))[0] - begin
            while at < len(ends) - 1 and ends[at][1] <= first:
                at += 1
            found.append(ends[at][0])
        return found


def _begin(text: TokenisedText, window: TextWindow) -> int:
    """Where the characters of a window begin: with the blank that byte-level tokens start with."""
    first = (text.spans[window.start] or (0, 0))[0]
    return first - 1 if first and text.text[first - 1].isspace() else first


def _at_words(windows: tuple[TextWindow, ...], text: TokenisedText) -> tuple[TextWindow, ...]:
    """The same windows, but beginning and ending between words where that leaves nothing out."""
    words = text.words
    moved: list[TextWindow] = []
    for number, window in enumerate(windows):
        start, end = window.start, window.end
        least = windows[number + 1].start if number + 1 < len(windows) else end
        while end - 1 > least and end < len(words) and words[end] == words[end - 1]:
            end -= 1
        if end < len(words) and words[end] == words[end - 1]:
            end = window.end
        reached = moved[-1].end if moved else 0
        while start < reached and start and words[start] == words[start - 1]:
            start += 1
        if start and words[start] == words[start - 1]:
            start = window.start
        moved.append(TextWindow(start, end))
    return tuple(moved)
