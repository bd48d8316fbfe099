"""Pictures of many bands, as arrays and as TIFF files, and what is done with one."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from ttame.images.band_photo import BandPhoto
from ttame.images.picture_files import read_picture
from ttame.images.preprocessing import Preprocessing

_BANDS, _HEIGHT, _WIDTH = 5, 9, 8


def _values(kind: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
    values = np.random.default_rng(0).integers(0, 100, (_BANDS, _HEIGHT, _WIDTH))
    return values.astype(kind)


def arrays() -> tuple[bytes, ...]:
    """Bands first and last, of integers and floats; one band; Fortran's order."""
    field = _values("<f4")
    field[0, 0, 0] = np.nan
    files = []
    for array in (
        _values("|u1"),
        _values("<u2").transpose(1, 2, 0),
        field,
        _values(">f8")[0],
        np.asfortranarray(_values("<i4")),
    ):
        content = io.BytesIO()
        np.save(content, array)
        files.append(content.getvalue())
    return tuple(files)


def tiffs() -> tuple[bytes, ...]:
    """Samples next to each other and in planes, compressed or not; pages; big TIFF; two bands."""
    files = [
        _by_tifffile(_values("u2").transpose(1, 2, 0), planarconfig="contig"),
        _by_tifffile(_values("u1"), planarconfig="separate", compression="zlib"),
        _by_tifffile(_values("f4")[:2].transpose(1, 2, 0), planarconfig="contig", bigtiff=True),
        _pages(),
    ]
    return tuple(files)


def _by_tifffile(
    array: np.ndarray[tuple[int, ...], np.dtype[np.generic]],
    *,
    bigtiff: bool = False,
    planarconfig: str,
    compression: str | None = None,
) -> bytes:
    content = io.BytesIO()
    with tifffile.TiffWriter(content, bigtiff=bigtiff) as file:
        file.write(
            array,
            photometric="minisblack",
            planarconfig=planarconfig,
            compression=compression,
            metadata=None,
        )
    return content.getvalue()


def _pages() -> bytes:
    first, *others = (Image.fromarray(band) for band in _values("u1"))
    content = io.BytesIO()
    first.save(content, "TIFF", save_all=True, append_images=others)
    return content.getvalue()


def read_bands(path: Path) -> None:
    """Read it, draw it, and prepare it for a network with as many channels."""
    picture = read_picture(path)
    if not isinstance(picture, BandPhoto):
        return
    assert picture.drawn().mode == "RGB"
    number = picture.number_of_bands
    preparing = Preprocessing((6, 6), (6, 6), channels=number)
    prepared = preparing.prepare(picture)
    assert prepared.shape[-3:] == (number, 6, 6)
    assert prepared.isfinite().all()
