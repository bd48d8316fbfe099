"""What ``ttame explain`` takes for photos of extreme size and shape.

::

    python -m benchmarks.reliability.extreme_photos            # all, some minutes
    python -m benchmarks.reliability.extreme_photos png webp   # those whose kind holds a word

Each photo is explained in a process of its own; what a small photo takes there is the base. Passed
is what takes at most 1.5 GB above the base and 15 seconds altogether, and also what is refused in
one line, which the table then shows.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from benchmarks.reliability.attempts import Attempted, Tell, nobody
from benchmarks.reliability.forked_command import alone, run_command

MOST_SECONDS = 15.0
MOST_MEGABYTES = 1500.0
_SIDES = (13340, 13340)
"""178 megapixels, the most that is read."""


@dataclasses.dataclass(frozen=True)
class ExtremePhoto:
    """A kind of photo, and how its file is written.

    Attributes:
        kind: for the table.
        ending: of the file name.
        write: writes it to a path.
    """

    kind: str
    ending: str
    write: Callable[[Path], None]


@dataclasses.dataclass(frozen=True)
class Taken:
    """What explaining one photo took.

    Attributes:
        kind: of photo.
        seconds: from the end of the imports on.
        processor_seconds: that the processor worked for it, imports included.
        megabytes: the peak of memory above that of a small photo.
        returned: exit code.
        said: the last line on the error stream.
    """

    kind: str
    seconds: float
    processor_seconds: float
    megabytes: float
    returned: int
    said: str

    @property
    def passed(self) -> bool:
        """Explained or refused within the bounds, and never with a traceback."""
        # The processor's time, because other work on the machine is not a fault of the photo.
        quick = self.processor_seconds <= MOST_SECONDS
        return self.returned in (0, 2) and quick and self.megabytes <= MOST_MEGABYTES


def extreme_photos() -> list[ExtremePhoto]:
    """Every format and mode at the largest size that is read, and extreme shapes."""
    tilted = _rotated()
    one_strip = {278: _SIDES[1]}
    largest = [
        ExtremePhoto("JPEG", "jpg", _saved("RGB", quality=90)),
        ExtremePhoto(
            "JPEG, progressive, rotated",
            "jpg",
            _saved("RGB", quality=90, progressive=True, exif=tilted),
        ),
        ExtremePhoto("JPEG, CMYK", "jpg", _saved("CMYK", quality=90)),
        ExtremePhoto("JPEG, CMYK, progressive", "jpg", _saved("CMYK", progressive=True)),
        *(
            ExtremePhoto(f"PNG, {mode}", "png", _saved(mode, compress_level=1))
            for mode in ("RGB", "RGBA", "I;16", "P", "1", "LA")
        ),
        ExtremePhoto("PNG, RGB, rotated", "png", _saved("RGB", compress_level=1, exif=tilted)),
        *(
            ExtremePhoto(f"TIFF, {mode}", "tif", _saved(mode))
            for mode in ("RGB", "CMYK", "I;16", "F", "RGBA")
        ),
        ExtremePhoto("TIFF, CMYK, LZW", "tif", _saved("CMYK", compression="tiff_lzw")),
        ExtremePhoto(
            "TIFF, RGB, deflate, one strip",
            "tif",
            _saved("RGB", compression="tiff_adobe_deflate", tiffinfo=one_strip),
        ),
        ExtremePhoto("BMP", "bmp", _saved("RGB")),
        ExtremePhoto("GIF", "gif", _saved("P")),
        ExtremePhoto("WebP", "webp", _saved("RGB", quality=60, method=0)),
        ExtremePhoto(
            "WebP, 86 megapixels", "webp", _saved("RGBA", (9300, 9300), quality=60, method=0)
        ),
    ]
    camera = (6200, 4150)
    ordinary = [
        ExtremePhoto("PNG, 26 megapixels", "png", _saved("RGB", camera, compress_level=1)),
        ExtremePhoto("PNG, I;16, 26 megapixels", "png", _saved("I;16", camera, compress_level=1)),
        ExtremePhoto("JPEG, 26 megapixels", "jpg", _saved("RGB", camera, quality=90)),
    ]
    shapes = [(3_000_000, 2), (2, 3_000_000), (60_000, 2), (1_000_000, 178), (178, 1_000_000)]
    shapes += [(300_000, 593), (90_000, 1_977)]
    long_ones = [
        *(
            ExtremePhoto(
                f"PNG, {shape[0]:,} x {shape[1]:,}", "png", _saved("RGB", shape, compress_level=1)
            )
            for shape in shapes
        ),
        ExtremePhoto(
            "PNG, 178 x 1,000,000, rotated",
            "png",
            _saved("RGB", (178, 1_000_000), compress_level=1, exif=tilted),
        ),
        ExtremePhoto("JPEG, 65,500 x 2,700", "jpg", _saved("RGB", (65_500, 2_700))),
    ]
    bomb = ExtremePhoto("PNG, 400 megapixels", "png", _saved("1", (20_000, 20_000)))
    return [*largest, *ordinary, *long_ones, bomb]


def _saved(mode: str, size: tuple[int, int] = _SIDES, **options: Any) -> Callable[[Path], None]:
    """What writes a picture of a mode to a path."""
    return lambda path: _picture(mode, size).save(path, **options)


def measured(words: list[str], folder: Path) -> Iterator[Taken]:
    """Explain the photos whose kind holds one of the words, or all of them."""
    small = folder / "small.png"
    _saved("RGB", (640, 480))(small)
    base = _explain("small", small, 0.0)
    yield base
    for photo in extreme_photos():
        if words and not any(word.lower() in photo.kind.lower() for word in words):
            continue
        path = folder / f"photo.{photo.ending}"
        alone(functools.partial(photo.write, path))
        yield _explain(photo.kind, path, base.megabytes)
        path.unlink()


def attempts(tell: Tell = nobody) -> list[Attempted]:
    """How often an extreme photo broke the bounds."""
    rows: list[Taken] = []
    with tempfile.TemporaryDirectory() as folder:
        for row in measured([], Path(folder)):
            rows.append(row)
            tell(len(rows) - 1)
    rows = rows[1:]
    failed = [row for row in rows if not row.passed]
    example = f"{failed[0].kind}: {failed[0].said}" if failed else ""
    return [Attempted("photos of extreme size and shape", len(rows), len(failed), example)]


def _explain(kind: str, path: Path, base: float) -> Taken:
    command = ["explain", str(path), "--model", "timm/resnet18", "--weights", "none"]
    command += ["--methods", "grad_cam", "--classes", "top3", "--network-option", "num_classes=5"]
    ended = run_command(command)
    said = ended.said[-1].replace(str(path), path.name) if ended.said else ""
    return Taken(
        kind,
        ended.seconds,
        ended.processor_seconds,
        ended.megabytes - base,
        ended.returned,
        said,
    )


def _picture(mode: str, size: tuple[int, int] = _SIDES) -> Image.Image:
    """Something between noise and a smooth picture, as photos are."""
    generator = np.random.default_rng(0)
    tile = generator.integers(0, 40, (512, 512, 3), dtype=np.uint8)
    tile += np.linspace(0, 200, 512).astype(np.uint8)[:, None, None]
    picture = Image.new(mode, size)
    patch = Image.fromarray(tile)
    if mode in ("I;16", "F"):
        values = tile[..., 0].astype(np.uint16 if mode == "I;16" else np.float32)
        patch = Image.fromarray(values * (257 if mode == "I;16" else 1))
    elif mode == "P":
        patch = patch.quantize(256)
    else:
        patch = patch.convert(mode)
    for top in range(0, size[1], 512):
        for left in range(0, size[0], 512):
            picture.paste(patch, (left, top))
    if mode == "P":
        picture.putpalette(patch.getpalette() or [])
    return picture


def _rotated() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    return exif


def main() -> None:
    """Print a line for each photo."""
    print(f"{'photo':36} {'s':>6} {'CPU s':>6} {'MB':>6}")
    with tempfile.TemporaryDirectory() as folder:
        for row in measured(sys.argv[1:], Path(folder)):
            verdict = "ok" if row.passed else "FAILED"
            print(
                f"{row.kind:36} {row.seconds:6.1f} {row.processor_seconds:6.1f} "
                f"{row.megabytes:6.0f} {verdict} {row.said if row.returned else ''}",
                flush=True,
            )


if __name__ == "__main__":
    main()
