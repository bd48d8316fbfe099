"""Objects drawn as pictures, one for each photo."""

from __future__ import annotations

import functools
import os
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from ttame.datasets.annotated_photo import AnnotatedObject, AnnotatedPhoto, AnnotationSource
from ttame.datasets.image_folder import ImageFolder
from ttame.errors import DatasetError
from ttame.memory_limit import ran_out_of_memory
from ttame.signal_handlers import raised_by_signal_handler

MASK_ENDINGS = ("_mask", "-mask", ".mask")
"""Endings of stems that tell masks from the photos next to them: ``tom.jpg``, ``tom_mask.png``."""

_VOID = 255
"""Index of the borders in Pascal VOC's palette pictures that belong to nothing."""
_LOSSY_THRESHOLD = 128
_JPEG_NOISE = 32
"""How far the colours of a grey JPEG may differ."""
_MOST_OBJECTS = 256
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP")
"""Those of photos: Pillow knows others, one of which it hands to Ghostscript."""
_PLACES = np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)  # makes one number of a colour
_ROWS = 256  # looked at together, so that a large picture takes little memory


class MaskImages(AnnotationSource):
    """Pictures that are 0 but on the object, named as their photos.

    If the folder holds files whose stem ends in ``_mask``, ``-mask`` or ``.mask``, only those are
    masks. Every value but 0 is object, in a JPEG those from 128 on; in a picture with a palette
    255 is not, because Pascal VOC marks borders with it.

    Args:
        folder: where to search, subfolders included.

    Raises:
        DatasetError: the folder holds no pictures.
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        pictures = ImageFolder(folder)
        keys = [pictures.key(index) for index in range(len(pictures))]
        marked = [key for key in keys if Path(key).stem.lower().endswith(MASK_ENDINGS)]
        self.folder = pictures.folder
        self._files = marked or keys
        self.names = [without_mask_ending(key) for key in self._files] if marked else keys

    def photo(self, number: int) -> AnnotatedPhoto:
        """See :meth:`AnnotationSource.photo`."""
        path = self.folder / self._files[number]
        mask = read_mask(path)
        height, width = mask.shape
        return AnnotatedPhoto(
            (width, height), (AnnotatedObject("", functools.partial(np.copy, mask)),)
        )


def without_mask_ending(name: str) -> str:
    """The name of the photo that a mask next to it belongs to.

    Example:
        >>> without_mask_ending("cats/tom_mask.png")
        'cats/tom.png'
    """
    path = Path(name)
    ending = next(end for end in MASK_ENDINGS if path.stem.lower().endswith(end))
    return path.with_name(path.stem[: -len(ending)] + path.suffix).as_posix()


def read_mask(path: Path) -> np.ndarray:
    """Read a picture as a mask.

    Returns:
        (height, width) bool.

    Raises:
        DatasetError: it is not a readable picture.
    """
    try:
        with warnings.catch_warnings():
            # Pillow warns of large pictures; those that are too large are errors.
            warnings.simplefilter("ignore")
            with Image.open(path, formats=_FORMATS) as picture:
                if picture.mode == "P":
                    indices = np.array(picture)
                    known: np.ndarray = (indices > 0) & (indices != _VOID)
                    return known
                lowest = _LOSSY_THRESHOLD if picture.format == "JPEG" else 1
                single = len(picture.getbands()) == 1
                values = np.array(picture if single else picture.convert("RGB"))
    # Pillow's decoders raise nearly everything on damaged files.
    except Exception as problem:
        if ran_out_of_memory(problem) or raised_by_signal_handler(problem):
            raise
        raise DatasetError(f"mask {path} cannot be read ({problem})") from problem
    if values.ndim == 3:
        _refuse_photo(values, path)
        values = values.max(axis=2)
    mask: np.ndarray = values >= lowest
    return mask


def _refuse_photo(values: np.ndarray, path: Path) -> None:
    """Refuse a picture of so many colours that it cannot tell objects apart by them."""
    parts = [values[top : top + _ROWS] for top in range(0, len(values), _ROWS)]
    if all(np.ptp(part, axis=2).max() <= _JPEG_NOISE for part in parts):
        return
    colours: set[int] = set()
    for part in parts:
        colours.update(np.unique(part.astype(np.uint32) @ _PLACES).tolist())
        if len(colours) <= _MOST_OBJECTS:
            continue
        raise DatasetError(
            f"mask {path} is a photo",
            allowed="pictures that are 0 everywhere except on the object",
            remedy="names that end in _mask for masks that lie next to photos",
        )
