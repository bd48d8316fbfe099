"""Rows of a few-shot study."""

from __future__ import annotations

import dataclasses

import numpy as np

from benchmarks.few_shot_plans import MASKS
from benchmarks.few_shot_study import Study, measure, on_images
from benchmarks.operating_points import kept_name
from tests.benchmarks.tiny_study import few_shot
from ttame.evaluation.summary import MeasuredMethod


def test_other_weights_are_measured_anew(study: Study) -> None:
    def finished() -> dict[str, float]:
        places = (study.folder / "masks-2" / "rows").iterdir()
        return {place.name: next(place.iterdir()).stat().st_mtime_ns for place in places}

    measure(study, study.photos, MASKS, ["few_shot", "grad_cam"], 2)
    before = finished()
    measure(study, study.photos, MASKS, ["few_shot", "grad_cam"], 2)
    assert finished() == before
    other = few_shot(study.classifier, seed=1)
    changed = dataclasses.replace(study, explainers={**study.explainers, "few_shot": other})
    rows = measure(changed, changed.photos, MASKS, ["few_shot", "grad_cam"], 2)
    assert set(finished()) - set(before) == {kept_name("few_shot", other)}
    assert {name: finished()[name] for name in before} == before
    assert rows["few_shot"].label == kept_name("few_shot", other)


def test_rows_of_some_images() -> None:
    method = object.__new__(MeasuredMethod)
    method.label = "a"
    method.images, method.classes = np.array([0, 2, 4]), np.array([7, 8, 9])
    method.values = {"x": np.array([1.0, 2.0, 3.0])}
    part = on_images(method, np.array([4, 0, 5]))
    assert part.images.tolist() == [0, 4]
    assert part.classes.tolist() == [7, 9]
    assert part.values["x"].tolist() == [1, 3]
    assert method.images.tolist() == [0, 2, 4] and len(method.values["x"]) == 3
