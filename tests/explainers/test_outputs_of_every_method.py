"""What outputs mean reaches every method: one logit is explained like the two scores it stands for.

A network with one logit ``z = w·a + b``, and the same network whose last layer has the rows
``(−w/2, w/2)``, are the same classifier. Methods must not see a difference.
"""

from __future__ import annotations

import copy
import functools
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.explainers.test_every_explainer import METHODS, ROUNDING
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.known_classifiers import load_classifier
from ttame.errors import ExplainerError, OtherClassifierError
from ttame.explainers.known_explainers import EXPLAINERS
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.explainers.trained.known_head_settings import head_settings
from ttame.images.preprocessing import Preprocessing


def cnn(last: nn.Linear) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 12, 3, 2, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        last,
    )


def vit(last: nn.Linear) -> nn.Module:
    torch.manual_seed(3)
    loaded = load_classifier(
        "timm/vit_tiny_patch16_224",
        "none",
        image_size=64,
        network_options={"num_classes": 2, "depth": 3, "embed_dim": 24, "num_heads": 3},
    )
    network = loaded.network
    network.head = last
    return network


@functools.cache
def twins(kind: str) -> tuple[Classifier, Classifier]:
    """The classifier of one logit, and the one of two scores."""
    torch.manual_seed(4)
    width, size, build = (12, 32, cnn) if kind == "cnn" else (24, 64, vit)
    one = nn.Linear(width, 1)
    nn.init.normal_(one.weight)
    two = nn.Linear(width, 2)
    with torch.no_grad():
        two.weight.copy_(torch.cat([-one.weight / 2, one.weight / 2]))
        two.bias.copy_(torch.cat([-one.bias / 2, one.bias / 2]))
    preprocessing = Preprocessing.imagenet(size)
    return (
        Classifier(build(one), preprocessing=preprocessing, outputs="binary", name="twin"),
        Classifier(build(two), preprocessing=preprocessing, name="twin"),
    )


@pytest.mark.parametrize("kind", ["cnn", "vit"])
@pytest.mark.parametrize("method", EXPLAINERS)
def test_one_logit_is_explained_like_its_two_scores(method: str, kind: str) -> None:
    one, two = twins(kind)
    try:
        expected_of = METHODS[method](two)
    except ExplainerError as problem:
        with pytest.raises(ExplainerError):
            METHODS[method](one)
        pytest.skip(str(problem))
    found_of = METHODS[method](one)
    size = one.preprocessing.input_size
    images = torch.randn(2, 3, *size, generator=torch.Generator().manual_seed(0))
    found, expected = found_of(images, "all"), expected_of(images, "all")
    assert_close(found.logits, expected.logits, 1e-5)
    assert_close(found.probabilities, expected.probabilities, 1e-5)
    assert_close(found.maps, expected.maps, max(2e-4, ROUNDING.get(method, 0)))
    assert found.exclusive


def test_independent_findings_have_their_own_probabilities() -> None:
    _, two = twins("cnn")
    findings = Classifier(
        copy.deepcopy(two.network), preprocessing=two.preprocessing, outputs="sigmoid"
    )
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    explanation = METHODS["grad_cam"](findings)(images, "all")
    assert not explanation.exclusive
    assert torch.equal(explanation.probabilities, explanation.logits.sigmoid())
    assert torch.equal(findings.probabilities(images), explanation.probabilities)
    again: Tensor = METHODS["grad_cam"](two)(images, "all").maps
    assert_close(explanation.maps, again, 1e-6)


def test_a_saved_explainer_knows_what_the_outputs_mean(tmp_path: Path) -> None:
    options = {"num_classes": 1}
    one = load_classifier(
        "timm/resnet18", "none", image_size=32, outputs="binary", network_options=options
    )
    new_attention_explainer(one, head_settings("few-shot"), method="few_shot").save(tmp_path / "e")
    again = load_explainer(tmp_path / "e", classifier=one)
    assert again.classifier.outputs.kind == "binary"
    assert again.head.number_of_classes == 2

    save_file(one.network.state_dict(), tmp_path / "w.safetensors")
    named = load_classifier(
        "timm/resnet18", tmp_path / "w.safetensors", image_size=32, outputs="binary",
        network_options=options,
    )  # fmt: skip
    new_attention_explainer(named, head_settings("few-shot"), method="few_shot").save(
        tmp_path / "n"
    )
    assert load_explainer(tmp_path / "n").classifier.outputs.kind == "binary"

    two = load_classifier(
        "timm/resnet18", "none", image_size=32, network_options={"num_classes": 2}
    )
    new_attention_explainer(two, head_settings("few-shot"), method="few_shot").save(tmp_path / "t")
    findings = Classifier(two.network, preprocessing=two.preprocessing, outputs="sigmoid")
    with pytest.raises(OtherClassifierError, match=r"softmax.*'sigmoid'.*outputs='softmax'"):
        load_explainer(tmp_path / "t", classifier=findings)


class Flat(nn.Module):
    """A network that takes the dimension of the classes away, as many with one logit do."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits.squeeze()


@pytest.mark.parametrize("method", ["full_lrp", "lrp", "agf", "cam", "class_evidence", "grad_cam"])
def test_one_flat_logit_is_explained_like_a_column(method: str) -> None:
    one, _ = twins("cnn")
    flat = Classifier(Flat(one.network), preprocessing=one.preprocessing, outputs="binary")
    for count in (1, 3):
        images = torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))
        found = METHODS[method](flat)(images, "all")
        expected = METHODS[method](one)(images, "all")
        assert_close(found.probabilities, expected.probabilities, 1e-6)
        assert_close(found.maps, expected.maps, 1e-5)
        assert bool(found.has_evidence.all())
