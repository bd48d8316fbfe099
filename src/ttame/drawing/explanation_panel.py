"""One picture per image: the photo, and next to it an overlay for every class or every method."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw
from torch import Tensor

from ttame.drawing.captions import Font, percent, wrap_caption, writable_caption
from ttame.drawing.colour_scales import DEFAULT_SCALE, N_COLOURS, colour_scale
from ttame.drawing.heatmap_overlay import (
    DEFAULT_OPACITY,
    checked_heatmap,
    covers_photo,
    opacity_scale,
    overlay_heatmap,
)
from ttame.errors import ImageError
from ttame.images.photo_crop import PhotoRegion
from ttame.images.saliency_maps import has_evidence

LARGEST_TILE = 640
"""Pixels of a tile's longer side; larger photos are scaled down."""

SMALLEST_TILE = 320
"""Pixels of a tile's longer side; smaller photos are scaled up, so that captions fit."""

MOST_LARGE_TILES = 13
"""More tiles than these all have the smallest size, or the picture would be too large to open."""

NARROWEST_CELL = 240
"""Pixels of a column's width: what a caption needs next to a tall, narrow photo."""

PAPER = (255, 255, 255)
INK = (28, 28, 32)
FAINT_INK = (104, 104, 112)
_BEHIND_COLOUR_BAR = (176, 176, 180)
_PLEASANT_ASPECT = 1.6
_LINE_SPACING = 1.35


@dataclasses.dataclass(frozen=True, eq=False)
class ClassHeatmap:
    """What one tile of a panel shows, where the tiles differ in their class.

    Attributes:
        label: the name of the class, or what else the map explains.
        probability: what the classifier gives the class, in [0, 1].
        heatmap: (h, w) floating in [0, 1] on the frame of the network's input.
        probability_of: the class that has this probability, if the label is not its name.
        share: the share of the opacity, in [0, 1].
        blank: said of a heatmap that is constant and so points nowhere.

    Example:
        >>> ClassHeatmap("cat", 0.9, [[0.0, 1.0]]).has_evidence
        True
        >>> ClassHeatmap("dog", 0.1, [[0.5, 0.5]]).has_evidence
        False
    """

    label: str
    probability: float
    heatmap: Tensor | ArrayLike
    probability_of: str = ""
    share: float = 1.0
    blank: str = "no evidence"

    @property
    def has_evidence(self) -> bool:
        """False where the heatmap is constant and so points nowhere."""
        return bool(has_evidence(checked_heatmap(self.heatmap)))

    @property
    def figures(self) -> str:
        """What stands below the label."""
        figure = f"{self.probability_of} {percent(self.probability)}".strip()
        return figure + ("" if self.has_evidence else f" · {self.blank}")


