"""Photos that somebody named one by one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ttame.datasets.joined_photos import JoinedPhotos
from ttame.datasets.name_list import NameList
from ttame.datasets.open_photos import open_photos
from ttame.datasets.photo_source import PhotoSource
from ttame.errors import DatasetError, ImageError
from ttame.files.printable_names import printable
from ttame.images.band_photo import Picture
from ttame.images.picture_files import PICTURE_SUFFIXES, check_picture, read_picture


class NamedPhotos(PhotoSource):
    """Photos by their paths. Each of them was asked for, so each of them must be readable.

    Args:
        paths: the paths of at least one photo.

    Raises:
        DatasetError: no paths.
        ImageError: a photo that cannot be read. Of large ones only the header is looked at here.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (8, 6)).save(Path(folder) / "tom.png")
        ...     NamedPhotos([Path(folder) / "tom.png"]).read(0).size
        (8, 6)
    """

    def __init__(self, paths: Sequence[str | os.PathLike[str]]) -> None:
        if not paths:
            raise DatasetError("no photos", allowed="at least one")
        for path in paths:
            check_picture(Path(path), name=printable(os.fspath(path)))
        self._paths = NameList(os.fspath(path) for path in paths)

    def __len__(self) -> int:
        return len(self._paths)

    def key(self, index: int) -> str:
        """The path, as it was typed."""
        return self._paths[index]

    def location(self, index: int) -> str:
        """The path, as it was typed."""
        return self._paths[index]

    def name(self, index: int) -> str:
        """The path, printable."""
        return printable(self._paths[index])

    def read(self, index: int) -> Picture:
        """Read the photo.

        Raises:
            DatasetError: it cannot be read: the set is not what was asked for.
        """
        try:
            return read_picture(Path(self._paths[index]), name=self.name(index))
        except ImageError as problem:
            raise DatasetError(
                problem.problem, allowed=problem.allowed, remedy=problem.remedy
            ) from problem

    def label(self, index: int) -> int | None:
        """None: a path names no label."""
        return None


def open_named_photos(data: Any) -> PhotoSource:
    """Open whatever :func:`~ttame.datasets.open_photos.open_photos` takes, or photos by path.

    Args:
        data: a photo's path; a list of places, in which paths of photos come before the others;
            or any other data.

    Raises:
        ImageError: a photo that was named cannot be read.
        DatasetError: see ``open_photos``.
    """
    places = [data] if isinstance(data, str | os.PathLike) else data
    of_paths = isinstance(places, list | tuple) and all(
        isinstance(place, str | os.PathLike) for place in places
    )
    if not of_paths or not places:
        return open_photos(data)
    named = [place for place in places if _names_a_photo(place)]
    sources: list[PhotoSource] = [NamedPhotos(named)] if named else []
    sources += [open_photos(place) for place in places if not _names_a_photo(place)]
    return sources[0] if len(sources) == 1 else JoinedPhotos(sources)


def _names_a_photo(place: str | os.PathLike[str]) -> bool:
    path = Path(place)
    return path.suffix.lower() in PICTURE_SUFFIXES and not path.is_dir()
