"""The loss against golden tensors and numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch

from tests.conftest import Golden, assert_close
from ttame.training.attention_objective import (
    TTameObjective,
    area,
    objective,
    own_maps,
    selected_classes,
    smoothness,
)


@pytest.mark.parametrize("selection", ["random", "diagonal", "max"])
def test_selected_maps_equal_the_published_ones(selection: str) -> None:
    golden = Golden("losses")
    maps, labels = golden["input.class_maps"], golden["input.labels"]
    classes = selected_classes(golden["input.model_logits"], labels, selection)  # type: ignore[arg-type]
    chosen = maps[:, classes] if classes.ndim == 1 else maps[torch.arange(4)[:, None], classes]
    assert torch.equal(chosen, golden[f"output.masks_{selection}"])
    expected = maps[torch.arange(4), labels][:, None]
    assert torch.equal(own_maps(chosen, selection), expected)  # type: ignore[arg-type]


@pytest.mark.parametrize("selection", ["random", "diagonal"])
def test_losses_and_gradients_equal_the_published_ones(selection: str) -> None:
    golden = Golden("losses")
    masks = golden[f"output.masks_{selection}"].clone().requires_grad_()
    logits = golden["input.masked_logits"].clone().requires_grad_()
    parts = objective(masks, logits.log_softmax(dim=1), golden["input.labels"], TTameObjective())

    def expected(name: str) -> torch.Tensor:
        return golden[f"output.{selection}.{name}"]

    assert_close(parts.weighted["cross_entropy"], expected("weighted_cross_entropy"), 1e-5)
    assert_close(parts.weighted["area"], expected("weighted_area_loss"), 1e-5)
    assert_close(parts.weighted["smoothness"], expected("weighted_smoothness_loss"), 1e-5)
    assert_close(parts.total, expected("total"), 1e-5)
    parts.total.backward()
    assert masks.grad is not None
    assert logits.grad is not None
    assert_close(masks.grad, expected("grad_masks"), 1e-5)
    assert_close(logits.grad, expected("grad_logits"), 1e-5)
    assert_close(area(masks, power=1), expected("area_loss_power1"), 1e-5)
    assert_close(smoothness(masks, border_weight=0), expected("smoothness_loss_no_border"), 1e-5)


def test_smoothness_worked_out_by_hand() -> None:
    maps = torch.tensor([[1.0, 3.0, 2.0], [0.0, 1.0, 1.0]]).reshape(1, 1, 2, 3)
    across = 4 + 1 + 1 + 0
    down = 1 + 4 + 1
    rows = (1 + 9 + 4) + (0 + 1 + 1)
    columns = (1 + 0) + (4 + 1)
    expected = (across + down + 0.3 * (rows + columns)) / 2
    assert float(smoothness(maps)) == pytest.approx(expected)


def test_smoothness_weight_grows_with_the_batch_as_published() -> None:
    maps = torch.rand(1, 1, 4, 4)
    eight = maps.expand(8, 8, 4, 4)
    assert float(smoothness(eight)) == pytest.approx(8 * float(smoothness(maps)), rel=1e-5)


def test_own_maps_of_a_later_process_begin_at_its_images() -> None:
    # Two images of this process are number 2 and 3 of a batch of 4.
    maps = torch.arange(8.0).reshape(2, 4, 1, 1)
    assert own_maps(maps, "random", first_image=2).flatten().tolist() == [2.0, 7.0]


def test_max_selects_no_more_maps_than_there_are_classes() -> None:
    classes = selected_classes(torch.randn(5, 3), torch.zeros(5, dtype=torch.long), "max")
    assert classes.shape == (5, 3)
