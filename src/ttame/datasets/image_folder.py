"""Photos in a folder, flat or nested."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ttame.datasets.name_list import NameList
from ttame.datasets.photo_source import PhotoSource
from ttame.errors import DatasetError
from ttame.files.printable_names import printable
from ttame.images.band_photo import Picture
from ttame.images.photos import PHOTO_SUFFIXES
from ttame.images.picture_files import ARRAY_SUFFIXES, PICTURE_SUFFIXES, read_picture


class ImageFolder(PhotoSource):
    """All photos below a folder, sorted by their path in it.

    File name endings are compared without case. Hidden files and folders (``.thumbnails``, the
    ``._photo.jpg`` of macOS) are left out; links are followed, but for those to a folder above
    themselves, which are named in ``notes``. Arrays (``.npy``) are taken for
    pictures of bands if there are no photos; next to photos they are something else. Subfolders
    are not taken for classes, because their names say nothing about the classifier's class
    numbers.

    Args:
        folder: where to search.

    Raises:
        DatasetError: ``folder`` is not a folder, cannot be listed, or holds no photos.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "cats").mkdir()
        ...     Image.new("RGB", (8, 8)).save(Path(folder) / "cats" / "tom.png")
        ...     photos = ImageFolder(folder)
        ...     len(photos), photos.key(0), photos.read(0).size
        (1, 'cats/tom.png', (8, 8))
    """

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise DatasetError(f"{self.folder} is not a folder", allowed="a folder of photos")
        self._loops: list[str] = []
        try:
            names = sorted(_photos_below(self.folder, loops=self._loops))
            self._names = NameList(names or sorted(_photos_below(self.folder, ARRAY_SUFFIXES)))
        except OSError as problem:
            raise DatasetError(
                f"cannot list {problem.filename} ({problem.strerror})",
                remedy="a folder that you may read",
            ) from problem
        if not len(self._names):
            raise DatasetError(
                f"folder {self.folder} holds no photos",
                allowed="files that end in " + ", ".join(sorted(PICTURE_SUFFIXES)),
            )

    def __len__(self) -> int:
        return len(self._names)

    @property
    def notes(self) -> tuple[str, ...]:
        """The links that were not followed."""
        return tuple(
            f"{printable(link)} links to a folder above it, and is skipped" for link in self._loops
        )

    def key(self, index: int) -> str:
        """The path within the folder, with forward slashes."""
        return self._names[index]

    def path(self, index: int) -> Path:
        """Where the file is."""
        return self.folder / self._names[index]

    def name(self, index: int) -> str:
        """The path of the file."""
        return printable(self.location(index))

    def location(self, index: int) -> str:
        """The path of the file, byte by byte."""
        return str(self.path(index))

    def read(self, index: int) -> Picture:
        """See :meth:`PhotoSource.read`."""
        return read_picture(self.path(index), name=self.name(index))

    def label(self, index: int) -> int | None:
        """None: a folder names no labels."""
        return None


def holds_photos(folder: Path) -> bool:
    """Say whether a photo lies anywhere below ``folder``, without listing all of it.

    Raises:
        OSError: a folder cannot be listed.
    """
    return next(_photos_below(folder), None) is not None


def _photos_below(
    folder: Path,
    suffixes: frozenset[str] = PHOTO_SUFFIXES,
    prefix: str = "",
    ancestors: tuple[str, ...] = (),
    loops: list[str] | None = None,
) -> Iterator[str]:
    """Yield the paths of photos relative to the first ``folder``, in no order.

    Links to a folder above themselves would go round for ever; they are added to ``loops``.
    """
    real = os.path.realpath(folder)
    if real in ancestors:
        if loops is not None:
            loops.append(str(folder))
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _photos_below(
                    Path(entry.path), suffixes, f"{prefix}{entry.name}/", (*ancestors, real), loops
                )
            elif os.path.splitext(entry.name)[1].lower() in suffixes:
                yield prefix + entry.name
