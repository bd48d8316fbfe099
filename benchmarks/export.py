"""What the map costs in an exported file, and on which networks exporting works.

python -m benchmarks.export                    # the section of BENCHMARKS.md
python -m benchmarks.export --data PHOTOS      # with parity on 100 photos
python -m benchmarks.export --quick            # EfficientNet-Lite0, few rounds, printed only
python -m benchmarks.export --networks         # the table of docs/how-to/export.md
"""

from __future__ import annotations

import argparse
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import ttame
from benchmarks.benchmark_page import (
    interleaved_seconds,
    median,
    median_ratio,
    table,
    write_section,
)
from ttame.classifiers.classifier import Classifier
from ttame.errors import TtameError
from ttame.explainers.contract.explainer import Explainer
from ttame.exporting.explainable_classifier import ExplainableClassifier

PAGE = Path(__file__).parent.parent / "docs" / "how-to" / "export.md"
NETWORKS = ("efficientnet_lite0", "torchvision/resnet50", "torchvision/vit_b_16")
BATCHES = (1, 8)
MOST_PHOTOS = 100
WITHOUT = ["logits", "probabilities", "classes"]

SMALLEST: dict[str, tuple[str, Mapping[str, Any], int]] = {
    "VGG-16": ("timm/vgg11_bn", {}, 64),
    "ResNet-50": ("timm/resnet10t", {}, 64),
    "EfficientNet-B0": ("timm/test_efficientnet", {}, 64),
    "ConvNeXt-T": ("timm/test_convnext", {}, 64),
    "Swin-T": (
        "timm/swin_tiny_patch4_window7_224",
        {"embed_dim": 12, "depths": (1, 1, 1), "num_heads": (1, 2, 4), "window_size": 4},
        64,
    ),
    "ViT-B/16": ("timm/vit_tiny_patch16_224", {"embed_dim": 24, "num_heads": 3, "depth": 3}, 64),
    "DeiT, distilled": (
        "timm/deit_tiny_distilled_patch16_224",
        {"embed_dim": 24, "num_heads": 3, "depth": 3},
        64,
    ),
    "DINOv2 with registers": (
        "timm/vit_small_patch14_reg4_dinov2",
        {"embed_dim": 24, "num_heads": 3, "depth": 3},
        56,
    ),
}
"""Architecture to a small network of it: name, options, size of its images."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", help="folder of photos for the parity")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--networks", action="store_true")
    typed = parser.parse_args(arguments)
    torch.set_num_threads(1)
    if typed.networks:
        write_networks()
        return
    networks, repeats = (NETWORKS[:1], 5) if typed.quick else (NETWORKS, 15)
    photos = sorted(map(str, Path(typed.data).rglob("*.*")))[:MOST_PHOTOS] if typed.data else []
    header = [
        "network",
        "batch",
        "with map / without, ONNX Runtime",
        "eager / ONNX Runtime",
        "eager / compiled",
        "MB with, without",
        "maps differ by",
    ]
    rows = [
        row
        for name in networks
        for row in measure(name, repeats, photos, compiling=not typed.quick)
    ]
    if typed.quick:
        print(table(header, rows))
        return
    note = (
        f"\n\nMedians over {repeats} rounds in which all variants ran in turns, on one thread "
        "each; seconds are those of the processor. Random weights and "
        "an untrained few-shot head, except for EfficientNet-Lite0. All variants take pixels and "
        "give the three most probable classes; without the map it is the same graph cut off there. "
        f"Maps were compared on noise and on {len(photos)} photos."
    )
    title = "Exported: what the map costs in one file"
    write_section("export", title, "python -m benchmarks.export", table(header, rows) + note)


def measure(name: str, repeats: int, photos: Sequence[str], *, compiling: bool) -> list[list[str]]:
    """A row for each size of batch."""
    explainer = _explainer(name)
    height, width = explainer.classifier.preprocessing.input_size
    module = ExplainableClassifier(explainer, takes="pixels")
    # Compiling takes minutes.
    compiled = torch.compile(module) if compiling else module
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "why.onnx"
        facts = ttame.export_explainer(explainer, path, dynamic_batch=True, photos=photos)
        with_maps = path.read_bytes()
    without_maps = _cut(with_maps)
    run_with, run_without = _session(with_maps), _session(without_maps)
    rows = []
    for batch in BATCHES:
        pixels = np.random.default_rng(0).integers(0, 256, (batch, height, width, 3), np.uint8)
        tensor = torch.from_numpy(pixels)
        runs: dict[str, Callable[[], object]] = {
            "with": lambda given=pixels: run_with({"pixels": given}),  # type: ignore[misc]
            "without": lambda given=pixels: run_without({"pixels": given}),  # type: ignore[misc]
            "eager": lambda given=tensor: _no_grad(module, given),  # type: ignore[misc]
            "compiled": lambda given=tensor: _no_grad(compiled, given),  # type: ignore[misc]
        }
        seconds = interleaved_seconds(runs, repeats, clock=time.process_time)
        rows.append(
            [
                name,
                str(batch),
                f"{median_ratio(seconds['with'], seconds['without']):.3f}",
                f"{median_ratio(seconds['eager'], seconds['with']):.2f} "
                f"({1000 * median(seconds['with']):.0f} ms)",
                f"{median_ratio(seconds['eager'], seconds['compiled']):.2f}" if compiling else "-",
                f"{len(with_maps) / 1e6:.1f}, {len(without_maps) / 1e6:.1f}",
                f"{facts.parity['maps']:.1e}",
            ]
        )
    return rows


def write_networks() -> None:
    """The table of networks in the guide."""
    rows = [[name, source, exported(source, dict(options), size)]
            for name, (source, options, size) in SMALLEST.items()]  # fmt: skip
    header = ["architecture", "tried with", "few-shot explainer as ONNX, any number of images"]
    lines = table(header, rows).replace("|---:|---:|", "|---|---|")
    said = (
        "Written by `python -m benchmarks.export --networks`, with small networks of each "
        "architecture and random weights; the number is the largest difference of a map from "
        "PyTorch's, as a share of the largest value.\n\n"
    )
    page = PAGE.read_text(encoding="utf-8")
    between = re.compile(r"(<!-- networks -->).*(<!-- /networks -->)", re.DOTALL)
    PAGE.write_text(between.sub(lambda m: f"{m[1]}\n{said}{lines}\n{m[2]}", page), encoding="utf-8")
    print(lines)


def exported(source: str, options: dict[str, Any], size: int) -> str:
    """What exporting a few-shot head on a network gave, in words."""
    try:
        classifier = ttame.load_classifier(
            source, "none", image_size=size, network_options={"num_classes": 7, **options},
            weights_seed=1,
        )  # fmt: skip
        explainer = _few_shot(classifier)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "why.onnx"
            facts = ttame.export_explainer(explainer, path, dynamic_batch=True)
    except TtameError as problem:
        return f"no: {problem.problem}"
    return f"yes, {facts.parity['maps']:.0e}"


def _explainer(name: str) -> Explainer:
    if name == "efficientnet_lite0":
        return ttame.load_explainer(name)
    return _few_shot(ttame.load_classifier(name, "none", weights_seed=0))


def _few_shot(classifier: Classifier) -> Explainer:
    settings = ttame.head_settings("few-shot")
    return ttame.new_attention_explainer(classifier, settings, method="few_shot")


def _session(content: bytes) -> Callable[[dict[str, Any]], object]:
    """Run a file on one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return lambda given: session.run(None, given)


def _cut(content: bytes) -> bytes:
    """The same graph, cut off before the map."""
    import onnx
    from onnx.utils import Extractor

    extractor = Extractor(onnx.load_from_string(content))
    cut: bytes = extractor.extract_model(["pixels"], WITHOUT).SerializeToString()
    return cut


@torch.no_grad()
def _no_grad(module: Callable[[torch.Tensor], object], given: torch.Tensor) -> object:
    return module(given)


if __name__ == "__main__":
    main()
