"""Reading pictures of any number of bands: arrays in .npy files, and TIFF files."""

from __future__ import annotations

import importlib
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, UnidentifiedImageError

from ttame.errors import ImageError, MissingExtraError, TtameError
from ttame.images.band_photo import BandPhoto
from ttame.images.network_channels import MOST_CHANNELS
from ttame.memory_limit import ran_out_of_memory
from ttame.signal_handlers import raised_by_signal_handler

MOST_BYTES = 1_400_000_000
"""What a picture of bands may take; larger ones are refused by their header."""

_SMALLEST_SIDE = 2
_SAMPLES, _EXTRA_SAMPLES, _KIND_OF_PAGE = 277, 338, 254
"""TIFF 6.0: SamplesPerPixel, ExtraSamples, NewSubfileType."""

_OPACITY = (1, 2)
"""Of ExtraSamples: the sample is opacity."""

_NOT_PRINTED = logging.NullHandler()

_TIFF_SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def read_array(path: Path, name: str) -> BandPhoto:
    """Read a ``.npy`` file as a picture of bands; pickled objects in it are never loaded.

    Args:
        path: the path of an array (N, H, W) or (H, W, N), whichever of the two N is smaller, or (H,
            W) for one band; integers or floats.
        name: how errors call it.

    Raises:
        ImageError: not such an array, or one of more than 1.4 GB.
    """
    try:
        # Mapped first: nothing is read before the header fits the file, and the limit.
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(mapped, np.ndarray):
            _refuse_size(mapped.nbytes, name)
            # A mapped file that somebody truncates would end the process.
            mapped = np.array(mapped)
    except TtameError:
        raise
    except Exception as problem:
        if ran_out_of_memory(problem) or raised_by_signal_handler(problem):
            raise
        reason = "it holds Python objects" if "object" in str(problem) else str(problem)
        raise ImageError(
            f"{name} is not a readable .npy array ({reason.splitlines()[0]})",
            allowed="an array of numbers that numpy.save wrote",
        ) from problem
    if not isinstance(mapped, np.ndarray):
        raise ImageError(f"{name} holds several arrays", allowed="one .npy array")
    return _photo(_bands_first(mapped, name), name)


def read_band_tiff(path: Path, name: str) -> BandPhoto | None:
    """Read a TIFF file of bands; ``None`` where it is an ordinary photo.

    A file with a page for each band is read by Pillow, as is everything that is a photo. Files
    with two, five or more samples at each pixel need the package tifffile.

    Raises:
        ImageError: damaged, pages of several sizes, or more than 1.4 GB.
        MissingExtraError: tifffile is needed, and not installed.
    """
    if not _is_tiff(path):
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=("TIFF",)) as opened:
                if _has_other_samples(opened):
                    return _by_tifffile(path, name)
                return _of_pages(opened, name) if _has_band_pages(opened) else None
    except UnidentifiedImageError:
        return _by_tifffile(path, name)
    except TtameError:
        raise
    except Exception as problem:  # Pillow's decoders raise nearly everything on damaged files
        if ran_out_of_memory(problem) or raised_by_signal_handler(problem):
            raise
        return None  # Reading it as a photo says what is wrong with it.


