"""``evaluate``, ``explain`` and ``--overwrite`` killed at random moments, and what is left of them.

python -m benchmarks.reliability --only "evaluate, killed" --only "explain, killed"
"""

from __future__ import annotations

import dataclasses
import hashlib
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from benchmarks.reliability.attempts import Attempted, Tell, nobody
from benchmarks.reliability.forked_commands import Command, last_line, start_server

TRIES = 100
_KILLS_PER_RESULT = 4
_NETWORK = [
    "--model", "timm/test_resnet",
    "--image-size", "32",
    "--network-option", "num_classes=5",
    "--device", "cpu",
]  # fmt: skip


@dataclasses.dataclass
class Tally:
    """How often one attack was tried, and what harm it did.

    Attributes:
        name: of the attack.
        tries: kills so far; a command that had ended already was not killed.
        harms: one line for each attempt that did harm.
    """

    name: str
    tries: int = 0
    harms: list[str] = dataclasses.field(default_factory=list)

    def attempted(self) -> Attempted:
        """The row of the table."""
        return Attempted(self.name, self.tries, len(self.harms), next(iter(self.harms), ""))


class Place:
    """A folder with photos and results, in which commands run and are killed.

    Args:
        folder: an empty one.
        seed: of the photos and of the moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        _write_photos(folder / "photos", seed)
        start_server(folder)

    def run(self, words: list[str]) -> float:
        """Run a command to its end; return how many seconds it took.

        Raises:
            RuntimeError: it failed.
        """
        start = time.monotonic()
        command = self._command(words)
        if command.wait() != [0]:
            raise RuntimeError(f"ttame {words[0]} failed: {last_line(command.output)}")
        return time.monotonic() - start

    def kill(self, words: list[str], seconds: float) -> bool:
        """Run a command and kill it after some time; say whether it still ran then."""
        return self._command(words).kill_after(seconds) == [-signal.SIGKILL]

    def moment(self, duration: float) -> float:
        """When to kill: any time, and as often near the end, where results get their names."""
        if self.random.random() < 0.5:
            return self.random.uniform(0, duration)
        return max(0.0, self.random.gauss(duration, duration / 20))

    def _command(self, words: list[str]) -> Command:
        words = [*words, *_NETWORK, "--weights", "none"]  # which are the same every time
        return Command(words, self.folder / "output.txt", folder=self.folder)


def attempts(
    attack: str = "", tries: int = TRIES, seed: int = 0, tell: Tell = nobody
) -> list[Attempted]:
    """Kill each command ``tries`` times, or one; say what was lost, half written or left over."""
    found = []
    for number, name in enumerate(ATTACKS):
        if attack in ("", name):
            with tempfile.TemporaryDirectory() as folder:
                place = Place(Path(folder), seed + number)
                found.append(ATTACKS[name](place, tries, tell).attempted())
    return found


def kill_evaluations(place: Place, tries: int, tell: Tell = nobody) -> Tally:
    """A killed evaluation that is resumed ends with the rows of one that was never killed."""
    tally = Tally("evaluate, killed and resumed")
    words = ["evaluate", "--data", "photos", "--methods", "grad_cam,random"]
    words += ["--metrics", "average_drop", "--batch-size", "2", "--resume", "--out"]
    duration = place.run([*words, "whole"])
    expected = _rows(place.folder / "whole")
    while tally.tries < tries:
        out = f"{len(list(place.folder.iterdir()))}"
        for _ in range(min(_KILLS_PER_RESULT, tries - tally.tries)):
            tally.tries += place.kill([*words, out], place.moment(duration))
            tell(tally.tries)
            tally.harms += _half_written_rows(place.folder / out)
        tally.harms += _failure(lambda out=out: place.run([*words, out]))  # type: ignore[misc]
        if _rows(place.folder / out) != expected:
            tally.harms.append(f"after {tally.tries} kills: other rows than without a kill")
        tally.harms += [f"left over: {name}" for name in _temporary(place.folder)]
    return tally


def kill_explanations(place: Place, tries: int, tell: Tell = nobody) -> Tally:
    """A killed ``explain`` leaves nothing under its name, and the next run nothing of it."""
    words = ["explain", "photos", "--methods", "grad_cam", "--overwrite", "--out"]
    return _killed_until_whole(place, tries, "explain, killed and run again", words, tell)


def kill_resumed_explanations(place: Place, tries: int, tell: Tell = nobody) -> Tally:
    """A killed ``explain`` that is resumed ends with the files of one that was never killed."""
    words = ["explain", "photos", "--methods", "grad_cam,random", "--batch-size", "1"]
    words += ["--resume", "--out"]
    return _killed_until_whole(place, tries, "explain, killed and resumed", words, tell)


def kill_shards(place: Place, tries: int, tell: Tell = nobody) -> Tally:
    """The same of shards, of which several batches make one."""
    words = ["explain", "photos", "--methods", "grad_cam,random", "--batch-size", "1"]
    words += ["--format", "shards", "--shard-size", "2", "--workers", "0", "--resume", "--out"]
    return _killed_until_whole(place, tries, "explain to shards, killed and resumed", words, tell)


def _killed_until_whole(place: Place, tries: int, name: str, words: list[str], tell: Tell) -> Tally:
    """Kill an ``explain`` again and again, then let it end: as if nothing had happened."""
    tally = Tally(name)
    duration = place.run([*words, "whole"])
    expected = content_of(place.folder / "whole")
    while tally.tries < tries:
        out = place.folder / f"{len(list(place.folder.iterdir()))}"
        for _ in range(min(_KILLS_PER_RESULT, tries - tally.tries)):
            tally.tries += place.kill([*words, out.name], place.moment(duration))
            tell(tally.tries)
            if out.exists() and content_of(out) != expected:
                tally.harms.append(f"kill {tally.tries}: a half-written folder under its name")
        tally.harms += _failure(lambda out=out: place.run([*words, out.name]))  # type: ignore[misc]
        if content_of(out) != expected:
            tally.harms.append(f"after {tally.tries} kills: other files than without a kill")
        tally.harms += [f"left over: {path}" for path in _temporary(place.folder)]
    return tally


def kill_replacements(place: Place, tries: int, tell: Tell = nobody) -> Tally:
    """Under the name of a result that is being replaced, there is always the old one or the new."""
    tally = Tally("explain --overwrite, killed")
    words = ["explain", "photos", "--methods", "grad_cam", "--overwrite", "--out"]
    results = []
    for classes in ("top1", "top2"):
        duration = place.run([*words, classes, "--classes", classes])
        results.append(content_of(place.folder / classes))
    place.run([*words, "out", "--classes", "top1"])
    while tally.tries < tries:
        classes = ("top2", "top1")[tally.tries % 2]
        tally.tries += place.kill([*words, "out", "--classes", classes], place.moment(duration))
        tell(tally.tries)
        if content_of(place.folder / "out") not in results:
            tally.harms.append(f"kill {tally.tries}: neither the old result nor the new one")
    tally.harms += _failure(lambda: place.run([*words, "out", "--classes", "top2"]))
    if content_of(place.folder / "out") != results[1]:
        tally.harms.append("after the last kill: another result than without a kill")
    tally.harms += [f"left over: {name}" for name in _temporary(place.folder)]
    return tally


ATTACKS: dict[str, Callable[[Place, int, Tell], Tally]] = {
    "evaluate": kill_evaluations,
    "explain": kill_explanations,
    "explain --resume": kill_resumed_explanations,
    "explain --overwrite": kill_replacements,
    "explain --format shards": kill_shards,
}


def content_of(folder: Path) -> dict[str, str]:
    """Path of each file below a folder to a digest of its bytes; empty if there is no folder."""
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def _rows(folder: Path) -> list[dict[str, object]]:
    import pyarrow.parquet

    path = folder / "rows.parquet"
    if not path.exists():
        return []
    rows: list[dict[str, object]] = pyarrow.parquet.read_table(path).to_pylist()
    return sorted(rows, key=lambda row: (row["method"], row["metric"], row["image"]))


def _half_written_rows(folder: Path) -> list[str]:
    """Files under their final names that cannot be read."""
    import pyarrow
    import pyarrow.parquet

    broken = []
    for path in folder.rglob("[!.]*.parquet"):
        try:
            pyarrow.parquet.read_table(path)
        except (OSError, pyarrow.ArrowException) as problem:
            broken.append(f"{path.name} is half written ({problem})")
    return broken


def _temporary(folder: Path) -> Iterator[str]:
    return (path.name for path in folder.rglob(".*") if path.suffix in (".part", ".old"))


def _failure(run: Callable[[], object]) -> list[str]:
    try:
        run()
    except RuntimeError as problem:
        return [str(problem)]
    return []


def _write_photos(folder: Path, seed: int) -> None:
    from PIL import Image

    folder.mkdir()
    generator = np.random.default_rng(seed)
    for index in range(6):
        pixels = generator.integers(0, 255, (40, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{index}.png")
