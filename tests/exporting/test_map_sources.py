from __future__ import annotations

import pytest
import torch

from tests.conftest import assert_close
from ttame.errors import ExplainerError
from ttame.explainers.known_explainers import make_explainer
from ttame.exporting.map_sources import exportable_methods, map_source
from ttame.testing import tiny_classifier


@pytest.mark.parametrize("method", ["grad_cam", "rise"])
def test_what_needs_gradients_or_many_passes_names_what_can_be_exported(method: str) -> None:
    explainer = make_explainer(method, tiny_classifier())
    with pytest.raises(ExplainerError, match="class_evidence, recipro_cam, or a trained explainer"):
        map_source(explainer)


def test_methods_of_a_vision_transformer() -> None:
    assert exportable_methods(tiny_classifier("vit", size=32)) == [
        "class_evidence",
        "raw_attention",
        "attention_rollout",
        "class_embedding",
        "recipro_cam",
        "vit_recipro_cam",
    ]


def test_the_whole_way_of_mosaics_takes_many_passes() -> None:
    explainer = make_explainer("vit_recipro_cam", tiny_classifier("vit", size=32), block=-2)
    with pytest.raises(ExplainerError, match="vit_recipro_cam cannot be exported"):
        map_source(explainer)


def test_class_evidence_in_contrast_is_made_as_explained() -> None:
    explainer = make_explainer("class_evidence", tiny_classifier(size=32), contrast=True)
    source = map_source(explainer)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        read = source.read(explainer.classifier, images)
        chosen = torch.tensor([[3, 0], [1, 1]])
        assert_close(source(read.tensors, chosen), explainer(images, chosen.tolist()).maps, 1e-5)
        assert_close(source(read.tensors, None), explainer(images, "all").maps, 1e-5)
