"""A network as other libraries take it: layers by object, outputs of any shape."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.tiny_networks import TINY
from ttame import compat
from ttame.compat.explained_network import FlatOutputs, layer_name
from ttame.errors import ClassifierError, TapError


def test_layers_are_found_by_identity() -> None:
    model = TINY["timm resnet"]().network
    assert layer_name(model, model.layer4[-1]) == "layer4.0"  # type: ignore[index]
    compiled = torch.compile(model)
    assert layer_name(compiled, model.get_submodule("layer3")) == "layer3"  # type: ignore[arg-type]
    other = TINY["timm resnet"]().network
    with pytest.raises(TapError, match=r"BasicBlock is not part.*'layer3.0'\) or .*'layer4.0'\)"):
        compat.GradCAM(model, [other.layer4[-1]])  # type: ignore[index]
    with pytest.raises(TapError, match="'layer5' does not exist; try: layer"):
        compat.GradCAM(model, ["layer5"])


def test_flat_outputs_touch_nothing_of_the_network() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout().eval()).train()
    network[1].eval()
    flat = FlatOutputs(network)
    assert flat.training
    assert (network.training, network[1].training) == (True, False)
    assert flat(torch.zeros(2, 3, 5, 6)).shape == (2, 4 * 3 * 4)
    assert flat.shape == (4, 3, 4)

    class Silent(nn.Module):
        def forward(self, _images: torch.Tensor) -> None:
            return None

    with pytest.raises(ClassifierError, match="returns no tensor"):
        FlatOutputs(Silent())(torch.zeros(1, 3, 4, 4))
