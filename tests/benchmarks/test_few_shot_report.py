"""The report of the few-shot explainers, from rows to sentences."""

from __future__ import annotations

import dataclasses

import pytest

from benchmarks import few_shot_pointing_game, few_shot_study
from benchmarks.few_shot_measurements import COST_PHOTOS, measured
from benchmarks.few_shot_plans import CURVES, MASKS, ROAD
from benchmarks.few_shot_pointing_game import AnnotatedImage
from benchmarks.few_shot_section import section
from benchmarks.few_shot_study import Progress, Study
from benchmarks.operating_points import kept_name
from tests.benchmarks.tiny_study import PHOTOS, draw_boxes, lend
from tests.tiny_networks import CLASSES
from ttame.evaluation.row_store import RowStore
from ttame.explainers.known_explainers import make_explainer


def test_a_whole_report(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    lend(study, ("layer_cam", "recipro_cam"))
    own = study.classifier.logits(study.classifier.prepare([study.photos.read(0)]))
    # Not the class that the network names, so that only the labelled one has an object.
    label = (int(own.argmax()) + 1) % CLASSES
    draw_boxes(few_shot_pointing_game.BOXES, [20] * 4, label=label)
    monkeypatch.setattr(
        few_shot_pointing_game,
        "annotated_images",
        lambda _: [AnnotatedImage(f"{n}.png", label, min(n, 1)) for n in range(4)],
    )
    explainers = {**study.explainers, "rise": make_explainer("rise", study.classifier, masks=20)}
    study = dataclasses.replace(study, explainers=explainers)
    found = measured(study, 4)
    masks, order = found.masks[0], {column.metric: column for column in found.order}
    assert list(masks.cells) == ["few_shot", "grad_cam", "random", "centre_gaussian"]
    assert {cell.images for cell in masks.cells.values()} == {PHOTOS}
    assert set(order) == {*ROAD.metrics, *CURVES.metrics}
    assert order["insertion"].cells["few_shot"].images == 2
    # Every second photo lies in the leaderboard, and ROAD's own photos are the same ones.
    assert list(found.read[0].cells) == ["few_shot", "recipro_cam", "layer_cam"]
    assert {cell.images for column in found.read for cell in column.cells.values()} == {5}
    assert {c.metric for c in found.read} == {*MASKS.metrics, *ROAD.metrics}
    assert found.missing == ["rise"]
    assert found.pointing[0].cells["centre_gaussian"].images == 4
    assert found.recognised[0].cells["centre_gaussian"].images == 1
    assert list(found.sanity) == ["few_shot", "centre_gaussian"]
    assert found.sanity["centre_gaussian"].similarity == pytest.approx(1)
    assert not found.sanity["centre_gaussian"].passed
    assert found.costs["rise"].forward > 20
    assert found.costs["few_shot"].forward == 1
    kept = kept_name("few_shot", study.explainers["few_shot"])
    timed = RowStore(study.folder / f"cost-{kept}-{COST_PHOTOS}").facts("rise")
    assert [fact.images for fact in timed] == [1] * COST_PHOTOS
    page = section(study, found)
    digest = kept.split("-")[1]
    assert page.startswith(f"Few-shot explainer `{digest}`")
    assert page.count("### ") == 7
    assert "Not finished in runs/leaderboard/tiny, and so not here: rise." in page
    monkeypatch.setattr(few_shot_study, "Progress", Unasked)
    assert section(study, measured(study, 4)) == page


class Unasked(Progress):
    """Fails where anything is measured."""

    def _say(self, words: str) -> None:
        pytest.fail(words)
