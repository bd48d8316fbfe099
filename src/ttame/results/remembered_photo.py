"""The photos that were explained, remembered without keeping them alive."""

from __future__ import annotations

import dataclasses
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from ttame.errors import ImageError
from ttame.images.band_photo import BandPhoto
from ttame.images.photos import open_as_photo
from ttame.images.picture_files import Photo

_PASS_IT = "photo=..., the photo that was explained"


@dataclasses.dataclass(frozen=True, eq=False)
class RememberedPhoto:
    """A photo that can be had again as long as somebody else keeps it.

    Attributes:
        name: the name of its file; empty for one that was open already.
        path: the path of the file, absolute.
        stamp: size and time of the file when it was explained.
        size: (width, height) of an open one when it was explained.
        held: an open one, weakly.

    Example:
        >>> photo = Image.new("RGB", (8, 4))
        >>> RememberedPhoto.of(photo).get() is photo
        True
    """

    name: str = ""
    path: Path | None = None
    stamp: tuple[int, int] = (0, 0)
    size: tuple[int, int] = (0, 0)
    held: weakref.ref[Any] | None = None

    @classmethod
    def of(cls, photo: Photo) -> RememberedPhoto:
        """Remember a photo: a file by its path, an open one weakly."""
        if isinstance(photo, str | Path):
            path = Path(photo).absolute()
            return cls(path.name, path, _stamp(path))
        if isinstance(photo, Image.Image | BandPhoto):
            return cls(size=photo.size, held=weakref.ref(photo))
        return cls()  # which whoever reads it refuses in words

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies, also those for other processes, forget photos that were open."""
        return type(self), (self.name, self.path, self.stamp, self.size)

    def may_measure(self, size: tuple[int, int]) -> bool:
        """Whether the photo is (H, W) pixels, upright or on its side; no pixel is read."""
        measured = self.size
        if self.path is not None:
            try:
                with open_as_photo(self.path) as opened:
                    measured = opened.size
            except (OSError, ValueError):
                return False
        return size in (measured, measured[::-1])

    def get(self) -> Photo:
        """The photo.

        Raises:
            ImageError: it is gone, or no longer what was explained.
        """
        if self.path is not None:
            if _stamp(self.path) != self.stamp:
                raise ImageError(
                    f"{self.name} was changed, moved or removed since it was explained",
                    remedy=_PASS_IT,
                )
            return self.path
        photo: Photo | None = self.held() if self.held is not None else None
        if photo is None:
            raise ImageError(
                "the photo is no longer in memory",
                remedy=f"{_PASS_IT}; or keep it in a variable",
            )
        if photo.size != self.size:  # type: ignore[union-attr]
            raise ImageError("the photo was resized since it was explained", remedy=_PASS_IT)
        return photo


def remembered(photos: Photo | Sequence[Photo]) -> tuple[RememberedPhoto, ...]:
    """Remember one photo or several.

    Example:
        >>> len(remembered([Image.new("RGB", (8, 4)), Image.new("RGB", (8, 4))]))
        2
    """
    several = [photos] if isinstance(photos, Photo) else photos
    return tuple(map(RememberedPhoto.of, several))


def photo_of(photos: Sequence[RememberedPhoto], image: int, given: Photo | None) -> Photo:
    """The photo that image ``image`` of a batch shows: what is given, or what is remembered.

    Raises:
        ImageError: nothing is given, and nothing is remembered.
    """
    if given is not None:
        return given
    if not photos:
        raise ImageError(
            "an explanation without its photo: the explainer was given a tensor, or it was loaded",
            remedy=_PASS_IT,
        )
    return photos[image].get()


def _stamp(path: Path) -> tuple[int, int]:
    """Size and time of a file; (0, 0) where there is none."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
