"""An explainer with all of its details is another one of the same weights."""

from __future__ import annotations

import dataclasses

import torch

from benchmarks.few_shot_study import Study
from benchmarks.kept_details import with_all_details
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.explainers.trained.shared_head import SharedHead


def test_all_details_change_the_maps_and_not_the_explainer_they_came_from(study: Study) -> None:
    half = study.explainers["few_shot"]
    assert isinstance(half, AttentionExplainer)
    assert isinstance(half.head, SharedHead)
    half.head.settings = dataclasses.replace(half.head.settings, details=0.5)
    images = study.classifier.prepare(study.photos.read(0))
    before = half(images, classes=[0]).maps
    everything = with_all_details(half)

    assert isinstance(everything.head, SharedHead)
    assert (half.head.settings.details, everything.head.settings.details) == (0.5, 1)
    assert everything.provenance()["details"] == 1
    torch.testing.assert_close(half(images, classes=[0]).maps, before, rtol=0, atol=0)

    whole = everything.head.eval().shown(torch.eye(7)[None, None])
    assert torch.equal(whole, torch.eye(7)[None, None])
    assert not torch.equal(half.head.eval().shown(torch.eye(7)[None, None]), whole)
