"""Photos in tar shards of the WebDataset layout.

The shards are read with the standard library, not with the webdataset package: that one streams,
so that the order depends on the number of workers and a resumed run cannot go to the middle of
an epoch; it shares whole shards out, so that processes get unequal parts; and its default
decoders unpickle members. Here an index of member positions, built once, makes every photo
addressable, and only photos and ``.cls`` labels are ever opened.
"""

from __future__ import annotations

import dataclasses
import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from ttame.datasets.name_list import NameList
from ttame.datasets.photo_source import PhotoSource
from ttame.errors import DatasetError, ImageError
from ttame.files.printable_names import printable
from ttame.images.band_photo import Picture
from ttame.images.photos import PHOTO_SUFFIXES, read_photo

IMAGE_EXTENSIONS = (*sorted(suffix[1:] for suffix in PHOTO_SUFFIXES - {".png"}), "ppm", "png")
"""Member extensions taken for photos. Of several in a sample the first in this order is the
photo; PNG comes last because a PNG next to a JPEG is usually its mask."""

LABEL_EXTENSION = "cls"
_LONGEST_LABEL = 32  # bytes
_MOST_DIGITS = 18  # what fits into an int64
_LARGEST_PHOTO = 2**30  # bytes
_COMPRESSED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")  # gzip, bzip2, xz, zstd
_NO_LABEL = -1


@dataclasses.dataclass(frozen=True)
class _Sample:
    """One photo of a shard: its member name, and (offset, size) in bytes in the shard."""

    name: str
    photo: tuple[int, int]
    label: tuple[int, int]


class TarShards(PhotoSource):
    """The photos of local tar shards, in the order of the shards and of their members.

    A sample is a run of members with the same key, the path up to the first dot of its last
    part: ``cats/001.jpg`` and ``cats/001.cls``. Samples without a photo are left out. The class
    label, if any, is a decimal number in ``.cls``.

    Building the index reads the members' headers (50,000 photos in about three seconds). A photo
    is read by its position. The shard is opened for every photo, which takes some 10 µs and
    leaves no file handle to share with forked workers, to pickle or to close.

    Args:
        shards: the paths of uncompressed tar files.

    Raises:
        DatasetError: a shard does not exist, is compressed, truncated or no tar file, or there
            is no photo in any of them.

    Example:
        >>> from PIL import Image
        >>> import io, tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     shard = Path(folder) / "train-0000.tar"
        ...     Image.new("RGB", (8, 8)).save(Path(folder) / "001.png")
        ...     with tarfile.open(shard, "w") as tar:
        ...         tar.add(Path(folder) / "001.png", "001.png")
        ...     photos = TarShards([shard])
        ...     photos.key(0), photos.read(0).size, photos.label(0)
        ('train-0000.tar/001.png', (8, 8), None)
    """

    def __init__(self, shards: Iterable[str | os.PathLike[str]]) -> None:
        self.shards = tuple(Path(shard) for shard in shards)
        names: list[str] = []
        places: list[tuple[int, ...]] = []
        for number, shard in enumerate(self.shards):
            for sample in _samples(shard):
                names.append(sample.name)
                places.append((number, *sample.photo, *sample.label))
        if not names:
            shown = ", ".join(map(str, self.shards[:3])) + (" …" if len(self.shards) > 3 else "")
            raise DatasetError(
                f"no photos in the shards {shown}" if shown else "no shards",
                allowed="members that end in ." + ", .".join(sorted(IMAGE_EXTENSIONS)),
            )
        self._names = NameList(names)
        # (N, 5) int64: shard, offset and size of the photo, offset and size of the label
        self._places = np.array(places, dtype=np.int64)

    def __len__(self) -> int:
        return len(self._names)

    def key(self, index: int) -> str:
        """Shard file and member, ``train-0000.tar/cats/001.jpg``."""
        return f"{self._shard(index).name}/{self._names[index]}"

    def name(self, index: int) -> str:
        """Path of the shard and member."""
        return printable(f"{self._shard(index)}/{self._names[index]}")

    def read(self, index: int) -> Picture:
        """See :meth:`PhotoSource.read`."""
        offset, size = self._places[index, 1:3].tolist()
        return read_photo(
            self._content(index, offset, size), name=self.name(index), keep_opacity=True
        )

    def label(self, index: int) -> int | None:
        """The number in the sample's ``.cls`` member, if there is one."""
        offset, size = self._places[index, 3:5].tolist()
        if offset == _NO_LABEL:
            return None
        content = self._content(index, offset, min(size, _LONGEST_LABEL))
        text = content.strip()
        if size > _LONGEST_LABEL or not text.isdigit() or len(text) > _MOST_DIGITS:
            raise DatasetError(
                f"the label of {self.name(index)} is {content!r}", allowed="a class number"
            )
        return int(text)

    def _shard(self, index: int) -> Path:
        return self.shards[int(self._places[index, 0])]

    def _content(self, index: int, offset: int, size: int) -> bytes:
        """``size`` bytes of the shard of sample ``index``."""
        if size > _LARGEST_PHOTO:
            raise ImageError(
                f"{self.name(index)} has {size} bytes", allowed=f"at most {_LARGEST_PHOTO}"
            )
        try:
            with self._shard(index).open("rb", buffering=0) as file:
                file.seek(offset)
                content = file.read(size)
        except OSError as problem:
            raise ImageError(f"{self.name(index)} cannot be read ({problem.strerror})") from problem
        if len(content) != size:
            raise ImageError(f"{self.name(index)} cannot be read (the shard has become shorter)")
        return content


