"""The one door to data: whatever names photos becomes a source of photos."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import Dataset

from ttame.datasets.image_folder import ImageFolder, holds_photos
from ttame.datasets.image_list import ImageList
from ttame.datasets.joined_photos import JoinedPhotos
from ttame.datasets.photo_source import PhotoSource
from ttame.datasets.shard_patterns import files_of, is_pattern
from ttame.datasets.tar_shards import TarShards
from ttame.datasets.wrapped_dataset import WrappedDataset
from ttame.errors import DatasetError, near_matches
from ttame.images.picture_files import PICTURE_SUFFIXES

KINDS_OF_DATA = (
    "a folder of photos, a list file of 'path' or 'path label' lines, local .tar shards "
    "(a file, a folder of them, or a pattern such as 'train-{0000..0005}.tar'), "
    "or a map-style dataset of images"
)


def open_photos(
    data: str | os.PathLike[str] | Dataset[Any] | Sequence[Any] | PhotoSource,
) -> PhotoSource:
    """Open a set of photos.

    Args:
        data: what names the photos.

            - a folder: the photos below it, or, if there are none, the tar shards in it;
            - a ``.tar`` file, or a pattern with ``*``, ``?``, ``[…]``, ``{0000..0005}``,
              ``{a,b}`` or ``::``: WebDataset shards;
            - any other file: a list of ``path`` or ``path label`` lines;
            - a list of such places: all of their photos;
            - a map-style dataset or a sequence of images;
            - a :class:`PhotoSource`, which is returned as it is.

    Returns:
        A source of at least one photo.

    Raises:
        DatasetError: nothing is there, it is of no such kind, it is broken, or it is empty.

    Example:
        >>> from PIL import Image
        >>> len(open_photos([Image.new("RGB", (8, 8))]))
        1
    """
    if isinstance(data, PhotoSource):
        if not len(data):
            raise DatasetError(f"{type(data).__name__} is empty", allowed="at least one photo")
        return data
    if isinstance(data, str | os.PathLike):
        return _open_path(os.fspath(data))
    if isinstance(data, list | tuple) and data and all(isinstance(d, str | Path) for d in data):
        sources = [open_photos(place) for place in data]
        return sources[0] if len(sources) == 1 else JoinedPhotos(sources)
    return WrappedDataset(data)


def _open_path(text: str) -> PhotoSource:
    path = Path(text).expanduser()
    if not text:  # Path("") would be the current folder.
        raise DatasetError("data is an empty text", allowed=KINDS_OF_DATA)
    if path.is_dir():
        return _open_folder(path)
    if path.is_file():
        return _open_file(path)
    if "://" in text or text.startswith("pipe:"):
        raise DatasetError(f"{text} is not local", remedy="downloading the shards first")
    if is_pattern(text):
        return TarShards(_shards_of(str(path)))
    raise _missing(text, path)


def _open_folder(folder: Path) -> PhotoSource:
    try:
        shards = sorted(folder.glob("[!.]*.tar"))
        if shards and not holds_photos(folder):
            return TarShards(shards)
    except OSError as problem:
        raise DatasetError(
            f"cannot list {problem.filename} ({problem.strerror})",
            remedy="a folder that you may read",
        ) from problem
    return ImageFolder(folder)


def _open_file(path: Path) -> PhotoSource:
    if ".tar" in path.suffixes or path.suffix == ".tgz":
        return TarShards([path])
    if path.suffix.lower() in PICTURE_SUFFIXES:
        raise DatasetError(
            f"{path} is a single photo, not a data set", remedy=f"its folder, {path.parent}"
        )
    return ImageList(path)


def _shards_of(pattern: str) -> list[Path]:
    """The shards that ``pattern`` names; anything else among them is refused."""
    files = files_of(pattern)
    for file in files:
        if file.suffix != ".tar":
            raise DatasetError(
                f"{pattern} matches {file}, which is not a tar shard",
                allowed="a pattern of .tar files",
                remedy=f"the folder {file.parent}" if file.is_file() else f"{file}",
            )
    return files


def _missing(text: str, path: Path) -> DatasetError:
    """Nothing is at ``path``: name what looks like it next to it."""
    folder = path.parent
    while not folder.is_dir() and folder != folder.parent:
        path, folder = folder, folder.parent
    try:
        siblings = [entry.name for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError:
        siblings = []
    near = [str(folder / name) for name in near_matches(path.name, siblings)]
    if near:
        return DatasetError(f"{text} does not exist", remedy=" or ".join(near))
    return DatasetError(f"{text} does not exist", allowed=KINDS_OF_DATA)
