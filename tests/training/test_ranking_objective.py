"""The ranking loss: exact where sorting is, and it moves what decides to the top."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from tests.training.training_material import log_of, noise_photos, quick, tiny_cnn, train
from ttame.testing import tiny_classifier
from ttame.training.objective import ObjectiveBatch
from ttame.training.ranking_objective import RankingObjective, standardised, top_cells


def test_without_softness_the_top_is_that_of_a_sorting() -> None:
    values = torch.randn(4, 12, generator=torch.Generator().manual_seed(0))
    ranks = torch.tensor([1.0, 4.0, 7.0, 12.0])
    top = top_cells(values, ranks, 1e-6, 50)
    for row, (of_row, count) in enumerate(zip(values, ranks, strict=True)):
        best = of_row.topk(int(count)).indices
        expected = torch.zeros(12)
        expected[best] = 1
        assert torch.allclose(top[row], expected, atol=1e-4)


def test_a_soft_top_holds_its_size_and_keeps_the_order() -> None:
    values = standardised(torch.randn(3, 16, generator=torch.Generator().manual_seed(1)))
    top = top_cells(values, torch.tensor([3.0, 8.0, 15.0]), 0.2, 100)
    assert torch.allclose(top.sum(dim=1), torch.tensor([3.0, 8.0, 15.0]), atol=0.02)
    for row, of_row in zip(top, values, strict=True):
        ordered = row[of_row.argsort()]
        assert bool((ordered[1:] >= ordered[:-1] - 1e-4).all())


def test_a_constant_map_is_finite() -> None:
    values = torch.zeros(1, 9, requires_grad=True)
    top = top_cells(standardised(values), torch.tensor([3.0]), 0.05, 20)
    assert torch.allclose(top, torch.full((1, 9), 1 / 3), atol=1e-4)
    top[0, 0].backward()
    assert values.grad is not None and bool(values.grad.isfinite().all())


def batch_of(maps: Tensor, seed: int = 0, first_image: int = 0) -> ObjectiveBatch:
    """A network that sees the upper left quarter: all of class 0's probability comes from it."""

    def masked_scores(masks: Tensor) -> Tensor:
        size = masks.shape[-1] // 2
        seen = masks[:, 0, :size, :size].mean(dim=(1, 2))
        return torch.stack([4 * seen, torch.zeros_like(seen)], dim=1)

    labels = torch.zeros(len(maps), dtype=torch.long)
    return ObjectiveBatch(
        tiny_classifier(classes=2),
        torch.tensor([[4.0, 0.0]]).repeat(len(maps), 1),
        labels,
        maps=lambda classes: maps,
        masked_scores=masked_scores,
        labels_of_all=lambda: labels,
        one_ground=lambda: masked_scores,
        first_image=first_image,
        generator=torch.Generator().manual_seed(seed),
    )


def test_descending_the_loss_moves_what_decides_to_the_top() -> None:
    maps = torch.randn(6, 1, 8, 8, generator=torch.Generator().manual_seed(0)).requires_grad_()
    objective = RankingObjective(ranked_cells=4)
    optimiser = torch.optim.Adam([maps], lr=0.1)
    losses = []
    for step in range(60):
        loss, _ = objective.loss(batch_of(maps, seed=step))
        losses.append(loss.as_floats()["loss"])
        optimiser.zero_grad()
        loss.total.backward()
        optimiser.step()
    quarter = maps.detach()[:, 0, :4, :4].mean(dim=(1, 2))
    rest = (maps.detach()[:, 0].sum(dim=(1, 2)) - 16 * quarter) / 48
    assert bool((quarter > rest + 0.5).all())
    assert sum(losses[-10:]) < sum(losses[:10])


@pytest.mark.parametrize("deleting", [0.0, 1.0])
def test_the_parts_are_those_of_its_images(deleting: float) -> None:
    loss, maps = RankingObjective(deleting=deleting).loss(batch_of(torch.randn(3, 1, 8, 8)))
    assert maps.shape == (3, 1, 8, 8)
    floats = loss.as_floats()
    assert (floats["insertion"] == 0) == (deleting == 1)
    assert (floats["deletion"] == 0) == (deleting == 0)


def test_an_image_draws_the_same_wherever_it_stands() -> None:
    maps = torch.randn(4, 1, 8, 8)
    objective = RankingObjective()
    together, _ = objective._masks(maps, torch.Generator().manual_seed(3), 0)
    later, _ = objective._masks(maps[2:], torch.Generator().manual_seed(3), 2)
    assert torch.allclose(together[2:], later, atol=1e-6)


def test_a_head_learns_by_it(tmp_path: Path) -> None:
    settings = quick(
        "few-shot-quick", objective="ranking", ranked_cells=4, epochs=6, learning_rate=0.02
    )
    train(tiny_cnn(), noise_photos(23), tmp_path / "out", settings)
    losses = [line["loss"] for line in log_of(tmp_path / "out") if "loss" in line]
    assert sum(losses[-8:]) < sum(losses[:8])
