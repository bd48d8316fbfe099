"""One photo that comes through a pipe."""

from __future__ import annotations

from typing import BinaryIO

from ttame.datasets.photo_source import PhotoSource
from ttame.errors import ImageError
from ttame.images.band_photo import Picture
from ttame.images.photos import read_photo

MOST_BYTES = 1 << 30
"""Of a photo's file; more comes from something that is not a photo."""


class PipedPhoto(PhotoSource):
    """One photo from standard input, or another open file. It was asked for: it must be readable.

    Args:
        file: binary; read to its end.

    Raises:
        ImageError: no readable photo.

    Example:
        >>> import io
        >>> from PIL import Image
        >>> stream = io.BytesIO()
        >>> Image.new("RGB", (8, 6)).save(stream, "PNG")
        >>> PipedPhoto(io.BytesIO(stream.getvalue())).read(0).size
        (8, 6)
    """

    def __init__(self, file: BinaryIO) -> None:
        content = file.read(MOST_BYTES + 1)
        if not content or len(content) > MOST_BYTES:
            what = "more than 1 GiB" if content else "nothing"
            raise ImageError(
                f"{what} on {self.name(0)}",
                allowed="one photo",
                remedy="ttame explain - < photo.jpg",
            )
        self._content = content
        self.read(0)

    def __len__(self) -> int:
        return 1

    def key(self, index: int) -> str:
        """Of the only photo."""
        return "standard-input"

    def name(self, index: int) -> str:
        """What errors call it."""
        return "standard input"

    def read(self, index: int) -> Picture:
        """Read the photo.

        Raises:
            ImageError: it cannot be read.
        """
        return read_photo(self._content, name=self.name(index), keep_opacity=True)

    def label(self, index: int) -> int | None:
        """None: a pipe names no label."""
        return None
