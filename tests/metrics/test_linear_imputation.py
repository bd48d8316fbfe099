"""Removed pixels as weighted means of their neighbours."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.conftest import Golden
from ttame.errors import TtameError
from ttame.metrics import linear_imputation
from ttame.metrics.linear_imputation import impute_linearly


def slowly_imputed(pixels: Tensor, removed: Tensor) -> Tensor:
    """One dense float64 system, written down equation by equation: (C, H, W) and (H, W)."""
    _, height, width = pixels.shape
    places = [(int(y), int(x)) for y, x in removed.nonzero()]
    number = {place: index for index, place in enumerate(places)}
    matrix = torch.zeros(len(places), len(places), dtype=torch.float64)
    right_side = torch.zeros(len(places), len(pixels), dtype=torch.float64)
    for (y, x), row in number.items():
        for down in (-1, 0, 1):
            for right in (-1, 0, 1):
                neighbour = (y + down, x + right)
                inside = 0 <= neighbour[0] < height and 0 <= neighbour[1] < width
                if (down, right) == (0, 0) or not inside:
                    continue
                weight = 1 / 6 if 0 in (down, right) else 1 / 12
                matrix[row, row] += weight
                if neighbour in number:
                    matrix[row, number[neighbour]] -= weight
                else:
                    right_side[row] += weight * pixels[:, neighbour[0], neighbour[1]].double()
    solution = torch.linalg.solve(matrix, right_side)
    imputed = pixels.double().clone()
    imputed[:, removed] = solution.T
    return imputed


def residual(imputed: Tensor, removed: Tensor) -> Tensor:
    """How far the removed pixels are from the weighted mean of their neighbours, in float64."""
    kernel = torch.tensor([[1.0, 2.0, 1.0], [2.0, 0.0, 2.0], [1.0, 2.0, 1.0]]).double() / 12
    kernel = kernel.expand(imputed.shape[1], 1, 3, 3)
    values = imputed.double()
    around = F.conv2d(values, kernel, padding=1, groups=len(kernel))
    weights = F.conv2d(torch.ones_like(values), kernel, padding=1, groups=len(kernel))
    return (values - around / weights).abs() * removed[:, None]


def blob(share: float, size: tuple[int, int]) -> Tensor:
    coarse = torch.rand(1, 1, 7, 7, generator=torch.Generator().manual_seed(3))
    values = F.interpolate(coarse, size=size, mode="bilinear")[0]
    return values > values.flatten().quantile(1 - share)


def one_kept(size: tuple[int, int]) -> Tensor:
    removed = torch.ones(1, *size, dtype=torch.bool)
    removed[0, 3, 5] = False
    return removed


def two_kept(size: tuple[int, int]) -> Tensor:
    removed = one_kept(size)
    removed[0, -2, -3] = False
    return removed


def random(share: float, size: tuple[int, int]) -> Tensor:
    return torch.rand(1, *size, generator=torch.Generator().manual_seed(4)) < share


MASKS: dict[str, Callable[[tuple[int, int]], Tensor]] = {
    "blob 10 %": lambda size: blob(0.1, size),
    "blob 50 %": lambda size: blob(0.5, size),
    "blob 90 %": lambda size: blob(0.9, size),
    "random 10 %": lambda size: random(0.1, size),
    "random 50 %": lambda size: random(0.5, size),
    "random 90 %": lambda size: random(0.9, size),
    "one kept": one_kept,
    "two kept": two_kept,
}


@pytest.mark.parametrize("name", MASKS)
@pytest.mark.parametrize("size", [(23, 31), (30, 18)])
def test_equals_the_dense_system(name: str, size: tuple[int, int]) -> None:
    pixels = torch.rand(1, 3, *size)
    removed = MASKS[name](size)
    imputed = impute_linearly(pixels, removed)
    assert imputed.dtype == torch.float32
    assert (imputed[0] - slowly_imputed(pixels[0], removed[0])).abs().max() < 5e-5


@pytest.mark.parametrize(
    "case", ["block", *(f"random_{share}" for share in (10, 20, 30, 40, 50, 70, 90))]
)
def test_equals_the_published_imputer(case: str) -> None:
    golden = Golden("road")
    image = golden["input.images"][:1]
    removed = golden[f"input.keep_mask_{case}"][None] == 0
    imputed = impute_linearly(image, removed)[0]
    assert (imputed - golden[f"output.imputed_{case}"]).abs().max() < 5e-5


@pytest.mark.parametrize("name", ["blob 10 %", "blob 90 %", "random 90 %", "two kept"])
def test_few_cycles_suffice_at_full_size(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cycles = []
    original = linear_imputation._Multigrid.approximate_solution

    def counted(self: object, right_side: Tensor, depth: int = 0) -> Tensor:
        if depth == 0:
            cycles.append(depth)
        return original(self, right_side, depth)  # type: ignore[arg-type]

    monkeypatch.setattr(linear_imputation._Multigrid, "approximate_solution", counted)
    pixels = torch.rand(1, 3, 224, 224)
    removed = MASKS[name]((224, 224))
    imputed = impute_linearly(pixels, removed)
    assert len(cycles) <= 6
    assert residual(imputed, removed).max() < 3e-6


def test_one_removed_pixel_by_hand() -> None:
    pixels = torch.tensor([[6.0, 0.0, 12.0], [1.0, 99.0, 2.0], [24.0, 3.0, 0.0]])[None, None]
    removed = torch.zeros(1, 3, 3, dtype=torch.bool)
    removed[0, 1, 1] = True
    # (0 + 1 + 2 + 3) / 6 + (6 + 12 + 24 + 0) / 12
    assert impute_linearly(pixels, removed)[0, 0, 1, 1] == pytest.approx(4.5, abs=1e-4)


def test_the_corner_of_four_pixels_by_hand() -> None:
    pixels = torch.tensor([[[[9.0, 3.0], [6.0, 2.0]]]])
    removed = torch.tensor([[[True, False], [False, False]]])
    # (3/6 + 6/6 + 2/12) / (1/6 + 1/6 + 1/12)
    expected = torch.tensor([[[[4.0, 3.0], [6.0, 2.0]]]])
    assert torch.allclose(impute_linearly(pixels, removed), expected, atol=1e-4)


def test_a_plane_is_continued_through_a_hole() -> None:
    rows, columns = torch.meshgrid(torch.arange(40.0), torch.arange(33.0), indexing="ij")
    plane = (rows / 80 + columns / 90)[None, None]
    removed = torch.zeros(1, 40, 33, dtype=torch.bool)
    removed[0, 4:37, 3:29] = True
    assert torch.allclose(impute_linearly(plane, removed), plane, atol=5e-5)


def test_kept_pixels_are_untouched_and_arguments_too() -> None:
    pixels, removed = torch.rand(2, 3, 20, 20), random(0.6, (20, 20)).repeat(2, 1, 1)
    before, mask_before = pixels.clone(), removed.clone()
    imputed = impute_linearly(pixels, removed)
    kept = ~removed[:, None].expand_as(pixels)
    assert torch.equal(imputed[kept], pixels[kept])
    assert torch.equal(pixels, before) and torch.equal(removed, mask_before)
    assert imputed.data_ptr() != pixels.data_ptr()


def test_removed_values_do_not_matter() -> None:
    pixels, removed = torch.rand(1, 3, 24, 24), blob(0.5, (24, 24))
    other = torch.where(removed[:, None], torch.full_like(pixels, 1e3), pixels)
    assert torch.equal(impute_linearly(pixels, removed), impute_linearly(other, removed))


def test_nothing_removed_changes_nothing() -> None:
    pixels = torch.rand(2, 3, 9, 8)
    assert torch.equal(impute_linearly(pixels, torch.zeros(2, 9, 8, dtype=torch.bool)), pixels)


@pytest.mark.parametrize("size", [(1, 1), (5, 7), (40, 40)])
def test_everything_removed_leaves_the_mean_colour(size: tuple[int, int]) -> None:
    pixels = torch.rand(2, 3, *size)
    imputed = impute_linearly(pixels, torch.ones(2, *size, dtype=torch.bool))
    mean = pixels.mean(dim=(2, 3), keepdim=True).expand_as(pixels)
    assert torch.allclose(imputed, mean, atol=1e-6)


def test_one_kept_pixel_colours_the_whole_image() -> None:
    pixels = torch.rand(1, 3, 50, 60)
    imputed = impute_linearly(pixels, one_kept((50, 60)))
    assert torch.allclose(imputed, pixels[:, :, 3:4, 5:6].expand_as(pixels), atol=5e-5)


def test_batch_equals_singles_in_any_company() -> None:
    pixels = torch.rand(9, 3, 32, 32)
    removed = torch.cat([mask((32, 32)) for mask in MASKS.values()])
    removed = torch.cat([removed, torch.ones(1, 32, 32, dtype=torch.bool)])
    together = impute_linearly(pixels, removed)
    singles = torch.cat([impute_linearly(pixels[i : i + 1], removed[i : i + 1]) for i in range(9)])
    assert (together - singles).abs().max() < 1e-6


def test_scattered_pixels_do_not_overflow_on_coarse_grids() -> None:
    generator = torch.Generator().manual_seed(1)
    removed = torch.rand(4, 224, 224, generator=generator) < 0.2
    imputed = impute_linearly(torch.rand(4, 1, 224, 224), removed)
    assert bool(torch.isfinite(imputed).all())


def test_several_masks_of_an_image() -> None:
    pixels = torch.rand(3, 2, 16, 20)
    removed = torch.rand(3, 5, 16, 20) < 0.5
    imputed = impute_linearly(pixels, removed)
    assert imputed.shape == (3, 5, 2, 16, 20)
    for share in range(5):
        assert torch.allclose(
            imputed[:, share], impute_linearly(pixels, removed[:, share]), atol=1e-6
        )


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (2, 2), (3, 1), (11, 2), (2, 90)])
def test_narrow_images(size: tuple[int, int]) -> None:
    pixels = torch.rand(1, 1, *size)
    removed = torch.rand(1, *size) < 0.5
    removed[0, 0, 0] = False
    imputed = impute_linearly(pixels, removed)
    assert (imputed[0] - slowly_imputed(pixels[0], removed[0])).abs().max() < 5e-5


def test_no_images() -> None:
    pixels = torch.rand(0, 3, 8, 8)
    assert impute_linearly(pixels, torch.zeros(0, 8, 8).bool()).shape == (0, 3, 8, 8)
    assert impute_linearly(pixels, torch.zeros(0, 5, 8, 8).bool()).shape == (0, 5, 3, 8, 8)


def test_masks_that_do_not_fit_are_refused() -> None:
    with pytest.raises(TtameError, match="allowed"):
        impute_linearly(torch.rand(1, 3, 8, 8), torch.zeros(1, 8, 9, dtype=torch.bool))
    with pytest.raises(TtameError, match="allowed"):
        impute_linearly(torch.rand(1, 3, 8, 8), torch.zeros(1, 8, 8))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_gives_the_same() -> None:
    pixels, removed = torch.rand(6, 3, 64, 48), blob(0.5, (64, 48)).repeat(6, 1, 1)
    there = impute_linearly(pixels.cuda(), removed.cuda()).cpu()
    assert torch.allclose(there, impute_linearly(pixels, removed), atol=1e-5)
