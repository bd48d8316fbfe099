"""Scores of tokens as scores of words: what people read is words, not pieces of them."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import unicodedata
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from ttame.words.tokenised_text import Span, TokenisedText, word_spans

_WITHOUT_SPACES = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff"  # Thai, Lao, Tibetan, Burmese, Khmer
    "\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9d"  # Japanese syllables
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"  # Chinese characters
)
"""Letters of scripts that do not write spaces between words."""


@dataclasses.dataclass(frozen=True)
class Word:
    """A word of a text, or of its pair, with the tokens that it is made of.

    Attributes:
        text: its characters.
        start: where they begin, in the text that it belongs to.
        end: the place behind its last character.
        part: 0 for a word of the text, 1 for one of its pair.
        tokens: places of its tokens; none if the network did not read it.

    Example:
        >>> Word("bad", 4, 7, 0, (2, 3)).text
        'bad'
    """

    text: str
    start: int
    end: int
    part: int
    tokens: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class ScoredWord:
    """A word and what it says about a class.

    Attributes:
        word: the word.
        score: the higher, the more it speaks for the class; NaN if the network did not read it.

    Example:
        >>> found = ScoredWord(Word("bad", 4, 7, 0, (2, 3)), 0.5)
        >>> str(found), found.is_read
        ('bad 0.5', True)
    """

    word: Word
    score: float

    @property
    def is_read(self) -> bool:
        """Whether the network read the word, so that it has a score."""
        return not math.isnan(self.score)

    def __str__(self) -> str:
        return f"{self.word.text} {self.score:.3g}"


def words_of(text: TokenisedText) -> tuple[Word, ...]:
    """The words of a text, then those of its pair.

    Words are the pieces between white space, as people count them: ``"good,"`` is one word, and
    all its tokens are its own. A piece with letters of a script that has no spaces between words
    (Chinese, Japanese, Thai, Lao, Khmer, Burmese, Tibetan) is divided at its tokens, because a
    whole sentence would be one word otherwise; never between a letter and its marks.

    Args:
        text: with its tokens.

    Example:
        >>> text = TokenisedText.of(
        ...     "not bad", ("[CLS]", "not", "ba", "##d"), special=(True, False, False, False),
        ...     spans=(None, (0, 3), (4, 6), (6, 7)))
        >>> [(word.text, word.tokens) for word in words_of(text)]
        [('not', (1,)), ('bad', (2, 3))]
    """
    tokens_of: dict[tuple[int, int], list[int]] = {}
    for place, (part, word) in enumerate(zip(text.part, text.words, strict=True)):
        if word is not None and not text.special[place]:
            tokens_of.setdefault((part, word), []).append(place)
    return tuple(
        word
        for part, whole in enumerate(text.texts)
        for index, span in enumerate(word_spans(whole))
        for word in _pieces(text, part, span, tokens_of.get((part, index), []))
    )


def merge_scores(words: Sequence[Word], scores: Tensor, *, signed: bool) -> Tensor:
    """Give each word one score, from those of its tokens.

    Of an unsigned map, the score of a word is the maximum over its tokens, as in the published
    text benchmark of Transformer Attribution. Of a signed map, it is the value of largest
    magnitude with its sign (of two equally large ones, the positive one), so that a token that
    speaks strongly against a class is not hidden by a neutral one.

    Args:
        words: W of them, from :func:`words_of`.
        scores: (..., T) of the tokens, any floating dtype.
        signed: whether values below 0 speak against the class.

    Returns:
        (..., W) of the same dtype; NaN for words that the network did not read.

    Example:
        >>> words = Word("not", 0, 3, 0, (0,)), Word("bad", 4, 7, 0, (1, 2)), Word("!", 8, 9, 0, ())
        >>> merge_scores(words, torch.tensor([0.5, 0.25, -0.75]), signed=True)
        tensor([ 0.5000, -0.7500,     nan])
        >>> merge_scores(words, torch.tensor([0.5, 0.25, -0.75]), signed=False)
        tensor([0.5000, 0.2500,    nan])
    """
    lowest, highest = (_over_words(words, scores, sign) for sign in (-1, 1))
    if not signed:
        return highest
    return torch.where(-lowest > highest, lowest, highest)


def _over_words(words: Sequence[Word], scores: Tensor, sign: int) -> Tensor:
    """The highest (or lowest, for a ``sign`` of -1) score of each word's tokens."""
    places = [place for word in words for place in word.tokens]
    owners = [number for number, word in enumerate(words) for _ in word.tokens]
    shape = (*scores.shape[:-1], len(words))
    most = scores.new_full(shape, -math.inf)
    index = torch.tensor(owners, dtype=torch.int64, device=scores.device)
    taken = sign * scores[..., torch.tensor(places, dtype=torch.int64, device=scores.device)]
    most = most.scatter_reduce(-1, index.expand_as(taken), taken, "amax")
    unread = torch.tensor([not word.tokens for word in words], dtype=torch.bool, device=most.device)
    return (sign * most).masked_fill(unread, math.nan)


def _pieces(text: TokenisedText, part: int, span: Span, tokens: list[int]) -> Iterator[Word]:
    """A word, or what it is divided into."""
    whole = text.texts[part]
    start, end = span
    if len(tokens) < 2 or not _WITHOUT_SPACES.search(whole, start, end):
        yield Word(whole[start:end], start, end, part, tuple(tokens))
        return
    begins = {place: max(start, (text.spans[place] or span)[0]) for place in tokens}
    behind_tokens = max((text.spans[place] or span)[1] for place in tokens)
    # A sentence whose end was cut off: what stands behind its last token was not read.
    unread = {behind_tokens} if any(map(str.isalnum, whole[behind_tokens:end])) else set()
    places = {*begins.values(), *unread}
    cuts = sorted({start, end, *filter(lambda place: _may_cut(whole, place), places)})
    for first, behind in itertools.pairwise(cuts):
        own = tuple(place for place in tokens if first <= begins[place] < behind)
        yield Word(whole[first:behind], first, behind, part, own)


def _may_cut(text: str, place: int) -> bool:
    """Whether what stands at a place is a letter of its own, not a mark on the one before."""
    return not unicodedata.category(text[place]).startswith("M")
