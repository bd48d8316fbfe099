"""What the commands say when the machine has too little memory for what was asked.

::

    python -m benchmarks.reliability.memory_shortage            # all, two minutes
    python -m benchmarks.reliability.memory_shortage train      # one command

Each command runs in a process of its own, which may take only so much more memory than it has
after its imports. Passed is what succeeds, and what ends with exit code 2 and one line that names
an option which the command has. That the named options help is seen in the rows with small images,
one at a time: they succeed.
"""

from __future__ import annotations

import dataclasses
import re
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.reliability.attempts import Attempted, Tell, nobody
from benchmarks.reliability.forked_command import Ended, run_command

_PHOTOS = 9
"""One of which a training holds out."""

_OPTIONS_OF = {
    "explain": {"--batch-size", "--memory-budget", "--image-size"},
    "evaluate": {"--batch-size", "--memory-budget", "--image-size"},
    "train": {"--batch-size", "--gradient-accumulation", "--workers", "--image-size"},
}


@dataclasses.dataclass(frozen=True)
class Shortage:
    """A command that had little memory, and how it ended.

    Attributes:
        what: command, image size, batch size and how many megabytes it had.
        command: its name.
        ended: exit code and what it said.
    """

    what: str
    command: str
    ended: Ended

    @property
    def passed(self) -> bool:
        """Succeeded, or said in one line what to lower."""
        if self.ended.returned == 0:
            return True
        lines = [line for line in self.ended.said if line.startswith("ttame: error:")]
        named = set(re.findall(r"--[a-z-]+", " ".join(lines)))
        one_line = len(lines) == 1 and "Traceback" not in " ".join(self.ended.said)
        known = bool(named) and named <= _OPTIONS_OF[self.command]
        return self.ended.returned == 2 and one_line and known


def measured(words: list[str]) -> Iterator[Shortage]:
    """Run the commands that are named, or all of them."""
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder) / "photos"
        photos.mkdir()
        generator = np.random.default_rng(0)
        for number in range(_PHOTOS):
            pixels = generator.integers(0, 255, (240, 320, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(photos / f"{number}.png")
        for name, arguments in _commands(photos).items():
            if words and not any(word in name for word in words):
                continue
            for size, batch in ((512, 8), (64, 1)):
                for megabytes in (100, 300):
                    more = ["--image-size", str(size), "--batch-size", str(batch)]
                    what = f"{name}, {size} pixels, batches of {batch}, +{megabytes} MB"
                    yield _run(what, megabytes, [*arguments, *more])


def attempts(tell: Tell = nobody) -> list[Attempted]:
    """How often a shortage of memory was not put into one line that helps."""
    rows = []
    for row in measured([]):
        rows.append(row)
        tell(len(rows))
    failed = [row for row in rows if not row.passed]
    example = f"{failed[0].what}: {' '.join(failed[0].ended.said[-1:])}" if failed else ""
    short = sum(row.ended.returned == 2 for row in rows)
    name = f"too little memory ({short} commands say so, {len(rows) - short} succeed)"
    return [Attempted(name, len(rows), len(failed), example)]


def _commands(photos: Path) -> dict[str, list[str]]:
    data = ["--data", str(photos)]
    evaluated = ["--methods", "grad_cam", "--metrics", "average_drop"]
    trained = ["--epochs", "2", "--workers"]
    return {
        "explain with grad_cam": ["explain", str(photos), "--methods", "grad_cam"],
        "explain with integrated_gradients": [
            *("explain", str(photos / "0.png"), "--methods", "integrated_gradients"),
            *("--memory-budget", "1GiB", "--classes", "top1"),
        ],
        "evaluate": ["evaluate", *data, *evaluated],
        "train": ["train", *data, *trained, "0"],
        "train with workers": ["train", *data, *trained, "2"],
    }


def _run(what: str, megabytes: int, arguments: list[str]) -> Shortage:
    network = ["--model", "timm/resnet18", "--weights", "none", "--device", "cpu"]
    command = [*arguments, *network, "--network-option", "num_classes=5"]
    return Shortage(what, arguments[0], run_command(command, lambda: _limit(megabytes)))


def _limit(megabytes: int) -> None:
    """Let this process take only so much more memory than it has."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limit = size + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> None:
    """Print a line for each command."""
    for row in measured(sys.argv[1:]):
        lines = row.ended.said
        said = [line for line in lines if "error" in line.lower()] or list(lines[-1:])
        verdict = "ok" if row.passed else "FAILED"
        words = " ".join(said[-1:]) if row.ended.returned else "succeeds"
        print(f"{row.what:60} {verdict:6} {row.ended.returned} {words}", flush=True)


if __name__ == "__main__":
    main()
