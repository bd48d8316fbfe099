"""What an annotation says about one photo."""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ttame.errors import DatasetError

LARGEST_AREA = 178_956_970
"""Pixels of the largest photo that Pillow opens; an annotation for a larger one belongs to none."""


@dataclasses.dataclass(frozen=True)
class AnnotatedObject:
    """One object in a photo.

    Attributes:
        category: its name; empty where the annotation names none.
        draw: gives (height, width) bool in pixels of the photo, true on the object.
    """

    category: str
    draw: Callable[[], np.ndarray]


@dataclasses.dataclass(frozen=True)
class AnnotatedPhoto:
    """The objects in a photo.

    Attributes:
        size: (width, height) in pixels that the annotation refers to.
        objects: in the order of the annotation.
    """

    size: tuple[int, int]
    objects: tuple[AnnotatedObject, ...]


class AnnotationSource(abc.ABC):
    """Annotations of one format.

    Attributes:
        names: what the annotation calls each photo, a path with forward slashes.
    """

    names: Sequence[str]

    @abc.abstractmethod
    def photo(self, number: int) -> AnnotatedPhoto:
        """Read the annotation of photo ``names[number]``.

        Raises:
            DatasetError: it cannot be read, or an object lies outside the photo.
        """


def photo_size(width: Any, height: Any) -> tuple[int, int]:
    """The size of a photo as an annotation gives it.

    Args:
        width: whatever stands there.
        height: likewise.

    Returns:
        (width, height) in pixels.

    Raises:
        ValueError: they are not whole numbers from 1 on, or more pixels than a photo may have.

    Example:
        >>> photo_size(640, 480.0)
        (640, 480)
    """
    sides = finite_numbers((width, height))
    if not all(1 <= side <= LARGEST_AREA and side == int(side) for side in sides):
        raise ValueError(f"a photo of width {width!r} and height {height!r}")
    across, down = (int(side) for side in sides)
    if across * down > LARGEST_AREA:
        raise ValueError(
            f"a photo of {across}x{down} pixels, where at most {LARGEST_AREA} are opened"
        )
    return across, down


def finite_numbers(values: Any) -> list[float]:
    """Coordinates as an annotation gives them.

    Raises:
        ValueError: it is not a list of finite numbers.

    Example:
        >>> finite_numbers([1, 2.5])
        [1.0, 2.5]
    """
    if not isinstance(values, list | tuple):
        raise ValueError(f"{_shown(values)} where numbers should be")
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{_shown(value)} where a number should be")
        if not math.isfinite(value):
            raise ValueError(f"{value} where a finite number should be")
    return [float(value) for value in values]


def _shown(value: Any) -> str:
    """A word for lists and objects, which may be of any size."""
    return type(value).__name__ if isinstance(value, list | dict) else repr(value)


def draw_box(size: tuple[int, int], box: tuple[float, float, float, float]) -> np.ndarray:
    """Mark every pixel that a box touches.

    Args:
        size: (width, height) of the photo in pixels.
        box: (left, top, right, bottom) in pixels, right and bottom exclusive.

    Returns:
        (height, width) bool.

    Example:
        >>> draw_box((4, 2), (1, 0, 2.5, 1)).astype(int)
        array([[0, 1, 1, 0],
               [0, 0, 0, 0]])
    """
    width, height = size
    left, top, right, bottom = box
    mask = np.zeros((height, width), dtype=bool)
    rows = slice(max(0, int(np.floor(top))), max(0, int(np.ceil(bottom))))
    columns = slice(max(0, int(np.floor(left))), max(0, int(np.ceil(right))))
    mask[rows, columns] = True
    return mask


def check_inside(where: str, size: tuple[int, int], box: tuple[float, float, float, float]) -> None:
    """Refuse a box that is turned round or leaves its photo by more than a pixel of rounding.

    Args:
        where: names the annotation in messages.
        size: (width, height) of the photo in pixels.
        box: (left, top, right, bottom) in pixels, right and bottom exclusive.

    Raises:
        DatasetError: it does.
    """
    width, height = size
    left, top, right, bottom = box
    shown = "{:g}, {:g}, {:g}, {:g}".format(*box)
    # Written so that NaN fails too.
    if not (left <= right and top <= bottom):
        raise DatasetError(
            f"{where}: the box ({shown}) has its sides swapped", allowed="left before right"
        )
    if not (left >= -1 and top >= -1 and right <= width + 1 and bottom <= height + 1):
        raise DatasetError(
            f"{where}: the box ({shown}) leaves its photo of {width}x{height} pixels",
            allowed=f"left, top, right, bottom within (0, 0, {width}, {height})",
        )
