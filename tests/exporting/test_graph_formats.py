from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.known_explainers import make_explainer
from ttame.exporting.explainable_classifier import ExplainableClassifier
from ttame.exporting.graph_formats import onnx_bytes, run_onnx
from ttame.images.preprocessing import Preprocessing


class Rare(nn.Module):
    """An operation that ONNX does not have."""

    def forward(self, features: Tensor) -> Tensor:
        return torch.special.i1e(features)


def test_a_missing_operator_is_named_with_its_layer() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2, 1), Rare(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16), taps=["0"])
    module = ExplainableClassifier(make_explainer("cam", classifier), 1)
    with pytest.raises(ExplainerError, match=r"_i1e.*layer '1'"):
        onnx_bytes(module, chooses_classes=False)


def test_bytes_that_are_no_graph_are_refused() -> None:
    with pytest.raises(ExplainerError, match="ONNX Runtime refuses"):
        run_onnx(b"\x08\x0a")
