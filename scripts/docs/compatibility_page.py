"""The architectures that ttame is checked with, and the page that lists them.

``python -m scripts.docs compatibility`` writes the page. Every network is built with random weights
and few, narrow layers, so that the whole table takes less than a minute on one core.
"""

from __future__ import annotations

import dataclasses
import tempfile
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from scripts.docs.situations_section import as_markdown as situations_as_markdown
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.known_classifiers import load_classifier
from ttame.classifiers.linear_end import evidence_tap, find_linear_end
from ttame.errors import TapError
from ttame.features.normalised_average import NormalisedShares
from ttame.features.token_contributions import TokenContributions

PAGE = Path(__file__).parents[2] / "docs" / "compatibility.md"
NUMBER_OF_CLASSES = 10


@dataclasses.dataclass(frozen=True)
class Architecture:
    """One row of the table.

    Attributes:
        title: what people call it.
        name: as ``load_classifier`` takes it; for ``hf`` the configuration class stands behind
            the slash.
        size: of the image in pixels.
        options: what makes it small.
        taps: the remedy where the automatic choice fails.
        note: why something is as it is.
    """

    title: str
    name: str
    size: int | tuple[int, int] = 64
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    taps: tuple[str, ...] = ()
    note: str = ""

    @property
    def source(self) -> str:
        """Which library makes the network."""
        return self.name.partition("/")[0]

    def load(self, taps: tuple[str, ...] | None = None) -> Classifier:
        """Build the classifier; ``taps`` overrides the automatic choice."""
        torch.manual_seed(0)
        with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
            warnings.simplefilter("ignore")  # of the libraries, about their own options
            name, options = self.name, {"num_classes": NUMBER_OF_CLASSES, **self.options}
            if self.source == "hf":
                name, options = f"hf/{_configuration_folder(self, Path(folder))}", {}
            return load_classifier(
                name, weights="none", image_size=self.size, network_options=options, taps=taps
            )


def _configuration_folder(architecture: Architecture, folder: Path) -> Path:
    import transformers

    kind = getattr(transformers, architecture.name.partition("/")[2])
    options = dict(architecture.options)
    chosen = options.pop("architectures", None)
    config = kind(**options, num_labels=NUMBER_OF_CLASSES)
    config.architectures = chosen
    config.save_pretrained(folder)
    return folder


_NARROW = {"depth": 4, "embed_dim": 48, "num_heads": 3}
_TINY_VIT = {
    "hidden_size": 32,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 64,
}
_WITHOUT_HEADS_INSIDE = {"aux_logits": False, "init_weights": False}
"""And with PyTorch's usual random weights: torchvision's for these are drawn slowly."""
_STAGES = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
_SWIN = {
    "image_size": 64,
    "embed_dim": 16,
    "depths": [1, 1, 2, 1],
    "num_heads": [1, 2, 2, 2],
    "window_size": 2,
}

