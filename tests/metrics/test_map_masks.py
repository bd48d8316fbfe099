"""Maps as masks on four pixels, for every setting of a protocol."""

from __future__ import annotations

import pytest
import torch

from ttame.metrics.map_masks import map_values, share_masks
from ttame.metrics.protocol import Protocol, percent

FOUR = torch.tensor([[[0.0, 1.0], [2.0, 4.0]]])


def masks(kept: float, **settings: object) -> list[float]:
    protocol = Protocol("p", **settings)  # type: ignore[arg-type]
    return share_masks(FOUR, (2, 2), kept, protocol).flatten().tolist()  # type: ignore[no-any-return]


def test_soft_masks_keep_the_values() -> None:
    assert masks(1.0) == [0, 0.25, 0.5, 1]
    assert masks(0.5) == [0, 0, 0.5, 1]
    assert masks(0.25) == [0, 0, 0, 1]


def test_binary_masks() -> None:
    assert masks(1.0, mask="binary") == [1, 1, 1, 1]
    assert masks(0.5, mask="binary") == [0, 0, 1, 1]


@pytest.mark.parametrize("mask", ["soft", "binary"])
def test_ties_are_kept_or_trimmed(mask: str) -> None:
    maps = torch.tensor([[[0.0, 3.0], [3.0, 3.0]]])
    kept = share_masks(maps, (2, 2), 0.25, Protocol("p", mask=mask))  # type: ignore[arg-type]
    assert kept.sum() == 3
    trimmed = share_masks(maps, (2, 2), 0.25, Protocol("p", mask=mask, ties="trimmed"))  # type: ignore[arg-type]
    assert trimmed.sum() == 1
    assert trimmed[0, 0, 0] == 0


def test_scaling_on_the_grid_differs_from_scaling_pixels() -> None:
    maps = torch.tensor([[[0.0, 1.0]]])
    grid = map_values(maps, (1, 6), Protocol("p"))
    pixels = map_values(maps, (1, 6), Protocol("p", map_scaling="pixels"))
    # Six pixels over two cells lie at -1/3, 0, 1/3, 2/3, 1 and 4/3 of the cells' distance.
    torch.testing.assert_close(
        grid, torch.tensor([[[0, 0, 1 / 3, 2 / 3, 1, 1]]]), atol=1e-6, rtol=0
    )
    assert pixels.min() == 0 and pixels.max() == 1
    bicubic = map_values(maps, (1, 6), Protocol("p", upsampling="bicubic"))
    assert not torch.allclose(bicubic, grid)
    assert bicubic.min() >= 0 and bicubic.max() <= 1


def test_a_constant_map_is_nothing() -> None:
    assert map_values(torch.full((1, 2, 2), 7.0), (4, 4), Protocol("p")).abs().max() == 0


def test_arguments_are_not_changed() -> None:
    before = FOUR.clone()
    masks(0.5, ties="trimmed", mask="binary")
    assert torch.equal(FOUR, before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kept_shares": (50.0,)}, "kept share 50.0; allowed: above 0, at most 1"),
        ({"removed_shares": (1.0,)}, "removed share 1.0"),
        ({"step": 0}, "step 0"),
        ({"blur": (10, 5.0)}, "an odd kernel size"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    from ttame.errors import TtameError

    with pytest.raises(TtameError, match=message):
        Protocol("p", **settings)  # type: ignore[arg-type]


def test_every_setting_is_part_of_the_hash() -> None:
    other = {
        "explained_class": "label",
        "masked_in": "normalised",
        "map_scaling": "pixels",
        "upsampling": "bicubic",
        "mask": "binary",
        "ties": "trimmed",
        "kept_shares": (1.0,),
        "removed_shares": (0.5,),
        "road_noise": 0.0,
        "road_score": "probability",
        "step": 224,
        "blur": (11, 4.0),
        "adcc_average": "per image",
        "seed": 1,
    }
    assert set(other) == set(Protocol("p").settings())
    hashes = {Protocol("p", **{name: value}).hash for name, value in other.items()}  # type: ignore[arg-type]
    assert len(hashes | {Protocol("p").hash}) == len(other) + 1


def test_percent() -> None:
    assert [percent(share) for share in (1.0, 0.5, 0.15, 0.07)] == ["100", "50", "15", "7"]
