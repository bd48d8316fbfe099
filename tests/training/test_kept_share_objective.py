"""The few-shot loss by hand, and the masks it draws: which kinds, how bright, and how made."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.explainers.slow_masks import slow_hard_mask, slow_soft_mask
from ttame.training.kept_share_objective import (
    KeptShareObjective,
    kept_share_loss,
)
from ttame.training.kept_share_objective import random_masks as masks_and_removals
from ttame.training.objective import ObjectiveBatch

MANY = 6000


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_maps(count: int, rows: int = 3, columns: int = 5, seed: int = 0) -> Tensor:
    return 4 * torch.randn(count, 1, rows, columns, generator=seeded(seed)) - 2


def random_masks(maps: Tensor, generator: torch.Generator, first_image: int = 0) -> Tensor:
    """Of the preset, which removes nothing."""
    masks, removed = masks_and_removals(maps, KeptShareObjective(), generator, first_image)
    assert not removed.any()
    return masks


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


def test_differences_of_probabilities_by_hand() -> None:
    """Kept, the first loses 0.6 and the second gains 0.3; the third has 0.4 removed."""
    before, after = torch.tensor([0.8, 0.1, 0.9]), torch.tensor([0.2, 0.4, 0.5])
    removed = torch.tensor([False, False, True])
    parts = kept_share_loss(before, after, removed, "difference").as_floats()
    assert parts == pytest.approx({"loss": -0.1 / 3, "drop": 0.3 / 3, "left": -0.4 / 3})
    alone = kept_share_loss(before, after, measure="difference")
    assert float(alone.total) == pytest.approx((0.6 - 0.3 + 0.4) / 3)


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


# What is not the preset


REMOVING = KeptShareObjective(removing=0.4)


def test_four_of_ten_images_lose_their_most_relevant_places() -> None:
    maps = random_maps(MANY)
    masks, removed = masks_and_removals(maps, REMOVING, seeded(0))
    assert float(removed.float().mean()) == pytest.approx(0.4, abs=0.02)
    hidden = 1 - masks[removed].mean(dim=(1, 2, 3))
    assert 0.05 - 1e-4 <= float(hidden.min()) < 0.06
    assert 0.49 < float(hidden.max()) <= 0.5 + 1e-4
    least = maps[removed].flatten(1).argmin(dim=1)[:, None]
    most = maps[removed].flatten(1).argmax(dim=1)[:, None]
    flat = masks[removed].flatten(1)
    assert bool((flat.gather(1, least) > flat.gather(1, most)).all())


def test_removed_masks_equal_slow_ones() -> None:
    maps = random_maps(12).double()
    masks, removed = masks_and_removals(maps, KeptShareObjective(removing=1.0), seeded(0))
    assert removed.all()
    for map_, mask in zip(maps, masks, strict=True):
        slow = slow_hard_mask(map_.flatten().tolist(), 1 - float(mask.mean()), 0.3)
        assert mask.flatten().tolist() == pytest.approx([1 - value for value in slow], abs=1e-6)


@pytest.mark.parametrize("shares", [(5, 1, 6), (12,)], ids=str)
def test_removals_do_not_depend_on_who_makes_them(shares: tuple[int, ...]) -> None:
    maps = random_maps(12)
    expected, of_all = masks_and_removals(maps, REMOVING, seeded(3))
    first = 0
    for share in shares:
        part = slice(first, first + share)
        masks, removed = masks_and_removals(maps[part], REMOVING, seeded(3), first)
        torch.testing.assert_close(masks, expected[part], rtol=0, atol=1e-6)
        assert torch.equal(removed, of_all[part])
        first += share


@pytest.mark.parametrize(("share", "all_hard"), [(0.0, False), (1.0, True)])
def test_the_share_of_hard_masks_is_a_setting(share: float, all_hard: bool) -> None:
    masks, _ = masks_and_removals(random_maps(50), KeptShareObjective(hard=share), seeded(0))
    assert bool(((masks.amax(dim=(1, 2, 3)) < 1) == all_hard).all())


def test_a_narrow_edge_makes_masks_of_zeros_and_ones_almost() -> None:
    maps = random_maps(200)
    between = [
        float(((masks > 0.1) & (masks < 0.9)).float().mean())
        for edge in (0.3, 0.02)
        for masks, _ in [
            masks_and_removals(maps, KeptShareObjective(hard=1.0, edge=edge), seeded(0))
        ]
    ]
    assert between[1] < 0.2 * between[0]


def test_straight_through_masks_are_zeros_and_ones_with_the_gradient_of_their_edge() -> None:
    maps = random_maps(24).double().requires_grad_()
    weights = torch.randn(24, 1, 3, 5, generator=seeded(9), dtype=torch.float64)
    gradients, made = [], []
    for straight_through in (False, True):
        objective = KeptShareObjective(hard=1.0, removing=0.3, straight_through=straight_through)
        masks, _ = masks_and_removals(maps, objective, seeded(0))
        made.append(masks)
        gradients += torch.autograd.grad((masks * weights).sum(), maps)
    torch.testing.assert_close(gradients[0], gradients[1])
    assert set(made[1].flatten().tolist()) == {0.0, 1.0}
    torch.testing.assert_close(made[1], made[0].round())


def test_what_is_left_without_the_most_relevant_places_is_a_loss() -> None:
    before = torch.tensor([0.8, 0.5, 0.4, 0.1])
    after = torch.tensor([0.2, 0.1, 0.5, 0.9])
    removed = torch.tensor([False, True, False, True])
    parts = kept_share_loss(before, after, removed).as_floats()
    drop, left = (0.75 - 0.25) / 4, (0.2 + 1.5) / 4
    assert parts == pytest.approx({"loss": drop + left, "drop": drop, "left": left})


# Places


def test_only_places_are_masked_and_counted() -> None:
    """Each image as if its places were all there is."""
    maps = random_maps(6, rows=1, columns=9)
    places = torch.arange(9) < torch.tensor([9, 8, 7, 6, 5, 4])[:, None]
    places[:, 0] = False
    places = places[:, None, None]
    objective = KeptShareObjective(removing=0.5)
    masks, removed = masks_and_removals(maps, objective, seeded(3), places=places)
    assert bool((masks[~places] == 1).all())
    assert 0 < int(removed.sum()) < 6
    # The same draws for whole maps of another content: only the means count.
    whole, same = masks_and_removals(maps, objective, seeded(3))
    assert torch.equal(removed, same)
    means = torch.stack([mask[inside].mean() for mask, inside in zip(masks, places, strict=True)])
    assert torch.allclose(means, whole.mean(dim=(1, 2, 3)), atol=2e-3)


def test_masks_on_places_have_a_gradient() -> None:
    maps = random_maps(2, rows=1, columns=5).requires_grad_()
    places = torch.ones(2, 1, 1, 5, dtype=torch.bool)
    places[:, :, :, 4] = False
    masks, _ = masks_and_removals(maps, KeptShareObjective(), seeded(1), places=places)
    masks[..., 1].sum().backward()
    assert maps.grad is not None
    assert bool((maps.grad[places] != 0).any()) and not maps.grad[~places].any()


def test_shares_spread_over_their_logarithm() -> None:
    objective = KeptShareObjective(hard=1.0, removing=0.5, shares="logarithmic")
    masks, removed = masks_and_removals(random_maps(MANY, 10, 10), objective, seeded(0))
    means = masks.mean(dim=(1, 2, 3))
    for shares, high in ((means[~removed], 0.7), (1 - means[removed], 0.5)):
        low, span = math.log(0.02), math.log(high) - math.log(0.02)
        places = (shares.clamp(1e-6, 1).log() - low) / span
        assert -0.01 < float(places.min()) < 0.02
        assert 0.98 < float(places.max()) < 1.01
        tenths = torch.histc(places, bins=10, min=0, max=1) / len(places)
        assert tenths.tolist() == pytest.approx([0.1] * 10, abs=0.03)


class _Probabilities:
    class outputs:  # noqa: N801 - stands for an attribute
        probabilities = staticmethod(lambda scores: scores)


def _batch(scores: Tensor, seen: list[Tensor], first_image: int = 0) -> Any:
    def maps(classes: Tensor) -> Tensor:
        seen.append(classes)
        return torch.zeros(len(classes), 1, 2, 2)

    return ObjectiveBatch(
        classifier=_Probabilities(),  # type: ignore[arg-type]
        scores=scores,
        labels=scores.argmax(dim=1),
        maps=maps,
        masked_scores=lambda masks: scores,
        labels_of_all=lambda: scores.argmax(dim=1),
        one_ground=lambda: lambda masks: scores,
        first_image=first_image,
        generator=seeded(5),
    )


def test_a_share_of_images_explains_the_second_class() -> None:
    scores = torch.tensor([[0.1, 0.7, 0.2]]).repeat(800, 1)
    seen: list[Tensor] = []
    for runner_up in (0.0, 1.0, 0.25):
        KeptShareObjective(runner_up=runner_up).loss(_batch(scores, seen))
    first, second, some = seen
    assert (first == 1).all() and (second == 2).all()
    assert float((some == 2).float().mean()) == pytest.approx(0.25, abs=0.05)
    KeptShareObjective(runner_up=0.25).loss(_batch(scores[:300], seen, first_image=500))
    assert torch.equal(seen[-1], some[500:])


def test_a_network_of_one_score_has_no_second_class() -> None:
    seen: list[Tensor] = []
    KeptShareObjective(runner_up=1.0).loss(_batch(torch.ones(3, 1), seen))
    assert not seen[0].any()
