"""One explained image, as the report writes it into pictures, JSON and page."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from PIL import Image

from ttame.drawing.captions import percent
from ttame.drawing.explanation_panel import ClassHeatmap, MethodHeatmap, scaled_region
from ttame.drawing.heatmap_overlay import covers_photo, overlay_heatmap
from ttame.drawing.map_strength import Strength
from ttame.errors import ClassSelectionError, ImageError, NonFiniteMapError
from ttame.files.printable_names import printable
from ttame.images.photo_crop import PhotoRegion
from ttame.images.photos import full_size
from ttame.reporting.drawn_tiles import blank_of, compared_names, drawn_of, page_tiles
from ttame.reporting.embedded_pictures import THUMBNAIL_SIDE, photo_address, thumbnail_address
from ttame.reporting.method_label import MethodLabel
from ttame.results.explanation import Explanation
from ttame.results.prediction import FOUND_FROM

MOST_DRAWN_CLASSES = 12
"""Of more explained classes only so many are drawn, the most probable ones."""


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainedImage:
    """A photo with the explanations of just this photo, of the same classes by each method.

    Attributes:
        name: what the user calls the image, usually its path.
        photo: RGB, as it was opened.
        region: the part of it that the network saw.
        explanations: one per method, each of a batch of one image; all of the same classes.
        threshold: the probability from which one of independent findings counts as found.
        strength: the strength of the maps in the pictures.
    """

    name: str
    photo: Image.Image
    region: PhotoRegion
    explanations: tuple[Explanation, ...]
    threshold: float = FOUND_FROM
    strength: Strength = "own"

    @property
    def explanation(self) -> Explanation:
        """The first method's, which stands for the prediction."""
        return self.explanations[0]

    @property
    def heading(self) -> str:
        """The last part of the name.

        Example:
            >>> import torch
            >>> blank = Explanation(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, dtype=torch.int64),
            ...     torch.zeros(1, 2), (8, 8))
            >>> region = PhotoRegion(0, 0, 8, 8)
            >>> ExplainedImage("cats/tabby.png", Image.new("RGB", (8, 8)), region, (blank,)).heading
            'tabby.png'
        """
        return last_part(self.name)

    def drawn(self) -> list[int]:
        """Places among the explained classes of those that are drawn, in their order."""
        probabilities = self.explanation.class_probabilities[0]
        if len(probabilities) <= MOST_DRAWN_CLASSES:
            return list(range(len(probabilities)))
        places: list[int] = probabilities.topk(MOST_DRAWN_CLASSES).indices.tolist()
        return places

    def remark(self) -> str:
        """What must be said of the picture as a whole; empty if nothing must."""
        remarks = []
        if not bool(self.explanation.found(self.threshold).any()):
            remarks.append(f"none of them: no finding reaches {percent(self.threshold)}")
        n_explained, n_drawn = self.explanation.classes.shape[1], len(self.drawn())
        if n_drawn < n_explained:
            remarks.append(f"the {n_drawn} most probable of {n_explained} explained classes")
        return "; ".join(remarks)

    def class_heatmaps(self, label: MethodLabel) -> list[ClassHeatmap]:
        """What a panel about one method draws: a tile for each class.

        The maps stay on their own grid: drawing stretches them once.

        Args:
            label: the label of the method.
        """
        maps = drawn_of(self.explanation, label, self.strength)
        classes = _class_records(self.explanation)
        return [
            ClassHeatmap(
                classes[place]["name"],
                classes[place]["probability"],
                maps.heatmaps[place],
                _probability_of(classes[place]),
                maps.shares[place],
                blank_of(self.explanation, place, self.strength),
            )
            for place in self.drawn()
        ]

    def method_heatmaps(self, place: int, labels: Mapping[str, MethodLabel]) -> list[MethodHeatmap]:
        """What a panel about one class draws: a tile for each method.

        Args:
            place: the place of the class among the explained ones.
            labels: method to label.
        """
        drawn = []
        for explanation in self.explanations:
            label = labels[explanation.method]
            maps = drawn_of(explanation, label, self.strength)
            blank = blank_of(explanation, place, self.strength)
            heatmap, share = maps.heatmaps[place], maps.shares[place]
            drawn.append(MethodHeatmap(label.title, heatmap, label.remark, share, blank))
        return drawn

    def class_title(self, place: int) -> str:
        """Name and probability of an explained class, or of the one that stands for a target."""
        described = _class_records(self.explanation)[place]
        return f"{described['name']}, {_percent(described)}"

    def record(
        self, files: Mapping[str, Any], overlays: Sequence[Mapping[str, str]]
    ) -> dict[str, Any]:
        """Return what ``explanations.json`` says about this image.

        Args:
            files: purpose to paths within the report's folder.
            overlays: for each of :meth:`drawn`, method to path; empty if none were drawn.
        """
        classes = _class_records(self.explanation)
        width, height = full_size(self.photo)
        overlays_of = dict(zip(self.drawn(), overlays, strict=False))  # There may be none.
        figures = {one.method: _map_records(one) for one in self.explanations}
        for place, described in enumerate(classes):
            described["maps"] = {
                method: {**maps[place], "overlay": overlays_of.get(place, {}).get(method)}
                for method, maps in figures.items()
            }
        return {
            "name": self.name,
            "files": dict(files),
            "width": width,
            "height": height,
            "region": dataclasses.asdict(
                scaled_region(self.region, self.photo.size, (width, height))
            ),
            "prediction": self._prediction(),
            "classes": classes,
        }

    def _prediction(self) -> dict[str, Any]:
        """The most probable class, explained or not, and which of independent ones are found."""
        most_probable = self._class(int(self.explanation.logits[0].argmax()))
        if self.explanation.exclusive:
            return most_probable
        places = self.explanation.found(self.threshold)[0].nonzero().flatten().tolist()
        found = sorted(map(self._class, places), key=lambda each: -float(each["probability"]))
        return {**most_probable, "found": found}

    def _class(self, index: int) -> dict[str, Any]:
        return {
            "index": index,
            "name": self.explanation.class_label(index),
            "probability": float(self.explanation.probabilities[0, index]),
        }

    def _mark(self, place: int) -> str:
        """What stands next to the percentage of one of several independent findings."""
        index = self.explanation.classes[0, place]
        if self.explanation.exclusive:
            return ""
        return "" if self.explanation.found(self.threshold)[0, index] else "not found"

    def page_entry(
        self, files: Mapping[str, Any], scale: str, labels: Mapping[str, MethodLabel]
    ) -> dict[str, Any]:
        """Return what the page's template shows of this image.

        Args:
            files: purpose to paths within the report's folder.
            scale: name of the colour scale.
            labels: method to label.
        """
        classes = _class_records(self.explanation)
        drawn = self.drawn()
        tiles = [page_tiles(one, drawn, scale, labels[one.method]) for one in self.explanations]
        others = compared_names(self.explanation)
        width, height = self.photo.size
        most_probable = max(classes[place]["probability"] for place in drawn)
        return {
            "name": self.name,
            "heading": self.heading,
            "remark": self.remark(),
            "files": dict(files),
            "photo": photo_address(self.photo),
            "thumbnail": self._thumbnail(scale, labels),
            "aspect": f"{width} / {height}",
            "wide": width > 2.2 * height,
            "inset": _inset(self.region, self.photo.size),
            "framed": not covers_photo(self.region, self.photo.size),
            "classes": [
                {
                    **_page_class(
                        classes[place],
                        [row[number] for row in tiles],
                        self._mark(place),
                        most_probable,
                    ),
                    "other": others[place],
                }
                for number, place in enumerate(drawn)
            ],
        }

    def _thumbnail(self, scale: str, labels: Mapping[str, MethodLabel]) -> str:
        """The first method's picture of the first drawn class, small."""
        explanation = self.explanation
        place = self.drawn()[0]
        # On its own scale: a contrast of the most probable class may be dark everywhere.
        heatmaps = drawn_of(explanation, labels[explanation.method], "own").heatmaps
        small = self.photo.convert("RGB")
        small.thumbnail((2 * THUMBNAIL_SIDE, 2 * THUMBNAIL_SIDE), reducing_gap=2.0)
        region = scaled_region(self.region, self.photo.size, small.size)
        return thumbnail_address(overlay_heatmap(small, heatmaps[place], region, scale=scale))


