"""Several sets of photos as one."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Sequence

from ttame.datasets.photo_source import PhotoSource
from ttame.images.band_photo import Picture


class JoinedPhotos(PhotoSource):
    """Several sources, one after the other.

    A source may be named twice, so that its photos come twice as often.

    Example:
        >>> from ttame.datasets.wrapped_dataset import WrappedDataset
        >>> from PIL import Image
        >>> grey = WrappedDataset([Image.new("RGB", (8, 8), (128, 128, 128))])
        >>> white = WrappedDataset([Image.new("RGB", (8, 8), (255, 255, 255))])
        >>> joined = JoinedPhotos([grey, white])
        >>> len(joined), joined.read(1).getpixel((0, 0))
        (2, (255, 255, 255))
    """

    def __init__(self, sources: Sequence[PhotoSource]) -> None:
        self._sources = tuple(sources)
        self._ends = list(itertools.accumulate(len(source) for source in sources))

    def __len__(self) -> int:
        return self._ends[-1]

    def key(self, index: int) -> str:
        """The photo's own key, after the number of its source."""
        number, source, inner = self._find(index)
        return f"{number}:{source.key(inner)}"

    def name(self, index: int) -> str:
        """The photo's own name."""
        _, source, inner = self._find(index)
        return source.name(inner)

    def location(self, index: int) -> str:
        """The photo's own location."""
        _, source, inner = self._find(index)
        return source.location(inner)

    def read(self, index: int) -> Picture:
        """Read the photo; see :meth:`PhotoSource.read`."""
        _, source, inner = self._find(index)
        return source.read(inner)

    def label(self, index: int) -> int | None:
        """The photo's own label; sources may number their classes differently."""
        _, source, inner = self._find(index)
        return source.label(inner)

    @property
    def notes(self) -> tuple[str, ...]:
        """The notes of all sources."""
        return tuple(note for source in self._sources for note in source.notes)

    def _find(self, index: int) -> tuple[int, PhotoSource, int]:
        """The number of the source, the source, and the index in it."""
        number = bisect.bisect_right(self._ends, index)
        start = self._ends[number - 1] if number else 0
        return number, self._sources[number], index - start
