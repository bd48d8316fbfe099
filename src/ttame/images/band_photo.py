"""A picture of any number of bands, such as a satellite's, and how it is drawn."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from PIL import Image

from ttame.errors import ImageError

_LEAST_SHARE, _MOST_SHARE = 2, 98
"""Percentiles of the drawn values that become black and white."""


@dataclasses.dataclass(frozen=True, eq=False)
class BandPhoto:
    """A picture of N bands, as a file of numbers holds it.

    Attributes:
        bands: (N, H, W) integers or floats.

    Example:
        >>> photo = BandPhoto(np.zeros((13, 6, 8), dtype=np.uint16))
        >>> photo.size, photo.crop((0, 0, 4, 4)).size, photo.full_scale
        ((8, 6), (4, 4), 65535.0)
    """

    bands: np.ndarray[Any, Any]

    @property
    def number_of_bands(self) -> int:
        """N."""
        return len(self.bands)

    @property
    def width(self) -> int:
        """In pixels."""
        return int(self.bands.shape[2])

    @property
    def height(self) -> int:
        """In pixels."""
        return int(self.bands.shape[1])

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels, as PIL gives it."""
        return self.width, self.height

    @property
    def full_scale(self) -> float:
        """The largest number of the array's integer type; 1 for floats."""
        kind = self.bands.dtype
        return 1.0 if np.issubdtype(kind, np.floating) else float(np.iinfo(kind).max)

    def crop(self, box: tuple[int, int, int, int]) -> BandPhoto:
        """The part in (left, top, right, bottom), within the picture."""
        left, top, right, bottom = box
        return BandPhoto(self.bands[:, top:bottom, left:right])

    def planes(self, scale: float | None = None) -> list[Image.Image]:
        """One picture of mode F for each band.

        Args:
            scale: what the numbers are divided by; :attr:`full_scale` if not given. NaN and
                infinity, which mean "no data", become 0, as does what float32 cannot hold.
        """
        return [Image.fromarray(_scaled(band, scale or self.full_scale)) for band in self.bands]

    def drawn(self, display_bands: tuple[int, ...] | None = None) -> Image.Image:
        """An RGB picture to look at.

        Args:
            display_bands: numbers of the bands, from 0, that are drawn as red, green and blue, or
                of the one that is drawn as grey; the mean of all bands as grey if not given. From
                the 2nd to the 98th percentile of what is drawn, values become black to white.

        Raises:
            ImageError: a band that is not there.

        Example:
            >>> bands = np.arange(12.0).reshape(3, 2, 2)
            >>> BandPhoto(bands).drawn().getpixel((1, 1))
            (255, 255, 255)
            >>> BandPhoto(bands).drawn((2, 1, 0)).getpixel((1, 1))
            (255, 164, 67)
        """
        if display_bands is None:
            bands = [_scaled(band, 1.0) for band in self.bands]
            shown = np.mean(np.stack(bands), axis=0, dtype=np.float64, keepdims=True)
        else:
            if max(display_bands) >= self.number_of_bands:
                raise ImageError(
                    f"display bands {display_bands} of a picture of {self.number_of_bands} bands",
                    allowed=f"0 to {self.number_of_bands - 1}",
                )
            bands = [_scaled(self.bands[number], 1.0) for number in display_bands]
            shown = np.stack(bands).astype(np.float64)  # differences of the largest float32 fit
        low, high = np.percentile(shown, (_LEAST_SHARE, _MOST_SHARE))
        shares = ((shown - low) / (high - low if high > low else 1.0)).clip(0, 1)
        levels = np.round(255 * shares).astype(np.uint8)
        return Image.fromarray(
            np.ascontiguousarray(np.broadcast_to(levels, (3, *levels.shape[1:])).transpose(1, 2, 0))
        )


Picture = Image.Image | BandPhoto
"""What a file of pixels is read as."""


def _scaled(band: np.ndarray[Any, Any], scale: float) -> np.ndarray[Any, Any]:
    with np.errstate(over="ignore", invalid="ignore"):
        values: np.ndarray[Any, Any] = (band / scale).astype(np.float32)
    finite: np.ndarray[Any, Any] = np.where(np.isfinite(values), values, np.float32(0))
    return finite
