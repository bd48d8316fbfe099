"""Partial LRP against the published code's tensors and a slow replica."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from tests.conftest import Golden, assert_close
from tests.explainers.relevance.slow_vit_relevance import SlowRules, slow_relevance
from tests.plain_vit import golden_vit, two_images
from tests.tiny_networks import TINY
from ttame.classifiers.explained_targets import ExplainedClasses
from ttame.errors import ExplainerError
from ttame.explainers.methods.relevance.partial_lrp import PartialLrp
from ttame.explainers.passes.block_attention import head_mean
from ttame.explainers.relevance.attention_relevance import attention_relevance

BASELINE: dict[str, Any] = {
    "linear": "separate",
    "additions": "plain",
    "matrix_products": "halved",
    "stabiliser": "published",
}


@pytest.mark.parametrize(
    ("options", "tolerance"),
    [({"matrix_products": "halved", "stabiliser": "published"}, 1e-7), ({}, 5e-5)],
)
def test_golden(options: dict[str, Any], tolerance: float) -> None:
    """The stored map is the one of the conserving rules; the stabiliser hardly shows."""
    golden, classifier = Golden("chefer_vit"), golden_vit(torch.float64)
    classifier.network.norm.eps = 1e-5  # type: ignore[union-attr]
    classes = torch.tensor([golden.number("class_indices")])
    maps = PartialLrp(classifier, **options)(golden["input.image"].double(), classes).maps
    for index in range(2):
        expected = golden[f"output.f64.class{index}.last_layer"].reshape(4, 4)
        assert_close(maps[0, index], expected, tolerance)


@pytest.mark.parametrize(
    "options",
    [
        {},
        BASELINE,
        {"linear": "separate"},
        {"additions": "plain"},
        {"matrix_products": "halved"},
        {"stabiliser": "published"},
    ],
)
def test_replica(options: dict[str, Any]) -> None:
    images = two_images().double()
    explainer = PartialLrp(golden_vit(torch.float64), **options)
    assert options.items() <= explainer.options.items()
    found = explainer(images, [[7, 2], [0, 9]])
    for index, image in enumerate(images):
        for place, label in enumerate(found.classes[index].tolist()):
            attention = slow_relevance(image, label, SlowRules(**options)).attention[2]
            expected = sum(of_head.clamp(min=0) for of_head in attention) / len(attention)
            assert_close(found.maps[index, place].double(), expected[0, 1:].reshape(4, 4), 1e-6)


@pytest.mark.parametrize("network", ["timm vit, distilled", "timm vit, patches pooled"])
def test_the_rows_that_the_head_reads_are_averaged(network: str) -> None:
    classifier = TINY[network]()
    classifier.network.double()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size).double()
    explainer = PartialLrp(classifier)
    classes = torch.tensor([[2], [5]])
    targets = ExplainedClasses(classes)
    propagated = attention_relevance(
        classifier,
        explainer.layout,
        explainer.table,
        images,
        lambda _scores: targets,
        len(explainer.layout.blocks) - 1,
    )
    ((relevance,),) = propagated.by_target
    rows = head_mean(relevance.clamp(min=0), 2)[:, list(explainer.layout.read_rows)].mean(dim=1)
    expected = explainer.layout.patch_map(rows)
    assert_close(explainer(images, classes).maps[:, 0], expected, 1e-6)


def test_options_and_networks_that_are_refused() -> None:
    with pytest.raises(ExplainerError, match="linear='absolute' for partial_lrp"):
        PartialLrp(golden_vit(), linear="absolute")  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match="additions='halved' for partial_lrp"):
        PartialLrp(golden_vit(), additions="halved")  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match="not defined for Sequential"):
        PartialLrp(TINY["cnn"]())
