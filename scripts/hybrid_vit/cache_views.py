"""Write stem features and teacher logits of augmented views, so that the stem runs only once.

The stem of ``hybrid_vit_lite0`` is frozen and equal to EfficientNet-Lite0's, which is also the
teacher: one forward pass of a view gives both what the transformer sees and what it should say.
Each view is drawn from a generator seeded by the numbers of image and view, so that an interrupted
run goes on where it stopped, and any number of processes may write different parts. With other
options it refuses to go on in the same folder.

    python -m scripts.hybrid_vit.cache_views --data PHOTOS --views 2 --out FOLDER
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

import ttame
from scripts.hybrid_vit.command_line import (
    OneLineParser,
    finite_number,
    part_of_all,
    problems_in_one_line,
    whole_number,
)
from scripts.hybrid_vit.noted_options import note_or_compare
from ttame.datasets.open_photos import open_photos
from ttame.datasets.photo_source import PhotoSource
from ttame.files.atomic_writing import write_tensors
from ttame.networks.layer_outputs import reading

STEM = "blocks.4"
"""The last layer at stride 16: 112 channels on a 14x14 grid at 224x224."""
PART = 2000
"""Views in a file: 88 MB of features."""
BATCH = 20

FREE_ON_RESUME = ("out", "part")
"""Options that change where files lie and who writes them, not what is in them."""


def main() -> None:
    """Read the options and write the views."""
    options = read_options()
    with problems_in_one_line():
        cache(options)


def read_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The options of a command line, or of this process."""
    parser = OneLineParser(
        prog="cache_views", description="cache stem features and teacher logits of views"
    )
    parser.add_argument("--data", required=True, help="as `ttame train --data`")
    parser.add_argument("--views", type=whole_number(1), default=2, help="of each photo")
    parser.add_argument(
        "--at-most", type=whole_number(1), help="views in all; all views of all photos"
    )
    parser.add_argument(
        "--smallest-crop",
        type=finite_number(0, 1, above=True),
        default=0.35,
        help="share of the area",
    )
    parser.add_argument("--plain", action="store_true", help="the evaluation view, not augmented")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--part", type=part_of_all, default="0/1", help="i/n: write every n-th file, from i"
    )
    return parser.parse_args(arguments)


def cache(options: argparse.Namespace) -> None:
    """Write the files ``views-*.safetensors`` that are not there yet.

    Beside them goes ``options.json``, so that no folder gets views of two kinds.

    Raises:
        SystemExit: the folder holds views of other options.
    """
    photos = open_photos(options.data)
    options.out.mkdir(parents=True, exist_ok=True)
    note_or_compare(options.out / "options.json", described(options))
    classifier = ttame.load_classifier("efficientnet_lite0").for_many_passes()
    total = len(photos) * options.views
    total = min(total, options.at_most or total)
    part, parts = options.part
    started, done = time.monotonic(), 0
    for place, start in enumerate(range(0, total, PART)):
        path = options.out / f"views-{place:05d}.safetensors"
        if place % parts != part or path.exists():
            continue
        stop = min(start + PART, total)
        # View by view, not image by image: a part holds as many different images as it can.
        pairs = [(index % len(photos), index // len(photos)) for index in range(start, stop)]
        tensors = _cached(
            classifier, photos, pairs, None if options.plain else options.smallest_crop
        )
        write_tensors(path, tensors, {"data": str(options.data), "teacher": classifier.name})
        done += stop - start
        rate = done / (time.monotonic() - started)
        print(f"{path.name}: {stop}/{total}, {rate:.1f} views/s", flush=True)


def described(options: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Which views are written, for ``options.json``."""
    return {"options": {k: v for k, v in vars(options).items() if k not in FREE_ON_RESUME}}


@torch.no_grad()
def _cached(
    classifier: ttame.Classifier,
    photos: PhotoSource,
    pairs: list[tuple[int, int]],
    smallest_crop: float | None,
) -> dict[str, Tensor]:
    features, logits = [], []
    stem = classifier.network.get_submodule(STEM)
    for start in range(0, len(pairs), BATCH):
        views = [
            _view(classifier, photos.read(image), 1_000_003 * view + image, smallest_crop)
            for image, view in pairs[start : start + BATCH]
        ]
        with reading({STEM: stem}) as outputs:
            logits.append(classifier.logits(torch.stack(views)).half())
        features.append(outputs[STEM].half().contiguous())
    labels = [photos.label(image) for image, _ in pairs]
    return {
        "features": torch.cat(features),
        "logits": torch.cat(logits),
        "labels": torch.tensor([-1 if label is None else label for label in labels]),
        "images": torch.tensor([image for image, _ in pairs]),
    }


def _view(
    classifier: ttame.Classifier, photo: Image.Image, seed: int, smallest_crop: float | None
) -> Tensor:
    if smallest_crop is None:
        return classifier.preprocessing.prepare(photo)
    # torchvision's transforms draw from the global generator; this process is all theirs.
    torch.manual_seed(seed)
    transform = v2.Compose(
        [
            v2.RandomResizedCrop(
                classifier.preprocessing.input_size,
                scale=(smallest_crop, 1.0),
                interpolation=v2.InterpolationMode.BICUBIC,
            ),
            v2.RandomHorizontalFlip(),
            v2.ColorJitter(0.3, 0.3, 0.3, 0.02),
        ]
    )
    pixels = v2.functional.pil_to_tensor(transform(photo))
    return classifier.preprocessing.normalise(v2.functional.to_dtype(pixels, scale=True))


if __name__ == "__main__":
    main()
