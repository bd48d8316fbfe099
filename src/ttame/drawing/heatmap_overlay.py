"""A heatmap on the photo it explains, at the photo's own size and aspect."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw
from torch import Tensor

from ttame.drawing.colour_scales import DEFAULT_SCALE, N_COLOURS, colour_indices, colour_scale
from ttame.errors import ImageError
from ttame.preprocessing import PhotoRegion

DEFAULT_OPACITY = 0.85
"""Opacity of the highest value. The photo still shines through where the evidence peaks."""

UNSEEN_BRIGHTNESS = 0.45
"""Brightness of what the network never saw, which is also drawn without colour."""

OUTLINE = (255, 255, 255)
"""Colour of the line around what the network saw."""

_OPACITY_POWER = 0.8


def overlay_heatmap(
    photo: Image.Image,
    heatmap: Tensor | ArrayLike,
    region: PhotoRegion,
    *,
    scale: str = DEFAULT_SCALE,
    opacity: float = DEFAULT_OPACITY,
) -> Image.Image:
    """Lay a heatmap on the part of a photo that the network saw.

    The heatmap is stretched over ``region`` bilinearly with half-pixel centres, the convention
    of :func:`ttame.saliency_maps.resize_maps`, but to fractions of a pixel of the photo. Colour
    grows in with the value, so that a place without relevance shows the photo. What lies outside
    the region is drawn grey, dark and behind a thin outline: nobody shall read "no evidence"
    where the network never looked. A constant heatmap leaves the region as it is in the photo.

    Args:
        photo: RGB of any size and aspect; not changed.
        heatmap: (h, w) floating in [0, 1] on the frame of the network's input, on the input's own
            grid or any coarser one; any device; not changed.
        region: the part of the photo that this frame shows
            (:meth:`ttame.preprocessing.Preprocessing.region`).
        scale: one of :func:`ttame.drawing.colour_scales.known_scales`.
        opacity: opacity of the highest value, in [0, 1].

    Returns:
        RGB, of the photo's size.

    Raises:
        UnknownNameError: no such colour scale.
        ImageError: a heatmap that is not (h, w), an empty region, or an opacity outside [0, 1].

    Example:
        >>> photo = Image.new("RGB", (4, 2), "white")
        >>> picture = overlay_heatmap(photo, [[0.0, 1.0]], PhotoRegion(0, 0, 4, 2), opacity=1)
        >>> picture.getpixel((0, 0)), picture.getpixel((3, 0))
        ((255, 255, 255), (252, 255, 164))
    """
    colours = Image.fromarray(colour_layer([[0.0]], scale=scale, opacity=opacity), "RGBA")
    raise NotImplementedError(colours)
