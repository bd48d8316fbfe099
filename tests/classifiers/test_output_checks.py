"""Probabilities are not read as logits: refused when sure, offered when likely."""

from __future__ import annotations

import pytest
import torch

from tests.classifiers.small_networks import SMALL, Answering
from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError, on_command_line


@pytest.mark.parametrize("outputs", ["softmax", "sigmoid"])
def test_a_last_sigmoid_is_named(outputs: str) -> None:
    network = Answering(torch.sigmoid).eval()
    with pytest.raises(ClassifierError, match="ends with a sigmoid.*'sigmoid probabilities'"):
        Classifier(network, preprocessing=SMALL, outputs=outputs)
    classifier = Classifier(network, preprocessing=SMALL, outputs="sigmoid probabilities")
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(classifier.probabilities(images), network(images))
    assert classifier.notices == ()


def test_a_last_softmax_is_not_independent_logits() -> None:
    network = Answering(lambda logits: logits.softmax(dim=1)).eval()
    with pytest.raises(ClassifierError, match="ends with a softmax"):
        Classifier(network, preprocessing=SMALL, outputs="sigmoid")


def test_one_probability_of_yes_is_not_a_logit() -> None:
    network = Answering(lambda logits: logits[:, 0].sigmoid()).eval()
    with pytest.raises(ClassifierError, match="ends with a sigmoid"):
        Classifier(network, preprocessing=SMALL, outputs="binary")


def test_what_only_looks_like_probabilities_is_a_notice() -> None:
    network = Answering(lambda logits: logits.clamp(-0.4, 0.4) + 0.5).eval()
    classifier = Classifier(network, preprocessing=SMALL)
    assert "use outputs='sigmoid probabilities'" in classifier.notices[0]
    assert "use --outputs sigmoid-probabilities" in on_command_line(classifier.notices[0])
    assert Classifier(network, preprocessing=SMALL, outputs="sigmoid probabilities").notices == ()
    assert Classifier(Answering(lambda x: x * 9).eval(), preprocessing=SMALL).notices == ()


def test_names_of_one_logit() -> None:
    network = Answering(lambda logits: logits[:, 0]).eval()
    for given, names in (
        (None, ("no", "yes")),
        (["dog"], ("not dog", "dog")),
        (["cat", "dog"], ("cat", "dog")),
    ):
        made = Classifier(network, preprocessing=SMALL, outputs="binary", class_names=given)
        assert made.class_names == names
    with pytest.raises(ClassifierError, match="3 class names for 2 classes"):
        Classifier(network, preprocessing=SMALL, outputs="binary", class_names=["a", "b", "c"])


@pytest.mark.parametrize(
    ("names", "offered"),
    [
        (["Edema", "No Finding", "Mass"], True),
        (["Pleural_Thickening", "Pneumothorax", "cardiomegaly"], True),
        (["Pneumothorax", "normal", "other"], False),
        (["cat", "dog", "no findings at all"], False),
    ],
)
def test_names_of_findings_offer_a_sigmoid(names: list[str], offered: bool) -> None:
    network = Answering(lambda logits: 9 * logits[:, :3]).eval()
    notices = Classifier(network, preprocessing=SMALL, class_names=names).notices
    assert [("use outputs='sigmoid'" in notice) for notice in notices] == [True] * offered
    assert ["use --outputs sigmoid" in on_command_line(n) for n in notices] == [True] * offered
    for said in ("softmax", "sigmoid"):  # whoever has said it is not told again
        said_so = Classifier(network, preprocessing=SMALL, class_names=names, outputs=said)
        assert said_so.notices == () and said_so.outputs_reason == "as you said"
