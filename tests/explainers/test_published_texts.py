"""Methods on a BERT against the numbers of the published implementation, class by class."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import assert_close
from tests.golden_bert import INPUTS, chefer, golden_bert, golden_signal, text_of
from ttame import make_explainer
from ttame.classifiers.explained_targets import ExplainedClasses
from ttame.explainers.contract.request import Request
from ttame.explainers.methods.relevance.transformer_attribution import attribution_rules
from ttame.explainers.passes.block_attention import (
    attending_layout,
    gradients_by_target,
    layout_for,
    read_block_attention,
)
from ttame.explainers.relevance.attention_relevance import attention_relevance

OURS: dict[str, Any] = {"matrix_products": "halved", "stabiliser": "published"}
ORIG: dict[str, Any] = {**OURS, "linear": "separate", "additions": "plain"}
"""The two published sets of rules."""

ATTRIBUTION = "transformer_attribution_start0_raw"

PRECISIONS = [(torch.float64, "output.f64.", 1e-6), (torch.float32, "output.", 5e-4)]
"""In float64 only the addition of the mask may differ where nothing is padded."""


def all_classes(_scores: Tensor) -> ExplainedClasses:
    return ExplainedClasses(torch.tensor([[0, 1, 2]]))


def maps(method: str, name: str, dtype: torch.dtype, **options: Any) -> Tensor:
    """(3, T), of all classes."""
    explainer = make_explainer(method, golden_bert(dtype), **options)
    found = explainer._raw_maps(golden_signal(name, dtype), Request(all_classes)).maps
    return found[0, :, 0].detach()


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize(("dtype", "prefix", "tolerance"), PRECISIONS)
def test_logits_and_maps_of_all_classes(
    name: str, dtype: torch.dtype, prefix: str, tolerance: float
) -> None:
    expected, tight = chefer().under(f"{prefix}{name}."), min(tolerance, 2e-5)
    assert_close(golden_bert(dtype).logits(golden_signal(name, dtype))[0].detach(),
                 expected["logits"][0].to(dtype), tight)  # fmt: skip
    for method, raw in [("attention_rollout", "rollout_raw"), ("raw_attention", "last_attn_raw")]:
        found = maps(method, name, dtype)
        assert_close(found[2], expected[raw][0].to(found), tight)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize(("dtype", "prefix", "tolerance"), PRECISIONS)
@pytest.mark.parametrize(
    ("method", "options", "raw", "first"),
    [
        ("transformer_attribution", OURS, "transformer_attribution_start0_raw", 1),
        ("transformer_attribution", {**OURS, "start_block": -1},
         "transformer_attribution_last_raw", 1),
        ("partial_lrp", ORIG, "partial_lrp_raw", 0),
        ("full_lrp", ORIG, "full_lrp_raw", 0),
    ],
)  # fmt: skip
def test_relevance(
    name: str,
    dtype: torch.dtype,
    prefix: str,
    tolerance: float,
    method: str,
    options: dict[str, Any],
    raw: str,
    first: int,
) -> None:
    """``first`` leaves out the entry of [CLS], of which the reference keeps the identity's 1."""
    found = maps(method, name, dtype, **options)
    for label in range(3):
        expected = chefer()[f"{prefix}{name}.class{label}.{raw}"][0].to(found)
        assert_close(found[label, first:], expected[first:], tolerance)


@pytest.mark.parametrize("name", INPUTS)
def test_the_returned_row_is_had_from_the_raw_one(name: str) -> None:
    """The reference puts the row's minimum, or 0, in the place of [CLS]."""
    attribution = maps("transformer_attribution", name, torch.float64, **OURS)
    partial = maps("partial_lrp", name, torch.float64, **ORIG)
    for label in range(3):
        expected = chefer().under(f"output.f64.{name}.class{label}.")
        row = attribution[label].clone()
        row[0] = row[1:].min()
        assert_close(row, expected["transformer_attribution_start0"][0], 1e-6)
        row = partial[label].clone()
        row[0] = 0
        assert_close(row, expected["partial_lrp"][0], 1e-6)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize(("dtype", "prefix", "tolerance"), PRECISIONS)
def test_attention_grad_cam_with_padding_counted(
    name: str, dtype: torch.dtype, prefix: str, tolerance: float
) -> None:
    """The reference takes the mean over the whole matrix, of which only row 0 is not zero."""
    found = maps("cam_attn", name, dtype, padding="counted")
    for label in range(3):
        expected = chefer().under(f"{prefix}{name}.class{label}.attn_gradcam")
        unscaled = expected["_unscaled"][0].to(found)
        assert_close(found[label] / len(unscaled), unscaled[0], min(tolerance, 2e-5))
        low, high = unscaled.min(), unscaled.max()
        scaled = (found[label] / len(unscaled) - low) / (high - low)
        assert_close(scaled, expected["_raw"][0].to(found), min(tolerance, 2e-5))


@pytest.mark.parametrize("rules", [OURS, ORIG])
@pytest.mark.parametrize("name", INPUTS)
def test_gradients_and_relevance_of_every_attention(name: str, rules: dict[str, Any]) -> None:
    classifier, signal = golden_bert(), golden_signal(name)
    layout = layout_for(classifier, attending_layout(classifier, "test"), signal)
    table, called = attribution_rules("test", **rules), "ours" if rules is OURS else "orig"
    propagated = attention_relevance(classifier, layout, table, signal, all_classes, 0)
    read = read_block_attention(classifier, layout, signal)
    gradients = gradients_by_target(read.logits, read.probabilities)
    for label, (of_class, relevances) in enumerate(
        zip(gradients, propagated.by_target, strict=True)
    ):
        for block in range(3):
            expected = chefer().under(f"output.f64.{name}.class{label}.")
            assert_close(of_class[block], expected[f"layer{block}.attn_gradient"], 1e-9)
            relevance = expected[f"{called}.layer{block}.attn_relevance"]
            assert_close(relevances[block].detach(), relevance, 1e-5)


def test_a_padded_batch_equals_single_texts_where_the_published_code_is_wrong() -> None:
    """There the sums of the rules run over the whole batch."""
    explainer = make_explainer("transformer_attribution", golden_bert(), **OURS)
    together = explainer([text_of(name) for name in INPUTS], "all").maps
    for index, name in enumerate(INPUTS):
        alone = explainer(text_of(name), "all").maps[0]
        assert_close(together[index, :, : alone.shape[1]], alone, 1e-6)
        expected = chefer()[f"output.f64.{name}.class1.transformer_attribution_start0"][0]
        length = alone.shape[1]
        assert_close(alone[1, 1:].double(), expected[1:length], 1e-6)
        assert not together[index, :, length:].any()


@pytest.mark.parametrize(
    ("method", "options", "raw"),
    [
        ("transformer_attribution", {**OURS, "rows": "plain"}, ATTRIBUTION),
        ("transformer_attribution", {**OURS, "start_block": 1}, ATTRIBUTION),
        ("partial_lrp", OURS, "partial_lrp_raw"),
        ("full_lrp", {**ORIG, "linear": "joint"}, "full_lrp_raw"),
    ],
)
def test_other_options_give_other_numbers(method: str, options: dict[str, Any], raw: str) -> None:
    found = maps(method, "unpadded", torch.float64, **options)
    expected = chefer()[f"output.f64.unpadded.class1.{raw}"][0]
    worst = float((found[1, 1:] - expected[1:]).abs().max() / expected[1:].abs().max())
    assert worst > 1e-3
