"""Masked inputs and one whole training step against the golden tensors."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import Golden, assert_close
from tests.golden_networks import golden_cnn, golden_head, our_name
from ttame.classifiers.classifier import Classifier
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.images.pixel_masking import mask_images
from ttame.images.preprocessing import Preprocessing
from ttame.images.saliency_maps import resize_maps
from ttame.training.attention_objective import objective, own_maps, selected_classes
from ttame.training.masked_pass import masked_logits
from ttame.training.training_settings import training_settings

SPACES = {"new": "normalised", "renormalize": "raw", "raw_normalize": "raw"}


@pytest.mark.parametrize("published", SPACES)
def test_masked_inputs_equal_the_published_ones(published: str) -> None:
    golden = Golden("train_masked_input")
    labels = golden["input.labels"]
    own = golden["input.class_maps"][torch.arange(len(labels)), labels][:, None]
    masks = resize_maps(own, (56, 56))
    preprocessing = Preprocessing.imagenet(56)
    images = golden["input.images"]
    if published == "raw_normalize":
        images = preprocessing.normalise(golden["input.raw_images"])
    masked = mask_images(images, masks, preprocessing, SPACES[published])  # type: ignore[arg-type]
    assert_close(masked, golden[f"output.{published}.masked_input"], 1e-5)


def golden_classifier(golden: Golden) -> Classifier:
    network = golden_cnn(golden.under("weights.body."))
    return Classifier(
        network,
        preprocessing=Preprocessing.imagenet(64),
        taps=golden.number("layers"),
    )


def test_one_training_step_equals_the_published_one() -> None:
    golden = Golden("train_step")
    classifier = golden_classifier(golden)
    head = golden_head(golden.under("weights.attn_mech.")).train()
    settings = training_settings("t-tame", masking_space="normalised")
    images = golden["input.images"]

    with torch.no_grad():
        reading = classifier.read_features(images)
    labels = reading.logits.argmax(dim=1)
    assert torch.equal(labels, golden["output.body_eval.labels"])
    assert_close(reading.logits, golden["output.model_logits"], 2e-5)
    features = head.inputs_of(classifier, reading).features
    # Batch norm's statistics would move twice if all classes were asked for beside the selected.
    statistics = {name: buffer.clone() for name, buffer in head.named_buffers()}
    assert_close(head(features).sigmoid(), golden["output.body_eval.class_maps"], 2e-5)
    head.load_state_dict(statistics, strict=False)

    classes = selected_classes(reading.logits, labels, "random")
    maps = head(features, classes).sigmoid()
    assert_close(maps, golden["output.body_eval.masks"], 2e-5)
    logits = masked_logits(
        classifier, images, own_maps(maps, "random"), settings.objective.masked, torch.Generator()
    )
    assert_close(logits, golden["output.body_eval.masked_logits"], 2e-5)
    parts = objective(maps, logits.log_softmax(dim=1), labels, settings.objective)
    assert_close(parts.total, golden["output.body_eval.loss"], 2e-5)
    assert_close(parts.weighted["area"], golden["output.body_eval.weighted_area_loss"], 2e-5)
    assert_close(
        parts.weighted["cross_entropy"], golden["output.body_eval.weighted_cross_entropy"], 2e-5
    )
    assert_close(
        parts.weighted["smoothness"], golden["output.body_eval.weighted_smoothness_loss"], 2e-5
    )

    parts.total.backward()
    expected = golden.under("output.body_eval.grad.")
    gradients = dict(head.named_parameters())
    assert len(expected) == 11
    for name, gradient in expected.items():
        found = gradients[our_name(name)].grad
        assert found is not None
        assert_close(found, gradient, 2e-4)

    explained = AttentionExplainer(classifier, head)(images)
    expected_maps = golden["output.body_eval.inference_c_after_one_forward"]
    assert_close(explained.maps, expected_maps, 2e-5)


def test_the_classifier_is_not_touched_by_a_training_step() -> None:
    golden = Golden("train_step")
    network = golden_cnn(golden.under("weights.body.")).train()
    network.bn1.eval()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    modes = [module.training for module in network.modules()]
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(64))
    explainer_head = golden_head(golden.under("weights.attn_mech."))
    images = golden["input.images"]
    settings = training_settings("t-tame")
    with classifier.frozen(), torch.no_grad():
        reading = classifier.read_features(images)
    maps = explainer_head.maps(classifier, reading, reading.logits.argmax(1))
    own = own_maps(maps.sigmoid(), "random")
    masked_logits(
        classifier, images, own, settings.objective.masked, torch.Generator()
    ).sum().backward()
    assert [module.training for module in network.modules()] == modes
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
