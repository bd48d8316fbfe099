"""How well the maps of a batch explain what random masks leave of the class.

The other losses of training ask the classifier about a mask that the map made, and their gradient
goes through the classifier to the map: a mask can be fitted to its weaknesses, like any adversarial
pattern, and the figures get better while the map does not. Here the masks are drawn at random, and
the classifier is only asked what it makes of them. With ``z`` the map, ``m_i`` the i-th of M masks
of zeros and ones, ``s_i`` its mean, and ``p_i`` and ``p`` the class's probability behind the mask
and on the whole image::

    y_i   =  min(p_i / p, 1.5)
    u_i   =  Σ_x m_i(x) z(x)
    loss  =  mean over the images of  1 − corr_i( r(y), r(u) )

``y_i`` may also be the logarithm of the odds, ``log p_i − log(1 − p_i)``: where a class is certain,
a few words or pixels less hardly change its probability, but they change its odds.

``r`` is what is left after a linear regression on the shares ``s_i``: that more of the picture
keeps more of the class explains nothing, and a constant added to the map changes nothing. All masks
of an image have the same ground behind them. A classifier that adds up what its places give,
``p_i = Σ_x m_i(x) g(x)``, has its loss at 0 where ``z = g``.

With thousands of masks per image, ``Σ_i r(y)_i m_i`` is the map of RISE (Petsiuk et al., arXiv
1806.07421). A few dozen say little about one image; a head learns what the images have in common.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

from ttame.training.objective import ObjectiveBatch, WhatIsLeft

_MOST = 1.5
"""Of a ratio; without a bound, a few images with tiny probabilities would decide the step."""

_SHARES = (0.05, 0.9)
_CELLS = (7, 11)
"""Along a side of the noise, alternating: blobs of two sizes."""
_RUNS = (1, 3)
"""Tokens of a text that are hidden together, alternating."""
_ODDS_FROM = 1e-6
"""From 1e-6 to 1 − 1e-6; further out the odds of float32 probabilities are rounding."""

_LEAST_LEFT = 1e-4
_LEAST_COVERED = 1e-2
"""Lengths of what masks differ in; below them there is little but rounding to agree with."""
_SHORTEST_MAP = 1e-3
"""A map without a shape has a gradient that is not too large."""


def random_mask_disagreement(
    batch: ObjectiveBatch,
    classes: Tensor,
    maps: Tensor,
    masks: int,
    measure: WhatIsLeft = "ratio",
) -> Tensor:
    """Ask the classifier about random masks, and compare with what the maps make of them.

    It takes ``masks`` forward passes of the batch, one after the other, none backward.

    Args:
        batch: of photos or texts.
        classes: (B, 1) int64, the explained ones.
        maps: (B, 1, h, w), their maps before any activation.
        masks: how many for each image, at least 4.
        measure: what ``y`` is.

    Returns:
        A scalar from 0 to 2, differentiable in the maps.
    """
    grid = (int(maps.shape[2]), int(maps.shape[3]))
    left, covered = [], []
    with torch.no_grad():
        scores_behind = batch.one_ground()
        before = _of_class(batch, batch.scores, classes)
        for mask in drawn_masks(batch, masks):
            left.append(_left(before, _of_class(batch, scores_behind(mask), classes), measure))
            covered.append(F.adaptive_avg_pool2d(mask, grid)[:, 0])
    # Without their mean, so that no half precision on the way loses what differs.
    shown = batch.shown(maps - maps.mean(dim=(2, 3), keepdim=True))[:, 0]
    return disagreement(shown, torch.stack(covered, dim=1), torch.stack(left, dim=1))


def _left(before: Tensor, after: Tensor, measure: WhatIsLeft) -> Tensor:
    """(B,) numbers of (B,) probabilities on whole images and behind masks."""
    if measure == "log-odds":
        return torch.logit(after, eps=_ODDS_FROM)
    return (after / before.clamp_min(torch.finfo(before.dtype).tiny)).clamp_max(_MOST)


def disagreement(maps: Tensor, masks: Tensor, left: Tensor) -> Tensor:
    """``1 − corr``, of what masks leave of the class and how much of the map they cover.

    Args:
        maps: (B, h, w).
        masks: (B, M, h, w) in [0, 1], on the grid of the maps.
        left: (B, M), what each mask leaves of the class.

    Returns:
        The mean over the images, a scalar from 0 to 2, differentiable in the maps. Where all masks
        leave the same, an image counts 1 and has hardly any gradient.

    Example:
        >>> maps, masks = torch.rand(2, 3, 3), (torch.rand(2, 9, 3, 3) < 0.5).float()
        >>> left = (masks * maps[:, None]).sum(dim=(2, 3))
        >>> float(disagreement(5 * maps - 2, masks, left).abs().round(decimals=4))
        0.0
    """
    shares = masks.mean(dim=(2, 3))
    # Centred and of length 1, which no correlation sees, so that nothing is lost to rounding.
    maps = maps - maps.mean(dim=(1, 2), keepdim=True)
    maps = maps / torch.linalg.vector_norm(maps, dim=(1, 2), keepdim=True).clamp_min(_SHORTEST_MAP)
    covered = (masks * maps[:, None]).sum(dim=(2, 3))
    left = F.normalize(_without_shares(left, shares), dim=1, eps=_LEAST_LEFT)
    covered = F.normalize(_without_shares(covered, shares), dim=1, eps=_LEAST_COVERED)
    return (1 - (left * covered).sum(dim=1)).mean()


def _without_shares(values: Tensor, shares: Tensor) -> Tensor:
    """(B, M) values without what a constant and the shares say of them."""
    values = values - values.mean(dim=1, keepdim=True)
    direction = F.normalize(shares - shares.mean(dim=1, keepdim=True), dim=1)
    return values - (values * direction).sum(dim=1, keepdim=True) * direction


def drawn_masks(batch: ObjectiveBatch, masks: int) -> Iterator[Tensor]:
    """Masks of zeros and ones: (B, 1, H, W) float32, one for each image, as many times as asked.

    Of photos, uniform noise on a grid of 7×7 or 11×11 cells, by turns, is enlarged smoothly,
    shifted by up to a cell, and cut off where the mask has its share. Of texts, every token has its
    own noise, or three in a row the same, by turns; what no mask may hide stays. The shares of an
    image are spread evenly from 0.05 to 0.9, in random order. What is drawn depends on the batch's
    generator and on an image's place in the batch of all processes alone.

    Args:
        batch: of photos or texts.
        masks: M.
    """
    # Their own numbers, so that the other masks are those of a training without.
    own = torch.Generator().manual_seed(batch.generator.initial_seed() + 4)
    shifts = torch.rand(masks, 2, generator=own, dtype=torch.float32).tolist()
    side = max(_CELLS) + 1
    images = len(batch.labels)
    # A row for each image, the earlier ones of the batch too, so that rows do not depend on them.
    rows = (batch.first_image + images, masks, 2 + side**2)
    drawn = torch.rand(rows, generator=own, dtype=torch.float32)[batch.first_image :]
    order = drawn[:, :, 0].argsort(dim=1).argsort(dim=1)
    low, high = _SHARES
    shares = low + (high - low) * (order + drawn[:, :, 1]) / masks
    if batch.places is not None:
        yield from _of_tokens(batch.places, shares, drawn[:, :, 2])
        return
    for number, shift in enumerate(shifts):
        cells = _CELLS[number % len(_CELLS)] + 1
        noise = drawn[:, number, 2 : 2 + cells**2].reshape(images, 1, cells, cells)
        field = _enlarged(noise.to(batch.labels.device), shift, batch.image_size)
        yield _cut_off(field, shares[:, number].tolist())


def _of_tokens(places: Tensor, shares: Tensor, seeds: Tensor) -> Iterator[Tensor]:
    """Masks of the (B, 1, h, w) places that may be hidden, (B, M) shares of them kept."""
    images, _, rows, columns = places.shape
    for number in range(shares.shape[1]):
        run = _RUNS[number % len(_RUNS)]
        # Token by token, so that a text gets the same noise whatever it is padded to.
        noise = torch.stack(
            [_token_noise(float(seed), rows * columns) for seed in seeds[:, number]]
        )
        numbers = torch.arange(rows * columns)
        shifted = (numbers + (seeds[:, number, None] * 2**20).long() % run) // run
        field = noise.gather(1, shifted).reshape(images, 1, rows, columns).to(places.device)
        yield _cut_off(field.masked_fill(~places, torch.inf), shares[:, number].tolist(), places)


def _token_noise(seed: float, tokens: int) -> Tensor:
    """(tokens + 1,) numbers in [0, 1), one more than there are for runs that begin before."""
    own = torch.Generator().manual_seed(int(seed * 2**24))
    return torch.rand(tokens + 1, generator=own, dtype=torch.float32)


def _enlarged(noise: Tensor, shift: list[float], size: tuple[int, int]) -> Tensor:
    """(B, 1, n + 1, n + 1) noise to (B, 1, H, W), of which n cells and parts of one are seen."""
    cells = noise.shape[2]
    wide = [-(-side // (cells - 1)) * cells for side in size]
    larger = F.interpolate(noise, size=wide, mode="bicubic", align_corners=False)
    down, right = (
        int(part * (whole - side + 1)) for part, whole, side in zip(shift, wide, size, strict=True)
    )
    return larger[:, :, down : down + size[0], right : right + size[1]]


def _cut_off(field: Tensor, shares: list[float], places: Tensor | None = None) -> Tensor:
    """Ones where a (B, 1, H, W) field has its largest values, as many as its share says.

    Where there are ``places``, shares are shares of them, and the field is infinite elsewhere.
    """
    whole = field[0].numel()
    counts = [whole] * len(field) if places is None else places.flatten(1).sum(dim=1).tolist()
    # At least one place stays; where there is none, nothing is hidden.
    hidden = [
        max(0, count - max(1, round(share * count)))
        for share, count in zip(shares, counts, strict=True)
    ]
    least = [
        row.flatten().kthvalue(count + 1).values for row, count in zip(field, hidden, strict=True)
    ]
    return (field >= torch.stack(least)[:, None, None, None]).to(field.dtype)


def _of_class(batch: ObjectiveBatch, scores: Tensor, classes: Tensor) -> Tensor:
    """(B,) probabilities of the explained classes."""
    return batch.classifier.outputs.probabilities(scores).gather(1, classes)[:, 0]
