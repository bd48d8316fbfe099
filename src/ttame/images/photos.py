"""Opening the photos that people have."""

from __future__ import annotations

import functools
import importlib.util
import io
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path

from PIL import ExifTags, Image, UnidentifiedImageError

from ttame.errors import ImageError
from ttame.images.rgb_conversion import reduced_rgb
from ttame.memory_limit import ran_out_of_memory
from ttame.signal_handlers import raised_by_signal_handler

SMALLEST_SIDE = 2
"""A picture with a side of one pixel has no places that a map could tell apart."""

HEIF_SUFFIXES = (".heic", ".heif")
"""Of photos that Pillow reads only where its plugin pillow-heif is installed."""

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".avif", *HEIF_SUFFIXES}
)
"""Lower-case file name endings that are taken for photos when a folder is searched."""

MOST_PIXELS = 178_000_000
"""Photos with more are refused by their header; Pillow itself stops a little above."""

MOST_BYTES = 1_400_000_000
"""What decoding a photo may take; photos that need more are refused by their header."""

MOST_PIXELS_AT_FULL_SIZE = 26_000_000
"""Photos with more are read at a half, a third, ... of their size, if enough of it is left."""

MOST_PIXELS_REDUCED = 13_000_000
"""What is left of those, at most; drawing on more takes seconds for each class."""

LEAST_REDUCED_SIDE = 512
"""Pixels of the shorter side below which no photo is reduced, however long the other side is."""

PHOTO_FORMATS = (
    *("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF"),
    *("PPM", "JPEG2000", "AVIF", "HEIF", "TGA", "ICO"),
)
"""What a file may be, whatever its name. Pillow would hand others, such as EPS, to programs that
run what stands in them."""


_COMMON_FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM")
"""Those that Pillow knows before all of its plugins are loaded, which takes a while."""

_FULL_SIZE = "ttame_full_size"
"""Where Pillow keeps what it knows about a picture; set only if the picture was reduced."""

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

_SAYS_ORIENTATION = ("exif", "xmp", "XML:com.adobe.xmp")
"""Where Pillow keeps an orientation, which upright pictures must not carry along."""

TURNS_TO_THE_SIDE = frozenset(_TURNS[orientation] for orientation in (5, 6, 7, 8))
"""Those that swap width and height."""


def read_photo(
    source: Path | str | bytes, *, name: str | None = None, keep_opacity: bool = False
) -> Image.Image:
    """Open a photo as upright RGB, whatever its mode.

    Palette, greyscale, CMYK and 16-bit pictures are converted; transparency is laid on white;
    the EXIF rotation is applied; of an animation the first frame is taken. A photo of more than
    26 megapixels is read at a half, a third, ... of its size (:func:`full_size` tells its own).
    Greys of more than 8 bits are scaled as the file says
    (:func:`ttame.images.rgb_conversion.scaling_of` tells how).

    Args:
        source: a path, or the bytes of an image file.
        name: how errors call the image; the path if not given.
        keep_opacity: whether a photo with transparent pixels comes as RGBA.

    Returns:
        An RGB image of 8 bits a channel.

    Raises:
        ImageError: no file there, not an image, truncated, a side below 2 pixels, more than 178
            megapixels, or more than 1.4 GB to decode it.
        MemoryError: not even a photo of at most 26 megapixels fits into memory.
    """
    name = name or (str(source) if not isinstance(source, bytes) else "image")
    return _read(source, name, keep_opacity=keep_opacity)


def check_photo(path: Path | str, *, name: str | None = None) -> None:
    """Raise unless a photo can be read; of a large one only the header is looked at.

    Args:
        path: the path of the photo.
        name: how errors call the image; the path if not given.

    Raises:
        ImageError: as :func:`read_photo`.
        MemoryError: as :func:`read_photo`.
    """
    _read(path, name or str(path), large_ones=False)


def upright(photo: Image.Image) -> Image.Image:
    """An open picture as it is looked at: turned as its EXIF block says.

    Example:
        >>> photo = Image.new("RGB", (4, 3))
        >>> photo.getexif()[ExifTags.Base.Orientation] = 6
        >>> upright(photo).size
        (3, 4)
    """
    turn = turn_of(photo)
    return photo if turn is None else _turned(_without_orientation(photo.copy()), turn)


