"""Scoring many versions of the same images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.metrics.measured import brightness
from ttame.metrics.changed_images import probability_of_class, scores_of_versions, still_top_1


@pytest.mark.parametrize("images", [1, 3, 8, 16, 20])
def test_every_version_is_scored_in_its_own_column(images: int) -> None:
    asked = []

    def probabilities(batch: Tensor) -> Tensor:
        asked.append(len(batch))
        return brightness(batch)

    batch = torch.rand(images, 3, 4, 5) / 10
    classes = torch.arange(images) % 2
    versions = [batch + index / 10 for index in range(7)]
    scores = scores_of_versions(probabilities, iter(versions), classes, probability_of_class)
    assert scores.shape == (images, 7)
    for column, version in enumerate(versions):
        expected = 100 * brightness(version)[torch.arange(images), classes]
        assert torch.allclose(scores[:, column], expected)
    assert max(asked) <= 16
    assert sum(asked) == 7 * images
    assert len(asked) <= 7 * images / 16 + (7 if images > 5 else 2)


def test_small_batches_are_asked_together() -> None:
    asked = []

    def probabilities(batch: Tensor) -> Tensor:
        asked.append(len(batch))
        return brightness(batch)

    images, classes = torch.rand(8, 3, 4, 5), torch.zeros(8, dtype=torch.int64)
    scores_of_versions(probabilities, [images] * 7, classes, still_top_1)
    assert asked == [16, 16, 16, 8]


def test_top_1_needs_the_largest_probability() -> None:
    probabilities = torch.tensor([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]])
    assert still_top_1(probabilities, torch.tensor([1, 2])).tolist() == [100, 0]
