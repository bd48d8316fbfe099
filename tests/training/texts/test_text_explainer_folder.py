from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.training.texts import trained_once
from ttame.errors import ExplainerError
from ttame.explainers.trained import explainer_folder
from ttame.testing import tiny_text_classifier
from ttame.text_classifiers.sequence_classifiers import load
from ttame.training.texts.text_explainer_folder import load_explainer
from ttame.training.texts.train_text_explainer import train
from ttame.training.training_settings import training_settings


def test_the_classifier_is_loaded_by_its_name(tmp_path: Path) -> None:
    tiny = tiny_text_classifier()
    tiny.network.model.save_pretrained(tmp_path / "bert")  # type: ignore[operator]
    tiny.tokenizer.save_pretrained(tmp_path / "bert")
    classifier = load(f"hf/{tmp_path}/bert", class_names=["bad", "good"])
    settings = training_settings("few-shot-text", epochs=2, batch_size=4, random_masks=0)
    place = tmp_path / "explainer"
    trained = train(classifier, ["a fine film", "a dull plot"] * 4, place, settings, progress=False)
    again = load_explainer(place)
    assert again.classifier.class_names == ("bad", "good")
    text = "not a bad film"
    assert torch.equal(again(text).maps, trained(text).maps)
    with pytest.raises(ExplainerError, match=r"ttame\.text\.load_explainer"):
        explainer_folder.load_explainer(place)


def test_who_must_be_passed() -> None:
    with pytest.raises(ExplainerError, match="cannot load by name"):
        load_explainer(trained_once.folder())
    with pytest.raises(ExplainerError, match="a classifier of images"):
        load_explainer("efficientnet_lite0")
