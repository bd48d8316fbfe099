from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from tests.classifiers.small_networks import Answering, small_cnn
from ttame.errors import ClassifierError
from ttame.networks.network_trace import logits_of, run_network, trace_network


def test_layers_are_noted_in_the_order_in_which_they_finish() -> None:
    trace = trace_network(nn.Sequential(small_cnn()), (32, 32))
    names = [layer.name for layer in trace.layers]
    assert names[0] == "0.0"
    assert names[-1] == "0"
    assert trace.by_name()["0.4"].shape == (1, 16, 8, 8)
    assert trace.by_name()["0.4"].is_leaf
    assert not trace.by_name()["0"].is_leaf
    assert trace.number_of_outputs == 5


def test_a_reused_layer_is_filed_under_its_last_run() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = nn.ReLU()
            self.conv = nn.Conv2d(3, 4, 3, 2, 1)

        def forward(self, images: Tensor) -> Tensor:
            return self.act(self.conv(self.act(images))).mean((2, 3))

    trace = trace_network(Twice(), (8, 8))
    assert [layer.name for layer in trace.layers] == ["conv", "act"]
    act = trace.by_name()["act"]
    assert act.shape == act.at(-1).shape == act.at(1).shape == (1, 4, 4, 4)
    assert [run.shape for run in act.runs] == [(1, 3, 8, 8), (1, 4, 4, 4)]
    assert act.at(0).shape == (1, 3, 8, 8)
    assert (act.at(0).order, trace.by_name()["conv"].order, act.order) == (0, 1, 2)


def test_tracing_leaves_no_hooks_behind() -> None:
    network = small_cnn()
    trace_network(network, (32, 32))
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize(
    "wrap",
    [lambda y: {"logits": y}, lambda y: SimpleNamespace(logits=y), lambda y: y],
    ids=["mapping", "object", "tensor"],
)
def test_logits_are_found(wrap: object) -> None:
    assert trace_network(Answering(wrap), (32, 32)).number_of_outputs == 5


@pytest.mark.parametrize(
    ("wrap", "came"),
    [
        (lambda y: (y, y), "a tuple"),
        (lambda y: y[:, None], "shape (1, 1, 5)"),
        (lambda y: y[0], "shape (5,)"),
        (lambda y: None, "returned None"),
        (lambda y: y.long(), "int64"),
        (lambda y: {"scores": y}, "a dict"),
    ],
)
def test_other_outputs_are_refused(wrap: object, came: str) -> None:
    with pytest.raises(ClassifierError) as caught:
        trace_network(Answering(wrap), (32, 32))
    assert came in str(caught.value)
    assert "(B, C) logits" in str(caught.value)


def test_the_batch_must_come_back_whole() -> None:
    with pytest.raises(ClassifierError, match="for 2 images"):
        logits_of(torch.zeros(1, 5), 2, "Network")


@pytest.mark.parametrize("problem", [KeyError("boom"), RuntimeError("boom\nmore"), OSError("boom")])
def test_whatever_a_network_raises_becomes_one_line(problem: Exception) -> None:
    def fail(_logits: Tensor) -> Tensor:
        raise problem

    with pytest.raises(ClassifierError, match="boom") as caught:
        run_network(Answering(fail), torch.zeros(1, 3, 32, 32))
    assert "\n" not in str(caught.value)


def test_running_out_of_memory_is_not_hidden() -> None:
    def fail(_logits: Tensor) -> Tensor:
        raise torch.OutOfMemoryError("no more")

    with pytest.raises(torch.OutOfMemoryError):
        run_network(Answering(fail), torch.zeros(1, 3, 32, 32))
