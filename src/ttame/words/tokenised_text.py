"""A text with its tokens: where each stands, and to which word it belongs."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from typing import Self

from ttame.errors import TextError

Span = tuple[int, int]
"""The first character of a piece of a text, and the one behind its last."""

_WORD = re.compile(r"\S+")


def word_spans(text: str) -> tuple[Span, ...]:
    """Where the words of a text stand: its pieces between white space.

    Args:
        text: any.

    Returns:
        (first, behind the last) character of each word, in order.

    Example:
        >>> word_spans(" Not bad, really.")
        ((1, 4), (5, 9), (10, 17))
    """
    return tuple(found.span() for found in _WORD.finditer(text))


@dataclasses.dataclass(frozen=True)
class TokenisedText:
    """A text, or a pair of texts, with its T tokens, padding included.

    Attributes:
        text: as it was given.
        pair: the second text of a pair, if there is one.
        tokens: T of them, as the tokenizer writes them.
        spans: for each token, the characters that it stands for, of the text that it belongs to;
            ``None`` for tokens that stand for none.
        special: whether a token is one that the tokenizer adds ([CLS], [SEP], padding); such
            tokens have no score in what is shown and measured.
        words: for each token, the index of its word among those of its text (see
            :func:`word_spans`); ``None`` for tokens that belong to none.
        part: 0 for tokens of the text, 1 for those of its pair; special tokens are 0.

    Raises:
        TextError: the attributes of the tokens have different lengths.

    Example:
        >>> text = TokenisedText.of(
        ...     "not bad", ("[CLS]", "not", "ba", "##d", "[SEP]"),
        ...     spans=(None, (0, 3), (4, 6), (6, 7), None),
        ...     special=(True, False, False, False, True))
        >>> text.words, text.words_of(0)
        ((None, 0, 1, 1, None), ('not', 'bad'))
    """

    text: str
    pair: str | None
    tokens: tuple[str, ...]
    spans: tuple[Span | None, ...]
    special: tuple[bool, ...]
    words: tuple[int | None, ...]
    part: tuple[int, ...]

    def __post_init__(self) -> None:
        lengths = {
            name: len(getattr(self, name))
            for name in ("tokens", "spans", "special", "words", "part")
        }
        if len(set(lengths.values())) > 1:
            raise TextError(
                "tokens with " + ", ".join(f"{length} {name}" for name, length in lengths.items()),
                allowed="one of each per token",
            )

    @classmethod
    def of(
        cls,
        text: str,
        tokens: Sequence[str],
        *,
        spans: Sequence[Span | None],
        special: Sequence[bool],
        pair: str | None = None,
        part: Sequence[int] | None = None,
    ) -> Self:
        """Find the word of each token by its characters.

        Args:
            text: as it was given.
            tokens: T of them.
            spans: the characters of each, of its own text. A span may begin with the white space
                before a word, as byte-level tokenizers write it.
            special: whether a token is one that the tokenizer adds.
            pair: the second text of a pair.
            part: 0 or 1 for each token; all 0 if not given.
        """
        part = tuple(part) if part is not None else (0,) * len(tokens)
        of_part = [_Words(text), _Words(pair or "")]
        kept = tuple(
            None if added or span is None or span[0] == span[1] else (int(span[0]), int(span[1]))
            for span, added in zip(spans, special, strict=True)
        )
        words = tuple(
            None if span is None else of_part[which].at(span)
            for span, which in zip(kept, part, strict=True)
        )
        return cls(text, pair, tuple(tokens), kept, tuple(map(bool, special)), words, part)

    @property
    def texts(self) -> tuple[str, ...]:
        """The text, and its pair if it has one."""
        return (self.text,) if self.pair is None else (self.text, self.pair)

    def words_of(self, part: int) -> tuple[str, ...]:
        """The words of the text (part 0) or of its pair (part 1)."""
        whole = self.texts[part] if part < len(self.texts) else ""
        return tuple(whole[first:behind] for first, behind in word_spans(whole))


class _Words:
    """The words of one text, asked for by the place of a character."""

    def __init__(self, text: str) -> None:
        self._word_at: list[int | None] = [None] * len(text)
        for index, (first, behind) in enumerate(word_spans(text)):
            self._word_at[first:behind] = [index] * (behind - first)

    def at(self, span: Span) -> int | None:
        """The word of the first character that belongs to one."""
        found = self._word_at[span[0] : span[1]]
        return next((word for word in found if word is not None), None)
