"""What stands on each tile of a report: the maps of one photo as they are drawn."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ttame.drawing.map_strength import DrawnMaps, Strength, compared_with, drawn_maps
from ttame.images.saliency_maps import resize_maps
from ttame.reporting.embedded_pictures import HEAT_SIDE, heat_address
from ttame.reporting.method_label import MethodLabel
from ttame.results.explanation import Explanation


def drawn_of(explanation: Explanation, label: MethodLabel, strength: Strength) -> DrawnMaps:
    """The maps of the first image, one for each explained class, as they are drawn."""
    return drawn_maps(
        explanation.maps[0].cpu(),
        explanation.class_probabilities[0],
        strength,
        of_pixels=label.of_pixels,
    )


def compared_names(explanation: Explanation) -> list[str]:
    """For each explained class the name of the one that its contrast is with."""
    probabilities = explanation.class_probabilities[0]
    if len(probabilities) < 2:
        return [""] * len(probabilities)
    return [explanation.target_label(0, place) for place in compared_with(probabilities)]


def blank_of(explanation: Explanation, place: int, strength: Strength) -> str:
    """What is said of a drawn map that is the same everywhere."""
    if strength != "contrast" or not bool(explanation.has_evidence[0, place]):
        return "no evidence"
    return f"nowhere above {compared_names(explanation)[place]}"


def page_tiles(
    explanation: Explanation, places: list[int], scale: str, label: MethodLabel
) -> list[dict[str, str]]:
    """One method's picture of each drawn class, and of its contrast if there are several.

    Args:
        explanation: an explanation of one image.
        places: the places of the drawn classes among the explained ones.
        scale: name of the colour scale.
        label: the label of the method.
    """
    several = len(explanation.maps[0]) > 1
    heatmaps = _page_heatmaps(explanation, label, "own", places)
    evidence = explanation.has_evidence[0].tolist()
    tiles = [
        {
            "title": label.title,
            "remark": label.remark,
            "heat": heat_address(heatmap, scale) if evidence[place] else "",
            "contrast": "",
        }
        for place, heatmap in zip(places, heatmaps, strict=True)
    ]
    if several:
        for tile, heatmap in zip(
            tiles, _page_heatmaps(explanation, label, "contrast", places), strict=True
        ):
            tile["contrast"] = heat_address(heatmap, scale)
    return tiles


def _page_heatmaps(
    explanation: Explanation, label: MethodLabel, strength: Strength, places: list[int]
) -> list[NDArray[np.float32]]:
    """Of each drawn class (H, W) in [0, 1], as large as the page has them."""
    maps = drawn_of(explanation, label, strength).heatmaps[places]
    return [*resize_maps(maps[None], _page_grid(explanation.image_size))[0].numpy()]


def _page_grid(image_size: tuple[int, int]) -> tuple[int, int]:
    """(H, W) of a heatmap in the page: the network input's aspect, few pixels."""
    factor = min(1.0, HEAT_SIDE / max(image_size))
    return max(1, round(image_size[0] * factor)), max(1, round(image_size[1] * factor))