def _is_tiff(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(4) in _TIFF_SIGNATURES
    except OSError:
        return False


def _has_other_samples(opened: Any) -> bool:
    samples = int(opened.tag_v2.get(_SAMPLES, 1))
    extra = opened.tag_v2.get(_EXTRA_SAMPLES, ())
    extra = extra if isinstance(extra, tuple) else (extra,)
    return samples > 4 or (samples == 2 and not any(kind in _OPACITY for kind in extra))


def _has_band_pages(opened: Any) -> bool:
    """Whether there are several full pages, each of one band."""
    if getattr(opened, "n_frames", 1) < 2 or len(opened.getbands()) > 1 or opened.mode == "P":
        return False
    opened.seek(1)
    full = not opened.tag_v2.get(_KIND_OF_PAGE, 0)
    opened.seek(0)
    return full


def _of_pages(opened: Any, name: str) -> BandPhoto:
    pages, size, mode = opened.n_frames, opened.size, opened.mode
    _refuse_number(pages, name)
    # At most four bytes for each pixel of each page.
    _refuse_size(4 * pages * size[0] * size[1], name)
    bands = []
    for page in range(pages):
        opened.seek(page)
        if (opened.size, opened.mode) != (size, mode):
            raise ImageError(
                f"{name} has pages of several sizes or kinds",
                allowed="a TIFF with one page, or with a page for each band",
            )
        opened.load()
        bands.append(np.array(opened))
    return _photo(np.stack(bands), name)


def _by_tifffile(path: Path, name: str) -> BandPhoto:
    try:
        tifffile: Any = importlib.import_module("tifffile")
    except ImportError as problem:
        raise MissingExtraError.of(
            "tifffile", "bands", f"TIFF files such as {name}, with any number of bands,"
        ) from problem
    # It logs each oddity of a damaged file, which Python prints where nobody listens.
    logging.getLogger("tifffile").addHandler(_NOT_PRINTED)
    try:
        with tifffile.TiffFile(path) as file:
            series = _page_or_pages(file, name)
            _refuse_size(series.nbytes, name)
            sides = dict(zip(series.axes, series.shape, strict=True))
            others = [axis for axis, length in sides.items() if axis not in "YX" and length > 1]
            if not {"Y", "X"} <= set(sides) or len(others) > 1:
                raise ImageError(
                    f"{name} is a TIFF of shape {tuple(series.shape)}", allowed="bands, H and W"
                )
            values = series.asarray()
            kept = [axis for axis in series.axes if axis in "YX" or axis in others]
            values = values.reshape([sides[axis] for axis in kept])
            bands = values.transpose([kept.index(axis) for axis in (*others, "Y", "X")])
    except TtameError:
        raise
    except Exception as problem:  # tifffile raises nearly everything on damaged files
        if ran_out_of_memory(problem) or raised_by_signal_handler(problem):
            raise
        said = str(problem).splitlines() or [type(problem).__name__]
        raise ImageError(
            f"{name} is not a readable TIFF of bands ({said[0]})",
            remedy="an uncompressed TIFF, or a .npy array",
        ) from problem
    return _photo(bands if bands.ndim == 3 else bands[None], name)


def _page_or_pages(file: Any, name: str) -> Any:
    """The first page if it holds several samples, else all pages that are alike.

    Other pages, such as smaller copies, are not looked at where they are not needed: a damaged
    one can take minutes.
    """
    first = file.pages[0]
    if not all(first.shape):
        raise ImageError(f"{name} is a TIFF of shape {tuple(first.shape)}", allowed="pixels")
    if first.samplesperpixel > 1:
        return first
    _refuse_number(len(file.pages), name)
    return file.series[0]


def _bands_first(array: np.ndarray[Any, Any], name: str) -> np.ndarray[Any, Any]:
    """(N, H, W) of an array with the bands first or last."""
    if array.ndim == 2:
        return array[None]
    if array.ndim != 3 or array.shape[0] == array.shape[2]:
        raise ImageError(
            f"{name} is an array of shape {array.shape}",
            allowed="(N, H, W) or (H, W, N) with fewer bands than columns or rows, or (H, W)",
        )
    return array if array.shape[0] < array.shape[2] else array.transpose(2, 0, 1)


def _photo(bands: np.ndarray[Any, Any], name: str) -> BandPhoto:
    _refuse_number(len(bands), name)
    if min(bands.shape[1:]) < _SMALLEST_SIDE:
        raise ImageError(
            f"{name} is {bands.shape[2]}x{bands.shape[1]} pixels",
            allowed=f"at least {_SMALLEST_SIDE} pixels a side",
        )
    if not (np.issubdtype(bands.dtype, np.integer) or np.issubdtype(bands.dtype, np.floating)):
        raise ImageError(f"{name} is an array of {bands.dtype}", allowed="integers or floats")
    return BandPhoto(np.ascontiguousarray(bands))


def _refuse_number(bands: int, name: str) -> None:
    if not 1 <= bands <= MOST_CHANNELS:
        raise ImageError(f"{name} has {bands} bands", allowed=f"1 to {MOST_CHANNELS}")


def _refuse_size(needed: int, name: str) -> None:
    if needed > MOST_BYTES:
        raise ImageError(
            f"{name} takes {needed / 1e9:.2f} GB",
            allowed=f"{MOST_BYTES / 1e9:.2f} GB",
            remedy="a smaller part of it",
        )