def full_size(photo: Image.Image) -> tuple[int, int]:
    """(width, height) of a photo's file, upright, where :func:`read_photo` may have reduced it.

    Example:
        >>> full_size(Image.new("RGB", (4, 3)))
        (4, 3)
    """
    size: tuple[int, int] = photo.info.get(_FULL_SIZE, photo.size)
    return size


Turn = Image.Transpose | None
"""What makes a photo upright."""


def _read(
    source: Path | str | bytes, name: str, *, large_ones: bool = True, keep_opacity: bool = False
) -> Image.Image:
    """Read a photo; unless ``large_ones``, a blank comes for those that would take seconds."""
    if not isinstance(source, bytes) and not Path(source).is_file():
        what = "is a folder" if Path(source).is_dir() else "does not exist"
        raise ImageError(f"{name} {what}", allowed="an image file")
    size: list[tuple[int, int]] = []
    try:
        with warnings.catch_warnings():
            # A damaged EXIF block or a huge picture is no reason to refuse a readable photo.
            warnings.simplefilter("ignore")
            decoded = _decoded(
                source, name, size.append, large_ones=large_ones, keep_opacity=keep_opacity
            )
            return _turned(*decoded)
    except ImageError:
        raise
    except Image.DecompressionBombError as problem:
        found = re.search(r"(\d+) pixels", str(problem))
        raise _too_many_pixels(name, int(found[1]) if found else 0) from problem
    # Nothing but Pillow runs above, and its decoders raise nearly everything on damaged files.
    except Exception as problem:
        if ran_out_of_memory(problem):
            raise _no_memory(name, size, problem) from problem
        if raised_by_signal_handler(problem):
            raise
        if name.lower().endswith(HEIF_SUFFIXES) and "HEIF" not in photo_formats():
            raise ImageError(
                f"{name} looks like HEIC, which Pillow reads only with a plugin",
                remedy="pip install pillow-heif, or the photo as JPEG",
            ) from problem
        raise ImageError(
            f"{name} is not a readable image ({_reason(problem)})",
            remedy="a complete JPEG, PNG, WebP, BMP, GIF or TIFF file",
        ) from problem


@functools.cache
def photo_formats() -> tuple[str, ...]:
    """Those of :data:`PHOTO_FORMATS` that this Pillow can open."""
    Image.init()
    if "HEIF" not in Image.OPEN and importlib.util.find_spec("pillow_heif") is not None:
        importlib.import_module("pillow_heif").register_heif_opener()
    return tuple(name for name in PHOTO_FORMATS if name in Image.OPEN)


def open_as_photo(file: Path | str | io.BytesIO) -> Image.Image:
    """Open a file as one of :data:`PHOTO_FORMATS`, as :func:`PIL.Image.open` does."""
    try:
        return Image.open(file, formats=_COMMON_FORMATS)
    except UnidentifiedImageError:
        return Image.open(file, formats=photo_formats())


