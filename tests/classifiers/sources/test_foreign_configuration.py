"""Configurations of strangers' transformers networks, as whole folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers

from tests.classifiers.sources.test_transformers_models import save_vit
from ttame.classifiers.known_classifiers import load_classifier
from ttame.classifiers.sources.foreign_configuration import refuse_code
from ttame.errors import ClassifierError

WRAPPED = {"model_type": "timm_wrapper", "architecture": "test_resnet"}


def edit(path: Path, **changes: Any) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_vit(tmp_path)
    transformers.ViTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attn_implementation": "somebody/kernel"}, "asks for attn_implementation"),
        ({"_attn_implementation": "somebody/kernel"}, "asks for _attn_implementation"),
        ({"vision_config": {"attn_implementation": ["x"]}}, "asks for attn_implementation"),
        ({"quantization_config": {"quant_method": "awq"}}, "asks for quantization_config"),
        ({"use_kernels": True}, "asks for use_kernels"),
        ({"num_labels": 10**12}, "asks for num_labels"),
        ({"num_labels": "3"}, "asks for num_labels"),
        ({**WRAPPED, "architecture": "local-dir:/tmp"}, "asks for architecture"),
        ({**WRAPPED, "architecture": {}}, "asks for architecture"),
        ({**WRAPPED, "model_args": {"checkpoint_path": "/tmp/x"}}, "option 'checkpoint_path'"),
        ({**WRAPPED, "model_args": [1]}, "asks for model_args"),
        ({**WRAPPED, "pretrained_cfg": {"input_size": [3, 10**6, 10**6]}}, "asks for input_size"),
        ({"model_type": "strange", "auto_map": {"AutoConfig": "x.X"}}, "Python code of its own"),
    ],
)
def test_a_configuration_may_not_ask_for_code(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    edit(folder / "config.json", **changes)
    for weights in ("default", "none"):
        with pytest.raises(ClassifierError, match=message) as caught:
            load_classifier(f"hf/{folder}", weights)
        assert "\n" not in str(caught.value)


def test_an_image_processor_of_a_million_pixels_a_side_is_refused(folder: Path) -> None:
    edit(folder / "preprocessor_config.json", size={"height": 10**6, "width": 10**6})
    with pytest.raises(ClassifierError, match="asks for size"):
        load_classifier(f"hf/{folder}")


def test_code_that_is_not_needed_is_not_run(folder: Path) -> None:
    """Many repositories bring code for versions of transformers that lack their network."""
    marker = folder / "RAN"
    for module in ("vit", "pictures"):
        (folder / f"{module}.py").write_text(f"open({str(marker)!r}, 'w').close()")
    edit(
        folder / "config.json",
        auto_map={"AutoConfig": "vit.Config", "AutoModelForImageClassification": "vit.Network"},
    )
    code = {"AutoImageProcessor": "pictures.Processor"}
    edit(folder / "preprocessor_config.json", auto_map=code)
    assert load_classifier(f"hf/{folder}").number_of_classes == 3
    edit(folder / "preprocessor_config.json", image_processor_type="Pictures")
    with pytest.raises(ClassifierError, match="image processor"):
        load_classifier(f"hf/{folder}")
    assert not marker.exists()


def test_trust_is_true_or_false(folder: Path) -> None:
    with pytest.raises(ClassifierError, match="trust_remote_code='yes'; allowed: true or false"):
        load_classifier(f"hf/{folder}", network_options={"trust_remote_code": "yes"})


@pytest.mark.parametrize(
    "kind", ["ViTConfig", "SwinConfig", "ResNetConfig", "ConvNextConfig", "SiglipConfig"]
)
def test_what_ordinary_configurations_hold_is_followed(kind: str) -> None:
    refuse_code(getattr(transformers, kind)().to_dict(), "hf/ordinary")
