"""What streaming costs: explaining photos into shards, against asking the network about them alone.

    python -m benchmarks.million_photos [--data TAR] [--work FOLDER] [--rounds 2]

Every measurement is a process of its own with one thread, or two that share the work, and takes
the first photos of a tar shard (made ones of 64 x 64 pixels if none is given). What is measured is
kept in the work folder, so that a run that was stopped goes on. Ratios are of neighbours in a
round. Where the machine does other work, seconds of the clock say little, so seconds of the
processor stand next to them. Writes its section of BENCHMARKS.md.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image

from benchmarks.benchmark_page import median, table, write_section
from ttame.datasets.chosen_photos import ChosenPhotos
from ttame.datasets.photo_source import PhotoSource
from ttame.datasets.tar_shards import TarShards
from ttame.evaluation.evaluate_methods import evaluate
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.trained.explainer_folder import load_explainer
from ttame.memory_reuse import keep_freed_memory
from ttame.reporting.explain_to_shards import SHARD_SIZE, explain_to_shards
from ttame.testing import tiny_classifier

BATCH = 16
PHOTOS = 10_000
LONGEST = 1800.0
"""Seconds of a measurement."""


class Task(NamedTuple):
    """A measurement: what is done with how many photos, by how many processes."""

    network: str
    kind: str
    photos: int
    processes: int = 1

    @property
    def name(self) -> str:
        """To find it among those that were measured."""
        return " ".join(map(str, self))


# First what has a bar, so that a run that is stopped has it.
REAL = [
    Task("efficientnet_lite0", "plain", 2000),
    Task("efficientnet_lite0", "shards", 2000),
    Task("efficientnet_lite0", "shards", 2000, processes=2),
    Task("efficientnet_lite0", "maps", 2000),
]
TINY = [
    Task("tiny", "maps", 2000),
    Task("tiny", "shards", 2000),
    Task("tiny", "maps", 10_000),
    Task("tiny", "shards", 10_000),
    Task("tiny", "shards", 10_000, processes=2),
    Task("tiny", "evaluate", 2000),
    Task("tiny", "evaluate", 10_000),
]


class Measured(NamedTuple):
    """What a process found: seconds of clock and processor, and the rise of its memory in MB."""

    seconds: float
    processor: float
    megabytes: float


def made_shard(path: Path) -> Path:
    """A tar shard of small photos of noise, made unless it is there."""
    if path.is_file():
        return path
    generator = np.random.default_rng(0)
    unfinished = path.with_suffix(".part")
    with tarfile.open(unfinished, "w") as shard:
        for number in range(PHOTOS):
            coarse = generator.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            content = io.BytesIO()
            Image.fromarray(coarse).resize((64, 64)).save(content, "JPEG")
            member = tarfile.TarInfo(f"{number:05d}.jpg")
            member.size = content.tell()
            content.seek(0)
            shard.addfile(member, content)
    unfinished.rename(path)
    return path


def explainer_of(network: str) -> Explainer:
    """The bundled few-shot explainer, or a method of one pass for a tiny network."""
    if network == "tiny":
        return make_explainer("cam", tiny_classifier(size=64, classes=10))
    return load_explainer(network)


def work(
    task: Task, photos: PhotoSource, explainer: Explainer, out: Path, shard_size: int = SHARD_SIZE
) -> None:
    """Do what is measured."""
    classifier = explainer.classifier
    if task.kind == "shards":
        explain_to_shards(
            photos,
            explainer,
            out,
            classes="top3",
            batch_size=BATCH,
            shard_size=shard_size,
            workers=0,
            progress=False,
        )
    elif task.kind == "evaluate":
        evaluate(
            classifier,
            photos,
            {"cam": explainer},
            out,
            metrics=["average_drop"],
            batch_size=BATCH,
            progress=False,
        )
    else:
        for start in range(0, len(photos), BATCH):
            numbers = range(start, min(start + BATCH, len(photos)))
            images = torch.stack(
                [classifier.preprocessing.prepare(photos.read(n)) for n in numbers]
            )
            if task.kind == "plain":
                with torch.no_grad():
                    classifier.probabilities(images)
            else:
                explainer(images, "top3", progress=False)


def measure(task: Task, shard: Path, out: Path) -> Measured:
    """Do it in this process, after a first batch that is not measured."""
    keep_freed_memory()  # as the commands do, for plain inference as well
    torch.set_num_threads(1)
    cores = sorted(os.sched_getaffinity(0))
    if task.processes > 1:
        os.sched_setaffinity(0, {cores[int(os.environ["LOCAL_RANK"]) % len(cores)]})
    explainer = explainer_of(task.network)
    photos = TarShards([shard])
    # One batch for each process: the first takes longer, and counts for none of them.
    first = ChosenPhotos(photos, range(BATCH * task.processes))
    work(task, first, explainer, out.with_name("warm"), shard_size=BATCH)
    # Sets the peak that the kernel remembers back to what is resident now.
    Path("/proc/self/clear_refs").write_text("5")
    before, began, processor = _resident("VmRSS"), time.perf_counter(), _processor()
    work(task, ChosenPhotos(photos, range(task.photos)), explainer, out)
    seconds = time.perf_counter() - began
    return Measured(seconds, _processor() - processor, _resident("VmHWM") - before)


def in_own_processes(task: Task, shard: Path) -> Measured:
    """Measure in processes of their own: the slowest counts."""
    with tempfile.TemporaryDirectory() as folder:
        started = [sys.executable]
        if task.processes > 1:
            started += ["-m", "torch.distributed.run", "--standalone"]
            started += ["--nproc_per_node", str(task.processes)]
        arguments = ["--task", json.dumps(task), "--data", str(shard), "--work", folder]
        subprocess.run(
            [*started, "-m", "benchmarks.million_photos", *arguments],
            env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
            timeout=LONGEST,
            check=True,
            stderr=subprocess.DEVNULL if task.processes > 1 else None,
        )
        found = [json.loads(path.read_text()) for path in Path(folder).glob("measured-*.json")]
    return Measured(*(max(values) for values in zip(*found, strict=True)))


def measured_rounds(place: Path, shard: Path, rounds: int) -> dict[str, list[Measured]]:
    """Measure what is not measured yet, round after round, and keep it."""
    path = place / "measured.jsonl"
    found: dict[str, list[Measured]] = {task.name: [] for task in (*REAL, *TINY)}
    if path.is_file():
        for line in path.read_text().splitlines():
            name, values = json.loads(line)
            found[name].append(Measured(*values))
    for number in range(rounds):
        for task in (*REAL[:3], *TINY, *REAL[3:]):
            if len(found[task.name]) > number:
                continue
            got = in_own_processes(task, shard)
            print(number, task.name, got, f"load {os.getloadavg()[0]:.1f}", flush=True)
            with path.open("a") as file:
                file.write(json.dumps([task.name, got]) + "\n")
            found[task.name].append(got)
    return found


def section(found: dict[str, list[Measured]], load: float) -> str:
    """The text of the section, of what is measured so far."""
    rows = [_row(task, found[task.name]) for task in (*REAL, *TINY) if found[task.name]]
    header = ("what", "photos", "processes", "photos/s", "photos per processor-second", "memory")
    plain, shards, two, maps = (found[task.name] for task in REAL)
    tiny_maps, tiny, tiny_two = (found[TINY[place].name] for place in (2, 3, 4))
    ratios = [
        ("few_shot into shards / plain inference", shards, plain, "at most 1.10"),
        ("few_shot maps alone / plain inference", maps, plain, ""),
        ("few_shot into shards / its maps alone", shards, maps, ""),
        ("tiny network: into shards / its maps alone", tiny, tiny_maps, ""),
        ("few_shot into shards: one process / two", shards, two, "at least 1.80"),
        ("tiny network into shards: one process / two", tiny, tiny_two, ""),
    ]
    compared = [
        (name, f"{_ratio(above, below, 1):.3f}", f"{_ratio(above, below, 0):.3f}", bar)
        for name, above, below, bar in ratios
        if above and below
    ]
    growth = [
        f"{kind}: {_megabytes(found, kind, 2000):.0f} MB at 2,000 photos and "
        f"{_megabytes(found, kind, 10_000):.0f} MB at 10,000"
        for kind in ("maps", "shards", "evaluate")
        if found[Task("tiny", kind, 10_000).name]
    ]
    counts = sorted({len(runs) for runs in found.values() if runs})
    rounds = " or ".join(map(str, counts)) + (" round" if counts == [1] else " rounds")
    return "\n\n".join(
        [
            "Photos of 64 x 64 pixels from a tar shard, read, prepared and explained in batches of "
            f"{BATCH}, three classes each, by processes of one thread that read their photos "
            "themselves. *Plain* asks the classifier for probabilities, *maps* explains and "
            "forgets, *shards* is `ttame.explain_to_shards` from the call to its return, its page "
            "of 24 photos included, *evaluate* is Average Drop. `tiny` is a network of two "
            "convolutions, of whose time everything else is a large part. Medians of "
            f"{rounds}; of two processes the slower one counts, which has 1,024 of 2,000 photos, "
            f"or 5,120 of 10,000. The machine has {os.cpu_count()} cores and did other work "
            f"meanwhile (load {load:.0f}): the clock tells how long the others let it wait, the "
            "processor's time what the work costs.",
            table(header, rows),
            table(("ratio, within rounds", "processor", "clock", "bar"), compared),
            f"Peak memory above what was resident after a first batch, of the tiny network: "
            f"{'; '.join(growth)}.",
        ]
    )


def _row(task: Task, runs: Sequence[Measured]) -> tuple[str, ...]:
    total = task.photos / task.processes
    return (
        f"{task.network}, {task.kind}",
        f"{task.photos:,}",
        str(task.processes),
        f"{median([task.photos / run.seconds for run in runs]):.1f}",
        f"{median([total / run.processor for run in runs]):.1f}",
        f"{median([run.megabytes for run in runs]):.0f} MB",
    )


def _ratio(above: Sequence[Measured], below: Sequence[Measured], place: int) -> float:
    return median([one[place] / other[place] for one, other in zip(above, below, strict=False)])


def _megabytes(found: dict[str, list[Measured]], kind: str, photos: int) -> float:
    return median([run.megabytes for run in found[Task("tiny", kind, photos).name]])


def _processor() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _resident(field: str) -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1e3
    raise RuntimeError(f"no {field} in /proc/self/status")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="a tar shard of at least 10,000 small photos")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "ttame-million")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.task:
        found = measure(Task(*json.loads(options.task)), options.data, options.work / "out")
        rank = os.environ.get("RANK", "0")
        (options.work / f"measured-{rank}.json").write_text(json.dumps(found))
        return
    options.work.mkdir(parents=True, exist_ok=True)
    shard = options.data or made_shard(options.work / "made.tar")
    measured = measured_rounds(options.work, shard, options.rounds)
    torch.set_num_threads(1)
    write_section(
        "million-photos",
        "A million photos: what streaming costs",
        "python -m benchmarks.million_photos",
        section(measured, os.getloadavg()[2]),
    )


if __name__ == "__main__":
    main()
