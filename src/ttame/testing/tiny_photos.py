"""Photos that take no space."""

from __future__ import annotations

import numpy as np
from PIL import Image


def tiny_photos(count: int = 4, *, size: int = 16) -> list[Image.Image]:
    """Blurred noise in different colours, the same in every call.

    Args:
        count: how many.
        size: height and width in pixels.

    Returns:
        RGB images.

    Example:
        >>> tiny_photos(2)[0].size
        (16, 16)
    """
    random = np.random.default_rng(0)
    noise = random.integers(0, 256, (count, 4, 4, 3)) * random.uniform(0.3, 1, (count, 1, 1, 3))
    return [Image.fromarray(pixels.astype(np.uint8)).resize((size, size)) for pixels in noise]
