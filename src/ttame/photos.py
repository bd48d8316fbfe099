"""Opening the photos that people have."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError

from ttame.errors import ImageError

SMALLEST_SIDE = 2
"""A picture with a side of one pixel has no places that a map could tell apart."""

PHOTO_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
"""Lower-case file name endings that are taken for photos when a folder is searched."""

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a photo upright, by its EXIF orientation; 1 is upright already."""


def read_photo(source: Path | str | bytes, *, name: str | None = None) -> Image.Image:
    """Open a photo as upright RGB, whatever its mode.

    Palette, greyscale, CMYK and 16-bit pictures are converted; transparency is laid on white;
    the EXIF rotation is applied; of an animation the first frame is taken.

    Args:
        source: a path, or the bytes of an image file.
        name: how errors call the image; the path if not given.

    Returns:
        An RGB image of 8 bits a channel.

    Raises:
        ImageError: no file there, not an image, truncated, or a side below 2 pixels.
    """
    name = name or (str(source) if not isinstance(source, bytes) else "image")
    if not isinstance(source, bytes) and not Path(source).is_file():
        what = "is a folder" if Path(source).is_dir() else "does not exist"
        raise ImageError(f"{name} {what}", allowed="an image file")
    try:
        with warnings.catch_warnings():
            # A damaged EXIF block or a huge picture is no reason to refuse a readable photo.
            warnings.simplefilter("ignore")
            with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source) as opened:
                opened.load()
                photo = to_rgb(_upright(opened))
    except Image.DecompressionBombError as problem:
        raise ImageError(f"{name} is too large ({problem})") from problem
    # Nothing but Pillow runs above, and its decoders raise nearly everything on damaged files.
    except Exception as problem:
        raise ImageError(
            f"{name} is no readable image ({_reason(problem)})",
            remedy="a complete JPEG, PNG, WebP, BMP, GIF or TIFF file",
        ) from problem
    if min(photo.size) < SMALLEST_SIDE:
        raise ImageError(
            f"{name} is {photo.size[0]}x{photo.size[1]} pixels",
            allowed=f"at least {SMALLEST_SIDE} pixels a side",
        )
    return photo


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert an image of any PIL mode to RGB of 8 bits a channel.

    Transparency is laid on white. Modes with more than 8 bits are scaled by their format's full
    range (65535 for 16-bit integers), or to their own minimum and maximum for 32-bit ones, which
    have no agreed range.

    Example:
        >>> to_rgb(Image.new("LA", (4, 4), (0, 0))).getpixel((0, 0))
        (255, 255, 255)
    """
    if image.mode == "RGB":
        return image.copy()
    if image.mode.startswith("I;16"):
        return _grey(np.asarray(image, dtype=np.float64) / 65535)
    if image.mode in ("I", "F"):
        values = np.nan_to_num(np.asarray(image, dtype=np.float64))
        # Pillow opens 16-bit greyscale PNGs as 32-bit integers in some versions.
        if image.mode == "I" and values.min() >= 0 and values.max() <= 65535:
            return _grey(values / 65535)
        spread = values.max() - values.min()
        return _grey((values - values.min()) / (spread if spread > 0 else 1.0))
    if image.has_transparency_data:
        layered = image.convert("RGBA")
        page = Image.new("RGBA", layered.size, (255, 255, 255, 255))
        page.alpha_composite(layered)
        return page.convert("RGB")
    return image.convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF rotation; a damaged EXIF block counts as none.

    ``ImageOps.exif_transpose`` would also write the EXIF block anew, which fails on damaged ones.
    """
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:
        return image
    return image if turn is None else image.transpose(turn)


def _reason(problem: Exception) -> str:
    """What Pillow says is wrong, without the name of the file, which the message has already."""
    if isinstance(problem, UnidentifiedImageError):
        return "its format is not recognised"
    return str(problem) or type(problem).__name__


def _grey(values: np.ndarray) -> Image.Image:
    """An RGB image of grey values in [0, 1]."""
    return Image.fromarray(np.round(values * 255).astype(np.uint8)).convert("RGB")
