"""All methods on the same real photos with both bundled classifiers: docs/gallery.md

    python -m benchmarks.gallery [--methods NAME,NAME]

Photos of scikit-image's data that anyone may pass on. Takes some minutes on a CPU, because the
perturbation methods make thousands of passes.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from itertools import groupby
from pathlib import Path
from typing import get_args

import skimage
import torch
from PIL import Image, ImageOps

import ttame
from ttame.cli.methods import short_reasons
from ttame.drawing.heatmap_overlay import overlay_heatmap
from ttame.drawing.pixel_heatmaps import pixel_heatmaps
from ttame.explainers.contract.method_card import MethodFamily
from ttame.explainers.known_explainers import EXPLAINERS
from ttame.explainers.trained.explainer_places import bundled_methods
from ttame.images.photo_crop import PhotoRegion
from ttame.images.photos import read_photo
from ttame.images.saliency_maps import to_unit_range

DOCS = Path(__file__).parent.parent / "docs"
PHOTOS = {
    "chelsea.png": "Chelsea the cat, by Stéfan van der Walt (CC0)",
    "coffee.png": "a cup of coffee, by Rachel Michetti (CC0)",
    "rocket.jpg": "a Falcon 9 on its pad, by SpaceX (CC0)",
}
"""Of scikit-image's data, with the credit that its documentation gives."""

TILE = 160
"""Pixels of a tile's side: a row of three fits a page's column."""


CLASSIFIERS = {
    "efficientnet_lite0": "EfficientNet-Lite0, a CNN",
    "hybrid_vit_lite0": "the hybrid Vision Transformer",
}
"""Bundled classifiers, and what the page calls them."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """What the page says about one classifier.

    Attributes:
        top: the explained class of every photo, with its probability.
        methods: those with a picture.
        blank: per method, the photos whose maps have no evidence.
        reasons: why the other methods have no picture.
    """

    top: list[str]
    methods: set[str]
    blank: dict[str, list[str]]
    reasons: dict[str, str]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--methods", help="only these, for a look; the page is not written")
    options = parser.parse_args()
    torch.manual_seed(0)
    names = options.methods.split(",") if options.methods else None
    shown = {name: show(ttame.load_classifier(name), names) for name in CLASSIFIERS}
    if names is None:
        remove_pictures_of_others(shown)
        (DOCS / "gallery.md").write_text(gallery_page(shown), encoding="utf-8")


def show(classifier: ttame.Classifier, names: list[str] | None) -> Shown:
    """Draw all methods' maps of the photos for one classifier."""
    explainers, reasons = ttame.methods_for(classifier, names)
    for method, bundled in bundled_methods(classifier.name).items():
        if reasons.pop(method, None) is not None:
            explainers[method] = ttame.load_explainer(bundled, classifier=classifier)
    photos = [read_photo(Path(skimage.__file__).parent / "data" / name) for name in PHOTOS]
    images = classifier.prepare(photos)
    seen = [photo_as_seen(classifier.preprocessing.region(photo.size), photo) for photo in photos]
    save(strip(seen), DOCS / "images" / "gallery-photos.jpg")
    predicted = ttame.make_explainer("random", classifier)(images)
    blank: dict[str, list[str]] = {}
    for name, explainer in explainers.items():
        began = time.perf_counter()
        explanation = explainer(images, predicted.classes)
        of_pixels = EXPLAINERS[name].card.map_is == "pixels"
        draw = pixel_heatmaps if of_pixels else to_unit_range
        heatmaps = draw(explanation.maps[:, 0])
        whole = PhotoRegion(0, 0, TILE, TILE)
        tiles = [overlay_heatmap(p, m, whole) for p, m in zip(seen, heatmaps, strict=True)]
        save(strip(tiles), DOCS / picture(name, classifier.name))
        evidence = explanation.has_evidence[:, 0].tolist()
        blank[name] = [p for p, found in zip(PHOTOS, evidence, strict=True) if not found]
        print(f"{classifier.name}, {name}: {time.perf_counter() - began:.1f} s", flush=True)
    top = [
        f"{predicted.class_label(int(index))} {float(probability):.0%}"
        for index, probability in zip(
            predicted.classes[:, 0], predicted.class_probabilities[:, 0], strict=True
        )
    ]
    return Shown(top, set(explainers), blank, short_reasons(reasons, classifier.name))


