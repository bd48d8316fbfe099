"""Boxes, polygons and run-length masks in COCO's JSON format."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from ttame.datasets.annotated_photo import (
    AnnotatedObject,
    AnnotatedPhoto,
    AnnotationSource,
    check_inside,
    draw_box,
    finite_numbers,
    photo_size,
)
from ttame.errors import DatasetError, kind_of
from ttame.files.bounded_reading import UnopenedFileError, UnreadableFileError
from ttame.files.json_files import read_json

_SECTIONS = ("images", "annotations", "categories")
_LARGEST_FILE = 4 * 2**30  # The largest published one, of Objects365, has 2.5 GB.
_MOST_CORNERS = 100_000
"""Of one polygon: Pillow looks at every corner in every row."""
_LONGEST_NUMBER = 65  # bits, in COCO's text for runs


class CocoAnnotations(AnnotationSource):
    """The objects that a COCO file names, each by its segmentation, or else by its box.

    Polygons are filled as Pillow fills them, borders included. Crowds count as objects.

    Args:
        path: a JSON file with ``images``, ``annotations`` and ``categories``.

    Raises:
        DatasetError: it cannot be read, or is no such file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        content = _read(self.path)
        try:
            self._categories = {
                entry["id"]: _text(entry["name"]) for entry in content["categories"]
            }
            self._images: list[Mapping[str, Any]] = list(content["images"])
            self.names = [_text(entry["file_name"]).replace("\\", "/") for entry in self._images]
            self._of_image: dict[Any, list[Mapping[str, Any]]] = {}
            for entry in content["annotations"]:
                self._of_image.setdefault(entry["image_id"], []).append(entry)
        except (KeyError, TypeError, ValueError) as problem:
            raise _no_coco(self.path, _in_words(problem)) from problem

    def photo(self, number: int) -> AnnotatedPhoto:
        """See :meth:`AnnotationSource.photo`."""
        entry = self._images[number]
        where = f"{self.path} image {self.names[number]}"
        try:
            size = photo_size(entry["width"], entry["height"])
            annotations = self._of_image.get(entry["id"], [])
            return AnnotatedPhoto(size, tuple(self._object(where, size, a) for a in annotations))
        except (KeyError, TypeError, ValueError, IndexError) as problem:
            raise _no_coco(self.path, f"image {self.names[number]}: {_in_words(problem)}") from (
                problem
            )

    def _object(
        self, where: str, size: tuple[int, int], entry: Mapping[str, Any]
    ) -> AnnotatedObject:
        category = self._categories[entry["category_id"]]
        segmentation = entry.get("segmentation")
        if isinstance(segmentation, Mapping):
            lengths = _checked_runs(where, size, segmentation)
            return AnnotatedObject(category, functools.partial(_draw_runs, lengths, size))
        if segmentation:
            polygons = [_checked_polygon(where, size, polygon) for polygon in segmentation]
            return AnnotatedObject(category, functools.partial(draw_polygons, size, polygons))
        left, top, width, height = finite_numbers(entry["bbox"])
        box = (left, top, left + width, top + height)
        check_inside(where, size, box)
        return AnnotatedObject(category, functools.partial(draw_box, size, box))


def _checked_polygon(where: str, size: tuple[int, int], polygon: Any) -> list[float]:
    """The coordinates of a polygon that lies in its photo."""
    values = finite_numbers(polygon)
    if not 6 <= len(values) <= 2 * _MOST_CORNERS or len(values) % 2:
        raise ValueError(f"a polygon of {len(values)} numbers")
    across, down = values[0::2], values[1::2]
    check_inside(where, size, (min(across), min(down), max(across), max(down)))
    return values


def _checked_runs(where: str, size: tuple[int, int], segmentation: Mapping[str, Any]) -> list[int]:
    """The lengths of runs that fill their photo: found now, not in the middle of an evaluation."""
    height, width = finite_numbers(segmentation["size"])
    if (height, width) != (size[1], size[0]):
        raise DatasetError(
            f"{where}: a mask of (height, width) ({height:g}, {width:g}) for a photo "
            f"of {size[0]}x{size[1]} pixels",
            allowed="the photo's own size",
        )
    return run_lengths(segmentation["counts"], (size[1], size[0]))


