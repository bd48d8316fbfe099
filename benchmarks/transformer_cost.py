"""What the transformer methods cost in plain forward passes per image, and in memory.

python -m benchmarks.transformer_cost
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

import ttame
from benchmarks.benchmark_page import median, median_ratio, table, write_section
from benchmarks.worker_process import take_turns

NETWORK = "torchvision/vit_b_16"
PLAIN = "plain forward"

VARIANTS: dict[str, tuple[str, dict[str, Any], int, float | None, int | None]] = {
    "transformer_attribution": ("transformer_attribution", {}, 8, 9.0, None),
    "vit_recipro_cam, 196 mosaics": (
        "vit_recipro_cam", {"way": "whole"}, 1, 25.0, 2048,
    ),
    "vit_recipro_cam, short way": ("vit_recipro_cam", {}, 1, 3.0, 2048),
    "vit_recipro_cam, short way, batch 8": ("vit_recipro_cam", {}, 8, 3.0, 2048),
}  # fmt: skip
"""Title: method, options, batch, most forward passes per image, most MB above the start."""


def main() -> None:
    rows = [measure(title) for title in VARIANTS]
    forward = "forward passes per image"
    header = ["method", "batch", "ms per image", forward, "limit", "peak", "limit"]
    note = (
        "\n\nViT-B/16 of torchvision at 224x224, random weights, the top-1 classes. A forward "
        "pass is a plain `network(images)` of the same batch in a process of its own, run in "
        "turns; medians of 3 rounds. Peak is how far the resident memory rose during a run."
    )
    title = "Transformer methods in forward passes"
    write_section(
        "transformer-cost", title, "python -m benchmarks.transformer_cost",
        table(header, rows) + note,
    )  # fmt: skip


def measure(title: str) -> list[str]:
    """One row of the table."""
    method, options, batch, limit, memory_limit = VARIANTS[title]
    runs = take_turns(
        {
            PLAIN: functools.partial(prepare_plain, batch),
            title: functools.partial(prepare_method, method, options, batch),
        },
        repeats=3,
    )
    plain, ours = ([run.seconds for run in runs[name]] for name in (PLAIN, title))
    row = [
        title,
        str(batch),
        f"{median(ours) / batch * 1e3:.0f}",
        f"{median_ratio(ours, plain):.2f}",
        f"{limit:.0f}" if limit else "",
        f"{max(run.peak_megabytes for run in runs[title]):.0f} MB",
        f"{memory_limit} MB" if memory_limit else "",
    ]
    print(row, flush=True)
    return row


def _classifier() -> ttame.Classifier:
    torch.manual_seed(0)
    classifier = ttame.load_classifier(NETWORK, "none")
    nn.init.normal_(classifier.network.get_submodule("heads.head").weight, std=0.02)  # type: ignore[arg-type]
    return classifier


def _images(batch: int) -> torch.Tensor:
    return torch.randn(batch, 3, 224, 224, generator=torch.Generator().manual_seed(1))


def prepare_plain(batch: int) -> Callable[[], object]:
    """``network(images)`` without gradients."""
    network, images = _classifier().network.eval(), _images(batch)

    def run() -> torch.Tensor:
        with torch.no_grad():
            logits: torch.Tensor = network(images)
        return logits

    return run


def prepare_method(method: str, options: dict[str, Any], batch: int) -> Callable[[], object]:
    """One of our methods."""
    explainer = ttame.make_explainer(method, _classifier(), **options)
    images = _images(batch)
    return lambda: explainer(images)


if __name__ == "__main__":
    main()
