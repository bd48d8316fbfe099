"""Eigen-CAM of features times gradients."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.conftest import assert_close
from tests.explainers.methods.activation.test_activation_gradients import (
    LAYERS,
    features_and_gradients,
    golden_case,
)
from tests.tiny_networks import tiny_cnn
from ttame.explainers.methods.activation.eigen_grad_cam import EigenGradCam


@pytest.mark.parametrize("case", LAYERS)
def test_raw_maps_are_those_of_the_published_code_up_to_the_sign(case: str) -> None:
    golden, classifier, classes = golden_case(case)
    explainer = EigenGradCam(classifier, layer=LAYERS[case], rectified=False)
    maps = explainer(golden["input.images"], classes).maps[:, 0]
    together = golden["output.hirescam.raw"]
    for ours, theirs, total in zip(maps, golden["output.eigengradcam.raw"], together, strict=True):
        assert_close(ours, theirs * (theirs * total).sum().sign(), 1e-4)


def test_maps_are_those_of_a_singular_value_decomposition() -> None:
    classifier = tiny_cnn()
    images = torch.randn(2, 3, 40, 56)
    maps = EigenGradCam(classifier, layer="3", rectified=False)(images, [1, 4]).maps
    network = classifier.network.eval().double()
    assert isinstance(network, nn.Sequential)
    for index, label in enumerate((1, 4)):
        a, g = features_and_gradients(network, images[index], 4, label)
        places = (a * g).flatten(1).T
        u, s, _ = torch.linalg.svd(places - places.mean(dim=0), full_matrices=False)
        expected = (u[:, 0] * s[0]).reshape(a.shape[1:])
        if float((expected * (a * g).sum(dim=0)).sum()) < 0:
            expected = -expected
        assert_close(maps[index, 0].double(), expected, 1e-4)
