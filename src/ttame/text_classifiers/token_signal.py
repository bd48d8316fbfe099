"""Texts as the signal that methods work on: (B, C, 1, T), a grid of one row of tokens.

The first D channels are the word embeddings, before the network adds those of positions and types.
Behind them come three channels that methods carry along and never change, so that they belong to
every row also where a method multiplies the batch:

- the role of a token: 0 for one of the text, 1 for padding, 2 for another special one;
- its token type: 0 for the text, 1 for its pair, where the network knows types;
- its word: 0 for none, else 1 + the number of the word, those of a pair behind those of the text.

In a signal of zeros or of noise all tokens are plain ones of the text.
"""

from __future__ import annotations

import torch
from torch import Tensor

CARRIED = 3
"""Channels behind the embeddings."""

PADDING = 1
"""The role of padding."""

SPECIAL = 2
"""The role of tokens that the tokenizer adds, such as [CLS] and [SEP]."""


def token_signal(embeddings: Tensor, roles: Tensor, types: Tensor, words: Tensor) -> Tensor:
    """Put a signal together.

    Args:
        embeddings: (B, T, D) float.
        roles: (B, T) int64.
        types: (B, T) int64.
        words: (B, T) int64.

    Returns:
        (B, D + 3, 1, T) in the dtype of the embeddings.

    Example:
        >>> zeros = torch.zeros(2, 5, dtype=torch.int64)
        >>> token_signal(torch.zeros(2, 5, 8), zeros, zeros, zeros).shape
        torch.Size([2, 11, 1, 5])
    """
    carried = torch.stack([roles, types, words], dim=1).to(embeddings)
    return torch.cat([embeddings.transpose(1, 2), carried], dim=1)[:, :, None]


def embeddings_of(signal: Tensor) -> Tensor:
    """(B, T, D), in the graph of the signal."""
    return signal[:, :-CARRIED, 0].transpose(1, 2)


def roles_of(signal: Tensor) -> Tensor:
    """(B, T) of the dtype of the signal; other numbers than 1 and 2 mean a token of the text."""
    return signal.detach()[:, -3, 0]


def is_real(signal: Tensor) -> Tensor:
    """(B, T) bool: every token but padding."""
    return roles_of(signal) != PADDING


def is_shown(signal: Tensor) -> Tensor:
    """(B, T) bool: the tokens of the text itself, neither special ones nor padding."""
    roles = roles_of(signal)
    return (roles != PADDING) & (roles != SPECIAL)


def types_of(signal: Tensor, number: int) -> Tensor:
    """(B, T) int64 below ``number``; what is no token type counts as 0."""
    types = signal.detach()[:, -2, 0]
    known = (types >= 0) & (types < number) & (types == types.round())
    return torch.where(known, types, torch.zeros_like(types)).long()


def words_of(signal: Tensor) -> Tensor:
    """(B, T) int64, 0 for tokens that belong to no word. Exact in float32 only."""
    return signal.detach()[:, -1, 0].round().long()


def with_embedding(signal: Tensor, where: Tensor, vector: Tensor) -> Tensor:
    """The signal with another embedding at some places; what is carried along stays.

    Args:
        signal: (B, D + 3, 1, T).
        where: (B, T) bool.
        vector: (D,).

    Example:
        >>> signal = torch.ones(1, 5, 1, 2)
        >>> with_embedding(signal, torch.tensor([[True, False]]), torch.zeros(2))[0, :, 0].tolist()
        [[0.0, 1.0], [0.0, 1.0], [1.0, 1.0], [1.0, 1.0], [1.0, 1.0]]
    """
    embedded = torch.where(
        where[:, None, None], vector.to(signal)[:, None, None], signal[:, :-CARRIED]
    )
    return torch.cat([embedded, signal[:, -CARRIED:]], dim=1)
