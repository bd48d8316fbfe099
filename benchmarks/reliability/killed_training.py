"""``ttame train`` killed with SIGKILL at random moments, and resumed to the end.

``python -m benchmarks.reliability.killed_training 100`` kills one process a hundred times, as often
one or both of two, and as often one that trains anew over an explainer. Every resumed run must end
with the weights of an undisturbed one, bit for bit, and under the name of an explainer that is
being replaced there must always be the old one or the new one.
"""

from __future__ import annotations

import dataclasses
import json
import random
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.reliability.attempts import Attempted, Tell, nobody
from benchmarks.reliability.forked_commands import Command, HangsError, last_line, start_server
from ttame.training.training_folder import UNFINISHED

PHOTOS = 22
BATCH_SIZE = 6
MOST_KILLS_OF_A_RUN = 4
FILES = {"README.md", "config.json", "explainer.safetensors", "training.jsonl"}


def attempts(
    kills: int,
    processes: tuple[int, ...] = (1, 2),
    *,
    overwrite: bool = True,
    tell: Tell = nobody,
) -> list[Attempted]:
    """Kill trainings.

    Args:
        kills: of each kind.
        processes: the kinds: how many train together.
        overwrite: whether to kill trainings that replace an explainer, too.
        tell: told how many of a kind are done.
    """
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        write_noise_photos(photos)
        place = Path(folder)
        rows = [_killed(place, photos, number, kills, tell) for number in processes]
        return [*rows, *([replaced(place, photos, kills, tell)] if overwrite else [])]


def write_noise_photos(folder: Path) -> None:
    """Small photos of which one is torn."""
    import numpy as np
    from PIL import Image

    folder.mkdir()
    pixels = np.random.default_rng(0).integers(256, size=(PHOTOS, 36, 40, 3), dtype=np.uint8)
    for number, photo in enumerate(pixels):
        Image.fromarray(photo).save(folder / f"{number:02d}.png")
    (folder / "07.png").write_bytes(b"torn")


@dataclasses.dataclass
class Training:
    """The same training again and again, in as many folders."""

    place: Path
    photos: Path
    processes: int
    epochs: int = 2

    def start(self, out: str, *words: str) -> Command:
        arguments = ["train", "--model", "timm/test_resnet", "--weights", "none"]
        arguments += ["--network-option", "num_classes=5", "--image-size", "32"]
        arguments += ["--data", str(self.photos), "--out", str(self.place / out)]
        arguments += words or ["--resume"]
        arguments += [
            "--epochs",
            str(self.epochs),
            "--batch-size",
            str(BATCH_SIZE),
            "--workers",
            "0",
        ]
        arguments += ["--checkpoint-every", "1", "--device", "cpu"]
        return Command(arguments, self.place / f"{out}.txt", processes=self.processes)

    def what_differs(self, out: str, undisturbed: str) -> str:
        """What is not the same in two folders; empty if nothing is."""
        one, other = self.place / out, self.place / undisturbed
        found = {file.name for file in one.iterdir()}
        if found != FILES:
            return f"files {sorted(found ^ FILES)}"
        for name in ("explainer.safetensors", "training.jsonl"):
            if (one / name).read_bytes() != (other / name).read_bytes():
                return name
        records = [json.loads((place / "config.json").read_text()) for place in (one, other)]
        for record in records:
            record["training"].pop("command")  # names the folder
        return "" if records[0] == records[1] else "config.json"


def _killed(
    place: Path, photos: Path, processes: int, kills: int, tell: Tell = nobody
) -> Attempted:
    own = place / f"{processes}"
    own.mkdir()
    training = Training(own, photos, processes)
    start_server(own)
    began = time.perf_counter()
    if any(training.start("undisturbed").wait()):
        raise RuntimeError(f"the undisturbed run failed: {last_line(own / 'undisturbed.txt')}")
    seconds = time.perf_counter() - began
    generator = random.Random(processes)
    tries = failures = runs = 0
    example = ""
    while tries < kills:
        runs += 1
        most = min(MOST_KILLS_OF_A_RUN, kills - tries)
        killed, problem = _kill_and_finish(training, f"run-{runs}", seconds, most, generator)
        tries += killed
        tell(tries)
        failures += bool(problem)
        example = example or problem
    names = {1: "train, one process killed", 2: "train, one or both of two processes killed"}
    name = names.get(processes, f"train, one or all of {processes} processes killed")
    return Attempted(name, tries, failures, example)


