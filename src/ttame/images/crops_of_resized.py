"""A crop of a resized picture, of which only the part that is cropped is ever made."""

from __future__ import annotations

import math

from PIL import Image

_WIDEST_FILTER = 3
"""Pixels that a filter looks to either side, Lanczos' own; of the larger grid when shrinking."""


def crop_of_resized(
    picture: Image.Image,
    size: tuple[int, int],
    crop: tuple[int, int, int, int],
    method: Image.Resampling,
) -> Image.Image:
    """``picture.resize(size, method).crop(crop)`` without ever holding the resized picture.

    The same but for rounding: Pillow then takes fractions of a pixel in single precision.

    Args:
        picture: a picture of any mode.
        size: (width, height) after resizing.
        crop: (left, top, right, bottom) in the resized picture; black where it leaves it.
        method: the filter.
    """
    seen = (max(0, crop[0]), max(0, crop[1]), min(size[0], crop[2]), min(size[1], crop[3]))
    across, down = picture.width / size[0], picture.height / size[1]
    box = (seen[0] * across, seen[1] * down, seen[2] * across, seen[3] * down)
    # What the filters reach beyond the box; cut out first, so that places stay small numbers.
    reach = [math.ceil(_WIDEST_FILTER * max(1.0, scale)) + 1 for scale in (across, down)]
    near = (
        max(0, math.floor(box[0]) - reach[0]),
        max(0, math.floor(box[1]) - reach[1]),
        min(picture.width, math.ceil(box[2]) + reach[0]),
        min(picture.height, math.ceil(box[3]) + reach[1]),
    )
    part = picture.crop(near)
    place = (box[0] - near[0], box[1] - near[1], box[2] - near[0], box[3] - near[1])
    place = (place[0], place[1], min(place[2], part.width), min(place[3], part.height))
    shown = part.resize((seen[2] - seen[0], seen[3] - seen[1]), method, box=place)
    padded = Image.new(picture.mode, (crop[2] - crop[0], crop[3] - crop[1]))
    padded.paste(shown, (seen[0] - crop[0], seen[1] - crop[1]))
    return padded
