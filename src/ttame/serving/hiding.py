"""What if this were hidden: inputs of which a part is covered."""

from __future__ import annotations

import json
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from torch import Tensor

from ttame.images.photo_crop import PhotoRegion
from ttame.images.preprocessing import Preprocessing
from ttame.serving.problems import Problem

MOST_RECTANGLES = 64
"""Of one request."""


class Rectangle(BaseModel):
    """A part of a photo, in fractions of its sides; (0, 0) is its top left corner."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    left: float = Field(ge=0, le=1)
    top: float = Field(ge=0, le=1)
    right: float = Field(ge=0, le=1)
    bottom: float = Field(ge=0, le=1)


_RECTANGLES = TypeAdapter(list[Rectangle])


def rectangles_in(text: str | None) -> list[Rectangle]:
    """Read the rectangles of a request.

    Raises:
        Problem: 422, not a list of rectangles.

    Example:
        >>> rectangles_in('[{"left": 0, "top": 0, "right": 0.5, "bottom": 1}]')[0].right
        0.5
    """
    if not text:
        return []
    try:
        found = _RECTANGLES.validate_python(json.loads(text))
    except (ValidationError, ValueError, RecursionError) as problem:
        raise Problem(
            422,
            "'hide' cannot be read; allowed: a list of "
            '{"left": 0, "top": 0, "right": 0.5, "bottom": 0.5}',
        ) from problem
    if len(found) > MOST_RECTANGLES:
        raise Problem(422, f"{len(found)} rectangles; allowed: {MOST_RECTANGLES}")
    return found


def kept_outside(
    rectangles: list[Rectangle], region: PhotoRegion, photo_size: tuple[int, int], size: Any
) -> Tensor:
    """Which pixels of the network's input lie in none of the rectangles.

    A pixel lies in a rectangle if its centre does.

    Args:
        rectangles: the rectangles of the photo.
        region: what the network sees of the photo, in its pixels.
        photo_size: (width, height).
        size: (H, W) of the network's input.

    Returns:
        (H, W) bool.

    Example:
        >>> half = Rectangle(left=0.0, top=0.0, right=0.5, bottom=1.0)
        >>> kept_outside([half], PhotoRegion(0, 0, 4, 2), (4, 2), (1, 4))
        tensor([[False, False,  True,  True]])
    """
    height, width = size
    across = region.left + (torch.arange(width) + 0.5) * (region.right - region.left) / width
    down = region.top + (torch.arange(height) + 0.5) * (region.bottom - region.top) / height
    kept = torch.ones(height, width, dtype=torch.bool)
    for each in rectangles:
        columns = (across >= each.left * photo_size[0]) & (across < each.right * photo_size[0])
        rows = (down >= each.top * photo_size[1]) & (down < each.bottom * photo_size[1])
        kept &= ~(rows[:, None] & columns[None])
    return kept


def with_hidden(given: Tensor, kept: Tensor, preprocessing: Preprocessing, fill: str) -> Tensor:
    """An input whose hidden pixels have one colour.

    Args:
        given: (C, H, W) float32, normalised, or (H, W, 3) uint8 pixels.
        kept: (H, W) bool.
        preprocessing: the preprocessing of the network.
        fill: ``"mean"``, the mean colour that the normalisation subtracts, or ``"black"``.

    Returns:
        Of the same shape and dtype.

    Example:
        >>> kept = torch.tensor([[True, False]])
        >>> with_hidden(torch.ones(3, 1, 2), kept, Preprocessing.imagenet(2), "mean")[0]
        tensor([[1., 0.]])
    """
    if given.dtype == torch.uint8:
        mean = torch.tensor(preprocessing.mean) * (255 if fill == "mean" else 0)
        return torch.where(kept[:, :, None], given, mean.round().to(torch.uint8))
    black = preprocessing.black(given)
    ground = torch.zeros_like(black) if fill == "mean" else black
    return torch.where(kept, given, ground)
