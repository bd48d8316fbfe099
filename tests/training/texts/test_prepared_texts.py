from __future__ import annotations

import torch

from ttame.testing import tiny_text_classifier
from ttame.training.texts.prepared_texts import PreparedTexts

WORDS = ["a", "fine", "film", "and", "a", "good", "plot", "but", "never", "a", "dull", "scene"]


def test_a_part_is_drawn_for_each_epoch_and_text() -> None:
    texts = PreparedTexts([" ".join(WORDS)] * 5, tiny_text_classifier(), range(5), words=4)
    parts = []
    for epoch in (0, 1, 0):
        texts.set_epoch(epoch)
        parts.append([texts[number].text for number in range(5)])
    assert parts[0] == parts[2] != parts[1]
    assert len(set(parts[0])) > 1
    whole = " ".join(WORDS)
    assert all(part in whole and len(part.split()) == 4 for part in parts[0] + parts[1])


def test_texts_that_are_too_long_are_cut() -> None:
    classifier = tiny_text_classifier()
    texts = PreparedTexts([" ".join(WORDS * 9), "a film"], classifier, [0, 1])
    batch = texts.collate([texts[0], texts[1]])
    assert batch.images.shape[-1] == classifier.most_tokens
    assert batch.indices.tolist() == [0, 1]
    alone = classifier.prepare("a film")
    assert torch.equal(batch.images[1:, :, :, :4], alone)
