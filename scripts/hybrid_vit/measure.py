"""How well a checkpoint of the transformer does, and whether it needs attention and positions.

    python -m scripts.hybrid_vit.measure --cache runs/hybrid_vit/cache --run FOLDER

Reads the held-out views that ``cache_views --plain`` wrote to val/ and report/ of the cache. The
figures of the *shipped* weights, from photos on, are those of ``benchmarks.bundled_classifiers``.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from benchmarks.transformer_ablations import with_permuted_positions, with_uniform_attention
from scripts.hybrid_vit.command_line import OneLineParser, problems_in_one_line, whole_number
from scripts.hybrid_vit.distil import classify_features, read_trained, read_views

if TYPE_CHECKING:
    from timm.models.vision_transformer import VisionTransformer


def main() -> None:
    """Print one JSON line a variant of the network and held-out set."""
    options = read_options()
    with problems_in_one_line():
        measure(options)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line, or of this process."""
    parser = OneLineParser(prog="measure", description="measure a checkpoint on cached views")
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--at-most", type=whole_number(1), default=1000, help="views a set")
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> None:
    """Print the figures of a checkpoint.

    Raises:
        SystemExit: there is no checkpoint, or there are no views.
    """
    network, _ = read_trained(options.run)
    variants = {
        "as trained": network,
        "uniform attention": with_uniform_attention(network),
        "permuted positions": with_permuted_positions(network),
    }
    for name in ("val", "report"):
        views = read_views(options.cache / name)
        features, logits = views.features[: options.at_most], views.logits[: options.at_most]
        for variant, changed in variants.items():
            found = agreement(changed, features, logits.float())
            print(json.dumps({"set": name, "network": variant, **found}), flush=True)


@torch.inference_mode()
def agreement(
    network: VisionTransformer, features: Tensor, teacher_logits: Tensor
) -> dict[str, float]:
    """Agreement with the teacher on features (N, 112, h, w) and its logits (N, C), in [0, 1]."""
    logits = torch.cat(
        [classify_features(network, part.float()).float() for part in features.split(50)]
    )
    best = teacher_logits.argmax(1)
    divergence = torch.nn.functional.kl_div(
        logits.log_softmax(1), teacher_logits.softmax(1), reduction="batchmean"
    )
    return {
        "top1": round(float((logits.argmax(1) == best).float().mean()), 4),
        "top5": round(float((logits.topk(5).indices == best[:, None]).any(1).float().mean()), 4),
        "divergence": round(float(divergence), 4),
    }


if __name__ == "__main__":
    main()
