"""A heatmap on the photo it explains, at the photo's own size and aspect."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageChops, ImageDraw, ImageEnhance
from torch import Tensor

from ttame.drawing.colour_scales import DEFAULT_SCALE, N_COLOURS, colour_indices, colour_scale
from ttame.errors import ImageError
from ttame.images.map_sampling import sampled
from ttame.images.photo_crop import PhotoRegion
from ttame.images.saliency_maps import has_evidence

DEFAULT_OPACITY = 0.8
"""Opacity of the highest value: the photo still shines through where the evidence peaks."""

UNSEEN_BRIGHTNESS = 0.5
"""Brightness of what the network never saw, which is also drawn without colour."""

OUTLINE_COLOUR = (255, 255, 255)
"""The line around what the network saw."""

_STRIP_PIXELS = 2_000_000
"""Pixels that are drawn at a time."""

_OPACITY_POWER = 0.7
"""Opacity grows as ``value ** 0.7``: chosen by eye, so that middle values are seen on photos that
have the scale's own colours, while places near 0 stay as they are in the photo."""


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
    of :func:`ttame.images.saliency_maps.resize_maps`, but to fractions of a pixel of the photo.
    Colour grows in with the value, so that a place without relevance shows the photo. What lies
    outside the region is drawn as :func:`mark_unseen` does: nobody shall read "no evidence" where
    the network never looked. A constant heatmap lays no colour on the photo.

    Args:
        photo: RGB of any size and aspect; not changed.
        heatmap: (h, w) floating in [0, 1] on the frame of the network's input, on the input's own
            grid or any coarser one; any device; not changed.
        region: the part of the photo that this frame shows
            (:meth:`ttame.images.preprocessing.Preprocessing.region`).
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
    values = checked_heatmap(heatmap)
    picture = mark_unseen(photo, region)
    colours, opacities = colour_scale(scale), opacity_scale(opacity)
    box = _pixel_box(photo.size, region)
    if not bool(has_evidence(values)) or box[0] >= box[2] or box[1] >= box[3]:
        return picture
    for strip in _strips(box):
        indices = colour_indices(sampled(values.numpy(), region, strip))
        heat = Image.fromarray(colours[indices])
        # The mask ends with the region inside an edge pixel that the region covers only in part.
        mask = ImageChops.multiply(Image.fromarray(opacities[indices]), _coverage(region, strip))
        picture.paste(heat, strip[:2], mask)
    return picture


def mark_unseen(photo: Image.Image, region: PhotoRegion) -> Image.Image:
    """Draw what lies outside ``region`` grey and dark, with a thin outline around the region.

    Args:
        photo: RGB of any size; not changed.
        region: what the network saw, in pixels of this photo; it may reach outside the photo.

    Returns:
        RGB, of the photo's size; an equal copy where the region covers the whole photo.

    Raises:
        ImageError: an empty region.

    Example:
        >>> from ttame.images.photo_crop import PhotoRegion
        >>> photo = Image.new("RGB", (300, 200), "white")
        >>> marked = mark_unseen(photo, PhotoRegion(50, 0, 250, 200))
        >>> marked.size, marked.getpixel((150, 100)), marked.getpixel((5, 5)) < (128, 128, 128)
        ((300, 200), (255, 255, 255), True)
    """
    box = _pixel_box(photo.size, region)
    picture = photo.convert("RGB")  # A copy in any case.
    if covers_photo(region, photo.size):
        return picture
    for strip in _strips((0, 0, *photo.size)):
        part = photo.crop(strip)
        seen = Image.new("L", part.size, 0)
        both = (box[0], max(box[1], strip[1]), box[2], min(box[3], strip[3]))
        if both[0] < both[2] and both[1] < both[3]:
            seen.paste(_coverage(region, both), (both[0], both[1] - strip[1]))
        grey = part.convert("L").convert("RGB")
        unseen = ImageEnhance.Brightness(grey).enhance(UNSEEN_BRIGHTNESS)
        picture.paste(Image.composite(part.convert("RGB"), unseen, seen), strip[:2])
    _draw_outline(picture, region)
    return picture