@dataclasses.dataclass(frozen=True, eq=False)
class MethodHeatmap:
    """What one tile of a panel shows, where the tiles differ in their method.

    Attributes:
        label: the title of the method.
        heatmap: (h, w) floating in [0, 1] on the frame of the network's input.
        remark: stands below the label if the heatmap has evidence.
        share: the share of the opacity, in [0, 1].
        blank: said of a heatmap that is constant and so points nowhere.

    Example:
        >>> MethodHeatmap("Grad-CAM", [[0.0, 1.0]]).has_evidence
        True
    """

    label: str
    heatmap: Tensor | ArrayLike
    remark: str = ""
    share: float = 1.0
    blank: str = "no evidence"

    @property
    def has_evidence(self) -> bool:
        """False where the heatmap is constant and so points nowhere."""
        return bool(has_evidence(checked_heatmap(self.heatmap)))

    @property
    def figures(self) -> str:
        """What stands below the label."""
        return self.remark if self.has_evidence else self.blank


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Where things stand in a panel, in its pixels."""

    tile: tuple[int, int]
    cell: tuple[int, int]
    columns: int
    rows: int
    gap: int
    font_size: int
    line: int
    header: int
    footer: int

    @property
    def size(self) -> tuple[int, int]:
        width = self.columns * self.cell[0] + (self.columns + 1) * self.gap
        height = self.header + self.rows * (self.cell[1] + self.gap) + self.footer
        return width, height

    def corner(self, number: int) -> tuple[int, int]:
        """(left, top) of tile ``number``, counted along the rows."""
        row, column = divmod(number, self.columns)
        left = self.gap + column * (self.cell[0] + self.gap)
        return left, self.header + row * (self.cell[1] + self.gap)


def draw_panel(
    photo: Image.Image,
    region: PhotoRegion,
    heatmaps: Sequence[ClassHeatmap] | Sequence[MethodHeatmap],
    *,
    title: str = "",
    scale: str = DEFAULT_SCALE,
    opacity: float = DEFAULT_OPACITY,
) -> Image.Image:
    """Draw a photo and one captioned overlay per heatmap, with the colour scale below.

    Args:
        photo: RGB of any size; not changed.
        region: the part of the photo that the network saw, in pixels of the photo.
        heatmaps: at least one, of several classes or of several methods; drawn in this order.
        title: stands above, for example the file's name; nothing if empty.
        scale: one of :func:`ttame.drawing.colour_scales.known_scales`.
        opacity: opacity of the highest value, in [0, 1].

    Returns:
        RGB. Tiles are scaled until their longer side lies between 320 and 640 pixels; of more
        than thirteen each has 320.

    Raises:
        UnknownNameError: no such colour scale.
        ImageError: no heatmap, or what
            :func:`ttame.drawing.heatmap_overlay.overlay_heatmap` refuses.

    Example:
        >>> photo = Image.new("RGB", (64, 48), "grey")
        >>> tabby = ClassHeatmap("tabby", 0.9, [[0.0, 1.0]])
        >>> draw_panel(photo, PhotoRegion(8, 0, 56, 48), [tabby]).mode
        'RGB'
    """
    if not heatmaps:
        raise ImageError("a panel without heatmaps", allowed="at least one explained class")
    layout = _layout(photo.size, [shown.label for shown in heatmaps], bool(title))
    # convert would copy a photo that is RGB already.
    rgb = photo if photo.mode == "RGB" else photo.convert("RGB")
    tile = rgb.resize(layout.tile, Image.Resampling.LANCZOS)
    tile_region = scaled_region(region, photo.size, layout.tile)
    panel = Image.new("RGB", layout.size, PAPER)
    if title:
        _write(panel, (layout.gap, layout.gap), title, layout.font_size + 3, layout.size[0])
    _place(panel, layout, 0, tile, "Photo", "")
    tiles: list[ClassHeatmap | MethodHeatmap] = list(heatmaps)
    for number, shown in enumerate(tiles, start=1):
        overlay = overlay_heatmap(
            tile, shown.heatmap, tile_region, scale=scale, opacity=opacity * shown.share
        )
        _place(panel, layout, number, overlay, shown.label, shown.figures)
    remark = "" if covers_photo(region, photo.size) else "frame: what the network saw"
    _draw_legend(panel, layout, _colour_bar(layout, scale, opacity), remark)
    return panel


def scaled_region(
    region: PhotoRegion, size: tuple[int, int], new_size: tuple[int, int]
) -> PhotoRegion:
    """Say where a region lies after its photo was resized.

    Args:
        region: in pixels of the photo.
        size: (width, height) of the photo.
        new_size: (width, height) of the resized photo.

    Example:
        >>> scaled_region(PhotoRegion(2, 0, 6, 4), (8, 4), (4, 2))
        PhotoRegion(left=1.0, top=0.0, right=3.0, bottom=2.0)
    """
    across, down = new_size[0] / size[0], new_size[1] / size[1]
    return PhotoRegion(
        region.left * across, region.top * down, region.right * across, region.bottom * down
    )


def fitted_size(size: tuple[int, int], smallest: int, largest: int) -> tuple[int, int]:
    """Scale (width, height) until the longer side lies between two bounds.

    Example:
        >>> fitted_size((3000, 500), 320, 640), fitted_size((2, 2), 320, 640)
        ((640, 107), (320, 320))
    """
    longer = max(size)
    factor = min(max(longer, smallest), largest) / longer
    return max(1, round(size[0] * factor)), max(1, round(size[1] * factor))


def _layout(photo_size: tuple[int, int], labels: Sequence[str], has_title: bool) -> _Layout:
    largest = LARGEST_TILE if 1 + len(labels) <= MOST_LARGE_TILES else SMALLEST_TILE
    tile = fitted_size(photo_size, SMALLEST_TILE, largest)
    cell_width = max(tile[0], NARROWEST_CELL)
    font_size = min(22, max(15, round(cell_width / 26)))
    line = round(font_size * _LINE_SPACING)
    gap = font_size + 4
    n_lines = max(len(_caption_lines(label, font_size, cell_width)[0]) for label in labels)
    # Under a tile: some air, the class name, its probability.
    cell = (cell_width, tile[1] + round((n_lines + 1.6) * line))
    n_tiles = 1 + len(labels)
    columns = _best_columns(n_tiles, cell)
    return _Layout(
        tile, cell, columns, math.ceil(n_tiles / columns), gap, font_size, line,
        header=gap + (round(1.9 * line) if has_title else 0), footer=round(1.9 * line),
    )  # fmt: skip


def _best_columns(n_tiles: int, cell: tuple[int, int]) -> int:
    """The number of columns that leaves few holes and comes near a page's aspect."""

    def badness(columns: int) -> float:
        rows = math.ceil(n_tiles / columns)
        aspect = columns * cell[0] / (rows * cell[1])
        return abs(math.log(aspect / _PLEASANT_ASPECT)) + 0.4 * (rows * columns - n_tiles)

    return min(range(1, n_tiles + 1), key=badness)


