"""Texts as tokens, by the tokenizer that belongs to a network."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Sequence
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ttame.errors import (
    ClassifierError,
    TextError,
    UnknownNameError,
    either,
    kind_of,
    setting,
)
from ttame.text_classifiers.given_texts import GivenText
from ttame.text_classifiers.token_signal import PADDING, SPECIAL
from ttame.words.tokenised_text import TokenisedText

TooLong = Literal["refuse", "truncate"]
"""What becomes of a text with more tokens than the network takes."""

MOST_UNUSED = 1024
"""Word embeddings without a token: padded to a round number, or reserved."""

_FOR_LONG_PAIRS = f"{setting('too_long', 'truncate')}, which cuts its end off"
_FOR_LONG_TEXTS = (
    f"{_FOR_LONG_PAIRS}, or "
    f"{either('ttame.text.explain_long_text(explainer, text)', '--too-long windows')}, which reads "
    "all of it in windows"
)
"""What to do about them; only a single text can be read in windows."""

_ONE_AT_A_TIME = threading.Lock()
"""A tokenizer keeps whether it truncates as its own state, which threads would share."""


@dataclasses.dataclass(frozen=True, eq=False)
class TokenBatch:
    """B texts of T tokens, the shorter ones padded.

    Attributes:
        texts: with their tokens, padding included.
        ids: (B, T) int64, numbers of tokens.
        roles: (B, T) int64, see :mod:`ttame.text_classifiers.token_signal`.
        types: (B, T) int64.
        words: (B, T) int64.
        truncated: numbers of the texts whose end was cut off.
    """

    texts: tuple[TokenisedText, ...]
    ids: Tensor
    roles: Tensor
    types: Tensor
    words: Tensor
    truncated: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Tokenising:
    """A tokenizer of transformers, and how many tokens the network takes.

    Attributes:
        tokenizer: a fast one, which knows the characters of each token.
        most: tokens, special ones included.
        too_long: what becomes of longer texts.

    Raises:
        ClassifierError: not such a tokenizer.
        UnknownNameError: no such thing to do with longer texts.
    """

    tokenizer: Any
    most: int
    too_long: TooLong = "refuse"

    def __post_init__(self) -> None:
        if self.too_long not in get_args(TooLong):
            raise UnknownNameError.of(
                "way to handle long texts", str(self.too_long), get_args(TooLong)
            )
        is_class = isinstance(self.tokenizer, type)
        if is_class or not callable(self.tokenizer) or not hasattr(self.tokenizer, "is_fast"):
            raise ClassifierError(
                f"{self.tokenizer if is_class else kind_of(self.tokenizer)} as tokenizer",
                allowed="a tokenizer of transformers",
                remedy="transformers.AutoTokenizer.from_pretrained(FOLDER)",
            )
        if not self.tokenizer.is_fast:
            raise ClassifierError(
                f"a {type(self.tokenizer).__name__}, which does not say where tokens stand in a "
                "text",
                allowed="a fast tokenizer",
                remedy="transformers.AutoTokenizer.from_pretrained(FOLDER)",
            )

    def batch(self, texts: Sequence[GivenText]) -> TokenBatch:
        """Cut texts into tokens, and pad them to the longest.

        Raises:
            TextError: a text that is too long, or that holds nothing but special tokens.
        """
        rows = [self._row(text, number) for number, text in enumerate(texts)]
        length = max(len(row.ids) for row in rows)
        padded = [self._padded(row, length) for row in rows]
        ids, roles, types, words = (
            torch.tensor([getattr(row, name) for row in padded], dtype=torch.int64)
            for name in ("ids", "roles", "types", "words")
        )
        cut = tuple(number for number, row in enumerate(rows) if row.is_cut)
        return TokenBatch(tuple(row.text for row in padded), ids, roles, types, words, cut)

    def without_special_tokens(self, text: str) -> Any:
        """A text of any length as the tokenizer cuts it, with the characters of each token."""
        with _ONE_AT_A_TIME:
            return self.tokenizer(
                text,
                add_special_tokens=False,
                truncation=False,
                return_offsets_mapping=True,
                verbose=False,
            )

    def longest(self, texts: Sequence[str]) -> int:
        """Tokens of the longest text, special ones included."""
        return max(len(self._encoded(GivenText(text), cut=False)["input_ids"]) for text in texts)

    def fingerprint(self) -> str:
        """A short hash over how the tokenizer cuts texts; 16 hexadecimal digits."""
        whole = self.tokenizer.backend_tokenizer.to_str()
        # In front of these stands how it truncates and pads at the moment, which every call says.
        rules = whole[max(0, whole.find('"added_tokens"')) :]
        said = rules + json.dumps(self.tokenizer.special_tokens_map, default=str)
        return hashlib.blake2b(said.encode(), digest_size=8).hexdigest()

    def _row(self, given: GivenText, number: int) -> _Row:
        encoded = self._encoded(given, cut=False)
        count = len(encoded["input_ids"])
        if count > self.most and self.too_long == "refuse":
            raise TextError(
                f"text {number} has {count} tokens",
                allowed=f"at most {self.most}, special ones included",
                remedy=_FOR_LONG_TEXTS if given.pair is None else _FOR_LONG_PAIRS,
            )
        if count > self.most:
            encoded = self._encoded(given, cut=True)
        row = _Row.of(given, encoded, is_cut=count > self.most)
        known = [
            token
            for token, role in zip(row.ids, row.roles, strict=True)
            if role != SPECIAL and token not in self._never_words
        ]
        if not known:
            raise TextError(
                f"text {number} holds nothing but special tokens or padding",
                allowed="at least one word that the tokenizer knows",
            )
        return row

    @property
    def _never_words(self) -> set[int]:
        tokenizer = self.tokenizer
        return set(tokenizer.all_special_ids) - {tokenizer.unk_token_id, tokenizer.mask_token_id}

    def _encoded(self, given: GivenText, *, cut: bool) -> Any:
        with _ONE_AT_A_TIME:
            return self.tokenizer(
                given.text,
                given.pair,
                truncation=cut,
                max_length=self.most if cut else None,
                padding=False,
                return_offsets_mapping=True,
                return_special_tokens_mask=True,
                verbose=False,
            )

    def _padded(self, row: _Row, length: int) -> _Row:
        more = length - len(row.ids)
        if not more:
            return row
        pad = self.tokenizer.pad_token or "[PAD]"
        text = row.text
        return dataclasses.replace(
            row,
            text=dataclasses.replace(
                text,
                tokens=(*text.tokens, *(pad,) * more),
                spans=(*text.spans, *(None,) * more),
                special=(*text.special, *(True,) * more),
                words=(*text.words, *(None,) * more),
                part=(*text.part, *(0,) * more),
            ),
            ids=[*row.ids, *[self.tokenizer.pad_token_id or 0] * more],
            roles=[*row.roles, *[PADDING] * more],
            types=[*row.types, *[0] * more],
            words=[*row.words, *[0] * more],
        )


@dataclasses.dataclass(frozen=True)
class _Row:
    """One text."""

    text: TokenisedText
    ids: list[int]
    roles: list[int]
    types: list[int]
    words: list[int]
    is_cut: bool

    @classmethod
    def of(cls, given: GivenText, encoded: Any, *, is_cut: bool) -> _Row:
        ids = list(encoded["input_ids"])
        special = [bool(flag) for flag in encoded["special_tokens_mask"]]
        part = [0 if which is None else which for which in encoded.sequence_ids(0)]
        text = TokenisedText.of(
            given.text,
            encoded.tokens(0),
            spans=encoded["offset_mapping"],
            special=special,
            pair=given.pair,
            part=part,
        )
        first = len(text.words_of(0))
        words = [
            0 if word is None else 1 + word + (first if which else 0)
            for word, which in zip(text.words, part, strict=True)
        ]
        roles = [SPECIAL if added else 0 for added in special]
        types = list(encoded.get("token_type_ids", [0] * len(ids)))
        return cls(text, ids, roles, types, words, is_cut)


def refuse_other_tokenizer(tokenizer: Any, model: str, vocabulary: int) -> None:
    """Refuse a tokenizer that does not belong to a model.

    Args:
        tokenizer: a tokenizer of transformers.
        model: its name, for messages.
        vocabulary: how many word embeddings the model has.

    Raises:
        ClassifierError: it has tokens that the model has no embeddings for, or so few that it must
            be that of another model.
    """
    tokens = len(tokenizer)
    if tokens <= len(set(tokenizer.all_special_ids)):
        # What transformers makes of a folder without a tokenizer's files: every word is unknown.
        raise ClassifierError(
            f"the tokenizer of {model} knows no words",
            allowed="a folder that holds the tokenizer's files too",
            remedy="tokenizer.save_pretrained(FOLDER), of the tokenizer that it was trained with",
        )
    highest = max(tokenizer.get_vocab().values(), default=-1)
    if highest >= vocabulary or not 0 <= vocabulary - tokens <= MOST_UNUSED:
        raise ClassifierError(
            f"a tokenizer of {tokens} tokens for {model}, which has {vocabulary} word embeddings",
            allowed="the tokenizer that the model was trained with",
            remedy="transformers.AutoTokenizer.from_pretrained(FOLDER) of the model's own folder",
        )
