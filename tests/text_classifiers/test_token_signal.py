"""The signal keeps what it was made of, and what is carried along is never changed."""

from __future__ import annotations

import torch

from ttame.text_classifiers.token_signal import (
    embeddings_of,
    is_real,
    is_shown,
    token_signal,
    types_of,
    with_embedding,
    words_of,
)

ROLES = torch.tensor([[2, 0, 0, 2, 1]])
TYPES = torch.tensor([[0, 0, 1, 1, 0]])
WORDS = torch.tensor([[0, 1, 2, 0, 0]])


def signal() -> torch.Tensor:
    embeddings = torch.arange(10.0).reshape(1, 5, 2)
    return token_signal(embeddings, ROLES, TYPES, WORDS)


def test_everything_comes_back() -> None:
    found = signal()
    assert found.shape == (1, 5, 1, 5)
    assert torch.equal(embeddings_of(found), torch.arange(10.0).reshape(1, 5, 2))
    assert is_real(found).tolist() == [[True, True, True, True, False]]
    assert is_shown(found).tolist() == [[False, True, True, False, False]]
    assert torch.equal(types_of(found, 2), TYPES)
    assert torch.equal(types_of(found, 1), torch.zeros_like(TYPES))
    assert torch.equal(words_of(found), WORDS)


def test_in_noise_all_tokens_are_plain_ones() -> None:
    noise = torch.randn(4, 8, 1, 50, generator=torch.Generator().manual_seed(0))
    assert bool(is_shown(noise).all())
    assert not types_of(noise, 2).any()


def test_gradients_reach_the_embeddings_only() -> None:
    leaf = signal().requires_grad_()
    (embeddings_of(leaf) * is_real(leaf)[..., None] * types_of(leaf, 2)[..., None]).sum().backward()
    assert leaf.grad is not None
    assert leaf.grad[0, :2, 0].tolist() == [[0, 0, 1, 1, 0], [0, 0, 1, 1, 0]]
    assert not leaf.grad[0, 2:].any()


def test_another_embedding_leaves_what_is_carried() -> None:
    changed = with_embedding(signal(), is_shown(signal()), torch.tensor([-1.0, -2.0]))
    assert changed[0, :2, 0].tolist() == [[0, -1, -1, 6, 8], [1, -2, -2, 7, 9]]
    assert torch.equal(changed[:, 2:], signal()[:, 2:])
