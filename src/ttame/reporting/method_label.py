"""How a report calls a method."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ttame.explainers.contract.explainer import Explainer


@dataclasses.dataclass(frozen=True)
class MethodLabel:
    """What stands below a picture of a method.

    Attributes:
        title: as people know the method, e.g. ``"Grad-CAM"``.
        one_map: whether the method gives one map for all classes, which must be said where maps
            of several classes stand side by side.
        of_pixels: whether the maps' values belong to single pixels, which are drawn by
            :func:`ttame.drawing.pixel_heatmaps.pixel_heatmaps`.
    """

    title: str
    one_map: bool = False
    of_pixels: bool = False

    @property
    def remark(self) -> str:
        """What must be said about the method below each of its pictures; empty for most."""
        return "one map for all classes" if self.one_map else ""


def method_labels(explainers: Mapping[str, Explainer[Any]]) -> dict[str, MethodLabel]:
    """How a report calls each method: by its title, unless the user calls it otherwise.

    Args:
        explainers: what the user calls a method, to the method.

    Example:
        >>> from ttame.explainers.known_explainers import make_explainer
        >>> from ttame.testing import tiny_classifier
        >>> grad_cam = make_explainer("grad_cam", tiny_classifier())
        >>> found = method_labels({"grad_cam": grad_cam, "mine": grad_cam})
        >>> [label.title for label in found.values()]
        ['Grad-CAM', 'mine']
    """
    return {
        label: MethodLabel(
            explainer.card.title if label == explainer.method else label,
            one_map=not explainer.card.class_specific,
            of_pixels=explainer.card.map_is == "pixels",
        )
        for label, explainer in explainers.items()
    }
