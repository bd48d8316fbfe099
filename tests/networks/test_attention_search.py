"""Attention is what computes softmax(QKᵀ)V, whatever it is called."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ttame.networks.attention_search import AttentionSearch


def attention(x: Tensor) -> Tensor:
    return (x @ x.mT).softmax(-1) @ x


def channel_gate(x: Tensor) -> Tensor:
    return x * x.mean(1, keepdim=True).softmax(-1)


def pooling_by_one_query(x: Tensor) -> Tensor:
    return (x[:, :1] @ x.mT).softmax(-1) @ x


def keys_of_their_own(x: Tensor) -> Tensor:
    return x.softmax(-1) @ x.mT


def scores_alone(x: Tensor) -> Tensor:
    return (x @ x.mT).softmax(-1)


@pytest.mark.parametrize(
    ("run", "expected"),
    [
        (attention, True),
        (nn.MultiheadAttention(4, 2, batch_first=True).eval(), True),
        (channel_gate, False),
        (pooling_by_one_query, False),
        (keys_of_their_own, False),
        (scores_alone, False),
    ],
)
def test_what_counts_as_attention(run, expected: bool) -> None:  # type: ignore[no-untyped-def]
    x = torch.randn(2, 5, 4)
    search = AttentionSearch()
    with torch.no_grad(), search.watching():
        run(*[x] * (3 if isinstance(run, nn.MultiheadAttention) else 1))
    assert search.found == expected
