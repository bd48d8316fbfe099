"""Published comparisons, to be repeated by anyone who has the images."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping
from pathlib import PurePosixPath

from ttame.datasets.chosen_photos import ChosenPhotos
from ttame.datasets.photo_source import PhotoSource
from ttame.errors import UnknownNameError

Published = Mapping[str, Mapping[str, float]]
"""Method to column to number."""


@dataclasses.dataclass(frozen=True)
class Reproduction:
    """The set-up of a published table.

    Attributes:
        name: on the command line.
        title: as a heading.
        model: the network, by its name in ttame.
        methods: names of the registry.
        protocol: name of the preset.
        images: how many validation images were used.
        metrics: the protocol's if empty.
        published: method to column to the number that was printed.
        notes: what a reader of both numbers must know.
    """

    name: str
    title: str
    model: str
    methods: tuple[str, ...]
    protocol: str
    images: int
    metrics: tuple[str, ...] = ()
    published: Published = dataclasses.field(default_factory=dict)
    notes: tuple[str, ...] = ()


_OWN_LIST = (
    "The published list of 2,000 validation images is not available: from a folder with ImageNet's "
    "own file names, the 2,000 whose names have the smallest SHA-256 are taken."
)
_NO_TABLE = "T-TAME's own table was not found, so there is no published number next to ours."
_ONE_NETWORK = (
    "Every method explains the same network here; the published code explained torchvision's "
    "ViT-B/16 with some methods and timm's DeiT-B with others."
)
_TTAME_CNN = (
    "grad_cam",
    "grad_cam_plus_plus",
    "score_cam",
    "ablation_cam",
    "rise",
    "l_cam_img",
    "iia",
    "t_tame",
    "random",
    "centre_gaussian",
)
_TTAME_VIT = (
    "grad_cam",
    "grad_cam_plus_plus",
    "score_cam",
    "ablation_cam",
    "rise",
    "iia",
    "transformer_attribution",
    "t_tame",
    "random",
    "centre_gaussian",
)

REPRODUCTIONS: dict[str, Reproduction] = {
    table.name: table
    for table in (
        Reproduction(
            name="t-tame-vit-b-16",
            title="T-TAME on ViT-B/16",
            model="torchvision/vit_b_16",
            methods=_TTAME_VIT,
            protocol="t-tame",
            images=2000,
            notes=(_OWN_LIST, _NO_TABLE, _ONE_NETWORK),
        ),
        Reproduction(
            name="t-tame-vgg-16",
            title="T-TAME on VGG-16",
            model="torchvision/vgg16",
            methods=_TTAME_CNN,
            protocol="t-tame",
            images=2000,
            notes=(_OWN_LIST, _NO_TABLE),
        ),
        Reproduction(
            name="t-tame-resnet-50",
            title="T-TAME on ResNet-50",
            model="torchvision/resnet50",
            methods=_TTAME_CNN,
            protocol="t-tame",
            images=2000,
            notes=(_OWN_LIST, _NO_TABLE),
        ),
        Reproduction(
            name="chefer-vit-b-16",
            title="Transformer Attribution's perturbation tests on ViT-B/16",
            model="timm/vit_base_patch16_224",
            methods=(
                "attention_rollout",
                "raw_attention",
                "grad_cam",
                "full_lrp",
                "partial_lrp",
                "transformer_attribution",
            ),
            protocol="chefer-target",
            images=50_000,
            published={
                "attention_rollout": {
                    "negative_perturbation": 53.1,
                    "positive_perturbation": 20.05,
                },
                "raw_attention": {"negative_perturbation": 45.55, "positive_perturbation": 23.99},
                "grad_cam": {"negative_perturbation": 42.02, "positive_perturbation": 33.56},
                "full_lrp": {"negative_perturbation": 43.49, "positive_perturbation": 41.93},
                "partial_lrp": {"negative_perturbation": 50.49, "positive_perturbation": 19.64},
                "transformer_attribution": {
                    "negative_perturbation": 55.04,
                    "positive_perturbation": 16.04,
                },
            },
            notes=(
                "Published, and measured here: maps of the labelled class, accuracy against the "
                "label, so --data must be a list file of 'path label' lines. The published images "
                "were squashed to 224x224 without a crop; here the network's own preprocessing is "
                "used. Rollout and raw attention do not depend on the class; their published rows "
                "are those of the predicted class.",
            ),
        ),
        *(
            Reproduction(
                name=f"vit-recipro-cam-deit-{size}-16",
                title=f"ViT-ReciproCAM's ADCC table on DeiT-{size.upper()}/16",
                model=f"timm/deit_{model}_patch16_224",
                methods=("transformer_attribution", "vit_recipro_cam"),
                protocol="adcc",
                images=50_000,
                published=published,
                notes=(
                    "Published: the ground-truth class, bicubic enlargement, coherency and "
                    "complexity on the grid of tokens; vit_recipro_cam is the 3x3 variant.",
                ),
            )
            for size, model, published in (
                (
                    "b",
                    "base",
                    {
                        "transformer_attribution": {
                            "average_drop@100": 55.31,
                            "increase_in_confidence@100": 9.30,
                            "coherency": 79.41,
                            "complexity": 13.17,
                            "adcc": 64.53,
                        },
                        "vit_recipro_cam": {
                            "average_drop@100": 25.82,
                            "increase_in_confidence@100": 14.12,
                            "coherency": 88.61,
                            "complexity": 46.35,
                            "adcc": 69.11,
                        },
                    },
                ),
                (
                    "s",
                    "small",
                    {
                        "transformer_attribution": {
                            "average_drop@100": 55.85,
                            "increase_in_confidence@100": 10.00,
                            "coherency": 80.67,
                            "complexity": 12.53,
                            "adcc": 64.54,
                        },
                        "vit_recipro_cam": {
                            "average_drop@100": 27.69,
                            "increase_in_confidence@100": 17.12,
                            "coherency": 84.58,
                            "complexity": 41.16,
                            "adcc": 70.34,
                        },
                    },
                ),
            )
        ),
    )
}
"""Name to set-up."""


def known_reproduction(name: str) -> Reproduction:
    """A published set-up by its name.

    Raises:
        UnknownNameError: there is none; with near matches.
    """
    if name not in REPRODUCTIONS:
        raise UnknownNameError.of("reproduction", name, REPRODUCTIONS)
    return REPRODUCTIONS[name]


def listed_photos(photos: PhotoSource, count: int) -> PhotoSource:
    """The images of a reproduction.

    Of a set with the names of ImageNet's validation images, those ``count`` whose names have the
    smallest SHA-256: a list that anybody can make again. Any other set is taken as it is.

    Args:
        photos: what the user has.
        count: how many of ImageNet's are wanted.
    """
    names = [PurePosixPath(photos.key(index)).stem for index in range(len(photos))]
    if not all(name.startswith("ILSVRC2012_val_") for name in names) or count >= len(names):
        return photos
    by_hash = sorted(range(len(names)), key=lambda i: hashlib.sha256(names[i].encode()).digest())
    return ChosenPhotos(photos, sorted(by_hash[:count]))
