"""Folders of schema 1, as ttame wrote them, still load."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from ttame.errors import ExplainerFolderError
from ttame.explainers.trained.explainer_config import head_of, read_config
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.explainers.trained.explainer_places import bundled_explainers
from ttame.training.training_settings import TrainingSettings

HERE = Path(__file__).parent
OLDER = {"few-shot": "efficientnet_lite0--few-shot-quick", "t-tame": "efficientnet_lite0--t-tame"}
"""Files that shipped, to the explainer that is the same today."""


@pytest.mark.parametrize("name", OLDER)
def test_a_folder_of_schema_1_is_that_of_today(name: str, tmp_path: Path) -> None:
    today = bundled_explainers()[OLDER[name]]
    shutil.copy(HERE / "older" / f"{name}.json", tmp_path / "config.json")
    shutil.copy(today / "explainer.safetensors", tmp_path)
    config, expected = read_config(tmp_path), read_config(today)
    path = tmp_path / "config.json"
    with torch.device("meta"):
        head, same = head_of(config, path), head_of(expected, path)
    assert head.to_config() == same.to_config()
    assert config.classifier == expected.classifier
    was, now = (TrainingSettings.from_json(c.training["settings"]) for c in (config, expected))
    # The preset has another name today.
    assert dataclasses.replace(was, preset=now.preset) == now
    assert json.loads(path.read_text())["schema_version"] == 1


def test_an_explainer_of_schema_1_gives_the_same_maps(tmp_path: Path) -> None:
    shutil.copy(HERE / "older" / "few-shot.json", tmp_path / "config.json")
    today = OLDER["few-shot"]
    shutil.copy(bundled_explainers()[today] / "explainer.safetensors", tmp_path)
    explainer = load_explainer(today)
    older = load_explainer(tmp_path, classifier=explainer.classifier)
    images = torch.rand(1, 3, 224, 224)
    assert torch.equal(older(images, "top2").maps, explainer(images, "top2").maps)
    assert older.provenance() == explainer.provenance()
    older.save(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["schema_version"] == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda head: head.update(few_shot=None), r"head\.few_shot"),
        (lambda head: head.update(variant="t-tame"), r"head\.few_shot"),
        (lambda head: head.update(variant="other"), r"head\.variant"),
        (lambda head: head["few_shot"].update(pooled=99), r"head\.few_shot\.pooled"),
        (lambda head: head.update(channels=[10**12]), r"head\.channels"),
        (lambda head: head["few_shot"].update(prior=False), "'head'"),
    ],
)
def test_a_broken_file_of_schema_1_is_one_line(change: Any, message: str, tmp_path: Path) -> None:
    content = json.loads((HERE / "older" / "few-shot.json").read_text())
    change(content["head"])
    path = tmp_path / "config.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ExplainerFolderError, match=message) as caught, torch.device("meta"):
        head_of(read_config(tmp_path), path)
    assert "\n" not in str(caught.value)


def test_what_the_oldest_files_lack_had_a_default(tmp_path: Path) -> None:
    content = json.loads((HERE / "older" / "few-shot.json").read_text())
    for name in ("maps",):
        content["head"].pop(name)
    content["head"]["few_shot"].pop("details")
    content["training"] = {}
    (tmp_path / "config.json").write_text(json.dumps(content))
    settings = read_config(tmp_path).head.settings
    assert (settings["maps"], settings["details"]) == ({"kind": "raw"}, 1.0)
