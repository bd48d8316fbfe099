from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ttame.classifiers.known_classifiers import load_classifier
from ttame.errors import ClassifierError, TapError, UnknownNameError, WeightsError


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("resnet50", "timm/resnet50 or"),
        ("resnet50", "torchvision/resnet50"),
        ("vit_base_patch16_224", "timm/vit_base_patch16_224"),
        ("efficientnet_lite", "efficientnet_lite0"),
        ("torchvison/resnet50", "try: torchvision"),
        ("google/vit-base-patch16-224", "try: hf/google/vit-base-patch16-224"),
        ("timm/resnet5O", "try: resnet50 or"),
        ("torchvision/resnet51", "resnet50"),
        ("timm/", "torchvision/NAME, timm/NAME"),
        ("", "torchvision/NAME, timm/NAME"),
    ],
)
def test_unknown_names_bring_near_ones(name: str, suggestion: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        load_classifier(name)
    assert suggestion in str(caught.value)
    assert "\n" not in str(caught.value)


def test_weights_from_a_file(tmp_path: Path) -> None:
    first = load_classifier("timm/test_resnet", weights="none")
    save_file(first.network.state_dict(), tmp_path / "w.safetensors")
    second = load_classifier("timm/test_resnet", weights=tmp_path / "w.safetensors")
    assert first.fingerprint() == second.fingerprint()
    assert second.recipe is not None
    assert second.recipe.weights == str(tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="another architecture than VisionTransformer"):
        load_classifier("timm/test_vit", weights=tmp_path / "w.safetensors")


def test_random_weights_follow_from_their_seed_alone() -> None:
    before = torch.get_rng_state()
    first = load_classifier("timm/test_resnet", weights="none")
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    again = load_classifier("timm/test_resnet", weights="none")
    other = load_classifier("timm/test_resnet", weights="none", weights_seed=7)
    assert first.fingerprint() == again.fingerprint() != other.fingerprint()
    assert other.recipe is not None and other.recipe.weights_seed == 7


def test_options_taps_and_names_are_passed_on() -> None:
    classifier = load_classifier(
        "timm/test_resnet",
        weights="none",
        image_size=(64, 96),
        taps=["layer4"],
        class_names=["a", "b"],
        network_options={"num_classes": 2},
    )
    assert [(tap.layer, tap.grid) for tap in classifier.taps] == [("layer4", (2, 3))]
    assert classifier.class_names == ("a", "b")
    assert classifier.preprocessing.input_size == (64, 96)
    assert not any(parameter.requires_grad for parameter in classifier.network.parameters())


def test_what_cannot_work_is_one_clear_line() -> None:
    with pytest.raises(TapError, match="layer 'layer5' does not exist; try: layer4"):
        load_classifier("timm/test_resnet", weights="none", taps=["layer5"])
    with pytest.raises(ClassifierError, match="1 class names for 1000 classes"):
        load_classifier("timm/test_resnet", weights="none", class_names=["a"])
    with pytest.raises(ClassifierError, match="device 'nowhere' cannot be used"):
        load_classifier("timm/test_resnet", weights="none", device="nowhere")
    with pytest.raises(ClassifierError, match="at least 1 pixel"):
        load_classifier("timm/test_resnet", weights="none", image_size=0)
    with pytest.raises(WeightsError, match='"default", "none"'):
        load_classifier("timm/test_resnet", weights="defualt")


def test_a_device_is_used() -> None:
    classifier = load_classifier("timm/test_resnet", weights="none", device="cpu")
    assert classifier.device == torch.device("cpu")
