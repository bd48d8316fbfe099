"""What attention adds to BERT's class token, by loops over blocks, heads and tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tests.conftest import assert_close
from tests.golden_bert import INPUTS, golden_bert, golden_signal
from tests.tiny_networks import TINY
from ttame import make_explainer
from ttame.classifiers.explained_targets import ExplainedClasses
from ttame.explainers.contract.request import Request
from ttame.explainers.passes.residual_stream import read_stream
from ttame.testing import tiny_text_classifier


def as_it_acts_on(norm: nn.LayerNorm, values: Tensor, token: Tensor) -> Tensor:
    """The norm as a linear map: with the deviation of the token that it normalises."""
    deviation = (token.var(correction=0) + norm.eps).sqrt()
    return (values - values.mean(dim=-1, keepdim=True)) / deviation * norm.weight.detach()


def evidence_by_hand(name: str, label: int) -> Tensor:
    """(T,): contributions carried forward to the last class token, then the head's gradient."""
    classifier, signal = golden_bert(), golden_signal(name)
    bert = classifier.network.model.bert
    with torch.no_grad():
        mask = (signal[:, -3, 0] != 1).long()
        stream = bert.embeddings(inputs_embeds=signal[:, :-3, 0].transpose(1, 2))[0]
        bias = torch.where(mask[0].bool(), 0.0, -torch.inf)
        carried = torch.zeros_like(stream)
        for layer in bert.encoder.layer:
            attention = layer.attention.self
            query, key, value = (
                linear(stream).reshape(len(stream), 4, -1)
                for linear in (attention.query, attention.key, attention.value)
            )
            mixed = torch.zeros_like(stream)
            for token in range(len(stream)):
                by_head = []
                for head in range(4):
                    scores = query[0, head] @ key[:, head].T / key.shape[2] ** 0.5 + bias
                    by_head.append(scores.softmax(dim=0)[token] * value[token, head])
                given = layer.attention.output.dense.weight @ torch.cat(by_head)
                carried[token] += given
            probabilities = torch.einsum("thd,shd->hts", query, key) / key.shape[2] ** 0.5
            probabilities = (probabilities + bias).softmax(dim=-1)
            mixed = torch.einsum("hts,shd->thd", probabilities, value).flatten(1)
            total = layer.attention.output.dense(mixed) + stream
            middle = layer.attention.output.LayerNorm(total)
            carried = as_it_acts_on(layer.attention.output.LayerNorm, carried, total[0])
            total = layer.output.dense(layer.intermediate(middle)) + middle
            stream = layer.output.LayerNorm(total)
            carried = as_it_acts_on(layer.output.LayerNorm, carried, total[0])
    token = stream[None, :1].clone().requires_grad_()
    score = classifier.network.model.classifier(bert.pooler(token))[0, label]
    (gradient,) = torch.autograd.grad(score, token)
    return carried @ gradient[0, 0]


@pytest.mark.parametrize("name", INPUTS)
def test_evidence_is_what_each_token_adds_to_the_class_token(name: str) -> None:
    explainer = make_explainer("class_evidence", golden_bert())
    raw = explainer._raw_maps(
        golden_signal(name), Request(lambda _: ExplainedClasses(torch.tensor([[2, 0]])))
    )
    for place, label in enumerate((2, 0)):
        assert_close(raw.maps[0, place, 0], evidence_by_hand(name, label), 1e-9)


def test_scores_are_those_of_the_network() -> None:
    classifier = tiny_text_classifier("modernbert")
    signal = classifier.prepare(["a good film", "the story is dull"])
    read = read_stream(classifier, signal)
    assert read is not None
    scores, blocks = read
    assert torch.allclose(scores.detach(), classifier.logits(signal), atol=1e-6)
    assert len(blocks) == 3


def test_without_a_residual_stream_there_is_nothing_to_read() -> None:
    cnn = TINY["cnn"]()
    assert read_stream(cnn, cnn.blank_image()) is None
