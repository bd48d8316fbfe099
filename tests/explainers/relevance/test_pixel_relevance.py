"""The limits of an image's values."""

from __future__ import annotations

import torch

from ttame.explainers.relevance.pixel_relevance import highest_of_image, lowest_of_image


def test_the_limits_of_every_image() -> None:
    images = torch.tensor([[[-1.0, 2.0], [0.0, 1.0]], [[5.0, 5.0], [4.0, 6.0]]])
    lowest, highest = lowest_of_image(images), highest_of_image(images)
    assert lowest.flatten().tolist() == [-1, 4]
    assert highest.flatten().tolist() == [2, 6]
    assert lowest.shape == (2, 1, 1)
