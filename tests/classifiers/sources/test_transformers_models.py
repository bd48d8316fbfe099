from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import transformers

from tests.classifiers.sources.photos import wide_photo
from ttame.classifiers.known_classifiers import load_classifier
from ttame.classifiers.sources import connection
from ttame.errors import ClassifierError, WeightsError

SIZES = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "image_size": 32,
    "patch_size": 8,
}


def save_vit(folder: Path, **options: Any) -> transformers.ViTForImageClassification:
    config = transformers.ViTConfig(**{**SIZES, "num_labels": 3, **options})
    network = transformers.ViTForImageClassification(config)
    network.save_pretrained(folder)
    return network


def test_a_folder_is_loaded_with_its_names_and_weights(tmp_path: Path) -> None:
    saved = save_vit(tmp_path, id2label={0: "cat", 1: "dog", 2: "hen"})
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    classifier = load_classifier(f"hf/{tmp_path}")
    assert classifier.class_names == ("cat", "dog", "hen")
    assert classifier.preprocessing.input_size == (32, 32)
    assert [tap.layer for tap in classifier.taps] == [
        f"vit.layers.{block}.layernorm_before" for block in range(3)
    ]
    assert torch.equal(classifier.network.classifier.weight, saved.classifier.weight)


def test_a_classifier_of_texts_is_named_with_what_explains_it(tmp_path: Path) -> None:
    sizes = {name: SIZES[name] for name in ("hidden_size", "num_hidden_layers")}
    config = transformers.BertConfig(vocab_size=9, **sizes)
    config.architectures = ["BertForSequenceClassification"]
    config.save_pretrained(tmp_path)
    with pytest.raises(ClassifierError, match="classifies texts") as caught:
        load_classifier(f"hf/{tmp_path}")
    assert caught.value.remedy == f"ttame.text.load('hf/{tmp_path}')"


def test_numbered_labels_are_no_names_and_the_size_can_change(tmp_path: Path) -> None:
    save_vit(tmp_path)
    classifier = load_classifier(f"hf/{tmp_path}", weights="none", image_size=(32, 48))
    assert not classifier.class_names
    assert classifier.taps[0].grid == (4, 6)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ViTImageProcessor", {"resample": 3, "size": {"height": 64, "width": 48}}),
        ("ViTImageProcessor", {"resample": 0}),
        ("DeiTImageProcessor", {}),
        ("BeitImageProcessor", {"do_center_crop": True, "size": {"height": 256, "width": 256}}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 224}, "crop_pct": 0.875}),
        ("ConvNextImageProcessor", {"size": {"shortest_edge": 384}}),
        ("LevitImageProcessor", {}),
        ("PoolFormerImageProcessor", {}),
        ("MobileNetV2ImageProcessor", {}),
        ("MobileViTImageProcessor", {}),
        ("EfficientNetImageProcessor", {"rescale_offset": True, "rescale_factor": 1 / 127.5}),
        ("BitImageProcessor", {}),
        ("CLIPImageProcessor", {"do_normalize": False}),
    ],
)
def test_what_the_network_sees_is_the_processors(
    tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    """Up to one grey level, because the processors resize with another library than Pillow."""
    processor = getattr(transformers, kind)(**options)
    processor.save_pretrained(tmp_path)
    stages = {"hidden_sizes": [4, 4], "depths": [1, 1], "embedding_size": 4}
    transformers.ResNetConfig(layer_type="basic", **stages).save_pretrained(tmp_path)
    classifier = load_classifier(f"hf/{tmp_path}", weights="none")
    seen: list[torch.Tensor] = []
    first = classifier.network.resnet.embedder
    first.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    classifier.logits(classifier.prepare(wide_photo()))
    expected = processor(images=wide_photo(), return_tensors="pt")["pixel_values"]
    assert seen[0].shape == expected.shape
    grey_levels = (seen[0] - expected).abs() * max(classifier.preprocessing.std) * 255
    assert grey_levels.max() <= 1.1
    assert grey_levels.mean() <= 0.02


def test_weights_without_a_normalisation_are_refused(tmp_path: Path) -> None:
    save_vit(tmp_path)
    # A file of weights replaces the library's, not what they expect of pixels.
    weights: tuple[Any, ...] = ("default", tmp_path / "model.safetensors")
    for given in weights:
        with pytest.raises(ClassifierError, match=r"it has no preprocessor_config") as caught:
            load_classifier(f"hf/{tmp_path}", given)
        assert "\n" not in str(caught.value)
    # Random weights expect nothing.
    assert load_classifier(f"hf/{tmp_path}", "none").preprocessing.mean == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("content", ["{torn", '{"image_processor_type": "Nobody"}'])
def test_a_processor_that_cannot_be_used_is_refused_before_weights_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str
) -> None:
    save_vit(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(content)

    def refuse(*_arguments: object, **_options: object) -> None:
        raise AssertionError("weights were loaded")

    monkeypatch.setattr(transformers.AutoModelForImageClassification, "from_pretrained", refuse)
    with pytest.raises(ClassifierError, match="image processor cannot be used") as caught:
        load_classifier(f"hf/{tmp_path}")
    assert len(str(caught.value)) < 700 and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["DeiTConfig", "PvtConfig", "ResNetConfig"])
def test_configurations_without_a_chosen_class_or_labels(tmp_path: Path, kind: str) -> None:
    getattr(transformers, kind)().save_pretrained(tmp_path)
    options = {"num_labels": 3}
    size = 224 if kind == "DeiTConfig" else 64
    classifier = load_classifier(
        f"hf/{tmp_path}", weights="none", image_size=size, network_options=options
    )
    assert classifier.number_of_classes == 3


def test_a_folder_without_safetensors_is_refused(tmp_path: Path) -> None:
    network = save_vit(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(network.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match=r"model\.safetensors") as caught:
        load_classifier(f"hf/{tmp_path}")
    assert "\n" not in str(caught.value)


def test_folders_that_are_missing_or_hold_something_else(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="does not exist"):
        load_classifier(f"hf/{tmp_path}/missing")
    with pytest.raises(WeightsError, match=r"holds no config\.json"):
        load_classifier(f"hf/{tmp_path}")
    transformers.BertConfig().save_pretrained(tmp_path)
    with pytest.raises(ClassifierError, match="is not an image classifier"):
        load_classifier(f"hf/{tmp_path}", weights="none")


def test_the_home_folder_is_understood(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    save_vit(tmp_path / "mine")
    processor = transformers.ViTImageProcessor(size={"height": 32, "width": 32})
    processor.save_pretrained(tmp_path / "mine")
    assert load_classifier("hf/~/mine").number_of_classes == 3


def test_a_relative_folder_is_found_from_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_vit(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    recipe = load_classifier("hf/mine", weights="none").recipe
    assert recipe is not None
    monkeypatch.chdir("/")
    assert load_classifier(recipe.name, weights="none").number_of_classes == 3


def test_no_connection_is_one_quick_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_waiting(seconds: float) -> None:
        raise AssertionError(f"the hub is asked again after {seconds} s")

    monkeypatch.setattr("time.sleep", no_waiting)
    monkeypatch.setattr(connection, "is_reachable", lambda _url: False)
    with pytest.raises(WeightsError, match="no connection to the hub") as caught:
        load_classifier("hf/nobody-here/nothing")
    assert "\n" not in str(caught.value)
