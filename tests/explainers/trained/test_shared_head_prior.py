"""The prior with a contrast, in the head and in what is saved of it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Literal

import pytest
import torch
from torch import Tensor

from tests.classifiers.test_class_contrast import slowly
from tests.conftest import assert_close
from tests.explainers.trained.test_shared_head import CLASSES, INPUTS, features_for, weights_for
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.explainers.trained.head_cost import head_cost
from ttame.explainers.trained.head_settings import SharedHeadSettings
from ttame.explainers.trained.known_heads import plan_head
from ttame.explainers.trained.shared_head import SharedHead
from ttame.explainers.trained.shared_head_prior import prior_channels
from ttame.images.map_details import blurred, with_details
from ttame.images.preprocessing import Preprocessing
from ttame.images.saliency_maps import resize_maps
from ttame.testing import tiny_classifier

CONTRAST = SharedHeadSettings(contrast=True)
LOGITS = torch.tensor([[80.0, 1.0, 0.0, -3.0, 2.0], [0.3, 0.1, -0.2, 0.5, 0.4]]).double()


def contrasting_head(settings: SharedHeadSettings = CONTRAST) -> SharedHead:
    return SharedHead(INPUTS, CLASSES, settings).double().eval()


def called(head: SharedHead, features: list[Tensor], weights: Tensor | None) -> Tensor:
    maps: Tensor = head(
        features, torch.tensor([[3, 0], [1, 3]]), class_weights=weights, logits=LOGITS
    )
    return maps


@pytest.mark.parametrize("blur", [0.0, 1.3])
@pytest.mark.parametrize("classes", [torch.tensor([[0, 4], [3, 3]]), torch.tensor([0, 3, 1])])
def test_four_channels_each_by_its_formula(blur: float, classes: Tensor) -> None:
    evidence, weights = torch.randn(2, 4, 3, 5).double(), torch.randn(5, 4).double()
    found = prior_channels(evidence, classes, weights, LOGITS, blur)
    both = classes.expand(2, -1)
    cam = torch.einsum("bkd,bdhw->bkhw", weights[both], evidence)
    contrast = slowly(evidence, weights, LOGITS, both)
    for first, maps in ((0, cam), (2, contrast)):
        assert_close(found[:, :, first], maps, 1e-9)
        broad = blurred(maps, blur) if blur else with_details(maps, 0)
        assert_close(found[:, :, first + 1], broad, 1e-9)
    without = prior_channels(evidence, classes, weights, None, blur)
    assert_close(without, found[:, :, :2], 1e-12)


def test_an_untrained_head_begins_at_its_four_channels() -> None:
    head = contrasting_head(dataclasses.replace(CONTRAST, without=("embedding", "gate")))
    features, weights = features_for(head), weights_for(head)
    assert weights is not None
    classes = torch.tensor([[3, 0], [1, 3]])
    channels = prior_channels(features[2], classes, weights, LOGITS)
    norm = head.prior_norm
    assert norm.weight.tolist() == [1.5] * 4
    expected = channels.sum(dim=2) * 1.5 / (1 + norm.eps) ** 0.5
    found = called(head, features, weights)
    assert_close(found, resize_maps(expected, (4, 5)), 1e-9)


def test_logits_matter_to_a_head_with_contrast_alone() -> None:
    features = features_for(contrasting_head())
    weights = weights_for(contrasting_head())
    for settings in (SharedHeadSettings(), CONTRAST):
        head = contrasting_head(settings)
        before = called(head, features, weights)
        maps = head(
            features, torch.tensor([[3, 0], [1, 3]]), class_weights=weights, logits=LOGITS.flip(1)
        )
        assert bool((maps == before).all()) != settings.contrast
    with pytest.raises(ExplainerError, match="contrast, without logits"):
        contrasting_head()(features, torch.tensor([0]), class_weights=weights)


def test_classes_that_do_not_compete_have_no_contrast() -> None:
    network, small = tiny_classifier().network, Preprocessing.imagenet(16)
    findings = Classifier(network, preprocessing=small, outputs="sigmoid")
    planned = plan_head(findings, CONTRAST).config.settings
    assert planned == SharedHeadSettings()
    assert planned.parts == CONTRAST.parts, "the prior stays"
    without = dataclasses.replace(CONTRAST, without=("prior",))
    assert not plan_head(tiny_classifier(), without).make().settings.as_json()["contrast"]
    head = plan_head(tiny_classifier(), CONTRAST).make()
    with pytest.raises(ExplainerError, match="contrasts classes, for sigmoid outputs"):
        head.check(findings)
    with pytest.raises(ExplainerError, match="contrast in a head of 1 classes"):
        SharedHead(INPUTS, 1, CONTRAST)


@pytest.mark.parametrize("kind", ["cnn", "vit"])
def test_it_explains_and_is_saved_and_says_so(kind: Literal["cnn", "vit"], tmp_path: Path) -> None:
    classifier = tiny_classifier(kind, size=32)
    explainer = new_attention_explainer(classifier, CONTRAST, method="few_shot")
    plain = new_attention_explainer(classifier, SharedHeadSettings(), method="few_shot")
    images = torch.randn(2, 3, 32, 32)
    found = explainer(images, "all").maps
    assert not torch.allclose(found, plain(images, "all").maps, atol=1e-3)
    assert_close(explainer(images, [[1], [4]]).maps[1, 0], found[1, 4], 1e-5)
    explainer.save(tmp_path / "saved")
    again = load_explainer(tmp_path / "saved", classifier=classifier)
    assert torch.equal(again(images, "all").maps, found)
    assert again.provenance()["contrast"] is True
    assert "contrast" not in plain.provenance()
    assert "said instead" in (tmp_path / "saved" / "README.md").read_text()
    more, less = (head_cost(classifier, each) for each in (CONTRAST, SharedHeadSettings()))
    assert more.top1_share > less.top1_share