def _place(
    panel: Image.Image, layout: _Layout, number: int, picture: Image.Image, name: str, figures: str
) -> None:
    """Put a picture and its caption into the cell of tile ``number``."""
    left, top = layout.corner(number)
    panel.paste(picture, (left, top))
    below = top + layout.tile[1] + round(0.35 * layout.line)
    n_lines = _write(panel, (left, below), name, layout.font_size, layout.cell[0], max_lines=2)
    figures_top = below + n_lines * layout.line
    _write(panel, (left, figures_top), figures, layout.font_size, layout.cell[0], FAINT_INK)


def _caption_lines(text: str, size: int, width: int, max_lines: int = 2) -> tuple[list[str], Font]:
    text, font = writable_caption(text, size)
    return wrap_caption(text, font, width, max_lines), font


def _write(
    panel: Image.Image,
    corner: tuple[int, int],
    text: str,
    size: int,
    width: int,
    ink: tuple[int, int, int] = INK,
    max_lines: int = 1,
) -> int:
    """Write ``text`` below and right of ``corner``; return the number of lines."""
    lines, font = _caption_lines(text, size, width, max_lines)
    draw = ImageDraw.Draw(panel)
    for number, line in enumerate(lines):
        # Anchored at the baseline, because fonts differ in how much room they keep above it.
        baseline = corner[1] + round(size * (0.95 + number * _LINE_SPACING))
        draw.text((corner[0], baseline), line, font=font, fill=ink, anchor="ls")
    return len(lines)


def _draw_legend(panel: Image.Image, layout: _Layout, colour_bar: Image.Image, remark: str) -> None:
    """Draw the colour bar between "low" and "high", and a remark where there is room for it."""
    size, gap = layout.font_size - 2, layout.gap // 2
    top = panel.height - layout.gap - size
    bar_top = top + round(0.6 * size) - colour_bar.height // 2
    left = layout.gap
    for part in ("low", colour_bar, "high", remark):
        if isinstance(part, Image.Image):
            panel.paste(part, (left, bar_top))
            left += part.width + gap
            continue
        width = round(writable_caption(part, size)[1].getlength(part))
        # The remark stands apart from what belongs to the bar.
        left += 2 * gap if part == remark else 0
        if left + width <= panel.width:
            _write(panel, (left, top), part, size, width + 1, FAINT_INK)
        left += width + gap


def _colour_bar(layout: _Layout, scale: str, opacity: float) -> Image.Image:
    """The colours as they look on a grey photo, from low to high."""
    width, height = min(layout.cell[0] // 2, 220), max(8, layout.font_size // 2)
    indices = np.linspace(0, N_COLOURS - 1, width).round().astype(np.uint8)
    colours = Image.fromarray(np.repeat(colour_scale(scale)[indices][None], height, axis=0))
    mask = Image.fromarray(np.repeat(opacity_scale(opacity)[indices][None], height, axis=0))
    return Image.composite(colours, Image.new("RGB", (width, height), _BEHIND_COLOUR_BAR), mask)
