"""How an explanation is looked at: on its photo, in a notebook, in a window, in a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image

from ttame.drawing.colour_scales import DEFAULT_SCALE
from ttame.drawing.heatmap_overlay import DEFAULT_OPACITY
from ttame.drawing.map_strength import Strength
from ttame.images.picture_files import Photo
from ttame.results.picturing import (
    Explained,
    card_of,
    checked_photos,
    figure_with,
    overlay_of,
    panel_of,
    show_picture,
)


class Pictured:
    """The part of :class:`ttame.Explanation` that makes pictures of its numbers."""

    def _repr_html_(self: Explained) -> str:
        """What a notebook shows: the photos, with what the maps say on them."""
        return card_of(self, title=f"Explanation by {self.method or 'an unnamed method'}")

    def overlay(
        self: Explained,
        photo: Photo | None = None,
        class_: int | str = 0,
        *,
        image: int | None = None,
        opacity: float = DEFAULT_OPACITY,
        colour_scale: str = DEFAULT_SCALE,
        strength: Strength = "own",
    ) -> Image.Image:
        """One map on the photo, in the photo's own frame: crop, squash, padding and EXIF undone.

        Drawn as on the pages of :func:`ttame.explain`: what the network did not see is grey.

        Args:
            photo: that was explained; the remembered one if not given. An open image keeps the
                frame of its own pixels, as they lie; a path has that of the upright photo.
            class_: its place among the explained classes, or its name.
            image: which image of the batch; may be left out for a batch of one.
            opacity: the opacity of the highest value, in [0, 1].
            colour_scale: ``"inferno"``, ``"viridis"``, ``"magma"`` or ``"cividis"``.
            strength: ``"own"``: each map is scaled on its own, so an improbable class looks as
                convincing as a probable one. ``"probability"``: maps fade with the probability of
                their class, compared with the most probable explained class. ``"contrast"``: only
                where the map is above that of the most probable explained class (for this class:
                above that of the second), on one scale for all classes of the photo.

        Returns:
            RGB of the photo's size; of files of more than 26 megapixels, reduced.

        Raises:
            ImageError: no photo is remembered, it is no longer there, or it is not readable.
            ExplainerError: as :meth:`Explanation.heatmaps_on`.
            ClassSelectionError: a class that was not explained, or a contrast of a single class.
            UnknownNameError: no such colour scale or strength.

        Example:
            >>> import torch
            >>> from ttame.images.photo_crop import PhotoCrop
            >>> from ttame.results.explanation import Explanation
            >>> explanation = Explanation(
            ...     maps=torch.tensor([[[[0.0, 1.0]]]]), classes=torch.tensor([[7]]),
            ...     logits=torch.zeros(1, 10), image_size=(2, 2), crop=PhotoCrop((2, 2), 2))
            >>> picture = explanation.overlay(Image.new("RGB", (40, 20), "white"), opacity=1)
            >>> picture.size, picture.getpixel((12, 9)), picture.getpixel((28, 9))
            ((40, 20), (255, 255, 255), (252, 255, 164))
        """
        image = self.one_image(image, "an overlay on one photo")
        return overlay_of(self, image, photo, class_, strength, scale=colour_scale, opacity=opacity)

    def to_pil(
        self: Explained,
        photo: Photo | Sequence[Photo] | None = None,
        *,
        opacity: float = DEFAULT_OPACITY,
        colour_scale: str = DEFAULT_SCALE,
        strength: Strength = "own",
    ) -> Image.Image:
        """The photo and an overlay for each class, with names and probabilities, as one picture.

        Args:
            photo: that was explained, or one for each image of the batch; the remembered ones if
                not given.
            opacity: the opacity of the highest value, in [0, 1].
            colour_scale, strength: as for :meth:`overlay`.

        Returns:
            RGB; of a batch the first eight photos, below each other.

        Raises:
            ImageError, ExplainerError, UnknownNameError: as :meth:`overlay`.
        """
        photos = checked_photos(len(self), photo)
        return panel_of(self, photos, strength, scale=colour_scale, opacity=opacity)

    def show(
        self: Explained,
        photo: Photo | Sequence[Photo] | None = None,
        *,
        opacity: float = DEFAULT_OPACITY,
        colour_scale: str = DEFAULT_SCALE,
        strength: Strength = "own",
    ) -> None:
        """Show the picture of :meth:`to_pil`: in a notebook below the cell, else in a window.

        Raises:
            ImageError: as :meth:`to_pil`; or there is no program here that shows pictures.
        """
        show_picture(
            self.to_pil(photo, opacity=opacity, colour_scale=colour_scale, strength=strength)
        )

    def plot(
        self: Explained,
        photo: Photo | Sequence[Photo] | None = None,
        *,
        opacity: float = DEFAULT_OPACITY,
        colour_scale: str = DEFAULT_SCALE,
        strength: Strength = "own",
    ) -> Any:
        """The same as a ``matplotlib.figure.Figure``, for papers and slides.

        Raises:
            MissingExtraError: matplotlib is not installed.
            ImageError, ExplainerError, UnknownNameError: as :meth:`to_pil`.
        """
        photos = checked_photos(len(self), photo)
        return figure_with(self, photos, strength, scale=colour_scale, opacity=opacity)
