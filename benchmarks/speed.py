"""What explaining costs compared with a plain forward pass.

python -m benchmarks.speed
"""

from __future__ import annotations

import torch

import ttame
from benchmarks.benchmark_page import (
    interleaved_seconds,
    median,
    median_ratio,
    table,
    write_section,
)

NETWORKS = {
    "torchvision/vit_b_16": 1.03,
    "torchvision/vgg16": 1.03,
    "torchvision/resnet50": 1.20,
    "efficientnet_lite0": 1.20,
}
"""The network, and the most that one class may cost against a plain forward pass."""

ALL_CLASSES_LIMIT = {"torchvision/resnet50": 1.7}
BATCH, REPEATS = 8, 15


def main() -> None:
    rows = [measure(name, limit) for name, limit in NETWORKS.items()]
    header = [
        "network",
        "plain forward",
        "top-1 / plain",
        "limit",
        "top-1 / same format",
        "all 1000 / plain",
        "all 1000 / same format",
    ]
    note = (
        f"\n\nMedians over {REPEATS} rounds in which all variants ran in turns; a ratio is the "
        f"median of the rounds' ratios. {BATCH} images of 224x224, random weights "
        'except EfficientNet-Lite0. "Plain" is `network(images)` as a user would write it, '
        '"same format" the same with images in the memory format that ttame chose (channels '
        "last for convolutional networks, which is faster by itself): the second ratio is the "
        "head alone."
    )
    title = "Explaining against a plain forward pass"
    write_section("speed", title, "python -m benchmarks.speed", table(header, rows) + note)


def measure(name: str, limit: float) -> list[str]:
    """One row of the table."""
    weights = "default" if name == "efficientnet_lite0" else "none"
    classifier = ttame.load_classifier(name, weights)
    explainer = ttame.new_attention_explainer(classifier)
    images = torch.randn(BATCH, 3, 224, 224)
    same_format = images.contiguous(memory_format=classifier.memory_format)

    def forward(batch: torch.Tensor) -> None:
        with torch.no_grad():
            classifier.network(batch)

    seconds = interleaved_seconds(
        {
            "plain": lambda: forward(images),
            "same format": lambda: forward(same_format),
            "one": lambda: explainer(images),
            "all": lambda: explainer(images, "all"),
        },
        REPEATS,
    )
    one, every, plain, same = (seconds[key] for key in ("one", "all", "plain", "same format"))
    all_limit = ALL_CLASSES_LIMIT.get(name)
    row = [
        name,
        f"{median(plain) * 1e3:.0f} ms",
        f"{median_ratio(one, plain):.3f}",
        f"{limit:.2f}",
        f"{median_ratio(one, same):.3f}",
        f"{median_ratio(every, plain):.2f}" + (f" (limit {all_limit})" if all_limit else ""),
        f"{median_ratio(every, same):.2f}",
    ]
    print(row, flush=True)
    return row


if __name__ == "__main__":
    main()
