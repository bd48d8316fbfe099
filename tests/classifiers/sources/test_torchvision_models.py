from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torchvision.models

from tests.classifiers.sources.photos import tall_photo, wide_photo
from ttame.classifiers.known_classifiers import load_classifier
from ttame.classifiers.sources import torchvision_models
from ttame.errors import ClassifierError, WeightsError
from ttame.images.preprocessing import Preprocessing


@pytest.mark.parametrize("name", ["resnet50", "vit_b_16", "inception_v3", "swin_v2_t", "vit_l_16"])
def test_preprocessing_is_the_librarys(name: str) -> None:
    published = torchvision.models.get_model_weights(name).DEFAULT
    preprocessing = Preprocessing.from_torchvision(published.transforms())
    for photo in (wide_photo(), tall_photo()):
        expected = published.transforms()(photo)
        torch.testing.assert_close(preprocessing.prepare(photo), expected, atol=1e-6, rtol=0)


def test_no_connection_is_one_quick_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torchvision_models, "is_reachable", lambda _url: False)
    with pytest.raises(WeightsError, match="no connection to https://download") as caught:
        load_classifier("torchvision/squeezenet1_1")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.rglob("*.pth"))


def write_cached_weights(folder: Path, network: torch.nn.Module, name: str) -> Path:
    published = torchvision.models.get_model_weights(name).DEFAULT
    path = folder / "hub" / "checkpoints" / Path(published.url).name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), path)
    return path


def test_cached_weights_need_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torchvision_models, "is_reachable", lambda _url: False)
    saved = torchvision.models.squeezenet1_1()
    path = write_cached_weights(tmp_path, saved, "squeezenet1_1")
    classifier = load_classifier("torchvision/squeezenet1_1")
    first = classifier.network.state_dict()["features.0.weight"]
    assert torch.equal(first, saved.state_dict()["features.0.weight"])
    assert classifier.class_names[0] == "tench"
    with pytest.raises(WeightsError, match="do not fit"):
        load_classifier("torchvision/squeezenet1_1", network_options={"num_classes": 7})
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(WeightsError, match="deleting") as caught:
        load_classifier("torchvision/squeezenet1_1")
    assert "\n" not in str(caught.value)


def test_options_are_checked_and_size_is_square() -> None:
    with pytest.raises(ClassifierError, match="refuses"):
        load_classifier("torchvision/resnet18", weights="none", network_options={"colour": 1})
    with pytest.raises(ClassifierError, match="a square one"):
        load_classifier("torchvision/vit_b_16", weights="none", image_size=(64, 96))
    classifier = load_classifier(
        "torchvision/squeezenet1_1", weights="none", network_options={"num_classes": 7}
    )
    assert classifier.number_of_classes == 7
    assert not classifier.class_names
