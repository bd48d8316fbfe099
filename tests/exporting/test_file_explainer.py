from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from ttame.classifiers.targets import Target
from ttame.errors import ClassSelectionError, ExplainerError, ImageError
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.exporting.exported_explainer import load_exported
from ttame.exporting.exported_facts import ExportedFacts
from ttame.exporting.file_explainer import FileExplainer, load_file_explainer
from ttame.networks.pass_counter import counting_passes
from ttame.testing import tiny_classifier


@pytest.fixture(scope="module")
def of_file(exported: tuple[Path, ExportedFacts], explainer: AttentionExplainer) -> FileExplainer:
    return load_file_explainer(exported[0], explainer.classifier)


def test_it_explains_as_what_was_exported(
    of_file: FileExplainer, explainer: AttentionExplainer, photos: list[Image.Image]
) -> None:
    for classes in (None, "top3", ["kind 1", "kind 6"]):
        with counting_passes() as passes:
            found = of_file(photos, classes)
        expected = explainer(photos, classes)
        assert passes.forward == 2
        assert torch.equal(found.classes, expected.classes)
        assert torch.allclose(found.maps, expected.maps, atol=2e-6)
        assert torch.allclose(found.logits, expected.logits, atol=2e-6)
    assert of_file.card.title == explainer.card.title
    assert found.provenance["precision"] == "float32" and len(found.provenance["file"]) == 12


def test_images_that_are_not_of_8_bits_are_refused(of_file: FileExplainer) -> None:
    with pytest.raises(ImageError, match="not photos of 8 bits"):
        of_file(torch.full((1, 3, 32, 32), 0.1234))


def test_a_weighting_is_refused(of_file: FileExplainer, photos: list[Image.Image]) -> None:
    with pytest.raises(ClassSelectionError, match="weightings"):
        of_file(photos, target=Target.contrast(1, 2))


def test_other_weights_are_refused(
    of_file: FileExplainer, exported: tuple[Path, ExportedFacts]
) -> None:
    other = tiny_classifier(size=32)
    with pytest.raises(ExplainerError, match="has weights"):
        FileExplainer(other, load_exported(exported[0]))
    with pytest.raises(ExplainerError, match="for another classifier"):
        of_file.for_classifier(other)


def test_a_classifier_without_a_name_has_to_be_passed(
    exported: tuple[Path, ExportedFacts],
) -> None:
    with pytest.raises(ExplainerError, match="cannot load by name"):
        load_file_explainer(exported[0])
