from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from ttame.classifiers.class_selection import ClassSelection
from ttame.errors import ClassSelectionError, ExplainerError, ImageError
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.exporting.exported_explainer import ExportedExplainer, load_exported
from ttame.exporting.exported_facts import ExportedFacts
from ttame.exporting.onnx_contents import onnx_contents, with_facts


@pytest.fixture(scope="module")
def loaded(exported: tuple[Path, ExportedFacts]) -> ExportedExplainer:
    return load_exported(exported[0])


@pytest.mark.parametrize("classes", [None, "top3", "all", "kind 4", ["kind 1", "kind 6"], 2])
def test_it_explains_as_the_explainer_does(
    loaded: ExportedExplainer,
    explainer: AttentionExplainer,
    photos: list[Image.Image],
    classes: ClassSelection,
) -> None:
    found, expected = loaded(photos, classes), explainer(photos, classes)
    assert torch.equal(found.classes, expected.classes)
    for name in ("maps", "logits", "probabilities"):
        assert torch.allclose(getattr(found, name), getattr(expected, name), atol=2e-6), name
    for name in ("class_names", "method", "image_size", "exclusive", "target_labels"):
        assert getattr(found, name) == getattr(expected, name), name
    assert dict(found.provenance) == dict(expected.provenance)


def test_its_maps_are_drawn_on_the_photos_as_the_explainers_are(
    loaded: ExportedExplainer, explainer: AttentionExplainer, photos: list[Image.Image]
) -> None:
    found, expected = loaded(photos, "top3"), explainer(photos, "top3")
    assert found.crop == expected.crop and len(found.photos) == len(photos)
    assert found[0].overlay(class_=1).size == photos[0].size
    assert torch.allclose(
        found.heatmaps_on(photos[1], 1), expected.heatmaps_on(photos[1], 1), atol=1e-4
    )
    with pytest.raises(ImageError, match="without its photo"):
        loaded(torch.zeros(1, 32, 32, 3, dtype=torch.uint8)).overlay()


def test_a_tensor_is_taken_as_the_file_takes_it(loaded: ExportedExplainer) -> None:
    assert loaded(torch.zeros(2, 32, 32, 3, dtype=torch.uint8)).maps.shape[:2] == (2, 1)
    with pytest.raises(ImageError, match="uint8"):
        loaded(torch.zeros(2, 3, 32, 32))
    with pytest.raises(ImageError, match="paths"):
        loaded([])


def test_a_class_that_does_not_exist(loaded: ExportedExplainer, photos: list[Image.Image]) -> None:
    with pytest.raises(ClassSelectionError, match="class index 7"):
        loaded(photos, 7)


def test_a_changed_file_is_refused(exported: tuple[Path, ExportedFacts], tmp_path: Path) -> None:
    content = bytearray(exported[0].read_bytes())
    facts = onnx_contents(bytes(content)).facts
    content[len(content) // 2] ^= 1
    path = tmp_path / "changed.onnx"
    path.write_bytes(content)
    with pytest.raises(ExplainerError):
        load_exported(path)
    path.write_bytes(with_facts(b"", facts))
    with pytest.raises(ExplainerError, match="no facts of ttame about one graph"):
        load_exported(path)
    path.write_bytes(
        exported[0].read_bytes().replace(b'"schema_version": 1', b'"schema_version": 9')
    )
    with pytest.raises(ExplainerError, match="version 9"):
        load_exported(path)


def test_facts_that_do_not_fit_the_graph_are_refused(
    exported: tuple[Path, ExportedFacts], photos: list[Image.Image], tmp_path: Path
) -> None:
    path = tmp_path / "lying.onnx"
    path.write_bytes(exported[0].read_bytes().replace(b'"takes": "pixels"', b'"takes": "images"'))
    with pytest.raises(ExplainerError, match="ONNX Runtime cannot run"):
        load_exported(path)(photos)


def test_files_of_torch_export_are_not_opened(tmp_path: Path) -> None:
    """They can run code; not even whether the file is there is asked."""
    with pytest.raises(ExplainerError, match="run code when it is loaded.*torch.export.load"):
        load_exported(tmp_path / "why.pt2")


@pytest.mark.parametrize("name", ["why.xml", "why.bin"])
def test_files_of_openvino_are_named_as_such(tmp_path: Path, name: str) -> None:
    with pytest.raises(ExplainerError, match="a file of OpenVINO.*openvino.compile_model"):
        load_exported(tmp_path / name)
