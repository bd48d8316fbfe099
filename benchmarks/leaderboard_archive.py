"""The rows of a leaderboard, photo by photo, in benchmarks/leaderboard_rows/NAME.tar.xz

    python -m benchmarks.leaderboard_archive keep runs/leaderboard/lite0
    python -m benchmarks.leaderboard_archive restore lite0

``keep`` packs what ``ttame evaluate --resume`` needs of a folder, but not the small maps, which are
pictures of photos that may not be passed on. ``restore`` unpacks it to runs/leaderboard/NAME, where
``ttame evaluate --resume --methods NEW`` measures a new method and none of the old ones.
"""

from __future__ import annotations

import argparse
import io
import lzma
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

from ttame.files.atomic_writing import whole_file

HERE = Path(__file__).parent
KEPT = HERE / "leaderboard_rows"
RUNS = HERE.parent / "runs" / "leaderboard"
FILES = ("evaluation.json", "methods.json", "sanity.json")
LARGEST = 200 << 20
"""Bytes of what is unpacked; a leaderboard has a few megabytes."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["keep", "restore"])
    parser.add_argument("which", help="a folder to keep, or a name to restore")
    options = parser.parse_args()
    if options.what == "keep":
        kept = keep(Path(options.which))
        print(f"{kept}: {kept.stat().st_size / 1000:.0f} kB")
    else:
        print(restore(options.which))


def keep(folder: Path, target: Path | None = None) -> Path:
    """Pack the rows of an evaluation; equal rows make equal files.

    Args:
        folder: the ``--out`` of ``ttame evaluate``.
        target: the archive; by default one of the folder's name in the repository.

    Raises:
        SystemExit: the folder holds no evaluation.
    """
    if not (folder / FILES[0]).exists():
        raise SystemExit(f"{folder} holds no evaluation")
    target = target or KEPT / f"{folder.resolve().name}.tar.xz"
    target.parent.mkdir(parents=True, exist_ok=True)
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in _files(folder):
            content = path.read_bytes()
            # Nothing of the machine: neither times nor owners.
            member = tarfile.TarInfo(path.relative_to(folder).as_posix())
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    with whole_file(target) as temporary:
        temporary.write_bytes(lzma.compress(packed.getvalue(), preset=9))
    return target


def restore(name: str, kept: Path | None = None, runs: Path | None = None) -> Path:
    """Unpack the rows of a leaderboard to where an evaluation goes on.

    Args:
        name: of the leaderboard.
        kept: the folder of archives.
        runs: the folder that gets a folder of that name.

    Raises:
        SystemExit: there is no such archive, it is too large, or the folder exists.
    """
    source, folder = (kept or KEPT) / f"{name}.tar.xz", (runs or RUNS) / name
    if not source.exists():
        raise SystemExit(f"{source} does not exist")
    if folder.exists():
        raise SystemExit(f"{folder} exists: remove it, or go on there")
    with lzma.open(source) as packed:
        content = packed.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise SystemExit(f"{source} unpacks to more than {LARGEST} bytes")
    # Whole or not at all, so that a killed call leaves nothing that looks like an evaluation.
    unfinished = folder.with_name(f".{name}.{os.getpid()}")
    unfinished.mkdir(parents=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(unfinished, filter="data")
        unfinished.rename(folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return folder


def _files(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in FILES if (folder / name).exists())
    yield from sorted((folder / "rows").rglob("*.parquet"))


if __name__ == "__main__":
    main()
