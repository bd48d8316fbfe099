"""What tokens add to what the last layer reads, against loops over BERT and against gradients."""

from __future__ import annotations

import functools
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.explainers.passes.test_residual_stream import evidence_by_hand
from tests.golden_bert import INPUTS, golden_bert, golden_signal
from tests.tiny_networks import TINY
from ttame import make_explainer
from ttame.classifiers.linear_end import class_weights, find_class_layer
from ttame.errors import TapError
from ttame.features.read_contributions import read_contributions_tap
from ttame.features.tap_names import parse_tap
from ttame.testing import tiny_text_classifier

TEXTS = ["not a bad film", "the story is dull and the music was never good"]


@functools.cache
def tiny(kind: str) -> Any:
    return tiny_text_classifier(kind)


def layer_of(classifier: Any) -> str:
    layer = find_class_layer(classifier)
    assert layer is not None
    return layer


def evidence(classifier: Any, signal: Tensor) -> Tensor:
    """(B, C, T): the rows of the last layer times what tokens add to what it reads."""
    layer = layer_of(classifier)
    tap = read_contributions_tap(classifier.network, classifier.trace, layer)
    assert tap is not None
    (read,) = classifier.with_taps([tap]).read_features(signal).feature_maps
    return torch.einsum("bdht,kd->bkt", read, class_weights(classifier, layer).to(read))


@pytest.mark.parametrize("name", INPUTS)
def test_through_berts_pooler(name: str) -> None:
    found = evidence(golden_bert(), golden_signal(name))
    for label in (0, 2):
        assert_close(found[0, label], evidence_by_hand(name, label), 1e-9)


@pytest.mark.parametrize("kind", ["roberta", "distilbert", "electra", "modernbert", "albert"])
def test_other_heads_and_orders_of_normalisation(kind: str) -> None:
    """Class evidence takes the gradient along the stream: another way to the same numbers."""
    classifier = tiny(kind)
    found = evidence(classifier, classifier.prepare(TEXTS))
    explained = make_explainer("class_evidence", classifier)(TEXTS, torch.tensor([[0, 1]] * 2))
    assert_close(found, explained.maps, 1e-5)


def test_padding_adds_nothing_and_a_batch_is_what_its_texts_are() -> None:
    classifier = tiny("bert")
    alone = evidence(classifier, classifier.prepare(TEXTS[0]))
    together = evidence(classifier, classifier.prepare(TEXTS))[:1]
    length = alone.shape[-1]
    assert_close(together[..., :length], alone, 1e-6)
    assert not together[..., length:].any()
    assert float(alone.abs().max()) > 0


def test_without_gradients_and_in_inference_mode() -> None:
    classifier = tiny("bert")
    signal = classifier.prepare(TEXTS)
    expected = evidence(classifier, signal)
    with torch.inference_mode():
        found = evidence(classifier, signal)
    assert torch.equal(found, expected)
    assert not expected.requires_grad


class Gated(nn.Module):
    """The output of an attention, scaled behind its projection."""

    def __init__(self, dense: nn.Module) -> None:
        super().__init__()
        self.dense = dense

    def forward(self, tokens: Tensor) -> Tensor:
        return self.dense(tokens) * 0.5


def test_a_block_that_adds_something_else_has_none() -> None:
    classifier = tiny_text_classifier()
    layer = classifier.network.model.bert.encoder.layer[1].attention.output  # type: ignore[union-attr,index]
    layer.dense = Gated(layer.dense)  # type: ignore[union-attr]
    assert read_contributions_tap(classifier.network, classifier.trace, "model.classifier") is None


class SeesTheSecond(nn.Module):
    """A pooler that reads another token than the first."""

    def __init__(self, pooler: Any) -> None:
        super().__init__()
        self.pooler = pooler

    def forward(self, tokens: Tensor) -> Any:
        return self.pooler(tokens[:, 1:])


def test_what_reads_another_token_has_none() -> None:
    classifier = tiny_text_classifier()
    bert: Any = classifier.network.model.bert  # type: ignore[union-attr]
    bert.pooler = SeesTheSecond(bert.pooler)
    assert read_contributions_tap(classifier.network, classifier.trace, "model.classifier") is None


def test_networks_without_blocks_have_none() -> None:
    cnn = TINY["cnn"]()
    layer = find_class_layer(cnn)
    assert layer is not None
    assert read_contributions_tap(cnn.network, cnn.trace, layer) is None


def test_its_name_is_read_again() -> None:
    classifier = tiny("bert")
    named = classifier.with_taps(["first-order:model.classifier"])
    assert [str(tap) for tap in named.taps] == ["first-order:model.classifier"]
    assert parse_tap(str(named.taps[0])).in_words.startswith("what each token adds to what the")
    with pytest.raises(TapError, match="no contributions of tokens to what that layer reads"):
        classifier.with_taps(["first-order:model.bert.encoder.layer.0.output.dense"])
    with pytest.raises(TapError, match="first-order:nowhere"):
        classifier.with_taps(["first-order:nowhere"])
