"""The one door to files of pixels: a photo, or a picture of any number of bands."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterable
from pathlib import Path

from PIL import Image

from ttame.errors import ImageError, kind_of
from ttame.images.band_files import read_array, read_band_tiff
from ttame.images.band_photo import BandPhoto, Picture
from ttame.images.grey_values import has_wide_greys
from ttame.images.photos import PHOTO_SUFFIXES, check_photo, read_photo, upright
from ttame.images.rgb_conversion import scaling_of, to_rgb

Photo = Image.Image | BandPhoto | Path | str
"""A picture that is open already, or the path of one."""

ARRAY_SUFFIXES = frozenset({".npy"})
"""Lower-case file name endings of arrays."""

PICTURE_SUFFIXES = PHOTO_SUFFIXES | ARRAY_SUFFIXES
"""Those of files that somebody may name."""

_TIFF_SUFFIXES = (".tif", ".tiff")


def read_picture(path: Path, *, name: str | None = None) -> Picture:
    """Read a file of pixels as it is, for a network of any number of channels.

    Args:
        path: the path of a photo, of an array in a ``.npy`` file, or of a TIFF with any number of
            bands.
        name: how errors call it; the path if not given.

    Returns:
        A photo as :func:`ttame.images.photos.read_photo` gives it, as RGBA if it has transparent
        pixels; or a :class:`ttame.images.band_photo.BandPhoto`.

    Raises:
        ImageError: not a readable picture.
        MissingExtraError: a TIFF that needs tifffile, which is not installed.
        MemoryError: as :func:`ttame.images.photos.read_photo`.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     np.save(Path(folder) / "field.npy", np.zeros((13, 16, 20), dtype=np.uint16))
        ...     read_picture(Path(folder) / "field.npy").number_of_bands
        13
    """
    shown = name or str(path)
    suffix = path.suffix.lower()
    if suffix in ARRAY_SUFFIXES:
        if not path.is_file():
            what = "is a folder" if path.is_dir() else "does not exist"
            raise ImageError(f"{shown} {what}", allowed="a .npy file")
        return read_array(path, shown)
    bands = read_band_tiff(path, shown) if suffix in _TIFF_SUFFIXES else None
    return read_photo(path, name=shown, keep_opacity=True) if bands is None else bands


def open_picture(photo: Photo) -> Picture:
    """Read a picture, or turn one upright that is open already.

    Greys of more than 8 bits are scaled as the file says, with a warning that tells how.

    Raises:
        ImageError: neither a picture nor the path of a readable one.

    Example:
        >>> open_picture(Image.new("L", (4, 3))).size
        (4, 3)
    """
    if isinstance(photo, BandPhoto):
        return photo
    if isinstance(photo, Image.Image):
        opened = upright(photo)
        return _told(to_rgb(opened), "the image") if has_wide_greys(opened) else opened
    if isinstance(photo, str | Path):
        return _told(read_picture(Path(photo)), str(photo))
    raise ImageError(
        f"{kind_of(photo)} as photo",
        allowed="a PIL image or a path",
        remedy="PIL.Image.fromarray(array) for an array of pixels, or "
        "ttame.BandPhoto(array) for one of any number of bands",
    )


def listed_photos(photos: Photo | Iterable[Photo]) -> list[Photo]:
    """One photo or several, from whatever holds them; a generator is gone through once.

    Raises:
        ImageError: bytes, or a file that is open.

    Example:
        >>> len(listed_photos(Image.new("L", (4, 3)) for _ in range(2)))
        2
    """
    if isinstance(photos, bytes | bytearray | memoryview | io.IOBase):
        raise ImageError(
            f"{kind_of(photos)} as photo",
            allowed="a PIL image or a path",
            remedy="PIL.Image.open(file)"
            if isinstance(photos, io.IOBase)
            else "PIL.Image.open(io.BytesIO(data))",
        )
    return [photos] if isinstance(photos, Photo) else list(photos)


def _told(picture: Picture, name: str) -> Picture:
    words = scaling_of(picture) if isinstance(picture, Image.Image) else ""
    if words:
        warnings.warn(f"{name} has more than 8 bits: {words}", stacklevel=5)
    return picture


def check_picture(path: Path, *, name: str | None = None) -> None:
    """Raise unless a picture can be read; of a large photo only the header is looked at.

    Raises:
        ImageError: as :func:`read_picture`.
        MissingExtraError: as :func:`read_picture`.
        MemoryError: as :func:`read_picture`.
    """
    suffix, shown = path.suffix.lower(), name or str(path)
    if suffix in ARRAY_SUFFIXES:
        read_picture(path, name=shown)
    elif suffix not in _TIFF_SUFFIXES or read_band_tiff(path, shown) is None:
        check_photo(path, name=shown)
