from __future__ import annotations

import pytest

from ttame.errors import ExplainerError
from ttame.explainers.known_explainers import make_explainer
from ttame.exporting.map_sources import exportable_methods, map_source
from ttame.testing import tiny_classifier


@pytest.mark.parametrize("method", ["grad_cam", "rise"])
def test_what_needs_gradients_or_many_passes_names_what_can_be_exported(method: str) -> None:
    explainer = make_explainer(method, tiny_classifier())
    with pytest.raises(ExplainerError, match="cam, class_evidence, or a trained explainer"):
        map_source(explainer)


def test_methods_of_a_vision_transformer() -> None:
    assert exportable_methods(tiny_classifier("vit", size=32)) == [
        "class_evidence",
        "raw_attention",
        "attention_rollout",
    ]
