"""Zero-shot explainers are saved with their texts and loaded with the image tower."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tests.classifiers.clip_like import tiny_clip, tiny_siglip
from tests.cli.test_commands import run
from tests.tiny_networks import tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError, ExplainerFolderError, OtherClassifierError
from ttame.explainers.trained.attention_explainer import new_attention_explainer
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.images.preprocessing import Preprocessing
from ttame.testing import tiny_photos

CODE = """
import torch, ttame
from tests.classifiers.clip_like import tiny_clip

def made():
    torch.manual_seed(3)
    return ttame.Classifier.zero_shot(
        tiny_clip(), torch.randn(3, 20), ["cat", "dog", "hen"],
        preprocessing=ttame.Preprocessing.imagenet(32))
"""


def zero_shot(model: torch.nn.Module, width: int) -> Classifier:
    torch.manual_seed(3)
    texts = torch.randn(3, width)
    names = ["cat", "dog", "hen"]
    return Classifier.zero_shot(model, texts, names, preprocessing=Preprocessing.imagenet(32))


@pytest.mark.parametrize(("make", "width"), [(tiny_clip, 20), (tiny_siglip, 24)])
def test_the_image_tower_is_enough(make: type, width: int, tmp_path: Path) -> None:
    explainer = new_attention_explainer(zero_shot(make(), width))
    explainer.save(tmp_path / "mine")
    again = load_explainer(tmp_path / "mine", image_tower=make())
    images = torch.randn(2, 3, 32, 32)
    assert torch.equal(again(images, "all").maps, explainer(images, "all").maps)
    assert again.classifier.class_names == ("cat", "dog", "hen")
    assert again.classifier.outputs.kind == explainer.classifier.outputs.kind
    with pytest.raises(ExplainerError, match=r"load_explainer\(..., image_tower=model\)"):
        load_explainer(tmp_path / "mine")
    other = make()
    torch.nn.init.normal_(next(other.vision_model.parameters()))
    with pytest.raises(OtherClassifierError, match="has weights"):
        load_explainer(tmp_path / "mine", image_tower=other)


def test_broken_texts_and_other_explainers_are_refused(tmp_path: Path) -> None:
    new_attention_explainer(zero_shot(tiny_clip(), 20)).save(tmp_path / "mine")
    texts = tmp_path / "mine" / "text_embeddings.safetensors"
    rows = load_file(texts)
    save_file({"weight": rows["weight"][:2].clone()}, texts)
    with pytest.raises(ExplainerFolderError, match="does not fit its config.json"):
        load_explainer(tmp_path / "mine", image_tower=tiny_clip())
    texts.unlink()
    with pytest.raises(ExplainerFolderError, match="text_embeddings.safetensors"):
        load_explainer(tmp_path / "mine", image_tower=tiny_clip())
    new_attention_explainer(tiny_cnn()).save(tmp_path / "other")
    with pytest.raises(ExplainerError, match="does not explain a zero-shot classifier"):
        load_explainer(tmp_path / "other", image_tower=tiny_clip())


def test_the_command_line_explains_what_a_file_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "clip_of_mine.py").write_text(CODE)
    tiny_photos(1, size=32)[0].save(tmp_path / "photo.png")
    what = ["--model", "clip_of_mine.py:made", "--methods", "grad_cam", "--out", "out"]
    assert run(["explain", "photo.png", *what], monkeypatch) == 0
    written = json.dumps(json.loads((tmp_path / "out" / "explanations.json").read_text()))
    assert any(name in written for name in ("cat", "dog", "hen"))
