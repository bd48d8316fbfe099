"""The two networks of a folder whose head reads another network's features."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from tests.tiny_networks import tiny_cnn, tiny_timm
from ttame.errors import ExplainerError, OtherClassifierError
from ttame.explainers.trained.attention_explainer import (
    AttentionExplainer,
    new_attention_explainer,
)
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.explainers.trained.head_provenance import full_provenance
from ttame.explainers.trained.known_head_settings import head_settings
from ttame.exporting.export_explainer import export_explainer


def explainer() -> AttentionExplainer:
    resnet = tiny_timm("resnet10t", 64, channels=(8, 12, 16, 24))
    return new_attention_explainer(tiny_cnn(), method="p_tame", features_from=resnet)


def test_both_are_loaded_as_the_folder_says(tmp_path: Path) -> None:
    vit = tiny_timm("test_vit", 64)
    resnet = tiny_timm("test_resnet", 64)
    made = new_attention_explainer(vit, method="p_tame", features_from=resnet)
    made.save(tmp_path / "saved")
    again = load_explainer(tmp_path / "saved")
    assert again.features_from is not None and again.features_from.name == "timm/test_resnet"
    assert [str(tap) for tap in again.features_from.taps] == [
        *("layer1", "layer2", "layer3", "layer4")
    ]
    images = torch.randn(2, 3, 64, 64)
    found = again(images, "top3")
    assert torch.equal(found.maps, made(images, "top3").maps)
    assert found.maps.shape == (2, 3, 16, 16)
    # What others know of the classifier is its own, not the other network's.
    assert [str(tap) for tap in again.classifier.taps] == [str(tap) for tap in vit.taps]


def test_a_network_without_a_recipe_is_asked_for_by_its_argument(tmp_path: Path) -> None:
    made = new_attention_explainer(tiny_cnn(), method="p_tame", features_from=tiny_cnn())
    made.save(tmp_path / "saved")
    with pytest.raises(ExplainerError, match="reads the features of.*features_from=Classifier"):
        load_explainer(tmp_path / "saved", tiny_cnn())
    load_explainer(tmp_path / "saved", tiny_cnn(), features_from=tiny_cnn())


def test_other_weights_of_either_are_refused_unless_allowed(tmp_path: Path) -> None:
    made = new_attention_explainer(tiny_cnn(), method="p_tame", features_from=tiny_cnn())
    made.save(tmp_path / "saved")
    changed = tiny_cnn()
    with torch.no_grad():
        next(changed.network.parameters()).view(-1)[0] += 1e-3
    for pair in ((changed, tiny_cnn()), (tiny_cnn(), changed)):
        with pytest.raises(OtherClassifierError, match="allow_other_weights"):
            load_explainer(tmp_path / "saved", pair[0], features_from=pair[1])
        load_explainer(tmp_path / "saved", pair[0], features_from=pair[1], allow_other_weights=True)


def test_features_for_a_head_that_reads_its_own_network_are_refused(tmp_path: Path) -> None:
    new_attention_explainer(tiny_cnn()).save(tmp_path / "saved")
    assert "features_from" not in json.loads((tmp_path / "saved" / "config.json").read_text())
    with pytest.raises(ExplainerError, match="reads those of.*itself"):
        load_explainer(tmp_path / "saved", tiny_cnn(), features_from=tiny_cnn())


def test_a_file_is_refused_in_one_line(tmp_path: Path) -> None:
    few_shot = new_attention_explainer(
        tiny_cnn(), head_settings("few-shot"), method="few_shot", features_from=tiny_cnn()
    )
    for made in (explainer(), few_shot):
        with pytest.raises(ExplainerError, match="a file holds one network") as told:
            export_explainer(made, tmp_path / "out.onnx")
        assert "\n" not in str(told.value)


def test_provenance_and_another_classifier() -> None:
    made = explainer()
    facts = full_provenance(made)
    assert made.features_from is not None
    assert facts["features_fingerprint"] == made.features_from.fingerprint()[:12]
    assert facts["taps"] == ["layer1", "layer2", "layer3", "layer4"]
    other = made.for_classifier(tiny_cnn())
    assert other.features_from is made.features_from
