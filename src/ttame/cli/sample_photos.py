"""Photos for commands that were given none."""

from __future__ import annotations

from pathlib import Path

_SAMPLE_PHOTOS = ("chelsea.png", "coffee.png", "rocket.jpg", "astronaut.png")
"""Real photos among scikit-image's data."""


def sample_photos() -> list[Path]:
    """Photos of scikit-image, found without importing it.

    Raises:
        MissingExtraError: it is not installed.
    """
    from importlib.util import find_spec

    from ttame.errors import MissingExtraError

    spec = find_spec("skimage")
    if spec is None or spec.origin is None:
        raise MissingExtraError.of("scikit-image", "bundled", "sample photos")
    folder = Path(spec.origin).parent / "data"
    return [folder / name for name in _SAMPLE_PHOTOS if (folder / name).is_file()]
