"""What rows ask for: operations, types and names of layers, and the image itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ttame.errors import ExplainerError, UnknownNameError
from ttame.explainers.relevance.gradient_rules import Gradient
from ttame.explainers.relevance.matches import (
    WEIGHTED,
    LayerName,
    LayerType,
    Match,
    Operation,
    SeesImage,
)
from ttame.explainers.relevance.operation_calls import Layer, OperationCall
from ttame.explainers.relevance.operation_rules import Pass
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.explainers.relevance.weighted_rules import Epsilon


def call(operation: str, *names: str, module: nn.Module | None = None) -> OperationCall:
    layer = Layer(names, module or nn.Identity()) if names else None
    return OperationCall(operation, F.linear, (torch.ones(1),), {}, layer=layer)


@pytest.mark.parametrize(
    ("match", "yes", "no"),
    [
        (Operation("linear"), call("linear"), call("convolution")),
        (Operation("add", "subtract"), call("subtract"), call("multiply")),
        (Operation("square"), call("square"), call("linear")),
        (LayerName("features.0"), call("linear", "features.0"), call("linear", "features.01")),
        (LayerName("blocks.*.fc?"), call("linear", "blocks.3.mlp.fc1"), call("linear", "fc1")),
        (LayerName("a", "b"), call("linear", "b"), call("linear", "c")),
        (LayerName("b"), call("linear", "a", "b"), call("linear")),
        (LayerName("FC"), call("linear", "FC"), call("linear", "fc")),
        (
            LayerType(nn.Linear),
            call("add", "x", module=nn.Linear(1, 1)),
            call("add", "x", module=nn.ReLU()),
        ),
        (
            LayerType(nn.modules.batchnorm._BatchNorm, nn.ReLU),
            call("add", "x", module=nn.BatchNorm2d(1)),
            call("add"),
        ),
        (WEIGHTED & LayerName("x"), call("linear", "x"), call("linear", "y")),
        (WEIGHTED & LayerName("x"), call("convolution", "x"), call("add", "x")),
    ],
    ids=lambda value: value.in_words() if isinstance(value, Match) else "",
)  # fmt: skip
def test_yes_and_no(match: Match, yes: OperationCall, no: OperationCall) -> None:
    assert match.matches(yes)
    assert not match.matches(no)


def test_only_layers_need_hooks_and_only_other_functions_a_look() -> None:
    assert not (Operation("linear") & SeesImage()).reads_layers
    assert (Operation("linear") & LayerName("x")).reads_layers
    assert (LayerType(nn.ReLU) & SeesImage()).reads_layers
    assert (LayerName("x") & Operation("linear", "square", "exp")).functions == {"square", "exp"}


def test_words_are_what_is_typed() -> None:
    for typed in (
        "Operation('linear', 'square') & LayerName('a.*')",
        "LayerName('a') & SeesImage()",
    ):
        assert eval(typed).in_words() == typed
    assert LayerType(nn.Conv2d, nn.ReLU).in_words() == "LayerType(Conv2d, ReLU)"


def test_names_that_are_refused() -> None:
    with pytest.raises(
        UnknownNameError, match="unknown operation 'convolutions'; try: convolution"
    ):
        Operation("convolutions")
    with pytest.raises(ExplainerError, match="without a name; allowed: linear"):
        Operation()
    with pytest.raises(ExplainerError, match="classes of modules"):
        LayerType(nn.ReLU())  # type: ignore[arg-type]
    with pytest.raises(ExplainerError, match="dotted names"):
        LayerName(nn.ReLU)  # type: ignore[arg-type]


class Seeing(Match):
    """Notes which calls see the image."""

    def __init__(self) -> None:
        self.seen: list[bool] = []

    def matches(self, call: OperationCall) -> bool:
        self.seen.append(SeesImage().matches(call))
        return False

    def in_words(self) -> str:
        return "Seeing()"


@pytest.mark.parametrize("gradients", [True, False])
def test_the_image_is_seen_until_something_is_computed(gradients: bool) -> None:
    """Also where rules leave autograd's own backward pass."""
    seeing = Seeing()
    rules = (
        RuleTable((seeing, Gradient()), (Operation("linear", "activation"), Gradient()))
        if gradients
        else RuleTable(
            (seeing, Epsilon()), (WEIGHTED, Epsilon()), (Operation("activation"), Pass())
        )
    )

    def network(images: Tensor) -> Tensor:
        flat = F.pad(images, (1, 1)).flatten(1)
        return F.linear(F.relu(F.linear(flat, torch.ones(3, 12))), torch.ones(2, 3))

    with propagating(rules, "relevance", "this network"):
        network(torch.ones(1, 3, 1, 2).requires_grad_())
    assert seeing.seen == [True, False, False]


def test_the_image_is_seen_by_a_product_with_a_constant_from_either_side() -> None:
    seeing = Seeing()
    table = RuleTable((seeing, Epsilon()), (WEIGHTED, Epsilon()))
    with propagating(table, "relevance", "this network"):
        torch.ones(2, 3) @ (torch.ones(3, 4).requires_grad_() @ torch.ones(4, 4))
        torch.ones(2, 3) @ torch.ones(3, 4).requires_grad_()
    assert seeing.seen == [True, False, True]
