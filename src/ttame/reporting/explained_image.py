"""One explained image, as the report writes it into pictures, JSON and page."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ttame.drawing.captions import percent
from ttame.drawing.explanation_panel import ClassHeatmap
from ttame.drawing.heatmap_overlay import covers_photo
from ttame.errors import ClassSelectionError, ImageError, NonFiniteMapError
from ttame.preprocessing import PhotoRegion
from ttame.reporting.embedded_pictures import HEAT_SIDE, heat_address, photo_address
from ttame.results.explanation import Explanation

MOST_DRAWN_CLASSES = 12
"""Of more explained classes only so many are drawn, the most probable ones."""


@dataclasses.dataclass(frozen=True, eq=False)
class ExplainedImage:
    """A photo with the explanation of just this photo.

    Attributes:
        name: what the user calls the image, usually its path.
        photo: RGB, as it was opened.
        region: the part of it that the network saw.
        explanation: of a batch of one image.
    """

    name: str
    photo: Image.Image
    region: PhotoRegion
    explanation: Explanation

    @property
    def heading(self) -> str:
        """The last part of the name.

        Example:
            >>> import torch
            >>> blank = Explanation(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, dtype=torch.int64),
            ...     torch.zeros(1, 2), (8, 8))
            >>> region = PhotoRegion(0, 0, 8, 8)
            >>> ExplainedImage("cats/tabby.png", Image.new("RGB", (8, 8)), region, blank).heading
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
        """What must be said if not all explained classes are drawn; empty otherwise."""
        n_explained, n_drawn = self.explanation.classes.shape[1], len(self.drawn())
        if n_drawn == n_explained:
            return ""
        return f"the {n_drawn} most probable of {n_explained} explained classes"

    def class_heatmaps(self) -> list[ClassHeatmap]:
        """What a panel draws. The maps stay on their own grid: drawing stretches them once."""
        heatmaps = self.explanation.heatmaps(_grid(self.explanation.maps))[0]
        classes = _class_records(self.explanation)
        return [
            ClassHeatmap(classes[place]["name"], classes[place]["probability"], heatmaps[place])
            for place in self.drawn()
        ]

    def record(self, files: dict[str, str], overlays: list[str]) -> dict[str, Any]:
        """Return what ``explanations.json`` says about this image.

        Args:
            files: purpose to path within the report's folder.
            overlays: one path for each of :meth:`drawn`.
        """
        classes = _class_records(self.explanation)
        overlay_of = dict(zip(self.drawn(), overlays, strict=True))
        for place, described in enumerate(classes):
            described["overlay"] = overlay_of.get(place)
        return {
            "name": self.name,
            "files": files,
            "width": self.photo.width,
            "height": self.photo.height,
            "region": dataclasses.asdict(self.region),
            "classes": classes,
        }

    def page_entry(self, files: dict[str, str], scale: str) -> dict[str, Any]:
        """Return what the page's template shows of this image.

        Args:
            files: purpose to path within the report's folder.
            scale: name of the colour scale.
        """
        heatmaps = self.explanation.heatmaps(_page_grid(self.explanation.image_size))[0].cpu()
        classes = _class_records(self.explanation)
        width, height = self.photo.size
        return {
            "name": self.name,
            "heading": self.heading,
            "remark": self.remark(),
            "files": files,
            "photo": photo_address(self.photo),
            "aspect": f"{width} / {height}",
            "wide": width > 2.2 * height,
            "inset": _inset(self.region, self.photo.size),
            "framed": not covers_photo(self.region, self.photo.size),
            "classes": [
                _page_class(classes[place], heatmaps[place], scale) for place in self.drawn()
            ],
        }


def of_one_image(explanation: Explanation, index: int) -> Explanation:
    """Cut one image out of an explained batch, and check that it can be drawn.

    Args:
        explanation: of a batch.
        index: of the image in the batch.

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
    )
    if not bool(torch.isfinite(cut.maps).all()):
        raise NonFiniteMapError(
            f"image {index} of the batch has NaN or infinite maps", allowed="finite maps"
        )
    return cut


def last_part(name: str) -> str:
    """Return what stands behind the last slash, or all of it if nothing does.

    Example:
        >>> last_part("cats/chelsea.png")
        'chelsea.png'
    """
    return re.split(r"[/\\]", name.rstrip("/\\"))[-1] or name


def _class_records(explanation: Explanation) -> list[dict[str, Any]]:
    """One record per explained class of the first image; figures of the raw maps."""
    maps, logits = explanation.maps[0], explanation.logits[0]
    probabilities = explanation.class_probabilities[0].tolist()
    evidence = explanation.has_evidence[0].tolist()
    figures = zip(
        maps.amin((-2, -1)).tolist(),
        maps.amax((-2, -1)).tolist(),
        maps.mean((-2, -1)).tolist(),
        strict=True,
    )
    return [
        {
            "index": index,
            "name": explanation.class_label(index),
            "probability": probabilities[place],
            "rank": 1 + int((logits > logits[index]).sum()),
            "map": {"minimum": minimum, "maximum": maximum, "mean": mean},
            "has_evidence": evidence[place],
        }
        for place, (index, (minimum, maximum, mean)) in enumerate(
            zip(explanation.classes[0].tolist(), figures, strict=True)
        )
    ]


def _page_class(described: dict[str, Any], heatmap: Tensor, scale: str) -> dict[str, Any]:
    return {
        "name": described["name"],
        "percent": percent(described["probability"]),
        "width": f"{100 * described['probability']:.2f}%",
        "rank": described["rank"],
        "heat": heat_address(heatmap.numpy(), scale) if described["has_evidence"] else "",
    }


def _grid(maps: Tensor) -> tuple[int, int]:
    return int(maps.shape[-2]), int(maps.shape[-1])


def _page_grid(image_size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of a heatmap in the page: the network input's aspect, few pixels."""
    factor = min(1.0, HEAT_SIDE / max(image_size))
    return max(1, round(image_size[0] * factor)), max(1, round(image_size[1] * factor))


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
