from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from tests.classifiers.small_networks import small_cnn
from tests.tiny_networks import tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import TapError
from ttame.explainers.known_explainers import make_explainer
from ttame.networks.layer_outputs import (
    first_tensor,
    put_first_tensor,
    reading,
    running_eagerly,
    uncompiled,
    watching,
    watching_inputs,
)


def test_outputs_are_those_of_the_layers() -> None:
    network = nn.Sequential(nn.Linear(2, 3), nn.ReLU())
    images = torch.randn(4, 2)
    with reading({"0": network[0]}) as outputs:
        network(images)
    assert torch.equal(outputs["0"], network[0](images))


def test_a_reused_layer_keeps_its_last_output() -> None:
    network = nn.Linear(2, 2)
    with reading({"layer": network}) as outputs:
        network(torch.zeros(1, 2))
        last = network(torch.ones(1, 2))
    assert torch.equal(outputs["layer"], last)


def test_hooks_of_other_people_stay_and_ours_go() -> None:
    layer = nn.Linear(2, 2)
    calls: list[int] = []
    layer.register_forward_hook(lambda *_: calls.append(1))
    before = dict(layer._forward_hooks)
    with pytest.raises(RuntimeError), reading({"layer": layer}):
        layer(torch.zeros(1, 7))  # a shape that it refuses
    with reading({"layer": layer}):
        layer(torch.zeros(1, 2))
    assert dict(layer._forward_hooks) == before
    assert calls == [1]


def test_an_action_may_replace_the_output() -> None:
    layer = nn.Linear(2, 2)
    with watching([(layer, lambda _module, output: output * 0)]):
        assert not layer(torch.ones(1, 2)).any()
    assert layer(torch.ones(1, 2)).any()


def test_another_thread_sees_nothing() -> None:
    layer = nn.Linear(2, 2)
    with reading({"layer": layer}) as outputs:
        thread = threading.Thread(target=layer, args=(torch.ones(1, 2),))
        thread.start()
        thread.join()
    assert not outputs


def test_compiled_parts_run_eagerly_and_are_restored() -> None:
    import torch._dynamo.eval_frame as eval_frame

    inside = small_cnn()
    inside.compile(backend="eager")
    network = nn.Sequential(inside, nn.ReLU())
    before = eval_frame._stance
    with running_eagerly(network), running_eagerly(network):
        assert eval_frame._stance.stance == "force_eager"
    assert eval_frame._stance == before
    with running_eagerly(small_cnn()):
        assert eval_frame._stance == before


def test_uncompiled_finds_the_module_behind() -> None:
    network = small_cnn()
    assert uncompiled(torch.compile(network, backend="eager")) is network
    assert uncompiled(network) is network


def test_a_network_in_the_middle_of_distributed_training_is_explained(tmp_path: Path) -> None:
    """The maps are those of the network inside; gradients and the next step are not disturbed."""
    plain = tiny_cnn()
    for parameter in plain.network.parameters():
        parameter.requires_grad_(True)
    images = torch.randn(2, 3, *plain.preprocessing.input_size)
    store = f"file://{tmp_path / 'store'}"
    dist.init_process_group("gloo", init_method=store, rank=0, world_size=1)
    try:
        wrapped = nn.parallel.DistributedDataParallel(plain.network)
        classifier = Classifier(wrapped, preprocessing=plain.preprocessing)
        assert [str(tap) for tap in classifier.taps] == [str(tap) for tap in plain.taps]
        wrapped(images).sum().backward()
        before = [each.grad.clone() for each in wrapped.parameters() if each.grad is not None]
        for method in ("grad_cam", "full_lrp"):
            found, expected = (make_explainer(method, each)(images) for each in (classifier, plain))
            assert torch.equal(found.maps, expected.maps)
        after = [each.grad for each in wrapped.parameters() if each.grad is not None]
        assert before and all(map(torch.equal, before, after))
        wrapped(images).sum().backward()
    finally:
        dist.destroy_process_group()


def test_first_tensor_looks_into_containers() -> None:
    tensor = torch.zeros(1)
    assert first_tensor(tensor) is tensor
    assert first_tensor((None, [tensor])) is tensor
    assert first_tensor(OrderedDict(a="text", b=tensor)) is tensor
    assert first_tensor("text") is None


def test_a_thread_that_meets_a_half_registered_hook_is_not_disturbed() -> None:
    """torch notes that a hook takes kwargs after it has registered it, and forgets it first."""
    layer = nn.Linear(2, 2)
    seen: list[Any] = []
    results: list[Tensor] = []

    def action(_module: nn.Module, args: Any, _kwargs: Any) -> None:
        seen.append(args)

    with watching_inputs([(layer, action)]):
        layer._forward_pre_hooks_with_kwargs.clear()
        thread = threading.Thread(target=lambda: results.append(layer(torch.ones(1, 2))))
        thread.start()
        thread.join()
    assert len(results) == 1
    assert not seen


def test_the_first_tensor_of_an_output_is_exchanged() -> None:
    old, new = torch.zeros(1), torch.ones(1)
    assert put_first_tensor(old, new) is new
    assert put_first_tensor((old, "more"), new) == (new, "more")
    assert put_first_tensor([old, None], new) == [new, None]
    with pytest.raises(TapError, match="a layer that returns a dict"):
        put_first_tensor({"hidden": old}, new)
