"""What measuring costs an image, in plain forward passes of the bundled classifier.

python -m benchmarks.protocol_cost
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

import ttame
from benchmarks.benchmark_page import (
    interleaved_seconds,
    median,
    median_ratio,
    table,
    write_section,
)
from benchmarks.road_imputation import smooth_pictures
from ttame.metrics.known_metrics import known_metrics
from ttame.metrics.known_protocols import PROTOCOLS
from ttame.metrics.measuring_batch import MeasuringBatch
from ttame.metrics.protocol import Protocol

NETWORK = "efficientnet_lite0"
METHOD = "grad_cam"
REPEATS = 3
LIMITS = {"t-tame": 60}


def main() -> None:
    torch.set_num_threads(2)
    classifier = ttame.load_classifier(NETWORK)
    explainer = ttame.make_explainer(METHOD, classifier)
    quick = classifier.for_many_passes()
    images = classifier.preprocessing.normalise(smooth_pictures(torch.Generator().manual_seed(0)))
    explanation = explainer(images)

    def measure(protocol: Protocol) -> Callable[[], None]:
        def run() -> None:
            batch = MeasuringBatch(
                probabilities=lambda rows: torch.cat(
                    [quick.probabilities(part) for part in rows.split(8)]
                ),
                images=images,
                maps=explanation.maps[:, 0],
                classes=explanation.classes[:, 0],
                preprocessing=classifier.preprocessing,
                explain=lambda changed, classes: explainer(changed, classes[:, None]).maps[:, 0],
                numbers=tuple(range(len(images))),
            )
            with torch.no_grad():
                for metric in known_metrics(protocol.metrics):
                    metric.measure(batch, protocol)

        return run

    def forward() -> Tensor:
        with torch.no_grad():
            return classifier.logits(images)

    rows = []
    for name, protocol in PROTOCOLS.items():
        seconds = interleaved_seconds(
            {"measure": measure(protocol), "forward": forward}, REPEATS, warm_up=1
        )
        limit = LIMITS.get(name)
        rows.append(
            [
                name,
                ", ".join(protocol.metrics),
                f"{1000 * median(seconds['measure']) / len(images):.0f}",
                f"{1000 * median(seconds['forward']) / len(images):.1f}",
                f"{median_ratio(seconds['measure'], seconds['forward']):.1f}",
                "" if limit is None else str(limit),
            ]
        )
    header = ["protocol", "metrics", "measuring, ms", "forward, ms", "in forward passes", "limit"]
    note = (
        f"\n\nAn image, in batches of {len(images)}, medians of {REPEATS} rounds in turns, two "
        f"threads, maps of {METHOD} on {NETWORK}. Measuring asks a copy of the network whose "
        "batch norms are folded into its convolutions; a forward pass is one of the network as "
        "it is."
    )
    command = "python -m benchmarks.protocol_cost"
    write_section("protocol-cost", "What a protocol costs", command, table(header, rows) + note)


if __name__ == "__main__":
    main()
