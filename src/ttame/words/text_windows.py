"""Texts that are longer than a network reads: windows over them, and their scores joined again."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from ttame.errors import TextError


@dataclasses.dataclass(frozen=True)
class TextWindow:
    """A run of a text's tokens that a network reads at once.

    Attributes:
        start: the first token, among those of the text (special ones not counted).
        end: the place behind its last one.

    Example:
        >>> len(TextWindow(3, 8))
        5
    """

    start: int
    end: int

    def __len__(self) -> int:
        return self.end - self.start


def plan_windows(tokens: int, size: int, overlap: int) -> tuple[TextWindow, ...]:
    """Cover a text by windows of equal size, each of which repeats the end of the one before.

    The last window is moved back so that it is as long as the others: a network that sees three
    tokens of a review without their context says little about them. It then overlaps more.

    Args:
        tokens: of the text, special ones not counted.
        size: the most that the network reads at once, special ones not counted.
        overlap: tokens that two windows have in common, at least.

    Returns:
        At least one window, in order; a single one if everything fits.

    Raises:
        TextError: a size or an overlap that cannot be.

    Example:
        >>> [(window.start, window.end) for window in plan_windows(10, 4, 1)]
        [(0, 4), (3, 7), (6, 10)]
        >>> [(window.start, window.end) for window in plan_windows(9, 4, 1)]
        [(0, 4), (3, 7), (5, 9)]
    """
    if size < 1 or not 0 <= overlap < size:
        raise TextError(
            f"windows of {size} tokens with {overlap} in common",
            allowed=f"an overlap from 0 to {max(size - 1, 0)}, and at least 1 token",
        )
    if tokens <= size:
        return (TextWindow(0, tokens),)
    starts = range(0, tokens - size, size - overlap)
    return (
        *(TextWindow(start, start + size) for start in starts),
        TextWindow(tokens - size, tokens),
    )


def join_windows(windows: Sequence[TextWindow], scores: Sequence[Tensor]) -> Tensor:
    """One score per token of the whole text, from the scores of each window.

    A token that several windows hold gets the weighted mean of its scores. The weight is its
    distance to the nearer end of the window that has text beyond it, so that a score counts the
    more, the more context the network saw on both sides, and there are no seams:
    ``s(t) = Σ_w d_w(t) s_w(t) / Σ_w d_w(t)`` with ``d_w(t) = min(t − start + 1, end − t)``, where
    an end that is also the text's is not counted.

    Args:
        windows: from :func:`plan_windows`; they cover the text.
        scores: the scores of each window (..., its number of tokens), special ones left out.

    Returns:
        (..., T) for the T tokens of the text, in the dtype of the scores.

    Raises:
        TextError: scores that do not fit the windows, or windows that leave tokens out.

    Example:
        >>> windows = plan_windows(5, 3, 1)
        >>> join_windows(windows, [torch.tensor([1.0, 1.0, 1.0]), torch.tensor([3.0, 3.0, 3.0])])
        tensor([1., 1., 2., 3., 3.])
    """
    lengths = [score.shape[-1] for score in scores]
    if not windows or lengths != [len(window) for window in windows]:
        raise TextError(
            f"scores of {lengths} tokens for windows of {[len(window) for window in windows]}",
            allowed="a score per token of each window",
        )
    count = max(window.end for window in windows)
    total = scores[0].new_zeros((*scores[0].shape[:-1], count))
    weights = scores[0].new_zeros(count)
    for window, score in zip(windows, scores, strict=True):
        weight = _weights(window, count).to(score)
        total[..., window.start : window.end] += weight * score
        weights[window.start : window.end] += weight
    if not bool((weights > 0).all()):
        raise TextError("windows that leave tokens out", allowed="windows that cover the text")
    return total / weights


def _weights(window: TextWindow, count: int) -> Tensor:
    """How far each token is from an end of its window beyond which there is text."""
    from_start = torch.arange(1, len(window) + 1)
    to_end = from_start.flip(0)
    if window.start == 0 and window.end == count:
        return torch.ones(len(window))
    if window.start == 0:
        return to_end
    return from_start if window.end == count else torch.minimum(from_start, to_end)
