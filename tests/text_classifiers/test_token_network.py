"""A model called with embeddings gives what it gives for token numbers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from ttame.errors import ClassifierError
from ttame.testing.tiny_texts import tiny_text_model
from ttame.text_classifiers.token_network import TokenNetwork
from ttame.text_classifiers.token_signal import token_signal


def test_it_gives_the_models_logits_for_padding_and_types() -> None:
    model = tiny_text_model()
    ids = torch.tensor([[0, 7, 8, 2, 1, 1], [0, 9, 2, 10, 11, 2]])
    types = torch.tensor([[0, 0, 0, 0, 0, 0], [0, 0, 0, 1, 1, 1]])
    roles = torch.tensor([[2, 0, 0, 2, 1, 1], [2, 0, 2, 0, 0, 2]])
    network = TokenNetwork(model).eval()
    assert (network.vocabulary, network.width, network.token_types) == (60, 16, 2)
    signal = token_signal(network.embedded(ids), roles, types, torch.zeros_like(ids))
    with torch.no_grad():
        expected = model(
            input_ids=ids, attention_mask=(roles != 1).long(), token_type_ids=types
        ).logits
        assert torch.allclose(network(signal).logits, expected, atol=1e-6)
        without_types = model(input_ids=ids, attention_mask=(roles != 1).long()).logits
    assert not torch.allclose(without_types[1], expected[1], atol=1e-3)


def test_models_without_word_embeddings_or_a_way_to_give_them_are_refused() -> None:
    with pytest.raises(ClassifierError, match="a Linear, which has no word embeddings"):
        TokenNetwork(nn.Linear(2, 2))

    class Numbers(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(5, 4)

        def get_input_embeddings(self) -> nn.Module:
            return self.words

        def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
            return self.words(input_ids).mean(dim=1)

    with pytest.raises(ClassifierError, match="does not take inputs_embeds"):
        TokenNetwork(Numbers())
