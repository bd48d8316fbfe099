"""Taking tokens away from a text: what stands in their place, or who moves up."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from ttame.errors import TextError, UnknownNameError

Hiding = Literal["replace", "remove"]
"""``"replace"``: something else stands in the place of a hidden token, so that all others keep
their positions. ``"remove"``: those behind it move up, and the end is filled, as in ERASER."""


def hide_tokens(rows: Tensor, hidden: Tensor, filler: Tensor, how: Hiding = "replace") -> Tensor:
    """Hide tokens of texts, whatever is known of each: numbers of tokens, or vectors.

    What fills is what the choice is about: the mask token, or padding with an attention mask of 0.
    A protocol has to name both. The argument is not changed.

    Args:
        rows: (B, ..., T), any dtype: of each text what is known of its T tokens, such as their
            numbers (B, T) or embeddings (B, C, 1, T).
        hidden: (B, T) bool, the tokens to hide. Special ones are the caller's affair: a text
            without its [SEP] is not what a network was trained on.
        filler: (...) or, of numbers, a scalar: what stands for a token that is hidden
            (``"replace"``), or behind the last one that is left (``"remove"``).
        how: see :data:`Hiding`.

    Returns:
        (B, ..., T) as ``rows``.

    Raises:
        TextError: ``hidden`` does not fit ``rows``.
        UnknownNameError: no such way to hide.

    Example:
        >>> ids = torch.tensor([[101, 7, 8, 9, 102]])
        >>> hidden = torch.tensor([[False, True, False, True, False]])
        >>> hide_tokens(ids, hidden, torch.tensor(103)).tolist()
        [[101, 103, 8, 103, 102]]
        >>> hide_tokens(ids, hidden, torch.tensor(0), "remove").tolist()
        [[101, 8, 102, 0, 0]]
    """
    if how not in get_args(Hiding):
        raise UnknownNameError.of("way to hide tokens", how, get_args(Hiding))
    if rows.ndim < 2 or hidden.shape != (rows.shape[0], rows.shape[-1]):
        raise TextError(
            f"hidden tokens {tuple(hidden.shape)} for texts {tuple(rows.shape)}",
            allowed="(B, T) of the first and the last length",
        )
    between = (len(rows), *(1,) * (rows.ndim - 2), rows.shape[-1])
    if how == "remove":
        # A stable order: those that are left, as they stood, then the hidden ones.
        order = hidden.to(torch.uint8).sort(dim=-1, stable=True).indices
        rows = rows.gather(-1, order.reshape(between).expand_as(rows))
        hidden = hidden.gather(-1, order)
    return torch.where(hidden.reshape(between), filler.to(rows)[..., None], rows)
