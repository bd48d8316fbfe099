"""The picture that pytorch-grad-cam draws."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ttame.errors import ImageError

COLORMAP_JET = 2
"""The number of OpenCV's rainbow."""


def show_cam_on_image(
    img: NDArray[Any],
    mask: NDArray[Any],
    use_rgb: bool = False,
    colormap: int = COLORMAP_JET,
    image_weight: float = 0.5,
) -> NDArray[np.uint8]:
    """Lay a map over a photo in the colours of pytorch-grad-cam.

    A rainbow shows edges where the map has none; ttame's own pages draw an even scale. This
    function is for pictures that must look as before.

    Args:
        img: (H, W, 3) float in [0, 1].
        mask: (H, W) float in [0, 1], a map.
        use_rgb: whether ``img`` is RGB; else it is BGR, as OpenCV reads photos.
        colormap: only ``cv2.COLORMAP_JET``, which is 2.
        image_weight: how much of the photo shows, in [0, 1].

    Returns:
        (H, W, 3) uint8, in the order of colours of ``img``, its brightest value 255.

    Raises:
        ImageError: values out of range, sizes that differ, or another colour map.

    Example:
        >>> show_cam_on_image(np.zeros((1, 1, 3)), np.ones((1, 1)), use_rgb=True)
        array([[[255,   0,   0]]], dtype=uint8)
    """
    photo, heat = np.asarray(img), np.asarray(mask)
    if photo.ndim != 3 or photo.shape[2] != 3 or heat.shape != photo.shape[:2]:
        raise ImageError(
            f"a photo {photo.shape} and a map {heat.shape}", allowed="(H, W, 3) and (H, W)"
        )
    for name, values in (("photo", photo), ("map", heat)):
        if not (values.min() >= 0 and values.max() <= 1):
            raise ImageError(
                f"a {name} with values from {values.min():.3g} to {values.max():.3g}",
                allowed="values from 0 to 1",
                remedy=f"{name} / 255" if values.min() >= 0 and values.max() <= 255 else "",
            )
    if colormap != COLORMAP_JET:
        raise ImageError(f"colormap {colormap}", allowed="2, which is cv2.COLORMAP_JET")
    if not 0 <= image_weight <= 1:
        raise ImageError(f"image_weight {image_weight}", allowed="0 to 1")
    colours = rainbow()[np.uint8(255 * heat)]
    colours = np.float32(colours if use_rgb else colours[..., ::-1]) / 255
    mixed = (1 - image_weight) * colours + image_weight * photo
    brightest = mixed.max()
    picture: NDArray[Any] = 255 * (mixed / brightest if brightest > 0 else mixed)
    return picture.astype(np.uint8)


def rainbow() -> NDArray[np.int64]:
    """OpenCV's ``COLORMAP_JET`` as (256, 3) RGB: straight lines that rise and fall by 4 a step.

    Example:
        >>> rainbow()[[0, 255]].tolist()
        [[0, 0, 128], [128, 0, 0]]
    """
    step = 4 * np.arange(256)
    red = np.minimum(step - 382, 1148 - step)
    green = np.minimum(step - 128, 892 - step)
    blue = np.minimum(step + 128, 638 - step)
    table = np.stack([red, green, blue], axis=1).clip(0, 255)
    table[159, 2] = 1  # where OpenCV rounds otherwise
    return table
