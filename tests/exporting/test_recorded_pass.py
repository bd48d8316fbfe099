from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError
from ttame.explainers.known_explainers import make_explainer
from ttame.exporting.explainable_classifier import ExplainableClassifier
from ttame.images.preprocessing import Preprocessing


class CountsItsImages(nn.Module):
    """Its code makes the size of the batch a number of Python."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Conv2d(3, 4, 3, 2, 1)
        self.end = nn.Linear(4, 3)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return torch.cat([self.end(features[[i]].mean((2, 3))) for i in range(len(images))])


class DecidesByValues(CountsItsImages):
    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.features(images)
        return self.end(features.mean((2, 3))) * (2.0 if bool(features.mean() > 9) else 1.0)


def test_a_network_that_does_not_take_any_number_of_images() -> None:
    torch.manual_seed(0)
    explainer = make_explainer(
        "class_evidence", Classifier(CountsItsImages(), preprocessing=Preprocessing.imagenet(16))
    )
    with pytest.raises(ClassifierError, match="batch_size=1"):
        ExplainableClassifier(explainer, 1)
    images = torch.randn(1, 3, 16, 16)
    said = ExplainableClassifier(explainer, 1, batch_size=1)(images)
    assert torch.equal(said.maps, explainer(images).maps)


def test_a_network_that_decides_by_values_is_refused() -> None:
    explainer = make_explainer(
        "cam", Classifier(DecidesByValues(), preprocessing=Preprocessing.imagenet(16))
    )
    with pytest.raises(ClassifierError, match="cannot be recorded as a graph"):
        ExplainableClassifier(explainer, 1)
