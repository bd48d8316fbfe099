"""Rows of shards: what half precision keeps, and what other programs find in them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from ttame.files.bounded_reading import UnreadableFileError
from ttame.results.explanation import Explanation
from ttame.results.shard_tables import ShardLayout, photos_of, table_of


def explanation(maps: Tensor, classes: int = 5) -> Explanation:
    count, explained = maps.shape[:2]
    return Explanation(
        maps=maps,
        classes=torch.arange(count * explained).reshape(count, explained) % classes,
        logits=torch.randn(count, classes, generator=torch.Generator().manual_seed(0)),
        image_size=(8, 8),
        method="m",
    )


def kept(maps: Tensor) -> Tensor:
    """What is read of maps that were written."""
    given = explanation(maps)
    layout = ShardLayout.of([given])
    numbers = list(range(len(maps)))
    table = table_of(layout, numbers, [f"{n}.png" for n in numbers], [given])
    found = photos_of(layout, table, {"m": given})
    assert (found.numbers, found.names) == (numbers, [f"{n}.png" for n in numbers])
    assert torch.equal(found.explanations["m"].logits, given.logits)
    assert torch.equal(found.explanations["m"].probabilities, given.probabilities)
    assert torch.equal(found.explanations["m"].classes, given.classes)
    return found.explanations["m"].maps


@pytest.mark.parametrize("scale", [1e-30, 1e-8, 1.0, 1e9, 1e37])
@pytest.mark.parametrize("offset", [0.0, 1.0, -10.0])
def test_each_map_keeps_the_shape_of_its_own_range(scale: float, offset: float) -> None:
    """Half precision itself ends at 6e-8 and 65504, and knows three digits around 10."""
    maps = (torch.rand(3, 2, 4, 5, generator=torch.Generator().manual_seed(1)) + offset) * scale
    found = kept(maps)
    span = maps.amax((2, 3)) - maps.amin((2, 3))
    # And what float32 itself loses where a map is far from 0.
    rounding = maps.abs().amax((2, 3)) * 3e-7
    assert ((found - maps).abs().amax((2, 3)) <= 2.5e-4 * span + rounding).all()


def test_zeros_and_constant_maps_stay_what_they_are() -> None:
    maps = torch.zeros(1, 3, 2, 2)
    maps[0, 0, 0, 0] = 0.3
    maps[0, 1] = 0.1234567
    found = kept(maps)
    assert torch.equal(found[0, 1:], maps[0, 1:])
    assert torch.equal(found[0, 0], maps[0, 0])


def test_ends_that_differ_by_more_than_float32_can_say() -> None:
    maps = torch.tensor([[[[-3e38, 3e38]]]])
    assert kept(torch.tensor([[[[-1e38, 1e38]]]])).flatten().tolist() == pytest.approx(
        [-1e38, 1e38]
    )
    layout = ShardLayout.of([explanation(maps)])
    table = table_of(layout, [0], ["a"], [explanation(maps)])
    with pytest.raises(UnreadableFileError, match="infinity"):
        photos_of(layout, table, {"m": explanation(maps)})


def test_another_program_reads_maps_by_what_the_columns_say() -> None:
    maps = torch.rand(2, 2, 3, 4)
    table = table_of(ShardLayout(5, 2, {"m": (3, 4)}), [7, 9], ["a", "b"], [explanation(maps)])
    row = table.to_pylist()[1]
    assert (row["number"], row["photo"], row["classes"]) == (9, "b", [2, 3])
    shares = np.frombuffer(row["m.maps"], "<f2").reshape(2, 3, 4).astype(float)
    low, high = (np.array(row[f"m.{end}"])[:, None, None] for end in ("lowest", "highest"))
    assert np.abs(low + shares * (high - low) - maps[1].numpy()).max() < 5e-4
    assert np.frombuffer(row["all_logits"], "<f4").shape == (5,)


@pytest.mark.parametrize(
    ("layout", "words"),
    [
        (ShardLayout(5, 1, {}), "sizes that cannot be"),
        (ShardLayout(0, 1, {"m": (2, 2)}), "sizes that cannot be"),
        (ShardLayout(5, 1, {"m": (2, -2)}), "sizes that cannot be"),
        (ShardLayout(5, 1, {"m": (2, 2**40)}), "sizes that cannot be"),
        (ShardLayout(5, 1000, {"m": (2000, 2000)}), "too large"),
    ],
)
def test_sizes_that_cannot_be(layout: ShardLayout, words: str) -> None:
    with pytest.raises(UnreadableFileError, match=words):
        layout.refuse_impossible()
