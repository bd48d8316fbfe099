"""Photos and tensors from strangers, in memory only."""

from __future__ import annotations

import io
import json
import struct
import warnings

import torch
from PIL import Image
from torch import Tensor

from ttame.images.photos import open_as_photo, read_photo
from ttame.serving.costly_files import costs_minutes
from ttame.serving.problems import Problem
from ttame.serving.settings import ServingSettings

_TENSOR_NAME = "images"
_LARGEST_HEADER = 4096
"""Bytes of a safetensors header that describes one tensor."""

_MARKUP = (b"<svg", b"<?xml", b"<!doctype", b"<html")


def read_uploaded_photo(content: bytes, settings: ServingSettings) -> Image.Image:
    """Read a photo that a stranger sent.

    What the file is called, and what it says that it is, is not looked at.

    Args:
        content: the content of the file.
        settings: the limits.

    Returns:
        Upright RGB, or RGBA where something is transparent.

    Raises:
        Problem: 413, too many pixels; 415, not a photo; 422, a damaged photo.

    Example:
        >>> try:
        ...     read_uploaded_photo(b"<svg xmlns='...'/>", ServingSettings())
        ... except Problem as problem:
        ...     print(problem.status, problem.detail)
        415 an SVG or HTML document; allowed: one photo as JPEG, PNG, WebP, BMP, GIF, TIFF or AVIF
    """
    _refuse_by_header(content, settings)
    return read_photo(content, name="the photo", keep_opacity=True)


def read_uploaded_tensor(content: bytes, shape: tuple[int, ...]) -> Tensor:
    """Read a prepared image that a stranger sent: safetensors with one tensor ``images``.

    Args:
        content: the content of the file.
        shape: (C, H, W) that the network takes.

    Returns:
        (C, H, W) float32, finite.

    Raises:
        Problem: 422, anything else.

    Example:
        >>> from safetensors.torch import save
        >>> read_uploaded_tensor(save({"images": torch.ones(1, 3, 2, 2)}), (3, 2, 2)).shape
        torch.Size([3, 2, 2])
    """
    allowed = f"safetensors with float32 images of shape (1, {', '.join(map(str, shape))})"
    count = 1
    for side in shape:
        count *= side
    start = _start_of_values(content, [1, *shape])
    if start is None or len(content) - start != 4 * count:
        raise Problem(422, f"a tensor that cannot be used; allowed: {allowed}")
    values = torch.frombuffer(bytearray(content[start:]), dtype=torch.float32).reshape(shape)
    if not bool(values.isfinite().all()):
        raise Problem(422, f"a tensor with NaN or infinity; allowed: {allowed}")
    return values


def read_uploaded_mask(content: bytes, size: tuple[int, int]) -> Tensor:
    """Read which pixels of the network's input are kept: a picture, dark where they are hidden.

    Args:
        content: the content of the file.
        size: (H, W) of the network's input.

    Returns:
        (H, W) bool.

    Raises:
        Problem: 415 or 422, not such a picture.

    Example:
        >>> stream = io.BytesIO()
        >>> Image.new("L", (4, 2), 255).save(stream, "PNG")
        >>> read_uploaded_mask(stream.getvalue(), (2, 4)).all()
        tensor(True)
    """
    limits = ServingSettings(most_pixels=max(1, size[0] * size[1]))
    _refuse_by_header(content, limits)
    mask = read_photo(content, name="the mask").convert("L")
    if mask.size != (size[1], size[0]):
        raise Problem(
            422,
            f"a mask of {mask.width}x{mask.height} pixels; allowed: {size[1]}x{size[0]}",
        )
    return torch.frombuffer(bytearray(mask.tobytes()), dtype=torch.uint8).reshape(size) >= 128


def _refuse_by_header(content: bytes, settings: ServingSettings) -> None:
    if not content:
        raise Problem(422, f"an empty file; allowed: {_ALLOWED}")
    start = content[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if start.startswith(_MARKUP):
        raise Problem(415, f"an SVG or HTML document; allowed: {_ALLOWED}")
    if reason := costs_minutes(content):
        raise Problem(422, f"a photo with {reason}; try: the photo, saved again")
    width, height, moves = _seen_in_header(content)
    if width * height > settings.most_pixels:
        raise Problem(
            413,
            f"a photo of {width}x{height} pixels; allowed: {settings.most_pixels / 1e6:.3g} "
            "megapixels; try: a smaller copy of it",
        )
    if moves:
        raise Problem(422, "an animated picture; allowed: one that stands still")


_ALLOWED = "one photo as JPEG, PNG, WebP, BMP, GIF, TIFF or AVIF"


def _seen_in_header(content: bytes) -> tuple[int, int, bool]:
    """Width and height of a picture, and whether it moves, without decoding it."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with open_as_photo(io.BytesIO(content)) as opened:
                if opened.format not in _READ:
                    raise Problem(415, f"a file of another kind; allowed: {_ALLOWED}")
                several = opened.format not in _STILL_IF_SEVERAL
                moves = several and getattr(opened, "is_animated", False)
                return opened.width, opened.height, bool(moves)
    except Problem:
        raise
    except Image.DecompressionBombError as problem:
        raise Problem(413, "a photo of too many pixels; try: a smaller copy of it") from problem
    except Exception as problem:  # Pillow's readers raise nearly everything on damaged files.
        raise Problem(
            415, f"a file that is not a photo, or is damaged; allowed: {_ALLOWED}"
        ) from problem


_READ = ("JPEG", "MPO", "PNG", "WEBP", "BMP", "DIB", "GIF", "TIFF", "AVIF", "HEIF")
"""What a stranger's file may be; ttame itself reads a few more, which photos rarely are."""

_STILL_IF_SEVERAL = ("MPO", "TIFF", "HEIF")
"""Formats whose further pictures are previews, depths and pages, of which the first one counts."""


def _start_of_values(content: bytes, shape: list[int]) -> int | None:
    """Where the values of the only tensor begin; ``None`` if the file is something else."""
    if len(content) < 8:
        return None
    (length,) = struct.unpack("<Q", content[:8])
    if length > min(_LARGEST_HEADER, len(content) - 8):
        return None
    try:
        header = json.loads(content[8 : 8 + length])
        tensor = header.pop(_TENSOR_NAME)
        header.pop("__metadata__", None)
        fits = not header and tensor["dtype"] == "F32" and tensor["shape"] == shape
        fits = fits and tensor["data_offsets"][0] == 0
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError):
        return None
    return 8 + length if fits else None
