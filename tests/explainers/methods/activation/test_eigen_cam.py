"""Eigen-CAM: golden tensors, a full singular value decomposition, and its sign."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conftest import assert_close
from tests.explainers.methods.activation.test_activation_gradients import LAYERS, golden_case
from tests.tiny_networks import tiny_cnn
from ttame.explainers.methods.activation.eigen_cam import EigenCam, principal_component_maps


def slow_map(features: Tensor) -> Tensor:
    """(C, h, w) to (h, w) by a full decomposition, with the sign rule written out."""
    channels, height, width = features.shape
    matrix = torch.stack([features[k].flatten() for k in range(channels)], dim=1).double()
    for k in range(channels):
        matrix[:, k] -= matrix[:, k].mean()
    _, _, transposed = torch.linalg.svd(matrix)
    projection = (matrix @ transposed[0]).reshape(height, width)
    if abs(float(projection.min())) > abs(float(projection.max())):
        projection = -projection
    return projection


@pytest.mark.parametrize("case", LAYERS)
def test_raw_maps_are_those_of_the_published_code_up_to_their_sign(case: str) -> None:
    golden, classifier, _ = golden_case(case)
    maps = EigenCam(classifier, layer=LAYERS[case])(golden["input.images"]).maps[:, 0]
    for ours, published in zip(maps, golden["output.eigencam.raw"], strict=True):
        assert_close(ours, published * torch.sign((ours * published).sum()), 2e-5)
        assert ours.max() >= -ours.min()


@pytest.mark.parametrize("shape", [(5, 6, 4), (40, 3, 4)], ids=["more places", "more channels"])
def test_maps_are_those_of_a_singular_value_decomposition(shape: tuple[int, ...]) -> None:
    features = torch.randn(3, *shape)
    maps = principal_component_maps(features)
    for index in range(3):
        assert_close(maps[index].double(), slow_map(features[index]), 2e-5)


def test_what_stands_out_is_bright_whichever_sign_the_features_have() -> None:
    features = torch.zeros(1, 4, 5, 5)
    features[0, :, 2, 3] = torch.tensor([3.0, -2.0, 1.0, 0.5])
    for signed in (features, -features):
        assert int(principal_component_maps(signed)[0].argmax()) == 2 * 5 + 3


@pytest.mark.parametrize("channels", [2, 30])
def test_constant_features_give_a_map_without_evidence(channels: int) -> None:
    features = torch.ones(1, channels, 3, 4)
    assert torch.equal(principal_component_maps(features), torch.zeros(1, 3, 4))


def test_all_classes_share_one_map() -> None:
    explainer = EigenCam(tiny_cnn())
    explanation = explainer(torch.randn(2, 3, 32, 32), "all")
    assert torch.equal(explanation.maps, explanation.maps[:, :1].expand_as(explanation.maps))
    assert not explainer.card.class_specific
    assert explainer.options == {"layer": "6"}