ARCHITECTURES: tuple[Architecture, ...] = (
    Architecture("ResNet", "torchvision/resnet18"),
    Architecture("DenseNet", "torchvision/densenet121"),
    Architecture("MobileNetV2", "torchvision/mobilenet_v2"),
    Architecture("MobileNetV3", "torchvision/mobilenet_v3_small"),
    Architecture("EfficientNet", "torchvision/efficientnet_b0"),
    Architecture("RegNet", "torchvision/regnet_y_400mf"),
    Architecture("ShuffleNetV2", "torchvision/shufflenet_v2_x0_5"),
    Architecture("SqueezeNet", "torchvision/squeezenet1_1"),
    Architecture("GoogLeNet", "torchvision/googlenet", options=_WITHOUT_HEADS_INSIDE),
    Architecture("InceptionV3", "torchvision/inception_v3", 128, _WITHOUT_HEADS_INSIDE),
    Architecture("Swin", "torchvision/swin_t", (64, 96), note="channels last"),
    Architecture("ResNet", "timm/test_resnet"),
    Architecture("VGG", "timm/vgg11", options={"mlp_ratio": 0.02}),
    Architecture("EfficientNet-Lite", "timm/tf_efficientnet_lite0"),
    Architecture("MobileNetV4", "timm/mobilenetv4_conv_small"),
    Architecture("ConvNeXt", "timm/convnext_atto"),
    Architecture("ConvNeXt V2", "timm/convnextv2_atto"),
    Architecture("Xception", "timm/xception41"),
    Architecture("FastViT", "timm/fastvit_t8"),
    Architecture("PoolFormer", "timm/poolformer_s12"),
    Architecture("FocalNet", "timm/focalnet_tiny_srf"),
    Architecture(
        "Sequencer2D",
        "timm/sequencer2d_s",
        112,
        {"layers": (1, 1, 2, 1), "embed_dims": (48, 96, 96, 96), "hidden_sizes": (12, 24, 24, 24)},
    ),
    Architecture("ViT", "timm/vit_base_patch16_224", (64, 96), _NARROW),
    Architecture("ViT, one block", "timm/vit_tiny_patch16_224", options={"depth": 1}),
    Architecture("ViT, global pooling", "timm/vit_base_patch16_gap_224", options=_NARROW),
    Architecture("ViT + ResNet hybrid", "timm/vit_tiny_r_s16_p8_224", options={"depth": 4}),
    Architecture("DeiT", "timm/deit_tiny_patch16_224", options={"depth": 4}),
    Architecture("DeiT, distilled", "timm/deit_tiny_distilled_patch16_224", options={"depth": 4}),
    Architecture("DINOv2 with registers", "timm/vit_base_patch14_reg4_dinov2", 56, _NARROW),
    Architecture("CLIP image tower", "timm/vit_base_patch16_clip_224", options=_NARROW),
    Architecture("SigLIP image tower", "timm/vit_base_patch16_siglip_224", options=_NARROW),
    Architecture("BEiT", "timm/beit_base_patch16_224", options=_NARROW),
    Architecture("EVA-02", "timm/eva02_tiny_patch14_224", 56, {"depth": 4}),
    Architecture(
        "CaiT", "timm/cait_xxs24_224", options={"depth": 4}, note="class token joins late"
    ),
    Architecture("XCiT", "timm/xcit_nano_12_p16_224", options={"depth": 4}),
    Architecture(
        "ConViT", "timm/convit_tiny", options={"depth": 4, "local_up_to_layer": 3, "embed_dim": 12}
    ),
    Architecture(
        "Swin",
        "timm/swin_tiny_patch4_window7_224",
        options={"embed_dim": 16, "depths": (1, 1, 2, 1), "num_heads": (1, 2, 2, 4)},
        note="channels last",
    ),
    Architecture("PVT v2", "timm/pvt_v2_b0"),
    Architecture(
        "Twins",
        "timm/twins_pcpvt_small",
        options={"embed_dims": (16, 24, 40, 64)},
    ),
    Architecture("MViTv2", "timm/mvitv2_tiny"),
    Architecture("MaxViT", "timm/maxvit_rmlp_pico_rw_256"),
    Architecture("CoAtNet", "timm/coatnet_pico_rw_224"),
    Architecture("MobileViT", "timm/mobilevit_xxs"),
    Architecture("EdgeNeXt", "timm/edgenext_xx_small"),
    Architecture("LeViT", "timm/levit_128s", 128),
    Architecture("PiT", "timm/pit_ti_224"),
    Architecture("CAFormer", "timm/caformer_s18"),
    Architecture(
        "EfficientFormer",
        "timm/efficientformer_l1",
        224,
        {"embed_dims": (16, 24, 40, 64), "depths": (1, 1, 2, 2)},
    ),
    Architecture(
        "Hiera",
        "timm/hiera_tiny_224",
        224,
        {"embed_dim": 24},
        note="only the last stage: before it, tokens do not stand row by row",
    ),
    Architecture("VOLO", "timm/volo_d1_224", 96, note="two resolutions only"),
    Architecture(
        "CoaT",
        "timm/coat_tiny",
        options={
            "embed_dims": (32, 32, 32, 32),
            "serial_depths": (1, 1, 1, 1),
            "parallel_depth": 2,
        },
        note="before its last blocks",
    ),
    Architecture(
        "CoaT-Lite",
        "timm/coat_lite_tiny",
        options={"embed_dims": (16, 24, 32, 40), "serial_depths": (1, 1, 2, 1)},
    ),
    Architecture(
        "CrossViT",
        "timm/crossvit_tiny_240",
        240,
        {"embed_dim": (24, 48)},
        note="two branches, before the last fusion of each one",
    ),
    Architecture("MLP-Mixer", "timm/mixer_s32_224", 128),
    Architecture("ResMLP", "timm/resmlp_12_224"),
    Architecture("gMLP", "timm/gmlp_ti16_224"),
    Architecture(
        "TNT",
        "timm/tnt_s_patch16_224",
        224,
        {"depth": 4, "embed_dim": 48, "num_heads_outer": 3},
        note="inside its blocks, which return pixels before patches",
    ),
    Architecture("ViT", "hf/ViTConfig", options=_TINY_VIT),
    Architecture("DeiT, distilled", "hf/DeiTConfig", options=_TINY_VIT),
    Architecture("BEiT", "hf/BeitConfig", options=_TINY_VIT),
    Architecture("DINOv2", "hf/Dinov2Config", options={**_TINY_VIT, "patch_size": 16}),
    Architecture(
        "DINOv2 with registers",
        "hf/Dinov2WithRegistersConfig",
        options={**_TINY_VIT, "patch_size": 16},
    ),
    Architecture("I-JEPA", "hf/IJepaConfig", options={**_TINY_VIT, "patch_size": 16}),
    Architecture("ResNet", "hf/ResNetConfig", options={"embedding_size": 8, **_STAGES}),
    Architecture("ConvNeXt", "hf/ConvNextConfig", options=_STAGES),
    Architecture("BiT", "hf/BitConfig", options={**_STAGES, "embedding_size": 8, "num_groups": 4}),
    Architecture("PoolFormer", "hf/PoolFormerConfig", options=_STAGES),
    Architecture("Swin", "hf/SwinConfig", options=_SWIN),
    Architecture("Swin V2", "hf/Swinv2Config", options=_SWIN),
    Architecture(
        "SegFormer", "hf/SegformerConfig", options={**_STAGES, "num_attention_heads": [1, 1, 2, 2]}
    ),
    Architecture(
        "FocalNet", "hf/FocalNetConfig", options={"embed_dim": 16, "depths": [1, 1, 2, 1]}
    ),
)
"""Every row of the table: CNNs, Vision Transformers, hierarchical transformers, token mixers."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What the table says of one architecture."""

    architecture: Architecture
    classifier: Classifier | None
    failure: TapError | None

    def as_markdown(self) -> str:
        """One line of the table."""
        architecture = self.architecture
        cells = [architecture.source, architecture.title, architecture.name.partition("/")[2]]
        if self.classifier is None:
            remedy = ", ".join(f"`{tap}`" for tap in architecture.taps)
            cells += [
                "",
                "",
                "",
                "",
                f"not automatically: {architecture.note}. Works with taps {remedy}",
            ]
        else:
            taps = self.classifier.taps
            channels_and_grids = ", ".join(
                f"{tap.channels} on {tap.grid[0]}×{tap.grid[1]}" for tap in taps
            )
            prefix = "/".join(sorted({str(tap.prefix_tokens) for tap in taps}))
            tokens = any(tap.layout == "tokens" for tap in taps)
            cells += [
                self.classifier.family,
                "<br>".join(f"`{tap}`" for tap in taps) + f"<br>{channels_and_grids}",
                prefix if tokens else "",
                prior_in_words(self.classifier),
                f"yes ({architecture.note})" if architecture.note else "yes",
            ]
        return f"| {' | '.join(cells)} |"


