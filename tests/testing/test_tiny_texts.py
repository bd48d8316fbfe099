"""The tiny text classifiers."""

from __future__ import annotations

import torch

from ttame.testing import tiny_text_classifier
from ttame.testing.tiny_texts import tiny_tokenizer


def test_it_is_always_the_same_and_leaves_the_random_state_alone() -> None:
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    classifiers = [tiny_text_classifier(classes=3) for _ in range(2)]
    assert torch.equal(torch.rand(1), expected)
    first, second = (each.logits(each.prepare("a good film")) for each in classifiers)
    assert first.shape == (1, 3)
    assert torch.equal(first, second)


def test_words_are_cut_into_pieces() -> None:
    assert tiny_tokenizer().tokenize("Unlikely, dull!") == [
        "un", "##like", "##ly", ",", "dull", "!"
    ]  # fmt: skip
