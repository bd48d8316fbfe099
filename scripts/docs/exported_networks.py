"""Which architectures can be exported, each tried as a small network of its library.

``python -m scripts.docs.exported_networks`` tries all of them (minutes), stores the results in
``exported_networks.json`` here, and writes the table of ``docs/how-to/export.md`` from them;
``--only WORD`` tries those whose row holds the word.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import json
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import ttame
from ttame.classifiers.classifier import Classifier
from ttame.errors import TtameError

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "how-to" / "export.md"
STORED = Path(__file__).with_suffix(".json")
MARKS = ("<!-- networks -->", "<!-- /networks -->")
CLASSES = 7
BUNDLED = ("efficientnet_lite0", "hybrid_vit_lite0")
NONE = "–"
"""Where a library has no such network."""

SMALL_VIT = {"embed_dim": 24, "num_heads": 3, "depth": 3}
SMALL_HF = {"hidden_size": 24, "num_hidden_layers": 3, "num_attention_heads": 3}


@dataclasses.dataclass(frozen=True)
class Tried:
    """A small network of an architecture.

    Attributes:
        architecture: as people call it.
        library: where it comes from.
        name: of the network that is tried.
        options: that make it small.
        size: of its images, pixels.
    """

    architecture: str
    library: str
    name: str
    options: Mapping[str, Any]
    size: int

    @property
    def key(self) -> str:
        """Of the stored result."""
        return f"{self.architecture}, {self.library}"


TRIED = (
    Tried("VGG-16", "torchvision", "torchvision/vgg11", {}, 64),
    Tried("VGG-16", "timm", "timm/vgg11_bn", {}, 64),
    Tried("ResNet-50", "torchvision", "torchvision/resnet18", {}, 64),
    Tried("ResNet-50", "timm", "timm/resnet10t", {}, 64),
    Tried("ResNet-50", "transformers", "ResNet", {
        "embedding_size": 8, "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1],
    }, 64),
    Tried("EfficientNet-B0", "torchvision", "torchvision/efficientnet_b0", {}, 64),
    Tried("EfficientNet-B0", "timm", "timm/test_efficientnet", {}, 64),
    Tried("EfficientNet-B0", "transformers", "EfficientNet", {
        "width_coefficient": 1.0, "depth_coefficient": 0.3, "hidden_dim": 1280, "image_size": 64,
    }, 64),
    Tried("ConvNeXt-T", "torchvision", "torchvision/convnext_tiny", {}, 64),
    Tried("ConvNeXt-T", "timm", "timm/test_convnext", {}, 64),
    Tried("ConvNeXt-T", "transformers", "ConvNext", {
        "hidden_sizes": [8, 16, 16, 16], "depths": [1, 1, 1, 1],
    }, 64),
    Tried("Swin-T", "torchvision", "torchvision/swin_t", {}, 64),
    Tried("Swin-T", "timm", "timm/swin_tiny_patch4_window7_224", {
        "embed_dim": 12, "depths": (1, 1, 1), "num_heads": (1, 2, 4), "window_size": 4,
    }, 64),
    Tried("Swin-T", "transformers", "Swin", {
        "embed_dim": 12, "depths": [1, 1, 1], "num_heads": [1, 2, 4], "window_size": 4,
        "image_size": 64,
    }, 64),
    Tried("ViT-B/16", "torchvision", "torchvision/vit_b_16", {}, 64),
    Tried("ViT-B/16", "timm", "timm/vit_tiny_patch16_224", SMALL_VIT, 64),
    Tried("ViT-B/16", "transformers", "ViT", {
        **SMALL_HF, "intermediate_size": 48, "image_size": 64,
    }, 64),
    Tried("DeiT, distilled", "timm", "timm/deit_tiny_distilled_patch16_224", SMALL_VIT, 64),
    Tried("DeiT, distilled", "transformers", "DeiTForImageClassificationWithTeacher", {
        **SMALL_HF, "intermediate_size": 48, "image_size": 64,
    }, 64),
    Tried("DINOv2 with registers", "timm", "timm/vit_small_patch14_reg4_dinov2", SMALL_VIT, 56),
    Tried("DINOv2 with registers", "transformers", "Dinov2WithRegisters", {
        **SMALL_HF, "image_size": 56, "patch_size": 14,
    }, 56),
)  # fmt: skip
"""None of them needs a download; weights are random."""

LIBRARIES = ("torchvision", "timm", "transformers")


def classifier_of(tried: Tried) -> Classifier:
    """The small network as a classifier."""
    if tried.library == "transformers":
        return _of_transformers(tried)
    return ttame.load_classifier(
        tried.name, "none", image_size=tried.size, weights_seed=1,
        network_options={"num_classes": CLASSES, **tried.options},
    )  # fmt: skip


def _of_transformers(tried: Tried) -> Classifier:
    import transformers

    model = tried.name.partition("For")[0]
    config = getattr(transformers, f"{model}Config")(num_labels=CLASSES, **tried.options)
    kind = tried.name if "For" in tried.name else f"{model}ForImageClassification"
    torch.manual_seed(1)
    network = getattr(transformers, kind)(config)
    return Classifier(network, preprocessing=ttame.Preprocessing.imagenet(tried.size), name=kind)


def result_of(make: Callable[[], Classifier]) -> str:
    """What exporting an untrained few-shot head as ONNX gave, in words."""
    try:
        settings = ttame.head_settings("few-shot")
        explainer = ttame.new_attention_explainer(make(), settings, method="few_shot")
        return f"yes, {largest_difference(explainer):.0e}"
    except TtameError as problem:
        return f"no: {problem.problem}"


def largest_difference(explainer: Any) -> float:
    """Of the maps of an ONNX file for any number of images, as a share of the largest value."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "why.onnx"
        return ttame.export_explainer(explainer, path, dynamic_batch=True).parity["maps"]


