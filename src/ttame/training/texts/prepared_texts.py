"""Texts as inputs of one network, in batches."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import ClassVar, NamedTuple

import torch

from ttame.datasets.prepared_images import PreparedBatch
from ttame.text_classifiers.text_classifier import TextClassifier

FEWEST_WORDS = 2
"""Of a text to learn from: of a single word there is no share to keep."""


class ChosenText(NamedTuple):
    """A text, or a part of it, and the number of the text."""

    text: str
    number: int


class PreparedTexts:
    """Texts as signals for a ``DataLoader``, which must work in the process of the network.

    What an item looks like depends on nothing but the seed, the epoch and the text.

    Args:
        texts: all that there are.
        classifier: whose tokenizer and word embeddings are used; the end of what is too long for it
            is cut off.
        indices: which of the texts, in this order.
        words: from a random word on, so many are seen at a time; 0 for all.
        seed: the seed of the random words.

    Example:
        >>> from ttame.testing import tiny_text_classifier
        >>> texts = PreparedTexts(["a fine film", "dull"], tiny_text_classifier(), [1, 0])
        >>> texts.collate([texts[0], texts[1]]).images.shape
        torch.Size([2, 19, 1, 5])
    """

    in_workers: ClassVar[bool] = False

    def __init__(
        self,
        texts: Sequence[str],
        classifier: TextClassifier,
        indices: Sequence[int],
        *,
        words: int = 0,
        seed: int = 0,
    ) -> None:
        self.texts = texts
        self.classifier = classifier.truncating()
        self.words = words
        self.seed = seed
        self._indices = tuple(indices)
        self._epoch = 0

    def __len__(self) -> int:
        return len(self._indices)

    def set_epoch(self, epoch: int) -> None:
        """Draw the random words of ``epoch`` from now on."""
        self._epoch = epoch

    def __getitem__(self, position: int) -> ChosenText:
        """The text at ``position`` within the indices, or a part of it."""
        if not 0 <= position < len(self):
            raise IndexError(f"position {position} of {len(self)}")
        index = self._indices[position]
        return ChosenText(self._part(index), index)

    def collate(self, items: Sequence[ChosenText]) -> PreparedBatch:
        """Texts as one batch, (B, C, 1, T), the shorter ones padded."""
        return PreparedBatch(
            images=self.classifier.prepare([item.text for item in items]),
            indices=torch.tensor([item.number for item in items], dtype=torch.int64),
        )

    def _part(self, index: int) -> str:
        words = self.texts[index].split()
        if not 0 < self.words < len(words):
            return self.texts[index]
        # From a hash, which has no state to restore.
        numbers = f"{self.seed} {self._epoch} {index}".encode()
        drawn = int.from_bytes(hashlib.blake2b(numbers, digest_size=8).digest(), "big")
        first = drawn % (len(words) - self.words + 1)
        return " ".join(words[first : first + self.words])
