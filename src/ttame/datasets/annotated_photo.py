"""What an annotation says about one photo."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from ttame.errors import DatasetError


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