def picture(method: str, classifier: str) -> str:
    """Where the picture of a method lies in the docs."""
    return f"images/gallery-{method}-{classifier.replace('_', '-')}.jpg"


def photo_as_seen(region: PhotoRegion, photo: Image.Image) -> Image.Image:
    """What the network saw of a photo, as a square tile."""
    box = tuple(round(edge) for edge in (region.left, region.top, region.right, region.bottom))
    return photo.convert("RGB").crop(box).resize((TILE, TILE), Image.Resampling.LANCZOS)  # type: ignore[arg-type]


def strip(tiles: list[Image.Image]) -> Image.Image:
    """Tiles in a row, a little apart."""
    row = Image.new("RGB", (len(tiles) * (TILE + 4) - 4, TILE), "white")
    for number, tile in enumerate(tiles):
        row.paste(ImageOps.contain(tile, (TILE, TILE)), (number * (TILE + 4), 0))
    return row


def save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, "JPEG", quality=82, optimize=True)


def remove_pictures_of_others(shown: dict[str, Shown]) -> None:
    """Pictures of methods that are no longer shown."""
    kept = {picture(method, name) for name, found in shown.items() for method in found.methods}
    for path in (DOCS / "images").glob("gallery-*.jpg"):
        if f"images/{path.name}" not in kept | {"images/gallery-photos.jpg"}:
            path.unlink()


def gallery_page(shown: dict[str, Shown]) -> str:
    families = get_args(MethodFamily)
    methods = [
        name for name in EXPLAINERS if any(name in found.methods for found in shown.values())
    ]
    ordered = sorted(methods, key=lambda name: families.index(EXPLAINERS[name].card.family))
    lines = [
        "# Gallery",
        "",
        "<!-- Written by python -m benchmarks.gallery; do not edit. -->",
        "",
        f"{len(methods)} methods on the same three photos, with both bundled classifiers and every "
        "method's default",
        "options, or its bundled explainer. Each map has its own scale: compare places, not "
        "brightness. Maps of single pixels are drawn by",
        "what speaks for the class only, averaged over neighbours, with the brightest 1 % all at "
        "the top.",
        "",
        "![The three photos as the networks saw them](images/gallery-photos.jpg)",
        "",
        "The explained class is the classifier's own top-1:",
        "",
        *(f"- {CLASSIFIERS[name]}: {', '.join(found.top)}." for name, found in shown.items()),
        "",
        "The pictures of the first stand on the left. Photos of scikit-image's data: "
        + "; ".join(PHOTOS.values())
        + ".",
        "",
    ]
    for family, members in groupby(ordered, lambda name: EXPLAINERS[name].card.family):
        lines += [f"## {family.capitalize()}", ""]
        for name in members:
            lines += entry(name, shown)
    lines += ["## Not shown", ""]
    for name, found in shown.items():
        reasons = {method: why for method, why in found.reasons.items() if method in EXPLAINERS}
        lines += [f"For {CLASSIFIERS[name]}:", ""]
        lines += [f"- `{method}`: {why.lstrip(' ,')}." for method, why in reasons.items()]
        lines += [""]
    return "\n".join(lines).rstrip() + "\n"


def entry(method: str, shown: dict[str, Shown]) -> list[str]:
    """One method: its name, remarks, and its pictures side by side."""
    card = EXPLAINERS[method].card
    remarks = [] if card.class_specific else ["one map for all classes"]
    remarks += [
        f"no evidence in {', '.join(found.blank[method])} of {CLASSIFIERS[name]}"
        for name, found in shown.items()
        if found.blank.get(method)
    ]
    remark = f" ({'; '.join(remarks)})" if remarks else ""
    pictures = [
        f"![{card.title}, {CLASSIFIERS[name]}]({picture(method, name)})"
        if method in found.methods
        else "not defined"
        for name, found in shown.items()
    ]
    return [
        f"**[{card.title}](methods.md#{method})**{remark}",
        "",
        "| " + " | ".join(CLASSIFIERS.values()) + " |",
        "|---" * len(shown) + "|",
        "| " + " | ".join(pictures) + " |",
        "",
    ]


if __name__ == "__main__":
    main()
