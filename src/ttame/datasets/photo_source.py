"""What every set of photos can do, wherever it lies."""

from __future__ import annotations

import abc
import hashlib

from ttame.images.band_photo import Picture


class PhotoSource(abc.ABC):
    """A numbered set of photos that does not change while it is read.

    The order is the same on every machine and in every run, so that an index means the same
    photo in all processes and after a resume. A source can be pickled, and read from forked
    processes at the same time.

    Example:
        >>> from PIL import Image
        >>> class GreySquares(PhotoSource):
        ...     def __len__(self): return 3
        ...     def key(self, index): return f"grey {index}"
        ...     def name(self, index): return self.key(index)
        ...     def read(self, index): return Image.new("RGB", (8, 8), (index, index, index))
        ...     def label(self, index): return None
        >>> GreySquares().read(2).getpixel((0, 0))
        (2, 2, 2)
    """

    @abc.abstractmethod
    def __len__(self) -> int:
        """How many photos there are, readable or not."""

    @abc.abstractmethod
    def key(self, index: int) -> str:
        """What tells photo ``index`` from the others, whatever folder the set lies in.

        Example: ``cats/tom.jpg`` or ``train-0003.tar/000017.jpg``.
        """

    @abc.abstractmethod
    def name(self, index: int) -> str:
        """How messages call photo ``index``: its path, or shard and member; printable."""

    def location(self, index: int) -> str:
        """Where photo ``index`` is, as it would be typed: :meth:`name`, were it not for odd bytes.

        What is written for programs has it, so that they find the photo.
        """
        return self.name(index)

    @abc.abstractmethod
    def read(self, index: int) -> Picture:
        """Read photo ``index``.

        Returns:
            An upright image of 8 bits per channel, RGB, or RGBA where pixels are transparent; or
            a picture of bands. See :func:`ttame.images.picture_files.read_picture`.

        Raises:
            ImageError: the photo is unreadable; others may be fine.
            DatasetError: the set as a whole cannot be used.
        """

    @abc.abstractmethod
    def label(self, index: int) -> int | None:
        """The class that the data names for photo ``index``, or None if it names none.

        Training does not look at it: the network's own prediction is the target.

        Raises:
            DatasetError: a label is there but is not a number.
        """

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know of the set before work begins, such as what was left out."""
        return ()

    def fingerprint(self) -> str:
        """A short hash over the keys, in order.

        Two sources of the same photos in the same order agree, even in different folders. The
        pixels are not read.

        Returns:
            16 hexadecimal digits.
        """
        digest = hashlib.blake2b(digest_size=8)
        for index in range(len(self)):
            # The NUL keeps ["ab", "c"] and ["a", "bc"] apart.
            digest.update(self.key(index).encode("utf-8", "surrogateescape") + b"\0")
        return digest.hexdigest()
