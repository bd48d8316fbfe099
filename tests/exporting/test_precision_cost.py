from __future__ import annotations

import numpy as np
import pytest
import torch

from ttame.exporting.comparison import Comparison, images_of
from ttame.exporting.precision_cost import precision_cost
from ttame.metrics.average_drop import average_drop
from ttame.results.explanation import Explanation
from ttame.testing import tiny_classifier


def test_agreement_correlation_and_drop_are_those_of_the_images() -> None:
    classifier = tiny_classifier()
    generator = np.random.default_rng(0)
    pixels = generator.integers(0, 256, (2, 16, 16, 3), dtype=np.uint8)
    images = images_of(pixels, classifier)
    top = torch.tensor([[3, 1], [3, 1]])
    logits = torch.tensor([[0.0, 1.0, 0.0, 2.0, 0.0]]).repeat(2, 1)
    maps = torch.rand(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    expected = Explanation(maps=maps, classes=top, logits=logits, image_size=(16, 16))
    # The file predicts another class for the second image, and its maps are upside down.
    other = logits.clone()
    other[1, 1] = 3.0
    found = {"logits": other.numpy(), "classes": top.numpy(), "maps": -maps.numpy()}
    cost = precision_cost([Comparison(pixels, found, expected)], classifier)
    assert cost["same top-1"] == 0.5
    assert cost["map correlation"] == pytest.approx(-1)
    drops = [
        average_drop(
            classifier.probabilities, images, sign * maps[:, 0], top[:, 0], classifier.preprocessing
        ).mean()
        for sign in (1, -1)
    ]
    assert cost["average drop"] == pytest.approx(float(drops[0]))
    assert cost["change in average drop"] == pytest.approx(float(drops[1] - drops[0]), abs=1e-5)
    assert drops[0] != drops[1]
