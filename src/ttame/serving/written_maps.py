"""Maps on their way to whoever asked: as pictures, or as numbers."""

from __future__ import annotations

import base64
import io
from typing import Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ttame.drawing.colour_scales import colour_indices
from ttame.drawing.pixel_heatmaps import pixel_heatmaps
from ttame.images.photo_frame import PhotoFrame
from ttame.images.saliency_maps import resize_maps, to_unit_range
from ttame.results.explanation import Explanation
from ttame.serving.problems import Problem

MapSize = Literal["grid", "input", "photo"] | tuple[int, int]


def drawn_heatmaps(explanation: Explanation) -> Tensor:
    """The maps of one image as they are drawn, (K, h, w) float32 in [0, 1], on their own grid.

    Of a method whose values belong to pixels, they are coarser and brighter
    (:func:`ttame.drawing.pixel_heatmaps.pixel_heatmaps`).
    """
    maps = explanation.maps[0]
    return pixel_heatmaps(maps) if explanation.of_pixels else to_unit_range(maps)


def sized_heatmaps(
    explanation: Explanation, size: MapSize, frame: PhotoFrame | None, most: int
) -> Tensor:
    """The maps of one image in the size that is asked for.

    Args:
        explanation: an explanation of one image.
        size: see :class:`ttame.serving.requested.ExplanationForm`.
        frame: the frame of the photo, if there is one.
        most: numbers in all maps.

    Returns:
        (K, h, w) float32 in [0, 1].

    Raises:
        Problem: 422, too large, or on a photo where there is none.

    Example:
        >>> explanation = Explanation(torch.rand(1, 1, 2, 2), torch.tensor([[0]]),
        ...     torch.zeros(1, 3), (8, 8))
        >>> sized_heatmaps(explanation, "input", None, 100).shape
        torch.Size([1, 8, 8])
    """
    heat = drawn_heatmaps(explanation)
    if size == "grid":
        return heat
    if size == "photo":
        if frame is None:
            raise Problem(422, "maps on a photo of a tensor; allowed: grid, input, HEIGHTxWIDTH")
        _refuse_large(len(heat), frame.size, most)
        return frame.placed(heat)
    wanted = explanation.image_size if size == "input" else size
    _refuse_large(len(heat), wanted, most)
    return resize_maps(heat[None], wanted)[0].clamp(0, 1)


def _refuse_large(count: int, size: tuple[int, int], most: int) -> None:
    if count * size[0] * size[1] > most:
        raise Problem(
            422,
            f"{count} map{'s' * (count > 1)} of {size[0]}x{size[1]} numbers; "
            f"allowed: {most / 1e6:.3g} million numbers in all; try: size=input",
        )


def png_of(heatmap: Tensor) -> str:
    """A heatmap as an 8-bit grey PNG, in base64.

    Args:
        heatmap: (h, w) float32 in [0, 1].

    Example:
        >>> content = base64.b64decode(png_of(torch.tensor([[0.0, 1.0]])))
        >>> list(Image.open(io.BytesIO(content)).tobytes())
        [0, 255]
    """
    return picture_png(Image.fromarray(colour_indices(heatmap.numpy())))


def picture_png(picture: Image.Image) -> str:
    """A picture as a PNG, in base64."""
    stream = io.BytesIO()
    picture.save(stream, "PNG", compress_level=3)
    return base64.b64encode(stream.getvalue()).decode("ascii")


def float16_of(heatmap: Tensor) -> str:
    """A heatmap as float16, row by row, little-endian, in base64.

    Example:
        >>> np.frombuffer(base64.b64decode(float16_of(torch.tensor([[0.0, 0.5]]))), "<f2").tolist()
        [0.0, 0.5]
    """
    values = heatmap.to(torch.float16).numpy().astype("<f2")
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
