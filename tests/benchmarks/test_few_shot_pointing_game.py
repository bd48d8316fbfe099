"""Images of the pointing game."""

from __future__ import annotations

import pytest

from benchmarks import few_shot_pointing_game
from benchmarks.few_shot_pointing_game import annotated_images
from benchmarks.few_shot_study import Study
from tests.benchmarks.tiny_study import draw_boxes


def test_annotated_images_are_those_that_say_something(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    # 28 of 40 pixels a side are just less than half of the picture.
    draw_boxes(few_shot_pointing_game.BOXES, [10, 40, 28, 29, 20], label=1)
    images = annotated_images(study, worst=99)
    assert [image.file for image in images] == ["0.png", "2.png", "4.png"]
    assert {image.label for image in images} == {1}
    photos = [str(few_shot_pointing_game.BOXES / "images" / image.file) for image in images]
    logits = study.classifier.logits(study.classifier.prepare(photos))
    ranks = [row.argsort(descending=True).tolist().index(1) for row in logits]
    assert [image.rank for image in images] == ranks
    worst = sorted(ranks)[0]
    seen = annotated_images(study, worst=worst)
    assert [image.rank for image in seen] == [rank for rank in ranks if rank <= worst]
    monkeypatch.setattr(few_shot_pointing_game, "ranks_of", None)
    assert annotated_images(study, worst=99) == images
