"""Tiny classifiers are the same in every call, and leave the random numbers alone."""

from __future__ import annotations

import pytest
import torch

from ttame.errors import UnknownNameError
from ttame.testing import tiny_classifier


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_they_are_the_same_in_every_call(kind: str) -> None:
    images = torch.rand(2, 3, 32, 32)
    first = tiny_classifier(kind, size=32, classes=3)  # type: ignore[arg-type]
    torch.manual_seed(9)
    again = tiny_classifier(kind, size=32, classes=3)  # type: ignore[arg-type]
    drawn = torch.rand(1)
    torch.manual_seed(9)
    assert torch.equal(drawn, torch.rand(1))
    assert first.logits(images).shape == (2, 3)
    assert torch.equal(first.logits(images), again.logits(images))
    assert not torch.equal(first.logits(images)[0], first.logits(images)[1])


def test_another_kind_is_refused() -> None:
    with pytest.raises(UnknownNameError, match="no tiny classifier 'mlp'; allowed: cnn, vit"):
        tiny_classifier("mlp")  # type: ignore[arg-type]
