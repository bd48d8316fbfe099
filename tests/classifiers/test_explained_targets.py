"""Targets of a batch, against loops over images, targets and classes."""

from __future__ import annotations

import torch

from tests.conftest import assert_close
from ttame.classifiers.explained_targets import ExplainedClasses, ExplainedWeightings


def test_weightings_are_sums_over_the_classes() -> None:
    weights = torch.randn(2, 3, 6)
    weights[:, :, [1, 4]] = 0
    targets = ExplainedWeightings(torch.zeros(2, 3, dtype=torch.int64), weights=weights)
    rows, maps = torch.randn(6, 5), torch.randn(2, 4, 7, 7)
    single = targets.single_classes()
    assert single.classes.tolist() == [[0, 2, 3, 5]] * 2
    mixed, from_maps = targets.mix(rows), targets.from_class_maps(maps)
    for image in range(2):
        for place in range(3):
            row, total = torch.zeros(5), torch.zeros(7, 7)
            for c in range(6):
                row += weights[image, place, c] * rows[c]
            for at, c in enumerate((0, 2, 3, 5)):
                total += weights[image, place, c] * maps[image, at]
            assert_close(mixed[image, place], row, 1e-5)
            assert_close(from_maps[image, place], total, 1e-5)


def test_single_classes_are_their_own_rows_and_maps() -> None:
    targets = ExplainedClasses(torch.tensor([[2, 0], [1, 1]]))
    rows, maps = torch.randn(3, 5), torch.randn(2, 2, 7, 7)
    assert torch.equal(targets.mix(rows)[0, 1], rows[0])
    assert targets.single_classes() is targets
    assert torch.equal(targets.from_class_maps(maps), maps)
