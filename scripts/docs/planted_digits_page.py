"""Writes ``docs/planted-digits.md`` and its picture: python -m scripts.docs planted-digits

Trains two small networks and heads for them, and explains 200 images with every method: about four
minutes on one core.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from benchmarks.planted_digits.digit_classifier import (
    BATCH,
    CONVOLUTIONAL_STEPS,
    STEPS,
    share_recognised,
    trained_convolutional_classifier,
    trained_digit_classifier,
)
from benchmarks.planted_digits.digit_explainer import IMAGES, trained_digit_explainers
from benchmarks.planted_digits.planted_images import CLASSES, plant_digits
from benchmarks.planted_digits.planted_scores import BASELINE, OPTIONS, FoundDigits, Mean
from ttame.cli.methods import short_reasons
from ttame.drawing.captions import writable_caption
from ttame.drawing.heatmap_overlay import overlay_heatmap
from ttame.drawing.pixel_heatmaps import pixel_heatmaps
from ttame.explainers.known_explainers import EXPLAINERS
from ttame.images.preprocessing import PhotoRegion
from ttame.images.saliency_maps import to_unit_range

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "planted-digits.md"
PICTURE = DOCS / "images" / "planted-digits.jpg"

COUNT = 200
FOUND = 80
ONE_MAP_FOR_ALL = 50
BASELINES = ("random", BASELINE)
SHOWN_IMAGES = 4
SHOWN_PAIRS = 2
SHOWN_METHODS = (
    "generic_attention",
    "transformer_attribution",
    "vit_recipro_cam",
    "attn_lrp",
    "few_shot",
    "t_tame",
    "rise",
    "grad_cam",
    "raw_attention",
)
TILE = 96
GAP = 4
CAPTION = 190

CONVOLUTIONAL_HEADING = "## A convolutional network that normalises its average"

_MEAN = r" \| ([\d.]+) \([^|]*"
_ROW = re.compile(rf"^\| \[`(\w+)`\]\(\S+\){_MEAN}{_MEAN}{_MEAN}", re.MULTILINE)


def listed_scores(page: str, *, convolutional: bool = False) -> dict[str, tuple[float, float]]:
    """Method to pointing game and two digits distinguished, as in a table of the page."""
    part = page.split(CONVOLUTIONAL_HEADING)[int(convolutional)]
    return {
        name: (float(pointing), float(apart)) for name, pointing, _, apart in _ROW.findall(part)
    }


def write_page() -> None:
    """Train the networks and heads, measure every method, and write page and picture anew."""
    torch.set_num_threads(1)
    classifier = trained_digit_classifier()
    with tempfile.TemporaryDirectory() as folder:
        trained = trained_digit_explainers(classifier, Path(folder) / "head")
    found = FoundDigits(classifier, trained, COUNT)
    convolutional = trained_convolutional_classifier()
    with tempfile.TemporaryDirectory() as folder:
        trained = trained_digit_explainers(convolutional, Path(folder) / "head")
    found_by_convolutions = FoundDigits(convolutional, trained, COUNT)
    for name in found.explainers:
        print(f"{name}: {found.pointing(name).mean():.1f} %", flush=True)
    page = planted_digits_page(found, found_by_convolutions)
    PAGE.write_text(page, encoding="utf-8")
    picture(found).save(PICTURE, "JPEG", quality=80, optimize=True)


def planted_digits_page(found: FoundDigits, convolutional: FoundDigits) -> str:
    """The whole page from the measured methods on both networks."""
    rows = measured_rows(found)
    reasons = {
        name: "not trained here" if EXPLAINERS[name].card.family == "trained" else reason
        for name, reason in short_reasons(found.reasons, found.classifier.name).items()
    }
    shown = ", ".join(f"`{name}`" for name in SHOWN_METHODS)
    return "\n".join(
        [
            "# Do the methods find what decides?",
            "",
            "<!-- Written by python -m scripts.docs planted-digits; do not edit. -->",
            "",
            "Nobody knows which pixels of a photo a network really used. Here it is known, because",
            "the images are made for it: a handwritten digit of scikit-learn's set is planted on a",
            "random texture, next to a *decoy*, another digit cut into sixteen pieces and put",
            "together at random. Texture, ink, places and decoy are drawn without a look at the",
            "label: a Vision Transformer that names the digit must have found it.",
            "",
            "![Images with the digit's box, and maps](images/planted-digits.jpg)",
            "",
            "From the top: images with a frame, which is not part of them, around the digit that "
            "is asked for; then the",
            f"maps of {shown}.",
            "The last four columns show two images with two digits, each asked for once.",
            "",
            *_network(found),
            "",
            "## Scores",
            "",
            f"{COUNT} images with held-out digits, {COUNT // CLASSES} of each; the explained class "
            "is the planted digit.",
            "The [pointing game](metrics.md#pointing_game) asks whether the map's maximum lies in "
            "the digit's",
            "box, [energy inside](metrics.md#energy_inside) how much of the map does. The box is "
            "6.25 % of the",
            "image, which is what a blind guess scores. *Two digits distinguished*: in "
            f"{COUNT // 2} images with two different",
            "digits and no decoy, both classes are explained, and each map should be highest on "
            "its own digit; one",
            "map for all classes gets 50 % at best. In brackets: 95 % bootstrap intervals over the "
            "images.",
            "",
            *_table(rows),
            "",
            "*Clearly above the centre*: the interval of the pointing game lies wholly above that "
            f"of `{BASELINE}`,",
            "which always points at the middle of the image. To save time "
            + _changed_options()
            + "; all other",
            "options are the defaults.",
            f"Heads were trained without labels on {IMAGES:,} other images, in seconds.",
            "",
            *_what_it_says(rows),
            "",
            "## Not measured",
            "",
            *(f"- `{name}`: {reason}." for name, reason in reasons.items()),
            "",
            CONVOLUTIONAL_HEADING,
            "",
            *_convolutional_network(convolutional),
            "",
            *_table(measured_rows(convolutional)),
            "",
        ]
    )


def _table(rows: Sequence[Row]) -> list[str]:
    return [
        "| method | pointing game (%) ↑ | energy inside (%) ↑ | two digits distinguished (%) ↑ | "
        "clearly above the centre |",
        "|---|---:|---:|---:|:-:|",
        *(row.in_markdown() for row in rows),
    ]


def _network(found: FoundDigits) -> list[str]:
    """What the network is, and that the digit decides."""
    whole, without_decoy, without_digit = _shares_recognised(found)
    return [
        "The network has three blocks of width 64 and sees 64×64 pixels as 8×8 patches; a digit "
        "covers four",
        f"of them. It was trained from nothing on {STEPS * BATCH:,} such images, less than half a "
        "minute on one core;",
        "the test suite does it anew in every run and asks the same questions as this page.",
        f"Of 2,000 images with held-out digits it names {whole}; {without_decoy} where the decoy "
        "is taken away,",
        f"and {without_digit} where the digit is: no more than guessing, 10 %. So what decides "
        "lies in the box.",
    ]


def _convolutional_network(found: FoundDigits) -> list[str]:
    whole, without_decoy, without_digit = _shares_recognised(found)
    return [
        "Five convolutions to an 8×8 grid, whose average a LayerNorm normalises before the linear "
        "layer reads it, as in",
        f"ConvNeXt; trained on {CONVOLUTIONAL_STEPS * BATCH:,} images, a quarter of a minute on "
        "one core. It names",
        f"{whole} of the same images, {without_decoy} without the decoy and {without_digit} "
        "without the digit. `cam`, `class_evidence`",
        "and the few-shot explainer's prior show each place's share in the normalised average, at "
        "the divisor that the",
        "image has; gradients also see how a place would change the divisor.",
    ]


def _shares_recognised(found: FoundDigits) -> tuple[str, ...]:
    """Of whole images, and without the decoy and the digit, how many are named; in words."""
    images = plant_digits("held out", 2000, torch.Generator().manual_seed(1))
    return tuple(
        f"{100 * share_recognised(found.classifier, pixels, images.labels):.1f} %"
        for pixels in (
            images.pixels,
            images.without(images.decoys),
            images.without(images.digits),
        )
    )


def _changed_options() -> str:
    return "; ".join(
        f"`{name}` has " + ", ".join(f"`{option}` {value}" for option, value in options.items())
        for name, options in OPTIONS.items()
    )


class Row(NamedTuple):
    """A method's line of the table."""

    name: str
    pointing: Mean
    energy: Mean
    telling_apart: Mean
    above_centre: bool

    def in_markdown(self) -> str:
        """The line itself."""
        scores = " | ".join(
            f"{score.mean:.1f} ({score.low:.1f} to {score.high:.1f})"
            for score in (self.pointing, self.energy, self.telling_apart)
        )
        answer = "yes" if self.above_centre else "no"
        return f"| [`{self.name}`](methods.md#{self.name}) | {scores} | {answer} |"