def draw_polygons(size: tuple[int, int], polygons: Sequence[Sequence[float]]) -> np.ndarray:
    """Fill polygons.

    Args:
        size: (width, height) of the photo in pixels.
        polygons: each ``[x1, y1, x2, y2, …]`` in pixels.

    Returns:
        (height, width) bool.

    Example:
        >>> draw_polygons((4, 3), [[1, 0, 2, 0, 2, 1, 1, 1]]).astype(int)
        array([[0, 1, 1, 0],
               [0, 1, 1, 0],
               [0, 0, 0, 0]])
    """
    picture = Image.new("L", size)
    pencil = ImageDraw.Draw(picture)
    for polygon in polygons:
        pencil.polygon(list(zip(polygon[0::2], polygon[1::2], strict=True)), fill=1)
    return np.array(picture, dtype=bool)


def decode_runs(counts: Sequence[int] | str, size: Sequence[int]) -> np.ndarray:
    """Draw a run-length mask: lengths of runs of 0 and 1 in turn, column by column, 0 first.

    Args:
        counts: the lengths, or COCO's text for them.
        size: (height, width).

    Returns:
        (height, width) bool.

    Raises:
        ValueError: the runs do not fill the mask.

    Example:
        >>> decode_runs([1, 2, 1], (2, 2)).astype(int)
        array([[0, 1],
               [1, 0]])
        >>> decode_runs("121", (2, 2)).astype(int)
        array([[0, 1],
               [1, 0]])
    """
    height, width = (int(side) for side in size)
    return _draw_runs(run_lengths(counts, (height, width)), (width, height))


def _draw_runs(lengths: Sequence[int], size: tuple[int, int]) -> np.ndarray:
    """(height, width) bool from lengths that were checked, for a (width, height)."""
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape(size).T


def run_lengths(counts: Sequence[int] | str, size: tuple[int, int]) -> list[int]:
    """The lengths of runs, checked before anything of their size is made.

    Args:
        counts: the lengths, or COCO's text for them.
        size: (height, width).

    Raises:
        ValueError: they are not whole numbers from 0 on that fill the mask, or too many.

    Example:
        >>> run_lengths([1, 2, 1], (2, 2))
        [1, 2, 1]
    """
    if not isinstance(counts, str | list | tuple):
        raise ValueError(f"counts that are {type(counts).__name__}")
    lengths = _lengths_in(counts) if isinstance(counts, str) else list(counts)
    for length in lengths:
        if isinstance(length, bool) or not isinstance(length, int) or length < 0:
            raise ValueError("a run whose length is not a whole number from 0 on")
    height, width = size
    if sum(lengths) != height * width:
        raise ValueError(f"runs of {sum(lengths)} pixels for a mask of {height}x{width}")
    if len(lengths) > height * width + 1:
        raise ValueError(f"{len(lengths)} runs for a mask of {height}x{width} pixels")
    return lengths


def _lengths_in(text: str) -> list[int]:
    """The lengths in COCO's text: numbers of 5 bits a character, low bits first.

    A character is 48 plus its bits; 32 says that the number goes on, and 16 in a number's last
    character that it is negative. From the fourth number on, each is the difference to the one
    two before.
    """
    numbers: list[int] = []
    value, shift = 0, 0
    for character in text:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > _LONGEST_NUMBER:
            raise ValueError("text that is not COCO's for runs")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        numbers.append(value + (numbers[-2] if len(numbers) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError("runs that end within a number")
    return numbers


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = read_json(path, largest=_LARGEST_FILE)
    except UnopenedFileError as problem:
        raise DatasetError(f"cannot read annotations {path} ({problem})") from problem
    except UnreadableFileError as problem:
        raise _no_coco(path, str(problem)) from problem
    if not isinstance(content, dict):
        raise _no_coco(path, f"it holds {kind_of(content)}")
    missing = [name for name in _SECTIONS if name not in content]
    if missing:
        raise _no_coco(path, f"it has no {', '.join(missing)}")
    return content


def _no_coco(path: Path, reason: str) -> DatasetError:
    shown = reason if len(reason) < 200 else reason[:200] + "…"
    return DatasetError(
        f"{path} is not a COCO file ({shown})",
        allowed="JSON with images, annotations and categories",
    )


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"a name that is {type(value).__name__}")
    return value


def _in_words(problem: Exception) -> str:
    return f"no {problem.args[0]}" if isinstance(problem, KeyError) else str(problem)
