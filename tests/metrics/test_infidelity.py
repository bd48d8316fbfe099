"""Infidelity against a slow loop, Captum, and numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.metrics.measured import batch_of, brightness, grey, own_picture, plain
from ttame.images.preprocessing import Preprocessing
from ttame.metrics.infidelity import (
    INFIDELITY,
    SQUARES,
    infidelity,
    infidelity_of,
    removed_squares,
    sum_of_product,
)
from ttame.metrics.measuring_batch import MeasuringBatch
from ttame.metrics.protocol import Protocol


def test_one_pixel_squares_worked_out_by_hand() -> None:
    # Squares of one pixel. Removing pixel i takes x_i / 4 from the brightness; the map foretells
    # x_i S_i. The seed decides how often each pixel is drawn.
    images, maps = grey(0.2, 0.4, 0.8, 0.6), torch.tensor([[[1.0, 0.0, 0.25, 0.5]]])
    drawn = torch.cat(list(removed_squares(images, 40, 3, [7]))).flatten(1)
    assert drawn.sum(dim=1).tolist() == [1] * 40
    counts = drawn.sum(dim=0).tolist()
    assert min(counts) > 0
    errors = [(0.2 - 0.05) ** 2, 0.1**2, 0.0, (0.3 - 0.15) ** 2]
    by_hand = sum(c * e for c, e in zip(counts, errors, strict=True)) / 40
    found = infidelity(
        brightness, images, maps, torch.tensor([0]), plain(1, 4), samples=40, seed=3, numbers=[7]
    )
    assert found.tolist() == pytest.approx([by_hand], rel=1e-4)


@pytest.mark.parametrize("rescaled", [False, True])
def test_it_equals_a_slow_loop(rescaled: bool) -> None:
    images, maps = torch.rand(2, 3, 8, 12), torch.randn(2, 4, 6)
    classes = torch.tensor([0, 1])
    squares = list(removed_squares(images, 5, 1, [4, 9]))
    found = infidelity(
        brightness, images, maps, classes, plain(8, 12), samples=5, rescaled=rescaled, seed=1,
        numbers=[4, 9],
    )  # fmt: skip
    fine = torch.nn.functional.interpolate(maps[:, None], (8, 12), mode="bilinear")[:, 0]
    for b in range(2):
        a, d = [], []
        for square in squares:
            removed = images[b] * square[b]
            a.append(sum(float((removed[c] / 3 * fine[b]).sum()) for c in range(3)))
            rest = brightness((images[b] - removed)[None])[0, classes[b]]
            d.append(float(brightness(images[b : b + 1])[0, classes[b]] - rest))
        beta = sum(x * y for x, y in zip(a, d, strict=True)) / sum(x * x for x in a)
        beta = beta if rescaled else 1.0
        slow = sum((beta * x - y) ** 2 for x, y in zip(a, d, strict=True)) / 5
        assert float(found[b]) == pytest.approx(slow, rel=1e-4, abs=1e-9)


def test_squares_lie_within_the_image_everywhere() -> None:
    images = torch.zeros(2, 3, 12, 16)
    drawn = torch.stack(list(removed_squares(images, 400, 0, [0, 1])))
    assert drawn.flatten(2).sum(dim=2).unique().tolist() == [9]  # 3x3: a quarter of 12
    assert bool(drawn.flatten(0, 1).any(dim=0).all())
    rows, columns = drawn.any(dim=3).sum(dim=2), drawn.any(dim=2).sum(dim=2)
    assert rows.unique().tolist() == columns.unique().tolist() == [3]
    assert not torch.equal(drawn[:, 0], drawn[:, 1])


def test_removed_is_black_or_has_the_mean_colour() -> None:
    half = Preprocessing((4, 4), 4, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    images = half.normalise(torch.full((1, 3, 4, 4), 0.8))

    def of_normalised(images: Tensor) -> Tensor:
        return brightness(half.denormalise(images))

    blank = torch.zeros(1, 4, 4)
    arguments = (of_normalised, images, blank, torch.tensor([0]), half)
    black = infidelity(*arguments, space="raw")
    mean_colour = infidelity(*arguments, space="normalised")
    for space, expected in (("raw", black), ("normalised", mean_colour)):
        batch = MeasuringBatch(*arguments, explain=own_picture, numbers=(0,))
        found = INFIDELITY.measure(batch, Protocol("test", masked_in=space))["infidelity"]  # type: ignore[arg-type]
        assert torch.equal(found, expected)
    assert black.tolist() == pytest.approx([(0.8 / 16) ** 2], rel=1e-4)
    assert mean_colour.tolist() == pytest.approx([(0.3 / 16) ** 2], rel=1e-4)


def test_the_best_factor_makes_the_unit_of_maps_irrelevant() -> None:
    images, maps = torch.rand(1, 3, 8, 8), torch.rand(1, 4, 4)
    for unit in (1e-25, 1.0, -40.0):
        batch = batch_of(images, unit * maps, torch.tensor([0]))
        found = INFIDELITY.measure(batch, Protocol("test"))["infidelity"]
        if unit == 1e-25:
            first = float(found)
        assert float(found) == pytest.approx(first, rel=1e-3)
    zeros = INFIDELITY.measure(batch_of(images, 0 * maps, torch.tensor([0])), Protocol("test"))
    assert float(zeros["infidelity"]) > first


def test_the_metric_depends_on_image_numbers_and_seed_not_on_the_batch() -> None:
    images, maps, classes = torch.rand(3, 3, 8, 8), torch.rand(3, 4, 4), torch.tensor([0, 1, 0])
    together = INFIDELITY.measure(
        batch_of(images, maps, classes, numbers=(5, 6, 7)), Protocol("test")
    )["infidelity"]
    alone = INFIDELITY.measure(
        batch_of(images[2:], maps[2:], classes[2:], numbers=(7,)), Protocol("test")
    )["infidelity"]
    assert float(alone) == pytest.approx(float(together[2]), rel=1e-5)
    other = INFIDELITY.measure(
        batch_of(images, maps, classes, numbers=(5, 6, 7)), Protocol("test", seed=1)
    )["infidelity"]
    assert bool((other != together).all())


def test_passes_are_counted_in_words() -> None:
    calls = []

    def counted(images: Tensor) -> Tensor:
        calls.append(len(images))
        return brightness(images)

    infidelity(counted, torch.rand(2, 3, 4, 4), torch.rand(2, 4, 4), torch.tensor([0, 1]),
               plain(4, 4))  # fmt: skip
    assert calls == [2] * (SQUARES + 1)
    assert INFIDELITY.cost == f"{SQUARES + 1} forward"


@pytest.mark.parametrize("rescaled", [False, True])
def test_captum_agrees(rescaled: bool) -> None:
    captum = pytest.importorskip("captum.metrics")
    images, maps = torch.rand(2, 3, 8, 8), torch.randn(2, 8, 8)
    classes = torch.tensor([0, 1])
    squares = torch.stack(list(removed_squares(images, 6, 0, [0, 1])), dim=1)  # (B, N, H, W)
    turn = iter(range(6))

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        here = squares[:, next(turn)][:, None].expand(-1, 3, -1, -1)
        removed = inputs * here
        return removed, inputs - removed

    expected = captum.infidelity(
        brightness, perturb, images, (maps[:, None] / 3).expand(-1, 3, -1, -1), target=classes,
        n_perturb_samples=6, max_examples_per_batch=2, normalize=rescaled,
    )  # fmt: skip
    found = infidelity(
        brightness, images, maps, classes, plain(8, 8), samples=6, rescaled=rescaled, numbers=[0, 1]
    )
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-3, abs=1e-8)


def test_the_pieces() -> None:
    assert sum_of_product(torch.ones(1, 3, 4, 4), torch.ones(1, 2, 2)).tolist() == [16.0]
    nothing = infidelity_of(torch.zeros(1, 2), torch.tensor([[1.0, 3.0]]), rescaled=True)
    assert nothing.tolist() == [5.0]
