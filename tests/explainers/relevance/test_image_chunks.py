"""Batches that are cut by the memory budget."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from ttame import Target, make_explainer
from ttame.explainers.relevance import image_chunks
from ttame.networks.pass_counter import counting_passes
from ttame.testing import tiny_text_classifier

TEXTS = ["a fine film", "the story was dull", "never a good plot"]


CHOSEN_ALONE: list[dict[str, Any]] = [{}, {"classes": "all"}, {"classes": ["positive"]}]
CHOSEN_TOGETHER: list[dict[str, Any]] = [
    {"classes": [[1], [0], [1]]},
    {"target": Target.contrast("positive", "negative")},
]


@pytest.mark.parametrize(
    ("wanted", "passes"),
    [*((wanted, 6) for wanted in CHOSEN_ALONE), *((wanted, 9) for wanted in CHOSEN_TOGETHER)],
)
def test_maps_are_the_same_and_scores_are_computed_once_where_images_choose_alone(
    wanted: dict[str, Any], passes: int
) -> None:
    """Two forward passes for each text, and one more where classes are chosen for all together."""
    explainer = make_explainer("transformer_attribution", tiny_text_classifier())
    whole = explainer(TEXTS, **wanted)
    with counting_passes() as counted:
        cut = explainer(TEXTS, memory_budget=1, **wanted)
    assert counted.forward == passes
    assert torch.equal(cut.classes, whole.classes)
    assert cut.target_labels == whole.target_labels
    assert torch.allclose(cut.maps, whole.maps, rtol=1e-4, atol=1e-7)


def test_long_texts_are_explained_one_by_one_on_a_processor(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    explainer = make_explainer("transformer_attribution", tiny_text_classifier())
    together = explainer(TEXTS, 1)
    monkeypatch.setattr(image_chunks, "TOKENS_AT_ONCE_ON_CPU", 2 * together.maps.shape[-1] - 1)
    with counting_passes() as counted:
        alone = explainer(TEXTS, 1)
    assert counted.forward == 2 * len(TEXTS)
    assert torch.allclose(alone.maps, together.maps, rtol=1e-4, atol=1e-7)
