"""Average Drop and Increase in Confidence against how much of the picture the maps keep.

    python -m benchmarks.operating_points [--model NAME] [--explainer FOLDER] [--limit N]

A soft mask loses little where it hides little, so figures of maps with different means do not
compare. Here every method's maps are min-maxed and raised to one power for all photos, the power
that gives them a mean of 0.35, 0.45, 0.55 and 0.65 over the photos; the order of a map's values
stays. A constant map, the same mask everywhere, says what hiding nothing in particular is worth.
Maps are kept in runs/operating_points, so that a run that was stopped goes on. Writes a section of
BENCHMARKS.md and docs/images/operating-points-NAME.svg.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

import ttame
from benchmarks.benchmark_page import table, write_section
from benchmarks.line_chart import Line, line_chart
from ttame.classifiers.classifier import Classifier
from ttame.datasets.open_photos import open_photos
from ttame.datasets.prepared_images import PreparedImages, collate
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.explainers.trained.map_scale import exponents_for_means
from ttame.files.atomic_writing import write_tensors
from ttame.images.pixel_masking import mask_images
from ttame.images.saliency_maps import keep_above_quantile, resize_maps, to_unit_range
from ttame.metrics.average_drop import drop_of, increase_of
from ttame.networks.weights_files import weight_fingerprint

ROOT = Path(__file__).parent.parent
REPORT_PHOTOS = Path(__file__).parent / "photo_splits" / "report-200.txt"
KEPT_MAPS = ROOT / "runs" / "operating_points"
MEANS = (0.35, 0.45, 0.55, 0.65)
SHARES = (1.0, 0.5, 0.15)
BATCH = 20
TRAINED = "few_shot"
CONSTANT = "constant map"
METHODS = {
    "efficientnet_lite0": (
        "few_shot", "t_tame", "grad_cam", "grad_cam_plus_plus", "xgrad_cam", "hires_cam",
        "layer_cam", "cam", "recipro_cam", "eigen_cam", "iia", "input_x_gradient", "smooth_grad",
        "integrated_gradients", "random",
    ),
    "hybrid_vit_lite0": (
        "few_shot", "t_tame", "transformer_attribution", "generic_attention", "attention_rollout",
        "vit_recipro_cam", "grad_cam", "legrad", "random",
    ),
}  # fmt: skip

IN_THE_TABLE_ALONE = (
    "random", "xgrad_cam", "input_x_gradient", "smooth_grad", "integrated_gradients",
)  # fmt: skip
"""Whose lines would press those of the others together."""


@dataclasses.dataclass(frozen=True)
class Point:
    """A method at one mean: Average Drop and Increase in Confidence in percent, by share."""

    mean: float
    exponent: float
    drop: tuple[float, ...]
    increase: tuple[float, ...]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="efficientnet_lite0", choices=list(METHODS))
    parser.add_argument("--data", type=Path, default=REPORT_PHOTOS)
    parser.add_argument("--explainer", help="folder of the few-shot explainer; else the bundled")
    parser.add_argument("--methods", help="separated by commas")
    parser.add_argument("--limit", type=int, default=200)
    parser.add_argument("--no-page", action="store_true", help="only print the table")
    options = parser.parse_args()
    if not options.data.exists():
        raise SystemExit(f"{options.data} is missing: this benchmark needs ../shared/data")
    classifier = ttame.load_classifier(options.model)
    names = options.methods.split(",") if options.methods else METHODS[options.model]
    photos = open_photos(options.data)
    images = PreparedImages(
        photos, classifier.preprocessing, range(min(options.limit, len(photos)))
    )
    views = measured_views(classifier, images)
    points = {}
    for name in names:
        explainer = chosen_explainer(name, classifier, options.explainer)
        maps = kept_maps(explainer, views.images, f"{options.model}-{kept_name(name, explainer)}")
        points[name] = [point_at(views, maps, mean) for mean in MEANS]
        print(name, points[name][2], flush=True)
    points[CONSTANT] = [constant_point(views, mean) for mean in MEANS]
    body = page_section(points, len(images))
    if options.no_page:
        print(body)
        return
    write_charts(points, ROOT / "docs" / "images", options.model)
    given = f" --explainer {options.explainer}" if options.explainer else ""
    write_section(
        f"operating-points-{options.model}",
        f"Figures at equal mean map value: {options.model}",
        f"python -m benchmarks.operating_points --model {options.model} --limit {options.limit}"
        f"{given}",
        body,
    )


def chosen_explainer(name: str, classifier: Classifier, folder: str | None = None) -> Explainer:
    """The method, or the few-shot explainer of a folder instead of the bundled one."""
    if name == TRAINED and folder:
        return ttame.load_explainer(folder, classifier=classifier)
    return make_explainer(name, classifier)


def kept_name(name: str, explainer: Explainer) -> str:
    """The name under which results of an explainer are kept.

    A trained one's holds a SHA-256 of its weights and settings: others are another explainer.
    """
    if not isinstance(explainer, AttentionExplainer):
        return name
    facts = {**explainer.provenance(), "weights": weight_fingerprint(explainer.head)}
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode())
    return f"{name}-{digest.hexdigest()[:8]}"


@dataclasses.dataclass(frozen=True, eq=False)
class Views:
    """All photos, and what the classifier says of them whole.

    Attributes:
        classifier: with folded batch norms, since it looks many times.
        images: (N, 3, H, W).
        classes: (N, 1), the top-1 classes.
        before: (N, 1), their probabilities.
    """

    classifier: Classifier
    images: Tensor
    classes: Tensor
    before: Tensor


@torch.no_grad()
def measured_views(classifier: Classifier, images: PreparedImages) -> Views:
    """Read the photos and look at them once."""
    fast = classifier.for_many_passes()
    everything = torch.cat(
        [collate([images[place] for place in part]).images for part in parts_of(len(images))]
    )
    found = torch.cat([fast.probabilities(everything[list(p)]) for p in parts_of(len(images))])
    classes = found.argmax(dim=1, keepdim=True)
    return Views(fast, everything, classes, found.gather(1, classes))


def parts_of(count: int) -> Iterator[range]:
    """Places of the photos, batch by batch."""
    for first in range(0, count, BATCH):
        yield range(first, min(first + BATCH, count))


def kept_maps(explainer: Explainer, images: Tensor, name: str) -> Tensor:
    """(N, h, w) raw maps of the top-1 classes, computed once."""
    file = KEPT_MAPS / f"{name}-{len(images)}.safetensors"
    if file.exists():
        return load_file(file)["maps"]
    batches = [images[list(part)] for part in parts_of(len(images))]
    maps = torch.cat([explainer(batch).maps[:, 0].float() for batch in batches])
    KEPT_MAPS.mkdir(parents=True, exist_ok=True)
    write_tensors(file, {"maps": maps}, {"method": name})
    return maps


@torch.no_grad()
def point_at(views: Views, maps: Tensor, mean: float) -> Point:
    """Measure all photos with the one power that gives their maps this mean."""
    size = views.classifier.preprocessing.input_size
    values = to_unit_range(resize_maps(maps[:, None], size)[:, 0])
    exponent = exponents_for_means(values.reshape(1, -1), torch.tensor([mean]))[0]
    drops: list[list[Tensor]] = [[] for _ in SHARES]
    increases: list[list[Tensor]] = [[] for _ in SHARES]
    for part in map(list, parts_of(len(maps))):
        rows, before = views.classes[part], views.before[part]
        for number, share in enumerate(SHARES):
            masks = values[part] ** exponent
            if share < 1:
                masks = keep_above_quantile(masks, 1 - share)
            masked = mask_images(
                views.images[part], masks[:, None], views.classifier.preprocessing, "raw"
            )
            after = views.classifier.probabilities(masked).gather(1, rows)
            drops[number].append(drop_of(before, after))
            increases[number].append(increase_of(before, after))
    return Point(
        mean=mean,
        exponent=float(exponent),
        drop=tuple(float(torch.cat(of_share).mean()) for of_share in drops),
        increase=tuple(float(torch.cat(of_share).mean()) for of_share in increases),
    )


@torch.no_grad()
def constant_point(views: Views, mean: float) -> Point:
    """Measure photos that are darkened everywhere; nothing is most relevant, so only at 100 %."""
    drops, increases = [], []
    for part in map(list, parts_of(len(views.images))):
        images, rows, before = views.images[part], views.classes[part], views.before[part]
        masks = torch.full((len(images), 1, *images.shape[2:]), mean)
        masked = mask_images(images, masks, views.classifier.preprocessing, "raw")
        after = views.classifier.probabilities(masked).gather(1, rows)
        drops.append(drop_of(before, after))
        increases.append(increase_of(before, after))
    return Point(
        mean=mean,
        exponent=1.0,
        drop=(float(torch.cat(drops).mean()), math.nan, math.nan),
        increase=(float(torch.cat(increases).mean()), math.nan, math.nan),
    )


def page_section(points: dict[str, list[Point]], photos: int) -> str:
    """The tables, and where the trained explainer is not the best."""
    parts = [
        f"{photos} photos that no training has seen, t-tame masks (min-maxed, soft, removed pixels "
        "black), the classifier's top-1 class. Each method's maps are raised to the one power that "
        "gives them the mean of the column. Per cell: Average Drop (lower is better) / Increase in "
        "Confidence (higher is better), in percent."
    ]
    for number, share in enumerate(SHARES):
        rows = [
            [name if name == CONSTANT else f"`{name}`"]
            + [f"{point.drop[number]:.1f} / {point.increase[number]:.1f}" for point in line]
            for name, line in points.items()
            if not math.isnan(line[0].drop[number])
        ]
        header = ["method", *(f"mean {mean:.0%}" for mean in MEANS)]
        parts.append(f"{share:.0%} of the pixels kept:\n\n{table(header, rows)}")
    parts += [verdict(points, number, share) for number, share in enumerate(SHARES)]
    return "\n\n".join(parts)


def verdict(points: dict[str, list[Point]], number: int, share: float) -> str:
    """Which methods the trained explainer does not beat, mean by mean."""
    if TRAINED not in points:
        return ""
    better = []
    for place, mean in enumerate(MEANS):
        own = points[TRAINED][place]
        for name, line in points.items():
            if line[place].drop[number] < own.drop[number]:
                better.append(f"`{name}` at mean {mean:.0%} (drop)")
            if line[place].increase[number] > own.increase[number]:
                better.append(f"`{name}` at mean {mean:.0%} (increase)")
    found = ", ".join(better) if better else "none"
    return f"Better than `{TRAINED}` at {share:.0%}: {found}."


def write_charts(points: dict[str, list[Point]], folder: Path, model: str) -> None:
    """One picture: drop and increase at 100 % over the mean of the maps."""
    panels: Sequence[tuple[str, list[Line]]] = (
        ("Average Drop 100 %, lower is better", lines(points, lambda point: point.drop[0])),
        ("Increase in Confidence 100 %, higher is better", lines(points, lambda p: p.increase[0])),
        ("Average Drop 50 %, lower is better", lines(points, lambda point: point.drop[1])),
        ("Increase in Confidence 50 %, higher is better", lines(points, lambda p: p.increase[1])),
    )
    drawing = line_chart(panels, "mean of the map", highlighted=TRAINED)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"operating-points-{model.replace('_', '-')}.svg"
    (folder / name).write_text(drawing, encoding="utf-8")


def lines(points: dict[str, list[Point]], value_of: object) -> list[Line]:
    assert callable(value_of)
    return [
        Line(name, [(point.mean, value_of(point)) for point in line])
        for name, line in points.items()
        if name not in IN_THE_TABLE_ALONE and not math.isnan(value_of(line[0]))
    ]


if __name__ == "__main__":
    main()
