"""Gini index and entropy by hand, by slow loops and by Quantus."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.metrics.measured import batch_of
from ttame.metrics.map_complexity import MAP_COMPLEXITY, map_complexity
from ttame.metrics.protocol import Protocol
from ttame.metrics.sparseness import SPARSENESS, sparseness


def slow_gini(values: list[float]) -> float:
    """Half the mean absolute difference of two values over their mean."""
    values = [abs(value) for value in values]
    differences = sum(abs(a - b) for a in values for b in values)
    return differences / (2 * len(values) * sum(values))


def slow_entropy(values: list[float]) -> float:
    shares = [abs(value) / sum(map(abs, values)) for value in values]
    return -sum(share * math.log(share) for share in shares if share)


@pytest.mark.parametrize(
    ("values", "gini", "entropy"),
    [
        ([0.0, 0.0, 0.0, 5.0], 0.75, 0.0),
        ([2.0, 2.0, 2.0, 2.0], 0.0, math.log(4)),
        ([0.0, -1.0, 1.0, 0.0], 0.5, math.log(2)),
        # (−3·1 − 1·2 + 1·3 + 3·4) / (4 · 10)
        ([4.0, 1.0, 3.0, -2.0], 0.25, slow_entropy([0.4, 0.1, 0.3, 0.2])),
        ([0.0, 0.0, 0.0, 0.0], 0.0, math.log(4)),
    ],
)
def test_four_pixels_worked_out_by_hand(values: list[float], gini: float, entropy: float) -> None:
    maps = torch.tensor(values).reshape(1, 2, 2)
    assert sparseness(maps).tolist() == pytest.approx([gini], abs=1e-6)
    assert map_complexity(maps).tolist() == pytest.approx([entropy], abs=1e-6)


def test_they_equal_slow_loops_in_any_unit() -> None:
    maps = torch.randn(3, 3, 5)
    ginis = [slow_gini(values) for values in maps.flatten(1).tolist()]
    entropies = [slow_entropy(values) for values in maps.flatten(1).tolist()]
    for unit in (1.0, 1e-30, 1e30):
        assert sparseness(unit * maps).tolist() == pytest.approx(ginis, abs=1e-5)
        assert map_complexity(unit * maps).tolist() == pytest.approx(entropies, abs=1e-5)


def test_the_table_compares_maps_at_the_size_of_the_image() -> None:
    images, maps = torch.rand(2, 3, 8, 12), torch.randn(2, 2, 3)
    batch, protocol = batch_of(images, maps, torch.tensor([0, 1])), Protocol("test")
    flat = torch.nn.functional.interpolate(
        ((maps - maps.amin((1, 2), True)) / (maps.amax((1, 2), True) - maps.amin((1, 2), True)))[
            :, None
        ],
        (8, 12),
        mode="bilinear",
    ).flatten(1)
    ginis = [slow_gini(values) for values in flat.tolist()]
    entropies = [slow_entropy(values) for values in flat.tolist()]
    found = SPARSENESS.measure(batch, protocol)["sparseness"]
    assert found.tolist() == pytest.approx(ginis, abs=1e-5)
    found = MAP_COMPLEXITY.measure(batch, protocol)["map_complexity"]
    assert found.tolist() == pytest.approx(entropies, abs=1e-5)


def test_quantus_agrees() -> None:
    quantus = pytest.importorskip("quantus")
    maps = torch.rand(3, 6, 5)
    arguments = {
        "model": torch.nn.Identity(),
        "x_batch": np.zeros((3, 1, 6, 5), np.float32),
        "y_batch": np.zeros(3, int),
        "a_batch": maps[:, None].numpy(),
        "channel_first": True,
    }
    options = {"normalise": False, "disable_warnings": True}
    assert sparseness(maps).tolist() == pytest.approx(
        quantus.Sparseness(**options)(**arguments), abs=1e-5
    )
    assert map_complexity(maps).tolist() == pytest.approx(
        quantus.Complexity(**options)(**arguments), abs=1e-5
    )