def _samples(shard: Path) -> Iterator[_Sample]:
    """Yield the samples of ``shard`` that hold a photo."""
    current = ""
    members: dict[str, tarfile.TarInfo] = {}  # by extension
    for member in _members(shard):
        folder, slash, file_name = member.name.rpartition("/")
        stem, _, extension = file_name.partition(".")
        key = folder + slash + stem
        if key != current:
            yield from _sample(members)
            current, members = key, {}
        # A file name such as 001.seg.png has the extension seg.png, which is no photo's.
        members[extension.lower()] = member
    yield from _sample(members)


def _sample(members: dict[str, tarfile.TarInfo]) -> Iterator[_Sample]:
    """Yield the sample that ``members`` form, if a photo is among them."""
    photo = next((members[end] for end in IMAGE_EXTENSIONS if end in members), None)
    if photo is None:
        return
    label = members.get(LABEL_EXTENSION)
    yield _Sample(
        photo.name,
        (photo.offset_data, photo.size),
        (label.offset_data, label.size) if label else (_NO_LABEL, 0),
    )


def _members(shard: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the plain files of ``shard``, then check that the archive has its end.

    Raises:
        DatasetError: it is not a complete, uncompressed tar file.
    """
    try:
        with shard.open("rb") as file, tarfile.open(fileobj=file, mode="r:") as tar:
            before = -1
            while (member := tar.next()) is not None:
                if tar.offset <= before:
                    raise _broken_shard(shard, f"a member of negative size at byte {before}")
                before = tar.offset
                # Otherwise tarfile keeps every header.
                tar.members.clear()  # type: ignore[attr-defined]
                if member.isreg() and not member.issparse():
                    yield member
            # tarfile takes a damaged or cut-off header behind the first member for the end.
            file.seek(tar.offset)
            end = file.read(tarfile.BLOCKSIZE)
    except OSError as problem:
        raise DatasetError(f"cannot read shard {shard} ({problem.strerror})") from problem
    # A header may announce any size, nest in others without end, or hold numbers that are none.
    except (tarfile.TarError, ValueError, OverflowError, MemoryError, RecursionError) as problem:
        raise _broken_shard(shard, str(problem) or type(problem).__name__) from problem
    if len(end) < tarfile.BLOCKSIZE:
        raise _broken_shard(shard, "unexpected end of data")
    if end.strip(b"\0"):
        raise _broken_shard(shard, f"damaged header at byte {tar.offset}")


def _broken_shard(shard: Path, reason: str) -> DatasetError:
    """Say why ``shard`` cannot be used, when tarfile has stumbled over it."""
    with shard.open("rb") as file:
        compressed = file.read(6).startswith(_COMPRESSED)
    if compressed:
        return DatasetError(
            f"shard {shard} is compressed, so that photos in it cannot be read by position",
            remedy="unpacking it to a plain .tar (gunzip, bunzip2, unxz or unzstd)",
        )
    return DatasetError(
        f"shard {shard} is not a complete tar file ({reason})",
        remedy="making or copying it again, and listing it with `tar tf`",
    )
