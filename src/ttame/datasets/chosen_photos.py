"""Some of the photos of a set."""

from __future__ import annotations

from collections.abc import Sequence

from ttame.datasets.photo_source import PhotoSource
from ttame.errors import DatasetError
from ttame.images.band_photo import Picture


class ChosenPhotos(PhotoSource):
    """Photos of another source, by their numbers there.

    Args:
        source: has them.
        indices: which ones, in the order wanted.

    Raises:
        DatasetError: none is chosen.

    Example:
        >>> from ttame.datasets.open_photos import open_photos
        >>> from PIL import Image
        >>> photos = open_photos([Image.new("RGB", (8, 8 + side)) for side in range(4)])
        >>> ChosenPhotos(photos, [3, 1]).read(0).size
        (8, 11)
    """

    def __init__(self, source: PhotoSource, indices: Sequence[int]) -> None:
        if not len(indices):
            raise DatasetError("no photo chosen", allowed="at least one")
        self._source = source
        self._indices = tuple(indices)

    def __len__(self) -> int:
        return len(self._indices)

    def key(self, index: int) -> str:
        """As in the source."""
        return self._source.key(self._indices[index])

    def name(self, index: int) -> str:
        """As in the source."""
        return self._source.name(self._indices[index])

    def location(self, index: int) -> str:
        """As in the source."""
        return self._source.location(self._indices[index])

    def read(self, index: int) -> Picture:
        """As in the source."""
        return self._source.read(self._indices[index])

    def label(self, index: int) -> int | None:
        """As in the source."""
        return self._source.label(self._indices[index])