def measured_rows(found: FoundDigits) -> list[Row]:
    """The best in the pointing game first."""
    centre = Mean.of(found.pointing(BASELINE))
    rows = []
    for name in found.explainers:
        pointing = Mean.of(found.pointing(name))
        above = pointing.low > centre.high
        energy, telling_apart = Mean.of(found.energy(name)), Mean.of(found.telling_apart(name))
        rows.append(Row(name, pointing, energy, telling_apart, above))
    return sorted(rows, key=lambda row: (row.pointing, row.energy), reverse=True)


def _what_it_says(rows: Sequence[Row]) -> list[str]:
    others = [row for row in rows if row.name not in BASELINES]
    found = [row.name for row in others if row.pointing.low > FOUND]
    partly = [row.name for row in others if row.above_centre and row.name not in found]
    missed = [row.name for row in others if not row.above_centre]
    apart = [row.name for row in others if row.telling_apart.low > ONE_MAP_FOR_ALL]
    alike = [
        row.name
        for row in others
        if EXPLAINERS[row.name].card.class_specific and row.name not in apart
    ]
    return [
        "**What it says.**",
        "",
        f"- These point at the digit in more than {FOUND} % of the images, with the whole "
        f"interval: {_listed(found)}.",
        "- These point at it clearly more often than the centre does, but less reliably: "
        f"{_listed(partly)}.",
        f"- Not clearly better than the centre of the image: {_listed(missed)}.",
        f"- Of two digits these point at the one that is asked for more often than one map for all "
        f"classes could: {_listed(apart)}.",
        "- These make a map for each class, but here it is not distinguishably better at that: "
        f"{_listed(alike)}.",
        "",
        "**What it does not say.**",
        "",
        "- It is one small network on pictures that are simpler than photos.",
        "- Finding the digit next to a decoy needs no class: maps of attention that are the same "
        "for every class do it.",
        "  Only the column with two digits asks for the class.",
        "- The box is known to hold what decides, not which of its pixels do.",
        "- Energy inside scales a map by its minimum and maximum. Signed maps are then grey where "
        "they are 0, and",
        "  score low however well they point. Compare energies among methods without negative "
        "values.",
        "- The order of the methods is that of this network. One that does well here may fail "
        "elsewhere, and the other way",
        "  round; the [leaderboard](leaderboard.md) has other networks.",
    ]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def picture(found: FoundDigits) -> Image.Image:
    """A row of images and one for each method: images with a decoy, then with two digits."""
    rows = [_framed_images(found)] + [_overlays(found, name) for name in SHOWN_METHODS]
    step = TILE + GAP
    width = CAPTION + len(rows[0]) * step - GAP
    sheet = Image.new("RGB", (width, len(rows) * step - GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for row, (caption, tiles) in enumerate(zip(("image", *SHOWN_METHODS), rows, strict=True)):
        text, font = writable_caption(caption, 14)
        draw.text((0, row * step + TILE // 2), text, fill="black", font=font, anchor="lm")
        for column, tile in enumerate(tiles):
            sheet.paste(tile, (CAPTION + column * step, row * step))
    return sheet


def _shown_pixels(found: FoundDigits) -> Tensor:
    """(N, 3, 64, 64); an image with two digits comes twice, once for each of them."""
    pairs = found.pairs.pixels[:SHOWN_PAIRS].repeat_interleave(2, dim=0)
    return torch.cat([found.images.pixels[:SHOWN_IMAGES], pairs])


def _shown_boxes(found: FoundDigits) -> Tensor:
    """(N, 64, 64) bool, of the digit that is asked for."""
    pairs = torch.stack([found.pairs.digits, found.pairs.decoys], dim=1)[:SHOWN_PAIRS]
    return torch.cat([found.images.digits[:SHOWN_IMAGES], pairs.flatten(0, 1)])


def _tiles(found: FoundDigits) -> list[Image.Image]:
    pixels = (255 * _shown_pixels(found)).to(torch.uint8).permute(0, 2, 3, 1)
    return [Image.fromarray(image.numpy()).resize((TILE, TILE)) for image in pixels]


def _framed_images(found: FoundDigits) -> list[Image.Image]:
    tiles = _tiles(found)
    for tile, box in zip(tiles, _shown_boxes(found), strict=True):
        ImageDraw.Draw(tile).rectangle(_edges(box), outline="white", width=2)
    return tiles


def _edges(box: Tensor) -> tuple[float, float, float, float]:
    """(left, top, right, bottom) of a (64, 64) bool box in pixels of a tile."""
    rows, columns = (box.any(dim=axis).nonzero() for axis in (1, 0))
    scale = TILE / len(box)
    return (
        float(columns.min() * scale),
        float(rows.min() * scale),
        float((columns.max() + 1) * scale - 1),
        float((rows.max() + 1) * scale - 1),
    )


def _overlays(found: FoundDigits, name: str) -> list[Image.Image]:
    pairs = found.pair_maps(name)[:SHOWN_PAIRS].flatten(0, 1)
    draw = pixel_heatmaps if EXPLAINERS[name].card.map_is == "pixels" else to_unit_range
    heatmaps = draw(torch.cat([found.maps(name)[:SHOWN_IMAGES], pairs]))
    whole = PhotoRegion(0, 0, TILE, TILE)
    return [
        overlay_heatmap(tile, heatmap, whole)
        for tile, heatmap in zip(_tiles(found), heatmaps, strict=True)
    ]