def prior_in_words(classifier: Classifier) -> str:
    """What a few-shot head's prior is made of."""
    end = find_linear_end(classifier)
    if end is None or not end.layer:
        return "none"
    tap = evidence_tap(classifier, end)
    if end.pooling == "average":
        return "normalised average" if isinstance(tap, NormalisedShares) else "average"
    return "class token" if isinstance(tap, TokenContributions) else "patch tokens"


def make_row(architecture: Architecture) -> Row:
    """Build the network and let the taps be chosen; a failure of the choice is a result."""
    try:
        return Row(architecture, architecture.load(), None)
    except TapError as failure:
        return Row(architecture, None, failure)


def write_page() -> None:
    """Build every network and write the page anew."""
    torch.set_num_threads(1)
    page = as_markdown([make_row(architecture) for architecture in ARCHITECTURES])
    PAGE.write_text(page, encoding="utf-8")


def as_markdown(rows: list[Row]) -> str:
    """The page ``docs/compatibility.md``."""
    works = sum(row.classifier is not None for row in rows)
    return "\n".join(
        [
            "# Compatibility",
            "",
            "<!-- Written by python -m scripts.docs compatibility; do not edit. -->",
            "",
            f"{len(rows)} architectures are checked by the tests, {works} of them without help: "
            "the network is",
            "built with random weights, its feature taps are chosen from one dry run, and an "
            "untrained explainer",
            "gives finite maps that do not depend on the batch. Networks are small (few blocks, "
            "small images), so",
            "channels and grids are not those of the published weights; the rules are the same. "
            "`ttame inspect`",
            "prints them for any network, and `taps=` or `--taps` names other layers. The smallest "
            "network of each family",
            "of timm stands on [a page of its own](timm-families.md).",
            "",
            "Sources: `torchvision`, `timm`, and `hf` for Hugging Face transformers (there the "
            "name is that of the",
            "configuration class). *Prefix tokens* stand before the patches: class, distillation "
            "and register",
            "tokens; empty for networks that work on grids. *Prior* is what a "
            "[few-shot explainer](few-shot.md) starts",
            "from, and what `class_evidence` shows: the places of an `average` or of a "
            "`normalised average` (both are",
            "CAM, too), what tokens add to a `class token`, or, much poorer and for the few-shot "
            "head alone, the",
            "class-embedding projection of `patch tokens`. With `none` a few-shot head is trained "
            "without a prior, which the",
            "[ablation](few-shot-ablation.md) shows to be worse; `class_evidence` is then to first "
            "order, where a grid in the second half of the network decides the scores alone.",
            "",
            "| source | architecture | name | family | taps, channels and grids | prefix tokens "
            "| prior | works |",
            "|---|---|---|---|---|---|---|---|",
            *(row.as_markdown() for row in rows),
            "",
            "Not supported, each with an error that says so: networks without feature maps or "
            "patch tokens",
            "(plain MLPs), and TorchScript modules (their layers cannot be read; pass the module",
            "they were made from).",
            "",
            situations_as_markdown(),
            "",
        ]
    )
