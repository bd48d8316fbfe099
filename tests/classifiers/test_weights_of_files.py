"""A fine-tuned file of weights says how many classes it has."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
import torchvision

from ttame.classifiers.known_classifiers import load_classifier
from ttame.errors import WeightsError


def test_the_number_of_classes_is_that_of_the_file(tmp_path: Path) -> None:
    network = timm.create_model("test_resnet", num_classes=2).eval()
    torch.save(
        {"model": network.state_dict(), "model_ema": network.state_dict()}, tmp_path / "m.pth"
    )
    loaded = load_classifier("timm/test_resnet", tmp_path / "m.pth", image_size=64)
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(loaded.logits(images), network(images))
    assert loaded.recipe is not None and loaded.recipe.network_options == {"num_classes": 2}
    assert loaded.class_names == ()
    assert [notice.partition(" ")[2] for notice in loaded.notices] == [
        "also holds 'model_ema'; the weights of 'model' are used",
        "has 2 classes, so num_classes=2",
    ]
    with pytest.raises(WeightsError, match="has 2 classes, and timm/test_resnet .* has 7"):
        load_classifier("timm/test_resnet", tmp_path / "m.pth", network_options={"num_classes": 7})


def test_of_torchvision_too(tmp_path: Path) -> None:
    network = torchvision.models.squeezenet1_1(num_classes=3)
    torch.save(network.state_dict(), tmp_path / "m.pt")
    loaded = load_classifier("torchvision/squeezenet1_1", tmp_path / "m.pt", image_size=64)
    assert loaded.number_of_classes == 3


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    torch.save(timm.create_model("test_vit", num_classes=2).state_dict(), tmp_path / "m.pth")
    with pytest.raises(WeightsError, match="weights of another architecture"):
        load_classifier("timm/test_resnet", tmp_path / "m.pth")


def test_another_end_of_the_same_network_is_refused_with_the_way_out(tmp_path: Path) -> None:
    network = timm.create_model("test_resnet", num_classes=2)
    network.fc = torch.nn.Sequential(torch.nn.Dropout(), network.fc)
    torch.save(network.state_dict(), tmp_path / "m.pth")
    with pytest.raises(WeightsError, match="unknown, e.g. fc.1.weight.*built as it was for train"):
        load_classifier("timm/test_resnet", tmp_path / "m.pth")
    (tmp_path / "built.py").write_text(
        "import timm, torch, ttame\n"
        "def build():\n"
        "    network = timm.create_model('test_resnet', num_classes=2)\n"
        "    network.fc = torch.nn.Sequential(torch.nn.Dropout(), network.fc)\n"
        "    return ttame.Classifier(network, preprocessing=ttame.Preprocessing.imagenet(32))\n"
    )
    found = load_classifier(f"{tmp_path / 'built.py'}:build", tmp_path / "m.pth")
    assert torch.equal(found.network.fc[1].weight, network.fc[1].weight)


def test_weights_whose_counters_were_made_half_precision_too_fit(tmp_path: Path) -> None:
    network = timm.create_model("test_resnet", num_classes=2)
    halves = {name: value.half() for name, value in network.state_dict().items()}
    torch.save(halves, tmp_path / "m.pth")
    assert load_classifier("timm/test_resnet", tmp_path / "m.pth").number_of_classes == 2
