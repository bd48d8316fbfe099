"""One number for how faithful a map is, over grounds that cannot all be fitted at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from ttame.images.pixel_masking import MaskingSpace
from ttame.images.preprocessing import Preprocessing
from ttame.metrics.grounds import Ground
from ttame.metrics.hard_masks import hard_mask_kept, hard_mask_removed
from ttame.metrics.insertion_deletion import deletion, insertion
from ttame.metrics.measuring_batch import Probabilities
from ttame.metrics.metric import Metric
from ttame.metrics.protocol import MapScaling, Protocol, Upsampling
from ttame.metrics.road import road
from ttame.metrics.saco import saco
from ttame.metrics.shared_results import SharedResults

GROUNDS: tuple[Ground, ...] = ("blur", "mean", "noise")
_DEFAULT = Protocol("default")


def held_ground(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    kept_shares: tuple[float, ...] = _DEFAULT.kept_shares,
    removed_shares: tuple[float, ...] = _DEFAULT.removed_shares,
    space: MaskingSpace = "raw",
    step: int = _DEFAULT.step,
    blur: tuple[int, float] = _DEFAULT.blur,
    noise: float = _DEFAULT.road_noise,
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    shared: SharedResults | None = None,
) -> Tensor:
    """The mean of five families of faithfulness metrics, each in percent, higher is better.

    ``(I + D + R + H + S) / 5`` with

    * I: insertion, the mean over the grounds blur, mean colour and noise;
    * D: 100 minus deletion, the mean over the same grounds;
    * R: ROAD of probabilities, the mean of least relevant first and 100 minus most relevant first;
    * H: hard masks, the mean over the shares of what is kept with the most relevant pixels and of
      100 minus what is left without them;
    * S: SaCo, from [−1, 1] to [0, 100].

    None of them sees a value of the map as brightness: only which pixels come first and, in SaCo,
    by how much. Nothing is compared with other methods, so that the number of one stays when
    another is added. The families have their own spreads and nothing makes them alike: SaCo, for
    one, differs more between images than ROAD does, and weighs more in a comparison of means.
    Evaluations therefore compare methods family by family, see
    :mod:`ttame.evaluation.family_standings`; this number is for a first look. Agreement under
    shifts and noise is no part of it, because a fixed picture has the best; nor is what
    annotations say. The definition is ours; each family is its paper's.

    Args:
        probabilities: (B, 3, H, W) normalised images to (B, C) probabilities in [0, 1].
        images: (B, 3, H, W) float, normalised.
        maps: (B, h, w) raw maps.
        classes: (B,) int64, the explained classes.
        preprocessing: the classifier's own.
        kept_shares: the shares of the pixels, for hard masks.
        removed_shares: the shares of the pixels, for ROAD.
        space: what hard masks remove: ``"raw"`` makes it black, ``"normalised"`` the mean colour.
        step: pixels at a time in insertion and deletion at 224x224.
        blur: (kernel size, sigma) in pixels, of the blurred ground.
        noise: standard deviation of ROAD's.
        map_scaling: ``"grid"`` scales maps to [0, 1] before they are resized, ``"pixels"`` after.
        upsampling: how maps are enlarged to the images' size.
        seed: the seed of noise and of the order of equal values.
        numbers: the numbers of the images in the data set, on which noise depends; 0, 1, … if not
            given.
        shared: what other metrics of the same images have computed.

    Returns:
        (B,) float32 in percent, in [0, 100].

    Example:
        >>> def brightness(images):
        ...     return images.mean(dim=(1, 2, 3)).clamp(0, 1)[:, None]
        >>> images = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> plain = Preprocessing((8, 8), 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        >>> good, bad = (
        ...     held_ground(brightness, images, sign * images[:, 0], torch.tensor([0]), plain)
        ...     for sign in (1, -1))
        >>> bool(good > bad)
        True
    """
    parts = held_ground_parts(
        probabilities, images, maps, classes, preprocessing, kept_shares=kept_shares,
        removed_shares=removed_shares, space=space, step=step, blur=blur, noise=noise,
        map_scaling=map_scaling, upsampling=upsampling, seed=seed, numbers=numbers, shared=shared,
    )  # fmt: skip
    return torch.stack(list(parts.values())).mean(dim=0)


def held_ground_parts(
    probabilities: Probabilities,
    images: Tensor,
    maps: Tensor,
    classes: Tensor,
    preprocessing: Preprocessing,
    *,
    kept_shares: tuple[float, ...] = _DEFAULT.kept_shares,
    removed_shares: tuple[float, ...] = _DEFAULT.removed_shares,
    space: MaskingSpace = "raw",
    step: int = _DEFAULT.step,
    blur: tuple[int, float] = _DEFAULT.blur,
    noise: float = _DEFAULT.road_noise,
    map_scaling: MapScaling = "grid",
    upsampling: Upsampling = "bilinear",
    seed: int = 0,
    numbers: Sequence[int] | None = None,
    shared: SharedResults | None = None,
) -> dict[str, Tensor]:
    """The five families whose mean :func:`held_ground` is; arguments as there.

    Returns:
        ``insertion``, ``deletion``, ``road``, ``hard_masks`` and ``saco`` to (B,) float32 in
        percent, higher is better.

    Example:
        >>> def brightness(images):
        ...     return images.mean(dim=(1, 2, 3)).clamp(0, 1)[:, None]
        >>> images = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))
        >>> plain = Preprocessing((8, 8), 8, (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
        >>> list(held_ground_parts(brightness, images, images[:, 0], torch.tensor([0]), plain))
        ['insertion', 'deletion', 'road', 'hard_masks', 'saco']
    """
    asked = (probabilities, images, maps, classes)
    alike: dict[str, Any] = {
        "map_scaling": map_scaling, "upsampling": upsampling, "seed": seed,
        "shared": shared or SharedResults(),
    }  # fmt: skip
    drawn = {**alike, "numbers": numbers}
    curves = {**drawn, "step": step, "blur": blur}
    masks = {**alike, "space": space}
    road_of = {**drawn, "shares": removed_shares, "score": "probability", "noise": noise}
    return {
        "insertion": _mean(insertion(*asked, ground=ground, **curves) for ground in GROUNDS),
        "deletion": 100 - _mean(deletion(*asked, ground=ground, **curves) for ground in GROUNDS),
        "road": _better_by(
            road(*asked, preprocessing, order="least relevant first", **road_of),
            road(*asked, preprocessing, order="most relevant first", **road_of),
        ),
        "hard_masks": _mean(
            _better_by(
                hard_mask_kept(*asked, preprocessing, kept_share=share, **masks),
                hard_mask_removed(*asked, preprocessing, removed_share=share, **masks),
            )
            for share in kept_shares
        ),
        "saco": 50 * (1 + saco(*asked, **alike)),
    }


def _mean(values: Iterable[Tensor]) -> Tensor:
    return torch.stack(list(values)).mean(dim=0)


def _better_by(higher: Tensor, lower: Tensor) -> Tensor:
    """The mean of a number that should be high and of 100 minus one that should be low."""
    return (higher + 100 - lower) / 2


HELD_GROUND = Metric(
    name="held_ground",
    title="Held ground",
    better="higher",
    unit="%",
    paper="none: the mean of insertion, deletion, ROAD, hard masks and SaCo",
    measures="how well the map's order of the pixels holds on every ground: the mean of insertion "
    "and 100 minus deletion (blur, mean colour, noise), ROAD of probabilities, hard masks, and "
    "SaCo, in percent; only of methods that pass the randomisation check, where it was made",
    cost="none beyond the metrics of held-ground",
    function=held_ground,
    options={"space": "masked_in", "noise": "road_noise"},
    also={"held_ground": held_ground_parts},
    gated=True,
)
