"""What runs under relevance rules: routing, refusals, half precision, and what is left behind."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conftest import assert_close
from tests.explainers.relevance.tables import conserving, gradients
from tests.plain_vit import golden_vit, two_images
from tests.tiny_networks import CLASSES, TINY
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedClasses, ExplainedTargets
from ttame.errors import ExplainerError
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.methods.relevance.full_lrp import FullLrp
from ttame.explainers.relevance import attention_relevance, pixel_relevance
from ttame.explainers.relevance.attention_relevance import half_precision_scale
from ttame.explainers.relevance.image_chunks import explain_in_chunks
from ttame.explainers.relevance.propagation import check_propagation, propagating
from ttame.explainers.relevance.recording import (
    Following,
    PassedOn,
    Redistribution,
    follow_by,
    has_moved_only,
)
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.images.preprocessing import Preprocessing

PASSES = [conserving(), gradients()]

UNKNOWN: dict[str, Callable[[Tensor], Tensor]] = {
    "exp": torch.exp,
    "sin": torch.sin,
    "cumsum": lambda values: values.cumsum(dim=1),
    "log": lambda values: values.abs().log(),
    "rsub": lambda values: torch.rsub(values, 1),
    "__rtruediv__": lambda values: 1 / values,
    "div": lambda values: torch.div(1, values),
}
"""Operations that change values and have no rule."""


@pytest.mark.parametrize("rules", PASSES)
@pytest.mark.parametrize("operation", UNKNOWN)
def test_an_operation_without_a_rule_is_an_error(rules: RuleTable, operation: str) -> None:
    values = torch.rand(2, 3).requires_grad_()
    with (
        propagating(rules, "relevance propagation", "this network", images=2),
        pytest.raises(ExplainerError, match=r"not defined for this network: it has no relevance"),
    ):
        UNKNOWN[operation](values)


@pytest.mark.parametrize("rules", PASSES)
def test_weights_that_depend_on_the_image_are_an_error(
    rules: RuleTable,
) -> None:
    values = torch.rand(1, 3, 3, 3).requires_grad_()
    with propagating(rules, "relevance propagation", "this network", images=2):
        for function in (F.linear, F.conv2d):
            with pytest.raises(ExplainerError, match="has no relevance rule for the operation"):
                function(values, values if function is F.conv2d else values[0, 0])


def test_what_does_not_depend_on_the_image_needs_no_rule() -> None:
    values = torch.rand(2, 3)
    leaf = torch.rand(2, 3).requires_grad_()
    with propagating(conserving(), "relevance", "this network"):
        assert torch.equal(torch.exp(values), values.exp())
        with torch.no_grad():
            assert torch.equal(torch.exp(leaf), leaf.detach().exp())
        assert leaf.argmax(dim=1).dtype == torch.int64
        assert leaf.shape == (2, 3)


ROUTES: dict[str, Callable[[Tensor], Tensor]] = {
    "cat": lambda values: torch.cat([values[:, :1], values[:, 1:], values[:, :1]], dim=1),
    "stack": lambda values: torch.stack([values, values]),
    "chunk": lambda values: torch.cat(values.chunk(2, dim=1)[::-1], dim=1),
    "transposed": lambda values: values.T,
    "expanded": lambda values: values[:, None].expand(-1, 3, -1),
    "flattened": lambda values: values.flatten(),
    "rolled": lambda values: values.roll(1, dims=1),
    "masked": lambda values: values.masked_fill(torch.tensor([True, False, False, True]), 0),
    "dropout of a frozen network": lambda values: F.dropout(values, training=False),
}


@pytest.mark.parametrize("rules", PASSES)
@pytest.mark.parametrize("route", ROUTES)
def test_relevance_goes_where_values_came_from(rules: RuleTable, route: str) -> None:
    """A value in several places gathers the relevances of all of them."""
    values = torch.arange(1.0, 9.0).reshape(2, 4).requires_grad_()
    with propagating(rules, "relevance", "this network", images=2):
        moved = ROUTES[route](values)
    relevance = torch.randn(moved.shape)
    (found,) = torch.autograd.grad(moved, values, relevance)
    expected = torch.tensor(
        [
            [float(relevance[moved == value].sum()) for value in row]
            for row in values.detach().tolist()
        ]
    )
    assert_close(found, expected, 1e-6)


def test_a_maximum_gives_all_to_the_winner() -> None:
    values = torch.tensor([[[[1.0, 4.0, 2.0, 2.5], [3.0, 0.0, -1.0, 2.0]]]]).requires_grad_()
    with propagating(conserving(), "relevance", "this network"):
        pooled = F.max_pool2d(values, 2)
    (found,) = torch.autograd.grad(pooled, values, torch.tensor([[[[0.7, -0.2]]]]))
    assert_close(found, torch.tensor([[[[0, 0.7, 0, -0.2], [0, 0, 0, 0]]]]), 1e-6)


def test_only_values_that_were_moved_count_as_the_image_itself() -> None:
    image = torch.rand(1, 3, 4, 4).requires_grad_()
    with propagating(conserving(), "relevance", "this network"):
        assert has_moved_only(image)
        assert has_moved_only(F.pad(image, (1, 1)).flatten(2).transpose(1, 2))
        assert not has_moved_only(F.relu(image))
        assert not has_moved_only(torch.cat([image, (image * 2)], dim=1).flatten(1))


def test_only_what_is_asked_for_gets_relevance() -> None:
    first, second = torch.ones(2).requires_grad_(), torch.full((2,), 3.0)

    def rule(relevance: Tensor, left: Tensor, right: Tensor) -> tuple[Tensor, Tensor]:
        assert torch.equal(left, first)
        assert torch.equal(right, second)
        return relevance * 5, relevance * 7

    out = Redistribution.apply(torch.add, rule, first, second)
    assert out.tolist() == [4, 4]
    out.backward(torch.tensor([1.0, 2.0]))
    assert first.grad is not None
    assert first.grad.tolist() == [5, 10]
    assert second.grad is None


def test_rules_see_single_precision_of_half_precision() -> None:
    values = torch.tensor([1.0, 2.0], dtype=torch.bfloat16).requires_grad_()

    def rule(relevance: Tensor, values: Tensor) -> tuple[Tensor]:
        assert relevance.dtype == values.dtype == torch.float32
        return (relevance,)

    Redistribution.apply(torch.clone, rule, values).sum().backward()
    assert values.grad is not None
    assert values.grad.dtype == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_only_float16_starts_higher(dtype: torch.dtype) -> None:
    assert half_precision_scale(torch.zeros(1, dtype=dtype)) == 1
    assert half_precision_scale(torch.zeros(1, dtype=torch.float16)) > 1000


def test_signs_reach_only_the_channels_of_a_linear_map() -> None:
    """By the next factor: nothing is told to other nodes, nor along another dimension."""
    told: list[Following | None] = []

    class Rule:
        channels = 1

        def __call__(
            self, relevance: Tensor, values: Tensor, following: Following | None = None
        ) -> tuple[Tensor]:
            told.append(following)
            return (relevance,)

    values = torch.ones(2, 3, 3).requires_grad_()
    for dimension in (1, -2, 2):
        out = Redistribution.apply(torch.clone, Rule(), values)
        follow_by(out, torch.tensor([0.5, -2.0, 0.0]), dimension, torch.tensor([2.0, 3.0, -1.0]))
        out.sum().backward()
    for one in told[:2]:
        assert one is not None
        assert one.shifts is not None
        assert one.signs.tolist() == [1, -1, 1]
        assert one.shifts.tolist() == [4, 1.5, torch.finfo(torch.float32).min]
    assert told[2] is None
    follow_by(PassedOn.apply(torch.neg, values), torch.ones(3), 1)
    follow_by(torch.ones(2, 3), torch.ones(3), 1)


class Exponential(nn.Module):
    def forward(self, values: Tensor) -> Tensor:
        return values.exp()


def with_layer(layer: nn.Module) -> Classifier:
    network = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), layer, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5)
    )
    return Classifier(network, preprocessing=Preprocessing.imagenet(8), taps=["0"])


def test_a_network_with_an_operation_without_a_rule_is_refused_with_a_remedy() -> None:
    classifier = with_layer(Exponential())
    with pytest.raises(
        ExplainerError, match=r"operation exp in layer '1' \(Exponential\); try: grad_cam"
    ):
        FullLrp(classifier)


class OverwritingItsInput(nn.Module):
    """2·relu(x), but x + relu(x) where relu writes to a new tensor."""

    def forward(self, values: Tensor) -> Tensor:
        values = values * 1
        return F.relu(values, inplace=True) + values


def test_a_network_that_uses_what_it_has_overwritten_is_refused() -> None:
    with pytest.raises(ExplainerError, match="computes other logits when its operations write"):
        FullLrp(with_layer(OverwritingItsInput()))


def test_the_check_measures_the_graph() -> None:
    """A deeper network keeps more."""
    rules = conserving()
    shallow, deep = (
        check_propagation(
            with_layer(nn.Sequential(*[nn.Conv2d(4, 4, 3, padding=1) for _ in range(count)])),
            rules,
            "full_lrp",
            "rise",
        )
        for count in (1, 21)
    )
    activations = 20 * 4 * 8 * 8 * 4
    assert activations <= deep - shallow <= 10 * activations


@pytest.mark.parametrize("method", ["full_lrp", "agf", "attn_lrp", "transformer_attribution"])
def test_images_in_pieces_give_what_they_give_together(method: str) -> None:
    """With classes chosen once, from the logits of all."""
    classifier = TINY["cnn" if method == "agf" else "timm vit"]()
    explainer = make_explainer(method, classifier)
    images = torch.randn(3, 3, *classifier.preprocessing.input_size)
    classes = torch.tensor([[0, 1], [2, 3], [4, 5]])
    expected = explainer(images, classes)
    steps: list[tuple[int, int]] = []
    calls: list[Tensor] = []

    def choose(scores: Tensor) -> ExplainedTargets:
        calls.append(scores)
        return ExplainedClasses(classes)

    request = Request(choose, 1, lambda done, total: steps.append((done, total)))
    raw = explainer._raw_maps(images, request)
    assert len(calls) == 1
    assert calls[0].shape == (3, CLASSES)
    assert steps[-1] == (3, 3)
    assert torch.equal(raw.targets.classes, expected.classes)
    assert_close(raw.scores, expected.logits, 1e-5)
    assert_close(raw.maps.float(), expected.maps, 1e-3)


@pytest.mark.parametrize(
    ("side", "budget", "sizes"),
    [(32, 1000, [7]), (32, 699, [6, 1]), (32, 399, [3, 3, 1]), (64, 1000, [2, 2, 2, 1])],
)
def test_larger_images_go_in_smaller_pieces(side: int, budget: int, sizes: list[int]) -> None:
    """At 100 bytes for an image of 32 pixels."""
    classifier = TINY["cnn"]()
    found: list[int] = []

    def explain(images: Tensor, request: Request) -> RawMaps:
        found.append(len(images))
        scores = classifier.logits(images)
        return RawMaps(scores, request.targets(scores), images[:, :1])

    images = torch.randn(7, 3, side, side)
    request = Request(lambda scores: ExplainedClasses(scores.topk(1).indices), budget)
    raw = explain_in_chunks(classifier, images, request, 100, explain)
    assert found == sizes
    assert torch.equal(raw.maps, images[:, :1])


@pytest.mark.parametrize("method", ["full_lrp", "partial_lrp", "transformer_attribution"])
def test_what_relevance_starts_as_is_divided_out(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rules are homogeneous, so that half precision may start with more."""
    explainer = make_explainer(method, golden_vit(torch.float64))
    images = two_images().double()
    expected = explainer(images, "top2").maps
    for module in (attention_relevance, pixel_relevance):
        monkeypatch.setattr(module, "half_precision_scale", lambda _logits: 64.0)
    assert_close(explainer(images, "top2").maps, expected, 1e-6)


@pytest.mark.parametrize("rules", PASSES)
@pytest.mark.parametrize("network", ["cnn", "timm resnet", "timm vit", "torchvision vit"])
def test_logits_are_the_network_s_own(rules: RuleTable, network: str) -> None:
    """And nothing stays behind: afterwards gradients are gradients again."""
    classifier = TINY[network]()
    images = torch.randn(2, 3, *classifier.preprocessing.input_size)
    leaf = images.clone().requires_grad_()
    expected = classifier.logits(leaf)
    (gradient,) = torch.autograd.grad(expected.sum(), leaf)
    with propagating(rules, "relevance", "this network", images=2):
        logits = classifier.logits(images.clone().requires_grad_())
    assert logits.shape == (2, CLASSES)
    assert_close(logits, expected, 1e-5)
    (again,) = torch.autograd.grad(classifier.logits(leaf).sum(), leaf)
    assert torch.equal(again, gradient)
    assert math.isfinite(float(gradient.sum()))