def covers_photo(region: PhotoRegion, photo_size: tuple[int, int]) -> bool:
    """Say whether the network saw all of a photo.

    Args:
        region: in pixels of the photo.
        photo_size: (width, height) in pixels.

    Example:
        >>> covers_photo(PhotoRegion(-1, 0, 5, 4), (4, 4))
        True
    """
    width, height = photo_size
    starts_before = region.left <= 0 and region.top <= 0
    return starts_before and region.right >= width and region.bottom >= height


def opacity_scale(opacity: float = DEFAULT_OPACITY) -> NDArray[np.uint8]:
    """The opacity of each of the 256 colours of a scale, from transparent to ``opacity``.

    Args:
        opacity: opacity of the highest value, in [0, 1].

    Returns:
        (256,) uint8, increasing, the first 0.

    Raises:
        ImageError: an opacity outside [0, 1].

    Example:
        >>> opacity_scale(1.0)[[0, 128, 255]].tolist()
        [0, 157, 255]
    """
    if not 0 <= opacity <= 1:
        raise ImageError(f"an overlay with opacity {opacity}", allowed="0 to 1")
    values = np.linspace(0, 1, N_COLOURS)
    return np.rint(255 * opacity * values**_OPACITY_POWER).astype(np.uint8)


def checked_heatmap(heatmap: Tensor | ArrayLike) -> Tensor:
    """Bring a heatmap of any kind to the CPU.

    Args:
        heatmap: (h, w) floating, tensor or array, any device; not changed.

    Returns:
        (h, w) float32 on the CPU, NaN replaced by 0.

    Raises:
        ImageError: another number of dimensions, or no values.
    """
    # A copy of the array, because torch warns about read-only ones.
    values = heatmap if isinstance(heatmap, Tensor) else torch.from_numpy(np.array(heatmap, float))
    values = values.detach().to("cpu", torch.float32)
    if values.ndim != 2 or values.numel() == 0:
        raise ImageError(
            f"a heatmap of shape {tuple(values.shape)}", allowed="(h, w), one map at a time"
        )
    return values.nan_to_num(0.0)


def _strips(box: tuple[int, int, int, int]) -> Iterator[tuple[int, int, int, int]]:
    """Cut a box into parts of its full width, so that no intermediate is as large as the photo."""
    left, top, right, bottom = box
    rows = max(1, _STRIP_PIXELS // max(1, right - left))
    for start in range(top, bottom, rows):
        yield left, start, right, min(start + rows, bottom)


def _pixel_box(photo_size: tuple[int, int], region: PhotoRegion) -> tuple[int, int, int, int]:
    """(left, top, right, bottom) of the photo's pixels that the region touches."""
    if not (region.left < region.right and region.top < region.bottom):
        raise ImageError(f"the empty {region}", allowed="left < right and top < bottom")
    width, height = photo_size
    return (
        max(0, math.floor(region.left)),
        max(0, math.floor(region.top)),
        min(width, math.ceil(region.right)),
        min(height, math.ceil(region.bottom)),
    )


def _coverage(region: PhotoRegion, box: tuple[int, int, int, int]) -> Image.Image:
    """(mode L) the share of every pixel of ``box`` that lies within the region."""
    left, top, right, bottom = box
    across = _covered(left, right, region.left, region.right)
    down = _covered(top, bottom, region.top, region.bottom)
    return Image.fromarray(np.rint(255 * np.outer(down, across)).astype(np.uint8))


def _covered(first: int, last: int, start: float, end: float) -> NDArray[np.float32]:
    """(last − first,) the share of every pixel between ``start`` and ``end``."""
    edges = np.arange(first, last + 1, dtype=np.float64).clip(start, end)
    return np.diff(edges).astype(np.float32)


def _draw_outline(picture: Image.Image, region: PhotoRegion) -> None:
    """Draw a line just outside the region, so that it hides nothing of the region."""
    width = max(1, round(min(picture.size) / 250))
    inner = (
        math.floor(region.left), math.floor(region.top),
        math.ceil(region.right), math.ceil(region.bottom),
    )  # fmt: skip
    outer = (inner[0] - width, inner[1] - width, inner[2] + width - 1, inner[3] + width - 1)
    ImageDraw.Draw(picture).rectangle(outer, outline=OUTLINE_COLOUR, width=width)
