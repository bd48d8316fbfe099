"""A map on the grid of a network's input, read at the pixels of the photo that it belongs to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ttame.images.photo_crop import PhotoRegion


def sampled(
    cells: NDArray[np.float32], region: PhotoRegion, box: tuple[int, int, int, int]
) -> NDArray[np.float32]:
    """Read a map at the centre of every pixel of a box, bilinearly.

    The convention is that of :func:`ttame.images.saliency_maps.resize_maps` (half-pixel centres),
    but to fractions of a pixel of the photo.

    Args:
        cells: (h, w), lying evenly over the region.
        region: the region of the photo.
        box: (left, top, right, bottom) in whole pixels of the photo.

    Returns:
        (bottom − top, right − left), within the range of the map.

    Example:
        >>> cells = np.array([[0.0, 1.0]], dtype=np.float32)
        >>> sampled(cells, PhotoRegion(0, 0, 4, 2), (0, 0, 4, 1)).tolist()
        [[0.0, 0.25, 0.75, 1.0]]
    """
    left, top, right, bottom = box
    rows = _interpolated(cells, top, bottom, region.top, region.bottom)
    return _interpolated(rows.T, left, right, region.left, region.right).T


def _interpolated(
    cells: NDArray[np.float32], first: int, last: int, start: float, end: float
) -> NDArray[np.float32]:
    """(last − first, n) the rows ``cells`` (k, n), read at the centres of pixels.

    The k cells lie evenly between ``start`` and ``end``. Beyond the centres of the outer cells
    their value is repeated, as ``align_corners=False`` does.
    """
    furthest = len(cells) - 1
    centres = np.arange(first, last) + 0.5
    position = ((centres - start) / (end - start) * len(cells) - 0.5).clip(0, furthest)
    below = np.floor(position).astype(np.intp)
    fraction = (position - below).astype(np.float32)[:, None]
    # Differences instead of two weights: a constant stays exactly what it is.
    lower = cells[below]
    read: NDArray[np.float32] = lower + fraction * (cells[np.minimum(below + 1, furthest)] - lower)
    return read
