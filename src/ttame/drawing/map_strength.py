"""How strongly the maps of several classes are drawn, so that their pictures can be compared."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

import torch
from torch import Tensor

from ttame.drawing.pixel_heatmaps import pixel_heatmaps
from ttame.errors import ClassSelectionError, UnknownNameError, setting
from ttame.images.saliency_maps import has_evidence, to_unit_range

Strength = Literal["own", "probability", "contrast"]
"""``"own"``: each map is scaled on its own, so that an improbable class looks as convincing as a
probable one. ``"probability"``: as that, but a class that is half as probable as the most probable
one is half as opaque. ``"contrast"``: only where a map is above that of the most probable class."""

SMALLEST_CONTRAST = 0.25
"""Differences are drawn on one scale for all classes. The largest is its top, but a difference of
less than a quarter of the maps' range is not enlarged to it: chosen by looking at pictures, where
classes that look alike (two snakes) still differ visibly and equal maps stay dark."""


@dataclasses.dataclass(frozen=True, eq=False)
class DrawnMaps:
    """What is laid on a photo, one for each class.

    Attributes:
        heatmaps: (K, h, w) float32 in [0, 1], on the maps' own grid or a coarser one.
        shares: K numbers in [0, 1] that the opacity is multiplied by.

    Example:
        >>> maps = torch.arange(8.0).reshape(2, 2, 2)
        >>> drawn = drawn_maps(maps, torch.tensor([0.8, 0.2]), "probability")
        >>> drawn.heatmaps.shape, [f"{share:.2f}" for share in drawn.shares]
        (torch.Size([2, 2, 2]), ['1.00', '0.25'])
    """

    heatmaps: Tensor
    shares: tuple[float, ...]


def drawn_maps(
    maps: Tensor, probabilities: Tensor, strength: Strength = "own", *, of_pixels: bool = False
) -> DrawnMaps:
    """Scale the maps of one photo for drawing.

    Args:
        maps: (K, h, w) floating, raw, of one method and photo.
        probabilities: (K,) of the classes that they explain.
        strength: ``"own"``, ``"probability"`` or ``"contrast"``; see :data:`Strength`.
        of_pixels: whether the values belong to single pixels, as of gradients.

    Raises:
        UnknownNameError: no such strength.
        ClassSelectionError: a contrast of a single class.

    Example:
        >>> maps = torch.tensor([[[0.0, 2.0, 4.0]], [[4.0, 2.0, 0.0]]])
        >>> drawn_maps(maps, torch.tensor([0.8, 0.2]), "probability").shares
        (1.0, 0.25)
        >>> drawn_maps(maps, torch.tensor([0.8, 0.2]), "contrast").heatmaps.tolist()
        [[[0.0, 0.0, 1.0]], [[1.0, 0.0, 0.0]]]
    """
    check_strength(strength)
    whole = (1.0,) * len(maps)
    if strength == "contrast":
        return DrawnMaps(contrasts(maps, probabilities, of_pixels=of_pixels), whole)
    heatmaps = pixel_heatmaps(maps) if of_pixels else to_unit_range(maps.float())
    if strength == "own":
        return DrawnMaps(heatmaps, whole)
    most = float(probabilities.max()) or 1.0
    return DrawnMaps(heatmaps, tuple(float(each) / most for each in probabilities))


def contrasts(maps: Tensor, probabilities: Tensor, *, of_pixels: bool = False) -> Tensor:
    """Where the map of each class is above that of the most probable class, on one scale.

    The most probable class itself is compared with the second. Maps are compared as the method
    computes them, in units of the range of all of them (maps of pixels: as they are drawn). Methods
    whose maps are scaled class by class, as of trained heads by default, are compared in where they
    point only; for the difference of the scores themselves explain one class ``rather_than``
    another.

    Args:
        maps: (K, h, w) floating, raw, of one method and photo.
        probabilities: (K,) of the classes that they explain.
        of_pixels: whether the values belong to single pixels.

    Returns:
        (K, h, w) float32 in [0, 1]; 0 where the map is not above the other one.

    Raises:
        ClassSelectionError: a single class.

    Example:
        >>> equal = torch.eye(2).expand(3, 2, 2)
        >>> float(contrasts(equal, torch.tensor([0.1, 0.2, 0.7])).max())
        0.0
    """
    if len(maps) < 2:
        raise ClassSelectionError(
            "a contrast of a single class", allowed="two or more", remedy=setting("classes", "top2")
        )
    common = pixel_heatmaps(maps) if of_pixels else _on_common_scale(maps.float())
    others = compared_with(probabilities)
    differences = (common - common[others]).clamp(min=0)
    return differences / differences.max().clamp(min=SMALLEST_CONTRAST)


def compared_with(probabilities: Tensor) -> list[int]:
    """For each class the place of the one it is compared with.

    Example:
        >>> compared_with(torch.tensor([0.2, 0.7, 0.1]))
        [1, 0, 1]
    """
    first, second = probabilities.topk(2).indices.tolist()
    return [second if place == first else first for place in range(len(probabilities))]


def check_strength(strength: str) -> None:
    """Refuse a strength that there is not.

    Raises:
        UnknownNameError: no such strength.
    """
    known = get_args(Strength)
    if strength not in known:
        raise UnknownNameError(f"strength {strength!r}", allowed=", ".join(known))


def _on_common_scale(maps: Tensor) -> Tensor:
    """All maps together in [0, 1]."""
    lowest, highest = maps.min(), maps.max()
    together = maps.flatten()[None, None]
    if not bool(has_evidence(together)):
        return torch.zeros_like(maps)
    return (maps - lowest) / (highest - lowest)
