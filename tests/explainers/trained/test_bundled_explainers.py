"""What ships works offline, is small, and says where it comes from."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from ttame.classifiers.known_classifiers import load_classifier
from ttame.errors import ExplainerError, OtherClassifierError
from ttame.explainers.trained.explainer_card import explainer_card
from ttame.explainers.trained.explainer_config import ExplainerConfig, head_of
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.explainers.trained.explainer_places import bundled_explainers

skimage = pytest.importorskip("skimage")
PHOTOS = Path(skimage.__file__).parent / "data"


def test_the_default_is_bundled() -> None:
    assert "efficientnet_lite0" in bundled_explainers()


@pytest.mark.parametrize("name", bundled_explainers())
def test_it_is_small_and_its_card_holds_the_command_and_the_figures(name: str) -> None:
    folder = bundled_explainers()[name]
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "explainer.safetensors",
    ]
    assert sum(path.stat().st_size for path in folder.iterdir()) < 5e6
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert "Command: `ttame train" in card
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["training"]["validation"]
    assert config["classifier"]["fingerprint"] in card
    for text in (card, json.dumps(config)):
        assert str(Path.home()) not in text
        assert not re.search(r"--(data|out) '?/", text), "a path of one machine"


@pytest.mark.parametrize(
    ("photo", "expected"),
    [("chelsea.png", "cat"), ("coffee.png", "espresso"), ("rocket.jpg", "missile")],
)
def test_it_explains_real_photos(photo: str, expected: str) -> None:
    explainer = load_explainer("efficientnet_lite0")
    explanation = explainer(PHOTOS / photo, "top3")
    assert expected in explanation.class_label(int(explanation.classes[0, 0]))
    assert explanation.maps.shape == (1, 3, 28, 28)
    assert explanation.has_evidence.all()
    # Maps of different classes differ, though the network sees the same places.
    heatmaps = explanation.heatmaps((28, 28))
    assert (heatmaps[0, 0] - heatmaps[0, 1]).abs().mean() > 0.01


def test_images_too_small_for_it_are_named_as_the_reason() -> None:
    classifier = load_classifier("efficientnet_lite0", image_size=32)
    with pytest.raises(OtherClassifierError) as caught:
        load_explainer("efficientnet_lite0", classifier=classifier)
    said = str(caught.value)
    assert said.startswith("efficientnet_lite0 on images of 32x32 pixels (")
    assert "allowed: 224x224 pixels" in said and said.endswith("try: image_size=224")
    assert str(Path.home()) not in said and "/src/" not in said


def test_the_trained_maps_follow_the_image_not_the_position() -> None:
    """A flipped photo gets a flipped map, more or less; a fixed picture would not."""
    explainer = load_explainer("efficientnet_lite0")
    images = explainer.classifier.prepare([PHOTOS / "coffee.png"])
    maps = explainer(images, 967).heatmaps((28, 28))
    flipped = explainer(images.flip(3), 967).heatmaps((28, 28)).flip(3)
    apart = torch.stack([maps.flatten(), flipped.flatten()])
    assert float(torch.corrcoef(apart)[0, 1]) > 0.8


@pytest.mark.parametrize("name", sorted(bundled_explainers()))
def test_bundled_cards_are_what_their_configuration_gives(name: str) -> None:
    folder = bundled_explainers()[name]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = ExplainerConfig.model_validate(config)
    saved = config.model_dump(mode="json")
    assert (folder / "README.md").read_text(encoding="utf-8") == explainer_card(
        saved, head_of(config, folder).facts(saved["classifier"]["taps"])
    )


def test_a_card_leaves_out_what_the_training_did_not_look_at() -> None:
    cards = {
        name: (folder / "README.md").read_text(encoding="utf-8")
        for name, folder in bundled_explainers().items()
    }
    few_shot, published = cards["efficientnet_lite0"], cards["efficientnet_lite0--t-tame"]
    assert "| mean map | 0.55 |" in few_shot and "| area weight |" not in few_shot
    assert "| momentum |" not in few_shot
    assert "| area weight |" in published and "| momentum |" in published


def test_a_head_without_its_class_weights_says_so() -> None:
    explainer = load_explainer("efficientnet_lite0")
    features = [torch.zeros(1, tap.channels, *tap.grid) for tap in explainer.classifier.taps]
    with pytest.raises(ExplainerError, match="class_weights=, the weight of classifier"):
        explainer.head(features, torch.tensor([3]))