def replaced(place: Path, photos: Path, kills: int, tell: Tell = nobody) -> Attempted:
    """Kill trainings with ``--overwrite`` that replace an explainer, some of which are resumed."""
    own = place / "replaced"
    own.mkdir()
    trainings = [Training(own, photos, 1, epochs) for epochs in (2, 1)]
    start_server(own)
    for training, name in zip(trainings, ("longer", "shorter"), strict=True):
        began = time.perf_counter()
        if any(training.start(name).wait()):
            raise RuntimeError(f"the undisturbed run failed: {last_line(own / f'{name}.txt')}")
        seconds = time.perf_counter() - began
    either = [contents(own / name) for name in ("longer", "shorter")]
    if any(trainings[0].start("out").wait()):
        raise RuntimeError(f"the undisturbed run failed: {last_line(own / 'out.txt')}")
    generator = random.Random(0)
    tries, number, problems = 0, 0, []
    words: tuple[str, ...] = ("--overwrite",)
    while tries < kills:
        # What was trained anew last is replaced by the other one.
        command = trainings[1 - number % 2].start("out", *words)
        codes = command.kill_after(generator.uniform(0, 1.2 * seconds))
        tries += -9 in codes
        tell(tries)
        if (found := contents(own / "out")) not in either:
            problems.append(f"after {tries} kills: neither the old explainer nor the new one")
            break
        if -9 not in codes:
            number += 1
            if any(codes) or found != either[1 - (number - 1) % 2]:
                problems.append(f"exit codes {codes}; {last_line(own / 'out.txt')}")
        unfinished = (own / "out" / UNFINISHED).is_dir()
        words = ("--resume",) if unfinished and generator.random() < 0.7 else ("--overwrite",)
    if any(trainings[0].start("out", "--overwrite").wait()) or contents(own / "out") != either[0]:
        problems.append(f"a last run fails: {last_line(own / 'out.txt')}")
    problems += [f"left over: {path.name}" for path in own.iterdir() if path.name.startswith(".")]
    example = next(iter(problems), "")
    return Attempted("train --overwrite, killed", tries, len(problems), example)


def contents(folder: Path) -> dict[str, object]:
    """What an explainer's folder holds, but for names of folders in it."""
    files = [folder / name for name in ("explainer.safetensors", "training.jsonl")]
    record = json.loads((folder / "config.json").read_text())
    record["training"].pop("command")
    return {**{file.name: file.read_bytes() for file in files}, "config": record}


def _kill_and_finish(
    training: Training, out: str, seconds: float, most: int, generator: random.Random
) -> tuple[int, str]:
    """Kill a training up to ``most`` times, let it go on to its end, and compare.

    Returns:
        How often it was killed, and what went wrong.
    """
    killed = 0
    output = training.place / f"{out}.txt"
    several = generator if training.processes > 1 else None
    try:
        for _ in range(most):
            moment = generator.uniform(0, seconds)
            codes = training.start(out).kill_after(moment, several)
            killed += -9 in codes
            # Those that a colleague has left say so, with 2.
            if -9 not in codes and any(codes):
                return killed, f"{out}: exit codes {codes}; {last_line(output)}"
        if any(codes := training.start(out).wait()):
            return killed, f"{out}: exit codes {codes}; {last_line(output)}"
    except HangsError as problem:
        return killed, f"{out}: {problem}"
    if "Traceback" in output.read_text(errors="replace"):
        return killed, f"{out}: a traceback; {last_line(output)}"
    differs = training.what_differs(out, "undisturbed")
    return killed, f"{out}: {differs} differs from the undisturbed run" if differs else ""


if __name__ == "__main__":
    for attempted in attempts(int(sys.argv[1]) if len(sys.argv) > 1 else 100):
        print(attempted)