def _decoded(
    source: Path | str | bytes,
    name: str,
    note_size: Callable[[tuple[int, int]], None],
    *,
    large_ones: bool,
    keep_opacity: bool,
) -> tuple[Image.Image, Turn]:
    """The pixels as they are stored, reduced if it is large, and what makes it upright."""
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    with open_as_photo(file) as opened:
        full = opened.size
        note_size(full)
        _refuse_by_header(opened, name)
        if not large_ones and full[0] * full[1] > MOST_PIXELS_AT_FULL_SIZE:
            return Image.new("RGB", (SMALLEST_SIDE, SMALLEST_SIDE)), None
        factor = _reduction(full)
        if factor > 1:
            # JPEG decodes at a half, a quarter or an eighth of its size; other formats cannot.
            opened.draft(None, (full[0] // factor, full[1] // factor))
            factor = _reduction(opened.size)
        opened.load()
        turn = turn_of(opened)
        photo = reduced_rgb(opened, factor, keep_opacity=keep_opacity)
    _without_orientation(photo)
    if photo.size != full:
        photo.info[_FULL_SIZE] = full
    return photo, turn


def _without_orientation(photo: Image.Image) -> Image.Image:
    for place in _SAYS_ORIENTATION:
        photo.info.pop(place, None)
    return photo


def _turned(photo: Image.Image, turn: Turn) -> Image.Image:
    if turn is None:
        return photo
    upright = photo.transpose(turn)
    if _FULL_SIZE in photo.info and turn in TURNS_TO_THE_SIDE:
        upright.info[_FULL_SIZE] = photo.info[_FULL_SIZE][::-1]
    return upright


def _reduction(size: tuple[int, int]) -> int:
    """By how much a photo is reduced: 1 for ordinary ones.

    Example:
        >>> _reduction((6000, 4000)), _reduction((8160, 6120)), _reduction((1_000_000, 60))
        (1, 2, 1)
    """
    if size[0] * size[1] <= MOST_PIXELS_AT_FULL_SIZE:
        return 1
    wanted = math.ceil((size[0] * size[1] / MOST_PIXELS_REDUCED) ** 0.5)
    return max(1, min(int(wanted), min(size) // LEAST_REDUCED_SIDE))


def _refuse_by_header(opened: Image.Image, name: str) -> None:
    width, height = opened.size
    if min(width, height) < SMALLEST_SIDE:
        raise ImageError(
            f"{name} is {width}x{height} pixels", allowed=f"at least {SMALLEST_SIDE} pixels a side"
        )
    if width * height > MOST_PIXELS:
        raise _too_many_pixels(name, width * height)
    needed = width * height * _bytes_per_pixel(opened)
    if needed > MOST_BYTES:
        raise ImageError(
            f"{name} is {width}x{height} pixels as {opened.format}, which takes "
            f"{needed / 1e9:.2f} GB to decode",
            allowed=f"{MOST_BYTES / 1e9:.2f} GB",
            remedy="a smaller copy of it"
            + ("" if opened.format in ("JPEG", "MPO") else ", or a JPEG"),
        )


def _too_many_pixels(name: str, pixels: int) -> ImageError:
    """Of a photo that is refused by its header."""
    theirs = 2 * Image.MAX_IMAGE_PIXELS if Image.MAX_IMAGE_PIXELS else MOST_PIXELS
    return ImageError(
        f"{name} is too large ({pixels / 1e6:.3g} megapixels)",
        allowed=f"{min(MOST_PIXELS, theirs) / 1e6:.3g} megapixels",
        remedy="a smaller copy of it",
    )


def _no_memory(name: str, size: list[tuple[int, int]], problem: Exception) -> Exception:
    """A large photo that finds no memory is to blame itself; a small one is not."""
    if size and size[0][0] * size[0][1] > MOST_PIXELS_AT_FULL_SIZE:
        width, height = size[0]
        return ImageError(
            f"{name} is {width}x{height} pixels, for which there is not enough memory",
            remedy="a smaller copy of it",
        )
    return MemoryError(f"while reading {name} ({_reason(problem)})")


def _bytes_per_pixel(opened: Image.Image) -> float:
    """What decoding takes at its peak, as measured for each format."""
    held = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2}.get(opened.mode, 4)
    if opened.format in ("JPEG", "MPO"):
        # All coefficients of a progressive JPEG are in memory, two bytes each.
        coefficients = 2 * len(opened.getbands()) if opened.info.get("progressive") else 0
        return coefficients + held / _reduction(opened.size) ** 2
    if opened.format == "TIFF":
        return held * (1 + _largest_strip(opened))
    if opened.format in ("PNG", "GIF", "BMP", "DIB", "PPM"):
        return held
    # WebP holds two canvases and two copies; other formats are rare, and no better.
    return 16


def _largest_strip(opened: Image.Image) -> float:
    """The share of a compressed TIFF that its decoder holds at a time besides the picture."""
    tags: dict[int, int] = getattr(opened, "tag_v2", {})
    if tags.get(259, 1) == 1:
        return 0
    if 322 in tags and 323 in tags:
        return min(1.0, tags[322] * tags[323] / (opened.width * opened.height))
    return min(1.0, tags.get(278, opened.height) / opened.height)


def turn_of(image: Image.Image) -> Turn:
    """What makes a photo upright by its EXIF block; a damaged one counts as none.

    ``ImageOps.exif_transpose`` would also write the EXIF block anew, which fails on damaged ones.
    """
    try:
        image.load()  # TIFF files turn themselves while they are loaded.
        return _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception as problem:
        if ran_out_of_memory(problem) or raised_by_signal_handler(problem):
            raise
        return None


def _reason(problem: Exception) -> str:
    """What Pillow says is wrong, without the name of the file, which the message has already."""
    if isinstance(problem, UnidentifiedImageError):
        return "its format is not recognised"
    return str(problem) or type(problem).__name__
