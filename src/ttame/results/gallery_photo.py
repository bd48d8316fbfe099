"""One photo of an evaluation, with the maps of every method."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class GalleryPhoto:
    """What a report shows of one image.

    Attributes:
        photo: RGB picture, or (H, W, 3) uint8, as the network saw it: resized and cropped.
        name: the name of the image in its data.
        class_label: name of the explained class.
        probability: that the classifier gives this class, in [0, 1].
        heatmaps: method to its map, (h, w) floating in [0, 1] on a grid of any size; a method
            without one is left out of this photo, a constant map is "no evidence". Drawn as it
            is: maps of pixels should come from :func:`ttame.drawing.pixel_heatmaps.pixel_heatmaps`.
        values: method to column key to the value of this image; not every column need be there.
        disagreement: of the methods about this image: the higher, the more.
    """

    photo: Image.Image | ArrayLike
    name: str
    class_label: str
    probability: float
    heatmaps: Mapping[str, Tensor | ArrayLike]
    values: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    disagreement: float = float("nan")
