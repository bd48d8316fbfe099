from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from huggingface_hub import constants
from timm.data import create_transform, resolve_model_data_config
from torch import nn

from tests.classifiers.sources.photos import tall_photo, wide_photo
from ttame.classifiers.known_classifiers import load_classifier
from ttame.classifiers.sources import connection, timm_models
from ttame.errors import ClassifierError, WeightsError


def configured(name: str) -> nn.Module:
    """No network, only the configuration of its weights, from which timm takes the transform."""
    module = nn.Module()
    config = timm.get_pretrained_cfg(name)
    assert config is not None
    module.pretrained_cfg = config.to_dict()  # type: ignore[assignment]
    return module


@pytest.mark.parametrize(
    "name",
    [
        "resnet50.a1_in1k",  # centre crop after 0.95
        "tf_efficientnet_lite0.in1k",  # 0.875, bicubic, mean 0.5
        "vit_base_patch16_224.augreg2_in21k_ft_in1k",
        "beit_base_patch16_384.in22k_ft_in22k_in1k",
        "eva02_base_patch14_448.mim_in22k_ft_in22k_in1k",  # squash
        "convnext_tiny.fb_in22k_ft_in1k_384",
        "vgg16.tv_in1k",
    ],
)
def test_preprocessing_is_the_librarys(name: str) -> None:
    network = configured(name)
    transform = create_transform(**resolve_model_data_config(network), is_training=False)
    preprocessing = timm_models._preprocessing(network)
    for photo in (wide_photo(), tall_photo()):
        expected = transform(photo)
        torch.testing.assert_close(preprocessing.prepare(photo), expected, atol=1e-5, rtol=0)


def test_no_connection_is_one_quick_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_waiting(seconds: float) -> None:
        raise AssertionError(f"the hub is asked again after {seconds} s")

    monkeypatch.setattr("time.sleep", no_waiting)
    monkeypatch.setattr(connection, "is_reachable", lambda _url: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(WeightsError, match="no connection to the Hugging Face hub") as caught:
        load_classifier("timm/test_resnet")
    assert "\n" not in str(caught.value)
    with pytest.raises(WeightsError, match="nothing"):
        load_classifier("timm/test_resnet.nothing")


def test_options_are_checked() -> None:
    with pytest.raises(ClassifierError, match=r"refuses .*colour"):
        load_classifier("timm/test_resnet", weights="none", network_options={"colour": 1})


def test_class_names_fit_the_logits() -> None:
    assert load_classifier("timm/test_vit", weights="none").class_names[0] == "tench"
    few = load_classifier("timm/test_vit", weights="none", network_options={"num_classes": 3})
    assert not few.class_names


def test_the_image_size_reaches_the_position_embedding() -> None:
    classifier = load_classifier("timm/test_vit", weights="none", image_size=(64, 96))
    assert classifier.taps[0].grid == (4, 6)
    assert classifier.preprocessing.input_size == (64, 96)


@pytest.mark.parametrize("option", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay"])
def test_options_that_may_open_a_pickle_are_refused(option: str) -> None:
    with pytest.raises(ClassifierError, match=f"{option}.*may open a pickle.*weights=FILE"):
        load_classifier("timm/test_resnet", "none", network_options={option: "/nowhere.pth"})