def of_one_image(explanation: Explanation, index: int) -> Explanation:
    """Cut one image out of an explained batch, and check that it can be drawn.

    Args:
        explanation: an explanation of a batch.
        index: the index of the image in the batch.

    Returns:
        An explanation of a batch of one, on the CPU.

    Raises:
        ImageError: no such image in the batch.
        ClassSelectionError: no class was explained.
        NonFiniteMapError: a map holds NaN or infinity.

    Example:
        >>> import torch
        >>> batch = Explanation(torch.zeros(3, 2, 7, 7), torch.zeros(3, 2, dtype=torch.int64),
        ...     torch.zeros(3, 10), (224, 224))
        >>> of_one_image(batch, 1).maps.shape
        torch.Size([1, 2, 7, 7])
    """
    n_images, n_classes = explanation.classes.shape
    if not 0 <= index < n_images:
        raise ImageError(f"image {index} of the batch", allowed=f"0 to {n_images - 1}")
    if not n_classes:
        raise ClassSelectionError("an explanation of no class", allowed="at least one class")
    chosen = slice(index, index + 1)
    # Copies, so that nothing keeps the whole batch alive.
    cut = dataclasses.replace(
        explanation,
        maps=explanation.maps[chosen].detach().float().cpu().clone(),
        classes=explanation.classes[chosen].cpu().clone(),
        logits=explanation.logits[chosen].detach().float().cpu().clone(),
        probabilities=explanation.probabilities[chosen].detach().cpu().clone(),
        target_labels=explanation.target_labels[chosen],
        photos=explanation.photos[chosen],
    )
    if not bool(torch.isfinite(cut.maps).all()):
        raise NonFiniteMapError(
            f"image {index} of the batch has NaN or infinite maps", allowed="finite maps"
        )
    return cut


