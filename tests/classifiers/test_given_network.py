from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import nn

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.given_network import PREPARED_AS_CONFIGURED, classifier_of
from ttame.errors import ClassifierError, ExplainerError
from ttame.explainers.contract.labelled_explainers import labelled_explainers
from ttame.explainers.known_explainers import make_explainer
from ttame.images.preprocessing import Preprocessing
from ttame.networks.given_module import TEXT_CLASSIFIER
from ttame.testing import tiny_classifier, tiny_photos, tiny_text_classifier


def test_a_network_of_timm_says_how_photos_are_prepared() -> None:
    network = timm.create_model("test_resnet", num_classes=2)
    config = timm.data.resolve_model_data_config(network)
    classifier = classifier_of(network)
    assert classifier.network is network and classifier.name == "test_resnet"
    assert classifier.preprocessing.input_size == config["input_size"][1:]
    assert classifier.preprocessing.mean == config["mean"]
    assert PREPARED_AS_CONFIGURED in classifier.notices
    photo = tiny_photos(1, size=64)[0]
    ours = make_explainer("grad_cam", network)(photo)
    theirs = timm.data.create_transform(**config, is_training=False)(photo)[None]
    torch.testing.assert_close(ours.logits, network.eval()(theirs), atol=0.05, rtol=0.05)
    assert ours.overlay().size == photo.size


def test_other_networks_are_refused_and_classifiers_pass() -> None:
    classifier = tiny_classifier()
    assert classifier_of(classifier) is classifier
    with pytest.raises(ClassifierError, match=r"try: ttame\.Classifier\(network, preprocessing="):
        classifier_of(nn.Linear(2, 2))
    with pytest.raises(ClassifierError, match="a str as classifier"):
        classifier_of("resnet18")


def test_a_network_of_texts_is_sent_to_classifiers_of_texts() -> None:
    model: Any = tiny_text_classifier().network.model
    for refused, problem in (
        (lambda: make_explainer("attn_lrp", model), ClassifierError),
        (lambda: Classifier(model, preprocessing=Preprocessing.imagenet(32)), ClassifierError),
        (lambda: labelled_explainers(model), ExplainerError),
    ):
        with pytest.raises(problem) as caught:
            refused()
        assert TEXT_CLASSIFIER in str(caught.value) and "preprocessing" not in str(caught.value)


class SeesAndReads(nn.Module):
    """Takes pixels as well as tokens, as CLIP does."""

    def forward(self, input_ids: Any, pixel_values: Any) -> None:
        """Never runs."""


def test_a_network_that_also_sees_is_not_one_of_texts() -> None:
    with pytest.raises(ClassifierError, match="preprocessing="):
        make_explainer("grad_cam", SeesAndReads())