def as_markdown(results: Mapping[str, str]) -> str:
    """The table."""
    lines = [f"| architecture | {' | '.join(LIBRARIES)} |", "|---|" + "---|" * len(LIBRARIES)]
    for architecture in dict.fromkeys(tried.architecture for tried in TRIED):
        cells = [_cell(architecture, library, results) for library in LIBRARIES]
        lines.append(f"| {architecture} | {' | '.join(cells)} |")
    bundled = "; ".join(f"`{name}`: {results[name]}" for name in BUNDLED if name in results)
    said = (
        "Written by `python -m scripts.docs.exported_networks`: a few-shot explainer of a small "
        "network of each architecture, with random weights, as an ONNX file for any number of "
        "images. The number is the largest difference of a map from PyTorch's, as a share of the "
        f"largest value. The bundled classifiers with their explainers: {bundled}."
    )
    return "\n".join([said, "", *lines])


def _cell(architecture: str, library: str, results: Mapping[str, str]) -> str:
    for tried in TRIED:
        if (tried.architecture, tried.library) == (architecture, library):
            name = tried.name.partition("/")[2] or tried.name
            return f"`{name}`: {results[tried.key]}" if tried.key in results else NONE
    return NONE


def with_table(page: str, table: str) -> str:
    """The page with another table."""
    between = re.compile(f"({re.escape(MARKS[0])}).*({re.escape(MARKS[1])})", re.DOTALL)
    return between.sub(lambda found: f"{found[1]}\n{table}\n{found[2]}", page)


def main(words: Sequence[str] | None = None) -> None:
    """Try, store and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="a word of the rows to try")
    only = parser.parse_args(words).only
    torch.set_num_threads(1)
    for tried in TRIED:
        if only in tried.key:
            store(tried.key, result_of(functools.partial(classifier_of, tried)))
    for name in BUNDLED:
        if only in name:
            store(name, f"yes, {largest_difference(ttame.load_explainer(name)):.0e}")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(with_table(page, as_markdown(stored())), encoding="utf-8")


def stored() -> dict[str, str]:
    """Key to result."""
    found: dict[str, str] = {}
    if STORED.exists():
        found = json.loads(STORED.read_text(encoding="utf-8"))
    return found


def store(key: str, result: str) -> None:
    """Keep a result, next to those of other processes."""
    print(key, result, flush=True)
    results = {**stored(), key: result}
    STORED.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
