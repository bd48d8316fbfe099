"""Masks with a given mean, against slow scalar ones, closed forms and differences."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tests.explainers.slow_masks import (
    MEANS,
    SHAPES,
    close,
    random_maps,
    slow_hard_mask,
    slow_soft_mask,
)
from ttame.images.saliency_maps import to_unit_range
from ttame.training.masks_with_means import raised_to_means, thresholded_to_means

SOFTNESS = 0.3


def soft(maps: Tensor, means: Tensor) -> Tensor:
    """What a soft mask is made of: all of it, from the map before any activation."""
    return raised_to_means(to_unit_range(maps), means)


def hard(maps: Tensor, means: Tensor) -> Tensor:
    return thresholded_to_means(maps, means, SOFTNESS)


def slowly_hard(values: list[float], mean: float, spread: float | None = None) -> list[float]:
    return slow_hard_mask(values, mean, SOFTNESS, spread)


KINDS: dict[str, tuple[Callable[[Tensor, Tensor], Tensor], Callable[..., list[float]]]] = {
    "soft": (soft, slow_soft_mask),
    "hard": (hard, slowly_hard),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_masks_equal_slow_ones(kind: str, shape: tuple[int, int]) -> None:
    quick, slow = KINDS[kind]
    maps, means = random_maps(*shape), torch.tensor(MEANS, dtype=torch.float64)
    found = quick(maps, means)
    assert found.shape == maps.shape
    for one, mean, mask in zip(maps, MEANS, found, strict=True):
        close(mask.flatten(), slow(one.flatten().tolist(), mean))
    close(found.mean(dim=(1, 2, 3)), means)
    assert 0 <= found.min() < found.max() <= 1


@pytest.mark.parametrize("kind", KINDS)
def test_float32_masks_have_their_means_too(kind: str) -> None:
    quick, _ = KINDS[kind]
    maps, means = random_maps(14, 14).float(), torch.tensor(MEANS)
    found = quick(maps, means)
    assert found.dtype == torch.float32
    close(found.mean(dim=(1, 2, 3)), means, 1e-5)
    close(found, quick(maps.double(), means.double()).float(), 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_keep_the_order_of_places_and_forget_scale_and_offset(kind: str) -> None:
    quick, _ = KINDS[kind]
    maps, means = random_maps(4, 6), torch.tensor(MEANS, dtype=torch.float64)
    found = quick(maps, means)
    assert torch.equal(found.flatten(1).argsort(), maps.flatten(1).argsort())
    close(quick(maps * 7 - 4, means), found)
    close(quick(maps.flip(0), means.flip(0)), found.flip(0))


def test_threshold_masks_have_a_closed_form() -> None:
    """Half of the places at each of two values: half of the mask kept means a threshold between.

    With a quarter kept, ``σ(u) + σ(u − 2/softness) = 1/2``, since the values are two standard
    deviations apart.
    """
    maps = torch.tensor([[5.0, 9.0], [9.0, 5.0]], dtype=torch.float64)[None, None]
    half = thresholded_to_means(maps, torch.tensor([0.5], dtype=torch.float64), 0.4)
    kept = 1 / (1 + math.exp(-1 / 0.4))
    close(half[0, 0], [[1 - kept, kept], [kept, 1 - kept]])
    quarter = thresholded_to_means(maps, torch.tensor([0.25], dtype=torch.float64), 0.4)
    low, high = quarter[0, 0, 0].tolist()
    assert low + high == pytest.approx(0.5)
    apart = math.log(high / (1 - high)) - math.log(low / (1 - low))
    assert apart == pytest.approx(2 / 0.4, rel=1e-6)


def test_softness_is_the_width_of_the_threshold() -> None:
    maps, means = random_maps(7, 7), torch.tensor(MEANS, dtype=torch.float64)
    sharp, soft_ = (thresholded_to_means(maps, means, softness) for softness in (0.01, 3.0))
    close(sharp.mean(dim=(1, 2, 3)), means)
    assert ((sharp < 0.05) | (sharp > 0.95)).float().mean() > 0.9
    assert (soft_ - means[:, None, None, None]).abs().max() < 0.5


@pytest.mark.parametrize("mean", [1e-3, 0.02, 0.98, 0.999])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_means_are_kept_by_thresholds(mean: float, dtype: torch.dtype) -> None:
    maps = random_maps(7, 7).to(dtype).requires_grad_()
    found = thresholded_to_means(maps, torch.full((4,), mean, dtype=dtype), SOFTNESS)
    close(found.mean(dim=(1, 2, 3)), [mean] * 4, 2e-5)
    found.square().sum().backward()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()


@pytest.mark.parametrize("mean", [1e-3, 0.02, 0.98, 0.999])
def test_extreme_means_are_approached_by_powers(mean: float) -> None:
    """The best place stays 1 whatever the power, so that a mask keeps at least it."""
    maps = random_maps(7, 7).float().requires_grad_()
    found = soft(maps, torch.full((4,), mean))
    reached = found.detach().mean(dim=(1, 2, 3))
    close(reached, [max(mean, 1 / 49)] * 4, 3e-3)
    found.square().sum().backward()
    assert maps.grad is not None
    assert maps.grad.isfinite().all()


# Gradients, of the whole function: exponent and threshold follow the map


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", [(3, 4), (1, 5)], ids=str)
def test_gradients_equal_differences_of_slow_masks(kind: str, shape: tuple[int, int]) -> None:
    quick, slow = KINDS[kind]
    maps = random_maps(*shape).requires_grad_()
    weights = torch.linspace(-1, 2, shape[0] * shape[1], dtype=torch.float64).sin().tolist()
    means = torch.tensor(MEANS, dtype=torch.float64)
    (quick(maps, means).flatten(1) @ torch.tensor(weights, dtype=torch.float64)).sum().backward()
    assert maps.grad is not None
    for one, mean, gradient in zip(maps.detach(), MEANS, maps.grad, strict=True):
        values = one.flatten().tolist()
        spread = float(one.std(correction=0))
        step = 1e-5 * spread
        differences = []
        for place in range(len(values)):
            sides = []
            for sign in (1, -1):
                moved = list(values)
                moved[place] += sign * step
                # The spread of a threshold mask counts as constant.
                mask = slow(moved, mean, spread) if kind == "hard" else slow(moved, mean)
                sides.append(sum(w * value for w, value in zip(weights, mask, strict=True)))
            differences.append((sides[0] - sides[1]) / (2 * step))
        scale = max(map(abs, differences))
        assert scale * spread > 0.01
        close(gradient.flatten() / scale, [value / scale for value in differences], 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_gradcheck_agrees(kind: str) -> None:
    """The step is large, since 30 bisections find a root to a hundred-millionth only.

    The map moves in directions that leave its spread as it is, which counts as constant.
    """
    quick, _ = KINDS[kind]
    start = torch.tensor([0.3, -1.2, 2.0, 0.9, -0.4, 1.1], dtype=torch.float64)
    directions = torch.linalg.qr(torch.stack([start - start.mean(), *torch.eye(6).double()]).T)[0]

    def mask(steps: Tensor) -> Tensor:
        map_ = start + directions[:, 1:] @ steps
        return quick(map_.reshape(1, 1, 2, 3), torch.tensor([0.4], dtype=torch.float64))

    steps = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(mask, [steps], eps=1e-4, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_mean_of_a_mask_has_no_gradient(kind: str, dtype: torch.dtype) -> None:
    quick, _ = KINDS[kind]
    maps = random_maps(5, 4).to(dtype).requires_grad_()
    means = torch.tensor(MEANS, dtype=dtype)
    (of_mean,) = torch.autograd.grad(quick(maps, means).mean(dim=(1, 2, 3)).sum(), maps)
    (of_square,) = torch.autograd.grad(quick(maps, means).square().mean(dim=(1, 2, 3)).sum(), maps)
    for one, other in zip(of_mean.abs(), of_square.abs(), strict=True):
        assert one.max() < (1e-4 if dtype == torch.float32 else 1e-10) * other.max()


def test_one_image_moves_no_other_mask() -> None:
    for quick, _ in KINDS.values():
        maps = random_maps(3, 4).requires_grad_()
        quick(maps, torch.tensor(MEANS, dtype=torch.float64))[1].square().sum().backward()
        assert maps.grad is not None
        assert maps.grad.abs().amax(dim=(1, 2, 3)).gt(0).tolist() == [False, True, False, False]


# Maps without any order


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        *(("soft", value) for value in (0.0, 5.0, -40.0, 0.1)),
        *(("hard", value) for value in (0.0, 5.0, -40.0, 0.1)),
    ],
)
def test_a_constant_map_masks_evenly(kind: str, value: float) -> None:
    quick, _ = KINDS[kind]
    found = quick(torch.full((4, 1, 3, 4), value), torch.tensor(MEANS))
    close(found, torch.tensor(MEANS)[:, None, None, None].expand_as(found), 1e-5)


@pytest.mark.parametrize("kind", ["soft", "hard"])
def test_a_constant_map_has_no_wild_gradient(kind: str) -> None:
    """A gate that starts at zero gives such maps; one step must not be a million others."""
    quick, _ = KINDS[kind]
    maps = torch.zeros(4, 1, 3, 4).requires_grad_()
    weights = torch.randn(4, 1, 3, 4, generator=torch.Generator().manual_seed(0))
    (quick(maps, torch.tensor(MEANS)) * weights).sum().backward()
    assert maps.grad is not None
    assert maps.grad.abs().max() < 100
