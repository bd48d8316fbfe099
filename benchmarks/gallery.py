"""All methods on the same real photos with the bundled classifier: docs/gallery.md

    python -m benchmarks.gallery [--methods NAME,NAME]

Photos of scikit-image's data that anyone may pass on. Takes some minutes on a CPU, because the
perturbation methods make thousands of passes.
"""

from __future__ import annotations

import argparse
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
from ttame.explainers.explainer import Explainer
from ttame.explainers.known_explainers import EXPLAINERS
from ttame.explainers.method_card import MethodFamily
from ttame.photos import read_photo
from ttame.preprocessing import PhotoRegion
from ttame.saliency_maps import to_unit_range

DOCS = Path(__file__).parent.parent / "docs"
PHOTOS = {
    "chelsea.png": "Chelsea the cat, by Stéfan van der Walt (CC0)",
    "coffee.png": "a cup of coffee, by Rachel Michetti (CC0)",
    "rocket.jpg": "a Falcon 9 on its pad, by SpaceX (CC0)",
}
"""Of scikit-image's data, with the credit that its documentation gives."""

TILE = 176
"""Pixels of a tile's side: a row of three fits a page's column."""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--methods", help="only these, for a look; the page is not written")
    options = parser.parse_args()
    torch.manual_seed(0)
    classifier = ttame.load_classifier("efficientnet_lite0")
    names = options.methods.split(",") if options.methods else None
    explainers, reasons = ttame.methods_for(classifier, names)
    photos = [read_photo(Path(skimage.__file__).parent / "data" / name) for name in PHOTOS]
    images = classifier.prepare(photos)
    seen = [photo_as_seen(classifier.preprocessing.region(photo.size), photo) for photo in photos]
    folder = DOCS / "images"
    save(strip(seen), folder / "gallery-photos.jpg")
    predicted = ttame.make_explainer("cam", classifier)(images)
    blank: dict[str, list[str]] = {}
    for name, explainer in explainers.items():
        began = time.perf_counter()
        explanation = explainer(images, predicted.classes)
        of_pixels = EXPLAINERS[name].card.map_is == "pixels"
        draw = pixel_heatmaps if of_pixels else to_unit_range
        heatmaps = draw(explanation.maps[:, 0])
        whole = PhotoRegion(0, 0, TILE, TILE)
        tiles = [overlay_heatmap(p, m, whole) for p, m in zip(seen, heatmaps, strict=True)]
        save(strip(tiles), folder / f"gallery-{name}.jpg")
        evidence = explanation.has_evidence[:, 0].tolist()
        blank[name] = [p for p, shown in zip(PHOTOS, evidence, strict=True) if not shown]
        print(f"{name}: {time.perf_counter() - began:.1f} s")
    if names is None:
        remove_pictures_of_others(folder, set(explainers))
        top = [
            f"{predicted.class_label(int(index))} {float(probability):.0%}"
            for index, probability in zip(
                predicted.classes[:, 0], predicted.class_probabilities[:, 0], strict=True
            )
        ]
        page = gallery_page(explainers, short_reasons(reasons, classifier.name), top, blank)
        (DOCS / "gallery.md").write_text(page, encoding="utf-8")


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


def remove_pictures_of_others(folder: Path, names: set[str]) -> None:
    """Pictures of methods that are no longer shown."""
    for path in folder.glob("gallery-*.jpg"):
        if path.stem.removeprefix("gallery-") not in names | {"photos"}:
            path.unlink()


def gallery_page(
    explainers: dict[str, Explainer],
    reasons: dict[str, str],
    top: list[str],
    blank: dict[str, list[str]],
) -> str:
    families = get_args(MethodFamily)
    ordered = sorted(explainers, key=lambda name: families.index(EXPLAINERS[name].card.family))
    lines = [
        "# Gallery",
        "",
        "<!-- Written by python -m benchmarks.gallery; do not edit. -->",
        "",
        f"{len(explainers)} methods on the same three photos, with the bundled classifier "
        "(EfficientNet-Lite0) and",
        "every method's default options. The explained class is the classifier's own top-1: "
        + ", ".join(top)
        + ".",
        "Each map has its own scale: compare places, not brightness. Maps of single pixels are "
        "drawn by what",
        "speaks for the class only, averaged over neighbours, with the brightest 1 % all at the "
        "top.",
        "",
        "![The three photos as the network saw them](images/gallery-photos.jpg)",
        "",
        "Photos of scikit-image's data: " + "; ".join(PHOTOS.values()) + ".",
        "",
    ]
    for family, members in groupby(ordered, lambda name: EXPLAINERS[name].card.family):
        lines += [f"## {family.capitalize()}", ""]
        for name in members:
            card = EXPLAINERS[name].card
            remarks = [] if card.class_specific else ["one map for all classes"]
            remarks += [f"no evidence in {', '.join(blank[name])}"] if blank[name] else []
            remark = f" ({'; '.join(remarks)})" if remarks else ""
            lines += [
                f"**[{card.title}](methods.md#{name})**{remark}",
                "",
                f"![{card.title} on the three photos](images/gallery-{name}.jpg)",
                "",
            ]
    lines += [
        "## Not shown",
        "",
        "No trained Vision Transformer ships with ttame yet, so the methods that need one have "
        "nothing to show",
        "here: maps of random weights mean nothing. They are checked against the published "
        "implementations'",
        "tensors instead, and run on any Vision Transformer of yours.",
        "",
        *(f"- `{name}`: {reason}." for name, reason in reasons.items()),
        "",
    ]
    return "\n".join(lines).rstrip() + "\n"


if __name__ == "__main__":
    main()
