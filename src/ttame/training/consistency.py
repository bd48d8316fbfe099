"""How little the map of a photo agrees with that of the photo mirrored and shifted."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ttame.errors import TrainingError, setting
from ttame.images.moved_images import Move, moved, moved_in
from ttame.images.saliency_maps import resize_maps
from ttame.training.objective import ObjectiveBatch

_LONGEST_SHIFT = 1 / 8
"""Of the picture's sides."""

_SMALLEST_SPREAD = 1e-6


def inconsistency(batch: ObjectiveBatch, classes: Tensor, maps: Tensor) -> Tensor:
    """Move all photos of a batch by the same random move, and compare their maps.

    Args:
        batch: of photos.
        classes: (B, 1) int64, the explained ones.
        maps: (B, 1, h, w), their maps before any activation.

    Returns:
        A scalar from 0 to 2, see :func:`disagreement`.

    Raises:
        TrainingError: a batch of texts.
    """
    if batch.maps_of_moved is None:
        raise TrainingError(
            f"consistency for {batch.classifier.name}, a classifier of {batch.classifier.kind}",
            allowed="classifiers of images, whose photos can be moved",
            remedy=setting("consistency", 0),
        )
    # Their own numbers, so that masks are those of a training without.
    own = torch.Generator().manual_seed(batch.generator.initial_seed() + 3)
    move = drawn_move(batch.image_size, own)
    return disagreement(maps, batch.maps_of_moved(classes, move), move, batch.image_size)


def drawn_move(size: tuple[int, int], generator: torch.Generator) -> Move:
    """Mirrored or not, and shifted by up to an eighth of each side (H, W)."""
    mirrored = bool(torch.randint(2, (), generator=generator))
    longest = [int(side * _LONGEST_SHIFT) for side in size]
    down, right = (int(torch.randint(-most, most + 1, (), generator=generator)) for most in longest)
    return Move(mirrored, down, right)


def disagreement(maps: Tensor, of_moved: Tensor, move: Move, size: tuple[int, int]) -> Tensor:
    """``1 − r``, r the correlation of the moved map with the map of the moved photo.

    Places that the move brought into the picture do not count.

    Args:
        maps: (B, 1, h, w) of the photos.
        of_moved: (B, 1, h, w) of the moved photos.
        move: in pixels.
        size: (H, W) of the photos.

    Returns:
        The mean over the images, a scalar from 0 to 2, differentiable in both.

    Example:
        >>> maps = torch.rand(2, 1, 4, 4)
        >>> float(disagreement(maps, maps.flip(-1), Move(mirrored=True), (8, 8)).round(decimals=4))
        0.0
    """
    grid = (int(maps.shape[2]), int(maps.shape[3]))
    if size == grid or not (move.down or move.right):
        # Without a shift nothing has to be resized.
        expected = moved(maps, move)
    else:
        expected = F.adaptive_avg_pool2d(moved(resize_maps(maps, size), move), grid)
    there = F.adaptive_avg_pool2d(moved_in(size, move), grid).flatten() > 1 - 1e-4
    there = there.to(maps.device)
    pairs = [_standardised(each.flatten(1)[:, there]) for each in (expected, of_moved)]
    return (1 - (pairs[0] * pairs[1]).mean(dim=1)).mean()


def _standardised(values: Tensor) -> Tensor:
    values = values - values.mean(dim=1, keepdim=True)
    return values / values.std(dim=1, keepdim=True, correction=0).clamp_min(_SMALLEST_SPREAD)