def skipped_record(name: str, reason: str) -> dict[str, Any]:
    """What ``explanations.json`` and the page say about a photo that was not explained."""
    return {"name": name, "heading": last_part(name), "reason": reason}


def last_part(name: str) -> str:
    """Return what stands behind the last slash, or all of it if nothing does, on one line.

    Example:
        >>> last_part("cats/chelsea.png")
        'chelsea.png'
    """
    return printable(re.split(r"[/\\]", name.rstrip("/\\"))[-1] or name)


def _class_records(explanation: Explanation) -> list[dict[str, Any]]:
    """One record per explained class, or other target, of the first image."""
    logits = explanation.logits[0]
    probabilities = explanation.class_probabilities[0].tolist()
    return [
        {
            "index": index,
            "name": explanation.target_label(0, place),
            "class": explanation.class_label(index),
            "probability": probabilities[place],
            "rank": 1 + int((logits > logits[index]).sum()),
        }
        for place, index in enumerate(explanation.classes[0].tolist())
    ]


def _probability_of(described: dict[str, Any]) -> str:
    """The class whose probability is shown, where the name alone does not say it."""
    return "" if described["class"] == described["name"] else str(described["class"])


def _percent(described: dict[str, Any]) -> str:
    return f"{_probability_of(described)} {percent(described['probability'])}".strip()


def _map_records(explanation: Explanation) -> list[dict[str, Any]]:
    """Figures of the raw map of every explained class of the first image."""
    maps = explanation.maps[0]
    figures = zip(
        maps.amin((-2, -1)).tolist(),
        maps.amax((-2, -1)).tolist(),
        maps.mean((-2, -1)).tolist(),
        explanation.has_evidence[0].tolist(),
        strict=True,
    )
    names = ("minimum", "maximum", "mean", "has_evidence")
    return [dict(zip(names, values, strict=True)) for values in figures]


def _page_class(
    described: dict[str, Any], tiles: list[dict[str, str]], mark: str, most_probable: float
) -> dict[str, Any]:
    return {
        "mark": mark,
        "name": described["name"],
        "percent": _percent(described),
        "width": f"{100 * described['probability']:.2f}%",
        "probability": described["probability"],
        "strength": f"{described['probability'] / (most_probable or 1):.4f}",
        "rank": described["rank"],
        "tiles": tiles,
    }


def _inset(region: PhotoRegion, photo_size: tuple[int, int]) -> str:
    """The region as CSS has it: distances from top, right, bottom and left in percent."""
    width, height = photo_size
    distances = (
        region.top / height,
        1 - region.right / width,
        1 - region.bottom / height,
        region.left / width,
    )
    return " ".join(f"{100 * distance:.4f}%" for distance in distances)
