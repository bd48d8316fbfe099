from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image


def noise(seed: int, size: tuple[int, int] = (24, 20)) -> Image.Image:
    """A photo no two seeds and no two crops of which look the same; ``size`` is (width, height)."""
    width, height = size
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def photo_bytes(seed: int, size: tuple[int, int] = (24, 20)) -> bytes:
    """A PNG file of :func:`noise`."""
    content = io.BytesIO()
    noise(seed, size).save(content, "PNG")
    return content.getvalue()


def save_photo(path: Path, seed: int = 0, size: tuple[int, int] = (24, 20)) -> Path:
    """Write a PNG file, whatever the ending of ``path``, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(photo_bytes(seed, size))
    return path


def make_shard(path: Path, members: dict[str, bytes]) -> Path:
    """Write a tar file of ``members``."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path
