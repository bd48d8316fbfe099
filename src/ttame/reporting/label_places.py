"""Places for labels, so that they do not cover each other."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

LABEL_HEIGHT = 15.0
LETTER_WIDTH = 6.9
"""Of the charts' 12-unit letters; wide ones are rare enough."""


@dataclasses.dataclass(frozen=True)
class Box:
    """A rectangle; ``top`` is the smaller number."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """The area that two boxes share."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down)

    def outside(self, edges: Box) -> float:
        """The area that lies beyond ``edges``."""
        area = (self.right - self.left) * (self.bottom - self.top)
        return area - self.overlap(edges)


def label_box(text: str) -> tuple[float, float]:
    """(width, height) of a label."""
    return LETTER_WIDTH * len(text), LABEL_HEIGHT


def spread(places: Sequence[float], gap: float, first: float, last: float) -> list[float]:
    """Move places apart until neighbours are ``gap`` apart, in their order and within the ends.

    Where there is no room for that, all gaps shrink alike.

    Example:
        >>> spread([50.0, 10.0, 52.0], 10.0, 0.0, 100.0)
        [50.0, 10.0, 60.0]
        >>> spread([99.0, 99.0], 10.0, 0.0, 100.0)
        [90.0, 100.0]
    """
    if len(places) > 1:
        gap = min(gap, (last - first) / (len(places) - 1))
    order = sorted(range(len(places)), key=places.__getitem__)
    moved = list(places)
    lowest = first
    for number in order:
        moved[number] = max(moved[number], lowest)
        lowest = moved[number] + gap
    highest = last
    for number in reversed(order):
        moved[number] = min(moved[number], highest)
        highest = moved[number] - gap
    return moved


def place_beside(
    spot: tuple[float, float], size: tuple[float, float], taken: Sequence[Box], edges: Box
) -> Box:
    """The place nearest to a point that covers nothing, or else covers least.

    Args:
        spot: (x, y) of the point.
        size: (width, height) of the label.
        taken: what stands already.
        edges: beyond which no label should reach.

    Example:
        >>> place_beside((0, 0), (20, 10), [], Box(-50, -50, 50, 50))
        Box(left=9, top=-5.0, right=29, bottom=5.0)
    """
    best, least = None, float("inf")
    for box in _candidates(spot, size):
        covered = box.outside(edges) * 4 + sum(box.overlap(other) for other in taken)
        if covered < least - 1e-9:
            best, least = box, covered
        if least == 0:
            break
    assert best is not None  # there are always candidates
    return best


def _candidates(spot: tuple[float, float], size: tuple[float, float]) -> Iterator[Box]:
    (x, y), (width, height) = spot, size
    for ring in range(6):
        rise = ring * height
        for shift in (-rise, rise) if ring else (0.0,):
            top = y + shift - height / 2
            yield Box(x + 9, top, x + 9 + width, top + height)
            yield Box(x - 9 - width, top, x - 9, top + height)
        for top in (y - 8 - height - rise, y + 8 + rise):
            yield Box(x - width / 2, top, x + width / 2, top + height)
