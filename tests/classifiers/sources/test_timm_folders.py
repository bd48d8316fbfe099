"""Folders of timm's ``save_for_hf``, whether timm or transformers is asked for them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import timm
import torch
from timm.models import save_for_hf
from torch import nn

from ttame.classifiers.known_classifiers import load_classifier
from ttame.classifiers.sources.timm_folders import is_timm_folder
from ttame.errors import ClassifierError, WeightsError

CONFIG = {"num_classes": 2, "label_names": ["bird", "dog"]}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, nn.Module]:
    folder = tmp_path_factory.mktemp("saved")
    network = timm.create_model("test_resnet", num_classes=2).eval()
    save_for_hf(network, str(folder), model_config=CONFIG)
    return folder, network


@pytest.mark.parametrize("form", ["timm/local-dir:{}", "local-dir:{}", "hf/{}"])
def test_such_a_folder_is_loaded_with_its_names(saved: tuple[Path, nn.Module], form: str) -> None:
    folder, network = saved
    assert is_timm_folder(folder)
    loaded = load_classifier(form.format(folder), image_size=64)
    assert loaded.class_names == ("bird", "dog")
    images = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(loaded.logits(images), network(images))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model_args": {"checkpoint_path": "/tmp/x"}}, "network option 'checkpoint_path'"),
        ({"architecture": "os.system"}, "asks for architecture"),
        ({"num_classes": 10**9}, "asks for num_classes"),
        ({"pretrained_cfg": {"input_size": [3, 10**6, 10**6]}}, "asks for input_size"),
    ],
)
def test_a_configuration_says_plain_options_only(
    saved: tuple[Path, nn.Module], tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    described = json.loads((saved[0] / "config.json").read_text()) | changes
    (tmp_path / "config.json").write_text(json.dumps(described))
    with pytest.raises(ClassifierError, match=message):
        load_classifier(f"timm/local-dir:{tmp_path}", "none")


def test_missing_parts_are_named(saved: tuple[Path, nn.Module], tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no readable config.json"):
        load_classifier(f"timm/local-dir:{tmp_path}")
    (tmp_path / "config.json").write_text((saved[0] / "config.json").read_text())
    with pytest.raises(WeightsError, match="holds no weights"):
        load_classifier(f"timm/local-dir:{tmp_path}")
    with pytest.raises(WeightsError, match=r"timm/hf-hub:nobody/nothing cannot be loaded"):
        load_classifier("hf-hub:nobody/nothing")
