"""Class evidence: what it is made of, and that it is the few-shot explainer before training."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.explainers.trained.test_attention_explainer import PRIOR_ALONE
from tests.tiny_networks import TINY, tiny_cnn, tiny_timm
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.targets import Target
from ttame.errors import ExplainerError
from ttame.explainers.methods.activation.cam import Cam
from ttame.explainers.methods.activation.class_evidence import ClassEvidence
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.features.token_contributions import TokenContributions
from ttame.images.map_details import with_details
from ttame.images.preprocessing import Preprocessing

VITS = ["timm vit", "timm vit, registers", "torchvision vit", "transformers vit"]


def noise(classifier: Classifier) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 3, *classifier.preprocessing.input_size, generator=generator)


def slow_blur(map_: Tensor) -> Tensor:
    """Every place the mean of all, weighted by a Gaussian of a seventh of each side."""
    rows, columns = map_.shape
    blurred = torch.zeros_like(map_)
    for y in range(rows):
        for x in range(columns):
            weights = torch.tensor(
                [
                    [
                        math.exp(-((7 * (row - y) / rows) ** 2 + (7 * (c - x) / columns) ** 2) / 2)
                        for c in range(columns)
                    ]
                    for row in range(rows)
                ]
            )
            blurred[y, x] = (weights * map_).sum() / weights.sum()
    return blurred


@pytest.mark.parametrize("network", ["cnn", "timm resnet", "timm vit, patches pooled"])
def test_with_all_details_it_is_cam(network: str) -> None:
    classifier = TINY[network]()
    images = noise(classifier)
    found = ClassEvidence(classifier, details=1)(images, "all")
    assert_close(found.maps, Cam(classifier)(images, "all").maps, 1e-5)


@pytest.mark.parametrize("details", [0.0, 0.5, 0.8])
def test_details_are_taken_away_twice(details: float) -> None:
    classifier = tiny_cnn(64)
    images = noise(classifier)
    cam = Cam(classifier)(images, [[1], [4]]).maps
    found = ClassEvidence(classifier, details=details)(images, [[1], [4]]).maps
    for one, expected in zip(found[:, 0], cam[:, 0], strict=True):
        for _ in range(2):
            expected = details * expected + (1 - details) * slow_blur(expected)
        assert_close(one, expected, 1e-5)


@pytest.mark.parametrize("network", ["cnn", "timm vit"])
def test_in_contrast_the_evidence_for_rivals_is_taken_off(network: str) -> None:
    classifier = TINY[network]()
    images = noise(classifier)
    plain = ClassEvidence(classifier, details=1)(images, "all")
    found = ClassEvidence(classifier, details=1, contrast=True)(images, "all")
    for image, (maps, logits) in enumerate(zip(plain.maps, plain.logits, strict=True)):
        for k in range(len(maps)):
            others = [j for j in range(len(maps)) if j != k]
            q = logits[others].softmax(dim=0)[:, None, None]
            assert_close(found.maps[image, k], maps[k] - (q * maps[others]).sum(dim=0), 1e-5)
    weights = torch.zeros(classifier.number_of_classes)
    weights[:2] = torch.tensor([-0.5, 1.0])
    target = Target.weights(weights)
    mixed = ClassEvidence(classifier, contrast=True)(images, target=target).maps[:, 0]
    each = ClassEvidence(classifier, contrast=True)(images, [[1, 0]] * 2).maps
    assert_close(mixed, each[:, 0] - 0.5 * each[:, 1], 1e-5)


def test_a_contrast_is_for_linear_logits_that_compete() -> None:
    one = tiny_cnn()
    findings = Classifier(one.network, preprocessing=one.preprocessing, outputs="sigmoid")
    with pytest.raises(ExplainerError, match="contrast for .*contrast=False"):
        ClassEvidence(findings, contrast=True)
    assert "contrast" not in ClassEvidence(one).provenance()
    assert ClassEvidence(one, contrast=True).provenance()["contrast"] is True


def test_half_the_details_are_the_default() -> None:
    classifier = tiny_cnn()
    images = noise(classifier)
    explainer = ClassEvidence(classifier)
    assert explainer.provenance()["details"] == 0.5
    assert torch.equal(explainer(images).maps, ClassEvidence(classifier, details=0.5)(images).maps)


@pytest.mark.parametrize("network", VITS)
def test_on_a_class_token_it_is_what_tokens_add_to_the_logit(network: str) -> None:
    """The contributions themselves have a slow replica of their own."""
    classifier = TINY[network]()
    images = noise(classifier)
    explainer = ClassEvidence(classifier, details=1)
    (tap,) = explainer.classifier.taps
    assert isinstance(tap, TokenContributions)
    tokens = explainer.classifier.read_features(images).layer_outputs[0]
    weight = explainer.end.weights(classifier)
    found = explainer(images, "all").maps
    patches = tokens[:, tap.prefix_tokens :].reshape(2, *tap.grid, -1)
    assert_close(found, torch.einsum("bhwd,cd->bchw", patches, weight), 1e-5)


@pytest.mark.parametrize("network", VITS)
def test_it_is_the_few_shot_explainer_before_training(network: str) -> None:
    """The prior's two weights of one and a half make that three times as large.

    Of images that are not square, the explainer's blur is broader along the longer side.
    """
    classifier = TINY[network]()
    images = noise(classifier)
    settings = dataclasses.replace(PRIOR_ALONE, details=0.5)
    untrained = new_attention_explainer(classifier, settings, method="few_shot")
    evidence = ClassEvidence(classifier, details=1)(images, "all").maps
    blurred = with_details(with_details(evidence, 0.5), 0.5)
    expected = blurred * 3 / (1 + 1e-5) ** 0.5
    assert_close(untrained(images, "all").maps, expected, 1e-4)


class Ends(nn.Module):
    """An average of rectified features, and one of the image, which goes past them."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 4, 1))

    def forward(self, images: Tensor) -> Tensor:
        return torch.tanh(self.layers(images).mean((2, 3))) + images.mean((1, 2, 3))[:, None]


def test_a_network_without_such_an_end_is_refused() -> None:
    classifier = Classifier(Ends(), preprocessing=Preprocessing.imagenet(16), taps=["layers.1"])
    with pytest.raises(ExplainerError, match="class_evidence is not defined for.*grad_cam"):
        ClassEvidence(classifier)


def test_class_tokens_that_gather_in_other_ways_are_explained_to_first_order() -> None:
    """Two tokens that are read, and attention that is normalised once more."""
    scaled = tiny_timm("vit_tiny_patch16_224", 64, embed_dim=24, depth=2, num_heads=2,
                       scale_attn_norm=True)  # fmt: skip
    for classifier in (TINY["timm vit, distilled"](), scaled):
        assert ClassEvidence(classifier).provenance()["evidence"] == "to first order"


@pytest.mark.parametrize("details", [-0.1, 1.1, float("nan")])
def test_details_out_of_range_are_refused(details: float) -> None:
    with pytest.raises(ExplainerError, match="details .*allowed: 0 to 1"):
        ClassEvidence(tiny_cnn(), details=details)
