"""A heatmap on a photo, in the photo's own frame: crop, squash, padding and EXIF undone."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from ttame.drawing.colour_scales import DEFAULT_SCALE
from ttame.drawing.heatmap_overlay import DEFAULT_OPACITY, overlay_heatmap
from ttame.errors import ImageError, kind_of
from ttame.images.band_photo import BandPhoto
from ttame.images.network_channels import drawn
from ttame.images.photo_crop import PhotoCrop, PhotoRegion
from ttame.images.photos import Turn, turn_of, upright
from ttame.images.picture_files import Photo, read_picture

_BACK = {
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
}
"""What undoes a turn; the others undo themselves."""


@dataclasses.dataclass(frozen=True, eq=False)
class SeenPhoto:
    """A photo as people look at it, and which part of it the network saw.

    Attributes:
        picture: upright RGB.
        region: what the network saw, in pixels of the picture.
        turn: what made it upright; ``None`` if it lay so.

    Example:
        >>> seen = SeenPhoto.of(Image.new("L", (8, 4)), PhotoCrop((4, 4), 4))
        >>> seen.picture.mode, seen.region
        ('RGB', PhotoRegion(left=2.0, top=0.0, right=6.0, bottom=4.0))
    """

    picture: Image.Image
    region: PhotoRegion
    turn: Turn = None

    @classmethod
    def of(cls, photo: Photo, crop: PhotoCrop) -> SeenPhoto:
        """Read a photo, or take one that is open, and find what the network saw of it.

        Args:
            photo: open or the path of one; one of more than 26 megapixels is read reduced.
            crop: what the network sees.

        Raises:
            ImageError: not a readable photo.
        """
        turn = turn_of(photo) if isinstance(photo, Image.Image) else None
        picture = drawn(_opened(photo), "rgb", None)
        return cls(picture, crop.region(picture.size), turn)

    def overlay(
        self,
        heatmap: Tensor | ArrayLike,
        *,
        scale: str = DEFAULT_SCALE,
        opacity: float = DEFAULT_OPACITY,
    ) -> Image.Image:
        """The photo with a heatmap on it, as the photo's pixels lie.

        Args:
            heatmap: (h, w) floating in [0, 1], on the frame of the network's input.
            scale: one of :func:`ttame.drawing.colour_scales.known_scales`.
            opacity: the opacity of the highest value, in [0, 1].

        Returns:
            RGB of the photo's size.

        Raises:
            UnknownNameError: no such colour scale.
            ImageError: as :func:`ttame.drawing.heatmap_overlay.overlay_heatmap`.
        """
        overlay = overlay_heatmap(self.picture, heatmap, self.region, scale=scale, opacity=opacity)
        return overlay if self.turn is None else overlay.transpose(_BACK.get(self.turn, self.turn))


def _opened(photo: Photo) -> Image.Image | BandPhoto:
    if isinstance(photo, Image.Image):
        return upright(photo)
    if isinstance(photo, BandPhoto):
        return photo
    if isinstance(photo, str | Path):
        return read_picture(Path(photo))
    raise ImageError(f"{kind_of(photo)} as photo", allowed="a PIL image or a path")
