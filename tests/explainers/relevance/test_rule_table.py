"""The first row that matches counts, and what is missing is named."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.conftest import assert_close
from ttame.errors import ExplainerError
from ttame.explainers.relevance.gradient_rules import Gradient
from ttame.explainers.relevance.matches import LayerName, LayerType, Operation
from ttame.explainers.relevance.operation_calls import Layer, OperationCall
from ttame.explainers.relevance.operation_rules import Constant, Pass
from ttame.explainers.relevance.propagation import propagating
from ttame.explainers.relevance.rule_table import RuleTable
from ttame.explainers.relevance.weighted_rules import Epsilon, Flat, WSquare, ZPlus


def call(operation: str, name: str = "") -> OperationCall:
    layer = Layer((name,), nn.ReLU()) if name else None
    return OperationCall(operation, F.linear, (), {}, layer=layer)


def test_the_first_row_that_matches_counts() -> None:
    table = RuleTable(
        (LayerName("a.*"), Flat()),
        (Operation("linear"), Epsilon()),
        (Operation("linear", "convolution"), ZPlus()),
    )
    assert table.rule_for(call("linear", "a.1")) == Flat()
    assert table.rule_for(call("linear", "b")) == Epsilon()
    assert table.rule_for(call("convolution", "b")) == ZPlus()
    in_front = table.with_first((Operation("linear"), WSquare()))
    assert in_front.rule_for(call("linear", "a.1")) == WSquare()
    assert [len(table), len(in_front)] == [3, 4]
    assert table.rule_for(call("linear", "b")) == Epsilon(), "the table itself stays"


def test_a_missing_rule_names_operation_layer_and_what_to_add() -> None:
    table = RuleTable((Operation("linear"), Epsilon()))
    with pytest.raises(ExplainerError) as caught:
        table.rule_for(call("softmax", "blocks.0.attn"))
    assert str(caught.value) == (
        "no relevance rule for the operation softmax (linear) in layer 'blocks.0.attn' (ReLU); "
        "try: a first row (Operation('softmax'), RULE) in the table of rules"
    )


def test_rows_that_are_refused() -> None:
    for row in (Epsilon(), (Operation("linear"), Epsilon), (Epsilon(), Operation("linear"))):
        with pytest.raises(
            ExplainerError, match="as a row of a table.*a pair of a match and a rule"
        ):
            RuleTable(row)  # type: ignore[arg-type]


def test_relevance_and_gradients_do_not_mix() -> None:
    assert RuleTable((Operation("linear"), Gradient())).carries == "gradient"
    assert RuleTable((Operation("linear"), Gradient()), (Operation("softmax"), Constant()))
    with pytest.raises(ExplainerError, match="rules that carry relevance and rules that carry"):
        RuleTable((Operation("linear"), Gradient()), (Operation("activation"), Pass()))


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(5, 4, bias=False), nn.ReLU(), nn.Sequential(nn.Linear(4, 3, bias=False))
    ).double().requires_grad_(False)  # fmt: skip


def found(table: RuleTable, values: Tensor) -> Tensor:
    model, leaf = network(), values.clone().requires_grad_()
    with propagating(table, "relevance", "this network", network=model):
        output = model(leaf)
    (relevance,) = torch.autograd.grad(output.sum(), leaf)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    return relevance


def test_layers_are_told_apart_while_the_network_runs() -> None:
    """Flat in the first layer and ε in the second, asked for in three ways."""
    values = torch.randn(2, 5).double()
    rest = (Operation("activation"), Pass())
    model = network()
    first, _, (last,) = model
    hidden = F.relu(first(values))
    between = hidden * (torch.ones(2, 3).double() / last(hidden) @ last.weight)  # type: ignore[operator]
    expected = between.sum(dim=1, keepdim=True).expand(2, 5) / 5
    for match in (LayerName("0"), LayerType(nn.Linear) & LayerName("[0-1]")):
        table = RuleTable((match, Flat()), (Operation("linear"), Epsilon(0)), rest)
        assert_close(found(table, values), expected, 1e-9)
    table = RuleTable((LayerName("2.0"), Epsilon(0)), (LayerType(nn.Linear), Flat()), rest)
    assert_close(found(table, values), expected, 1e-9)


def test_a_table_that_asks_for_layers_needs_the_network() -> None:
    with (
        pytest.raises(TypeError, match="needs the network"),
        propagating(RuleTable((LayerName("0"), Flat())), "relevance", "this network"),
    ):
        pass


def test_a_function_that_is_no_known_operation_can_have_a_row() -> None:
    values = torch.tensor([2.0, -3.0]).requires_grad_()
    table = RuleTable((Operation("square"), Pass()))
    with propagating(table, "relevance", "this network"):
        output = torch.square(input=values)
        with pytest.raises(
            ExplainerError, match=r"operation exp; try: a first row \(Operation\('exp'"
        ):
            values.exp()
    (relevance,) = torch.autograd.grad(output, values, torch.tensor([5.0, 7.0]))
    assert relevance.tolist() == [5, 7]
