"""Text classifiers from folders."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import ttame
from ttame.errors import ClassifierError, TtameError, WeightsError
from ttame.testing.tiny_texts import tiny_text_classifier


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "tiny"
    classifier = tiny_text_classifier()
    classifier.network.model.save_pretrained(folder)
    classifier.tokenizer.save_pretrained(folder)
    return folder


def changed(folder: Path, to: Path, **entries: object) -> Path:
    """A copy of the folder with other entries in its configuration."""
    to.mkdir()
    for file in folder.iterdir():
        (to / file.name).write_bytes(file.read_bytes())
    config = json.loads((to / "config.json").read_text()) | entries
    (to / "config.json").write_text(json.dumps(config))
    return to


def test_a_folder_gives_the_same_scores(folder: Path) -> None:
    loaded, made = ttame.text.load(f"hf/{folder}"), tiny_text_classifier()
    assert loaded.name == "tiny"
    text = "not a bad film"
    scores = [each.logits(each.prepare(text)) for each in (loaded, made)]
    assert torch.allclose(*scores, atol=1e-6)
    named = ttame.text.load(f"hf/{folder}", class_names=["down", "up"], too_long="truncate")
    assert named.class_names == ("down", "up")
    assert named.prepare("good " * 99).shape[-1] == 32


def test_what_is_missing_is_said(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="folder /no/such does not exist"):
        ttame.text.load("hf//no/such")
    with pytest.raises(WeightsError, match="no text classifier .bert.; allowed: minilm_reviews"):
        ttame.text.load("bert")
    for place in (str(folder), folder):
        with pytest.raises(WeightsError, match=f"no text classifier .*; try: hf/{folder}$"):
            ttame.text.load(place)  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match="no text classifier 'hf/'; allowed"):
        ttame.text.load("hf/")
    with pytest.raises(ClassifierError, match="minilm_reviews classifies texts; .* try: ttame.tex"):
        ttame.load_classifier("minilm_reviews")
    with pytest.raises(WeightsError, match=r"holds no config\.json"):
        ttame.text.load(f"hf/{tmp_path}")
    headless = changed(folder, tmp_path / "headless")
    weights = load_file(headless / "model.safetensors")
    weights = {name: value for name, value in weights.items() if "classifier" not in name}
    save_file(weights, headless / "model.safetensors", {"format": "pt"})
    with pytest.raises(WeightsError, match=r"no weights for classifier\.bias, classifier\.weight"):
        ttame.text.load(f"hf/{headless}")
    (headless / "model.safetensors").unlink()
    with pytest.raises(WeightsError, match="headless cannot be loaded"):
        ttame.text.load(f"hf/{headless}")


def test_other_tasks_and_code_are_refused(folder: Path, tmp_path: Path) -> None:
    tokens = changed(folder, tmp_path / "tokens", architectures=["BertForTokenClassification"])
    with pytest.raises(ClassifierError, match="classifies every token"):
        ttame.text.load(f"hf/{tokens}")
    writer = changed(folder, tmp_path / "writer", architectures=["GPT2LMHeadModel"])
    with pytest.raises(ClassifierError, match="generates texts"):
        ttame.text.load(f"hf/{writer}")
    code = changed(folder, tmp_path / "code", model_type="new", auto_map={"AutoConfig": "new.New"})
    with pytest.raises(ClassifierError, match="brings Python code of its own") as refused:
        ttame.text.load(f"hf/{code}")
    assert "trust" not in str(refused.value)


def test_a_repository_without_a_connection_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ttame.classifiers.sources.connection.is_reachable", lambda _url: False)
    with pytest.raises(TtameError, match="no connection to the hub") as refused:
        ttame.text.load("hf/no-such-owner/no-such-model")
    assert "\n" not in str(refused.value)
