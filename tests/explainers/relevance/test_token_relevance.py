"""Relevance of tokens where they enter the first block, against the published numbers."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from tests.conftest import assert_close
from tests.golden_bert import INPUTS, chefer, golden_bert, golden_signal
from ttame.classifiers.explained_targets import ExplainedClasses
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.methods.relevance.transformer_attribution import attribution_rules
from ttame.explainers.relevance.token_relevance import token_relevance
from ttame.testing import tiny_text_classifier
from ttame.text_classifiers.text_classifier import TextClassifier

HALVED = {"matrix_products": "halved", "stabiliser": "published"}


@pytest.mark.parametrize("block", [0, 1, 2])
@pytest.mark.parametrize("name", INPUTS)
def test_relevance_enters_each_block_and_its_sum_stays_one(name: str, block: int) -> None:
    found = token_relevance(
        golden_bert(),
        f"model.bert.encoder.layer.{block}",
        attribution_rules("test", **HALVED),  # type: ignore[arg-type]
        golden_signal(name),
        lambda _scores: ExplainedClasses(torch.tensor([[0, 1, 2]])),
    )
    for label, relevance in enumerate(found.by_target):
        expected = chefer()[f"output.f64.{name}.class{label}.ours.relevance.layer{block}.input"]
        assert_close(relevance, expected, 1e-5)
        assert float(relevance.sum()) == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("method", ["full_lrp", "partial_lrp", "transformer_attribution"])
def test_half_precision_weights_are_explained_in_float32(method: str, dtype: torch.dtype) -> None:
    """Relevance of half-precision activations would be off by half of the largest value."""
    tiny = tiny_text_classifier()
    model: Any = copy.deepcopy(tiny.network.model).to(dtype)
    narrow, wide = (
        make_explainer(method, TextClassifier(each, tiny.tokenizer))
        for each in (model, copy.deepcopy(model).float())
    )
    text, classes = "the story is dull and never good", torch.tensor([[0, 1]])
    assert_close(narrow(text, classes).maps, wide(text, classes).maps, 0.03)
    assert {parameter.dtype for parameter in model.parameters()} == {dtype}
