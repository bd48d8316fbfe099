"""How a report calls a method."""

from __future__ import annotations

import dataclasses


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
