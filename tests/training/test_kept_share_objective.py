"""The few-shot loss by hand, and the masks it draws: which kinds, how bright, and how made."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.explainers.slow_masks import slow_hard_mask, slow_soft_mask
from ttame.training.kept_share_objective import kept_share_loss, random_masks

MANY = 6000


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_maps(count: int, rows: int = 3, columns: int = 5, seed: int = 0) -> Tensor:
    return 4 * torch.randn(count, 1, rows, columns, generator=seeded(seed)) - 2


def drawn(count: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Whether each of many masks is hard, and its mean.

    The best place of a soft mask is wholly visible; a threshold reaches 1 nowhere.
    """
    masks = random_masks(random_maps(count), seeded(seed))
    return masks.amax(dim=(1, 2, 3)) < 1, masks.mean(dim=(1, 2, 3))


# The loss


def test_the_loss_is_the_mean_drop() -> None:
    before, after = torch.tensor([0.8, 0.5, 0.4]), torch.tensor([0.2, 0.5, 0.5])
    parts = kept_share_loss(before, after)
    drops = [1 - 0.2 / 0.8, 0.0, -0.25]
    assert parts.as_floats() == pytest.approx({"loss": sum(drops) / 3, "drop": sum(drops) / 3})


def test_each_image_is_rewarded_up_to_the_bound() -> None:
    """The bound holds for an image, not for their mean: it hides no drop of another."""
    before, after = torch.tensor([0.01, 0.5]), torch.tensor([0.9, 0.05])
    assert float(kept_share_loss(before, after).total) == pytest.approx((-0.5 + 0.9) / 2)
    alone = kept_share_loss(before[:1], after[:1]).total
    assert float(alone) == -0.5


def test_the_gradient_ends_at_the_bound() -> None:
    before = torch.tensor([0.2, 0.2, 0.2, 0.2])
    after = torch.tensor([0.1, 0.25, 0.31, 0.9]).requires_grad_()
    kept_share_loss(before, after).total.backward()
    assert after.grad is not None
    assert after.grad.tolist() == pytest.approx([-5 / 4, -5 / 4, 0, 0])


# The draws


def test_six_of_ten_masks_are_hard() -> None:
    hard, _ = drawn(MANY)
    assert float(hard.float().mean()) == pytest.approx(0.6, abs=0.02)


@pytest.mark.parametrize(("hard", "low", "high"), [(False, 0.35, 0.75), (True, 0.1, 0.7)])
def test_means_are_spread_evenly_over_their_range(hard: bool, low: float, high: float) -> None:
    kinds, means = drawn(MANY)
    own = means[kinds == hard]
    assert low - 1e-4 <= float(own.min()) < low + 0.01
    assert high - 0.01 < float(own.max()) <= high + 1e-4
    tenths = torch.histc(own, bins=10, min=low, max=high) / len(own)
    assert tenths.tolist() == pytest.approx([0.1] * 10, abs=0.025)


def test_kind_and_mean_are_drawn_apart() -> None:
    """Where a mask is hard says nothing of its mean within the range of its kind, nor do its
    neighbours."""
    kinds, means = drawn(MANY)
    low, high = torch.where(kinds, 0.1, 0.35), torch.where(kinds, 0.7, 0.75)
    shares = (means - low) / (high - low)
    assert float(shares[kinds].mean()) == pytest.approx(0.5, abs=0.02)
    assert float(shares[~kinds].mean()) == pytest.approx(0.5, abs=0.02)
    neighbours = torch.corrcoef(torch.stack([shares[1:], shares[:-1]]))[0, 1]
    assert abs(float(neighbours)) < 0.05


def test_the_draws_do_not_look_at_the_maps() -> None:
    one = random_masks(random_maps(40, 3, 5, seed=0), seeded(7)).mean(dim=(1, 2, 3))
    other = random_masks(random_maps(40, 6, 4, seed=1), seeded(7)).mean(dim=(1, 2, 3))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
    constant = random_masks(torch.zeros(40, 1, 2, 3), seeded(7)).mean(dim=(1, 2, 3))
    torch.testing.assert_close(one, constant, rtol=0, atol=1e-5)


def test_the_generator_alone_decides() -> None:
    maps = random_maps(16)
    generator = seeded(3)
    everybodys = torch.get_rng_state()
    first, second = random_masks(maps, generator), random_masks(maps, generator)
    assert torch.equal(torch.get_rng_state(), everybodys)
    torch.manual_seed(99)
    assert torch.equal(random_masks(maps, seeded(3)), first)
    assert not torch.allclose(first, second)
    assert not torch.allclose(first, random_masks(maps, seeded(4)))


@pytest.mark.parametrize("shares", [(4, 4, 4), (5, 1, 6), (1, 11), (12,)], ids=str)
def test_masks_do_not_depend_on_who_makes_them(shares: tuple[int, ...]) -> None:
    """Each process makes the masks of its share of a batch, with a generator like the others'."""
    maps = random_maps(12)
    expected = random_masks(maps, seeded(3))
    first = 0
    for share in shares:
        found = random_masks(maps[first : first + share], seeded(3), first)
        torch.testing.assert_close(found, expected[first : first + share], rtol=0, atol=1e-6)
        first += share


def test_float64_maps_are_masked_at_the_same_shares() -> None:
    maps = random_maps(16)
    found = random_masks(maps.double(), seeded(3))
    assert found.dtype == torch.float64
    torch.testing.assert_close(found.float(), random_masks(maps, seeded(3)), rtol=0, atol=1e-4)


# The masks


@pytest.mark.parametrize("shape", [(3, 5), (6, 4), (7, 7)], ids=str)
def test_masks_equal_slow_ones_of_their_kind_and_mean(shape: tuple[int, int]) -> None:
    maps = random_maps(24, *shape).double()
    masks = random_masks(maps, seeded(0))
    assert masks.shape == maps.shape
    kinds = set()
    for map_, mask in zip(maps, masks, strict=True):
        hard = float(mask.max()) < 1
        kinds.add(hard)
        mean, values = float(mask.mean()), map_.flatten().tolist()
        slow = slow_hard_mask(values, mean, 0.3) if hard else slow_soft_mask(values, mean)
        assert mask.flatten().tolist() == pytest.approx(slow, abs=1e-6)
    assert kinds == {True, False}


def test_masks_of_both_kinds_move_their_own_map_and_keep_their_mean() -> None:
    maps = random_maps(24).double().requires_grad_()
    masks = random_masks(maps, seeded(0))
    (of_squares,) = torch.autograd.grad(masks.square().sum(), maps, retain_graph=True)
    assert of_squares.isfinite().all()
    assert (of_squares.abs().amax(dim=(1, 2, 3)) > 1e-4).all()
    (of_means,) = torch.autograd.grad(masks.sum(), maps)
    assert float(of_means.abs().max()) < 1e-9 * float(of_squares.abs().max())
