"""A text with the map of one method: what the functions of text metrics are called with."""

from __future__ import annotations

import dataclasses

import numpy as np

from ttame.metrics.texts.text_protocol import TextProtocol
from ttame.metrics.texts.word_order import Merging, ProbabilityOfKept, word_scores


@dataclasses.dataclass(frozen=True, eq=False)
class MeasuredText:
    """One text, one class and one method's map.

    Attributes:
        scores: (T,) float, raw, of the tokens.
        words: (T,) int, the word that each token is a piece of; negative for special tokens and
            padding, which are never ranked.
        number_of_words: W, of the whole text, beyond the model's length too.
        probability: gives the probability of the explained class for variants of the text.
        rationale: (W,) bool, the words that annotators marked; ``None`` if nobody did.

    Example:
        >>> text = MeasuredText(
        ...     scores=np.array([9.0, 0.2, -0.5, 0.1]),
        ...     words=np.array([-1, 0, 0, 1]),
        ...     number_of_words=2,
        ...     probability=lambda kept: kept.mean(axis=1))
        >>> text.scores_of_words("maximum").tolist()
        [0.2, 0.1]
        >>> scores, units = text.units(TextProtocol("mine", unit="tokens"))
        >>> scores.tolist(), units.tolist()
        ([nan, 0.2, -0.5, 0.1], [-1, 1, 2, 3])
    """

    scores: np.ndarray
    words: np.ndarray
    number_of_words: int
    probability: ProbabilityOfKept
    rationale: np.ndarray | None = None

    def scores_of_words(self, merging: Merging) -> np.ndarray:
        """(W,) float64; NaN for words beyond the model's length."""
        return word_scores(self.scores, self.words, self.number_of_words, merging)

    def compared_scores(self, protocol: TextProtocol) -> np.ndarray:
        """(W,) the scores of words that are compared with rationales."""
        scores = self.scores_of_words(protocol.merging)
        return np.maximum(scores, 0) if protocol.clamped else scores

    def marked(self) -> np.ndarray:
        """(W,) bool, the annotated words; none without annotations."""
        if self.rationale is None:
            return np.zeros(self.number_of_words, dtype=bool)
        return self.rationale

    def units(self, protocol: TextProtocol) -> tuple[np.ndarray, np.ndarray]:
        """What is taken away, words or tokens.

        Returns:
            (U,) float64 scores, NaN where there is none; (T,) int, which of them each token
            belongs to, negative for special tokens.
        """
        if protocol.unit == "words":
            return self.scores_of_words(protocol.merging), self.words
        own = self.words >= 0
        scores = np.where(own, self.scores.astype(np.float64), np.nan)
        return scores, np.where(own, np.arange(len(own)), -1)
