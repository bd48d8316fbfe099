"""Asking a classifier about a text without some of its tokens."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ttame.errors import EvaluationError
from ttame.explainers.contract.memory_budget import in_chunks
from ttame.metrics.texts.text_protocol import TakenAway
from ttame.text_classifiers.text_classifier import Ground, TextClassifier
from ttame.text_classifiers.token_signal import is_real
from ttame.words.hidden_tokens import hide_tokens

TOKENS_AT_ONCE = 4096
"""Of all variants that go through the network together."""


class ChangedText:
    """The probability of one class, of variants of one text; each variant is asked for once.

    Args:
        classifier: a classifier of texts.
        signal: (1, C, 1, T) the text, as the classifier prepares it.
        label: the class.
        taken_away: what becomes of tokens that are not kept.
    """

    def __init__(
        self, classifier: TextClassifier, signal: Tensor, label: int, taken_away: TakenAway
    ) -> None:
        self._classifier = classifier
        self._signal = signal
        self._label = label
        self._taken_away = taken_away
        self._known: dict[bytes, float] = {}

    def __call__(self, kept: np.ndarray) -> np.ndarray:
        """Ask for the probabilities.

        Args:
            kept: (V, T) bool, which tokens each variant keeps.

        Returns:
            (V,) float64 in [0, 1].

        Raises:
            EvaluationError: a probability that is not a number.
        """
        keys = [row.tobytes() for row in np.packbits(kept, axis=1)]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            found = self._asked(torch.from_numpy(kept[list(new.values())]))
            self._known.update(zip(new, found.tolist(), strict=True))
        return np.array([self._known[key] for key in keys])

    def _asked(self, kept: Tensor) -> Tensor:
        """(V,) of different variants; the short ones together, so that little padding is run."""
        order = kept.sum(dim=1).argsort(stable=True)
        at_once = max(1, TOKENS_AT_ONCE // kept.shape[1])
        found = torch.empty(len(kept), dtype=torch.float64)
        for chunk in in_chunks(len(kept), at_once):
            part = order[chunk]
            found[part] = self._probabilities(kept[part]).double().cpu()
        if not torch.isfinite(found).all():
            raise EvaluationError(
                f"{self._classifier.name} gave probabilities that are not numbers",
                remedy="looking for NaN in its weights, or float32 instead of half precision",
            )
        return found

    def _probabilities(self, kept: Tensor) -> Tensor:
        variants = without_tokens(self._classifier, self._signal, kept, self._taken_away)
        with torch.no_grad():
            return self._classifier.probabilities(variants)[:, self._label]


def without_tokens(
    classifier: TextClassifier, signal: Tensor, kept: Tensor, taken_away: TakenAway
) -> Tensor:
    """Variants of a text, without those of its tokens that they do not keep.

    Args:
        classifier: a classifier of texts.
        signal: (1, C, 1, T) the text, as the classifier prepares it.
        kept: (V, T) bool.
        taken_away: what becomes of the others.

    Returns:
        (V, C, 1, T), or where tokens are removed, as long as the longest variant.

    Raises:
        TextError: the tokenizer has no such token as a mask or padding.
    """
    name: Ground = "mask" if taken_away == "mask" else "padding"
    filler = classifier.token_vector(name)[:, None]
    rows = signal.expand(len(kept), -1, -1, -1)
    hidden = ~kept.to(signal.device)
    if taken_away != "removed":
        return hide_tokens(rows, hidden, filler, "replace")
    moved_up = hide_tokens(rows, hidden, filler, "remove")
    return moved_up[..., : int(is_real(moved_up).sum(dim=1).max())]
