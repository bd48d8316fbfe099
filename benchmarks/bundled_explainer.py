"""How faithful the bundled T-TAME head is, next to Grad-CAM, plain CAM and two baselines.

    python -m benchmarks.bundled_explainer [--explainer FOLDER] [--limit N]

Photos that neither training nor any choice has seen: benchmarks/photo_splits/report-200.txt, and
validation images of Tiny-ImageNet. Both lie in ../shared/data, which is not part of the project.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

import ttame
from benchmarks.benchmark_page import table, write_section
from ttame.classifiers.classifier import Classifier
from ttame.datasets.open_photos import open_photos
from ttame.datasets.photo_source import PhotoSource
from ttame.explainers.known_explainers import make_explainer
from ttame.images.pixel_masking import mask_images
from ttame.metrics.average_drop import drop_of, increase_of, published_masks

HERE = Path(__file__).parent
SHARES = (1.0, 0.5, 0.15)
DATA = HERE.parent.parent / "shared" / "data"
SETS = {
    "200 photos kept out": HERE / "photo_splits" / "report-200.txt",
    "Tiny-ImageNet validation": DATA / "tiny-imagenet" / "val-0000.tar",
}
Maps = Callable[[Tensor, Tensor], Tensor]
"""(B, 3, H, W) images and (B,) classes to (B, h, w) raw maps."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--explainer", default="efficientnet_lite0--t-tame")
    parser.add_argument("--limit", type=int, default=200, help="images of each set")
    options = parser.parse_args()
    explainer = ttame.load_explainer(options.explainer)
    classifier = explainer.classifier
    methods = {
        "trained head (t_tame)": lambda images, classes: explainer(images, classes).maps[:, 0],
        "Grad-CAM": posthoc("grad_cam", classifier),
        "plain CAM": posthoc("cam", classifier),
        "centre Gaussian": centre_gaussian,
        "random 7x7": random_maps,
    }
    body = [
        "T-TAME protocol: the classifier's top-1 class, min-maxed map, soft mask, removed pixels "
        "black, softmax probabilities. AD lower is better, IC higher is better, ± is half a 95 % "
        "bootstrap interval. A map that hides nothing has AD 100 % near 0, so the mean of the "
        "drawn map is given next to it."
    ]
    for title, place in SETS.items():
        if not place.exists():
            raise SystemExit(f"{place} is missing: this benchmark needs ../shared/data")
        photos = open_photos(place)
        body.append(f"\n### {title}\n\n" + evaluate(classifier, photos, methods, options.limit))
    accuracy = top1_accuracy(classifier)
    body.append(
        f"\nThe classifier's own top-1 accuracy on all 1000 sample photos: {accuracy:.1f} % "
        "(which proves that its weights are loaded right)."
    )
    command = "python -m benchmarks.bundled_explainer"
    write_section("bundled-explainer", "The bundled explainer", command, "\n".join(body))


def posthoc(name: str, classifier: Classifier) -> Maps:
    method = make_explainer(name, classifier)
    return lambda images, classes: method(images, classes).maps[:, 0]


def centre_gaussian(images: Tensor, classes: Tensor) -> Tensor:
    places = torch.linspace(-1, 1, 28)
    bump = torch.exp(-(places[:, None] ** 2 + places[None] ** 2) / (2 * 0.5**2))
    return bump.expand(len(images), 28, 28)


def random_maps(images: Tensor, classes: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(int(classes.sum()))
    return torch.rand(len(images), 7, 7, generator=generator)


def evaluate(
    classifier: Classifier, photos: PhotoSource, methods: dict[str, Maps], limit: int
) -> str:
    rows: dict[str, list[Tensor]] = {name: [] for name in methods}
    count = min(limit, len(photos))
    # Spread over the whole set, whatever its order.
    chosen = [index * len(photos) // count for index in range(count)]
    for start in range(0, count, 20):
        batch = [photos.read(index) for index in chosen[start : start + 20]]
        images = classifier.prepare(batch)
        with torch.no_grad():
            probabilities = classifier.probabilities(images)
        classes = probabilities.argmax(dim=1)
        before = probabilities.amax(dim=1)
        for name, maps_of in methods.items():
            maps = maps_of(images, classes)[:, None]
            rows[name].append(figures_of(classifier, images, classes, before, maps))
        print(f"{start + len(batch)}/{count}", flush=True)
    lines = [[name, *summarise(torch.cat(parts))] for name, parts in rows.items()]
    header = [
        "method",
        "AD 100 %",
        "IC 100 %",
        "AD 50 %",
        "IC 50 %",
        "AD 15 %",
        "IC 15 %",
        "mean map",
    ]
    return table(header, lines)


@torch.no_grad()
def figures_of(
    classifier: Classifier, images: Tensor, classes: Tensor, before: Tensor, maps: Tensor
) -> Tensor:
    """(B, 7): AD and IC at three shares, and the mean of the drawn map."""
    columns = []
    for share in SHARES:
        masks = published_masks(maps, (images.shape[2], images.shape[3]), share)
        masked = mask_images(images, masks, classifier.preprocessing, "raw")
        after = classifier.probabilities(masked).gather(1, classes[:, None])[:, 0]
        columns += [drop_of(before, after), increase_of(before, after)]
        if share == 1:
            mean = masks.mean(dim=(1, 2, 3))
    return torch.stack([*columns, mean], dim=1)


def summarise(values: Tensor) -> list[str]:
    """Mean ± half of the 95 % bootstrap interval, per column."""
    generator = torch.Generator().manual_seed(0)
    draws = torch.randint(len(values), (2000, len(values)), generator=generator)
    means = values[draws].mean(dim=1)
    low, high = means.quantile(torch.tensor([0.025, 0.975]), dim=0)
    shown = [
        f"{float(mean):.1f} ± {float(half):.1f}"
        for mean, half in zip(values.mean(dim=0), (high - low) / 2, strict=True)
    ]
    return [*shown[:-1], f"{float(values[:, -1].mean()):.2f}"]


def top1_accuracy(classifier: Classifier) -> float:
    photos = open_photos(DATA / "imagenet-samples")
    right = 0
    for start in range(0, len(photos), 50):
        indices = range(start, min(start + 50, len(photos)))
        with torch.no_grad():
            logits = classifier.logits(classifier.prepare([photos.read(i) for i in indices]))
        # The files are called 000_n01440764_tench.jpg: the class index comes first.
        labels = torch.tensor([int(Path(photos.name(i)).name[:3]) for i in indices])
        right += int((logits.argmax(dim=1) == labels).sum())
    return 100 * right / len(photos)


if __name__ == "__main__":
    main()
