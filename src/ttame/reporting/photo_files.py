"""The pictures and maps of each explained photo, as files of a report."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from ttame.drawing.explanation_panel import (
    ClassHeatmap,
    MethodHeatmap,
    draw_panel,
    scaled_region,
)
from ttame.drawing.heatmap_overlay import overlay_heatmap
from ttame.errors import ExplainerError
from ttame.files.atomic_writing import write_bytes
from ttame.images.photos import MOST_PIXELS_AT_FULL_SIZE, MOST_PIXELS_REDUCED
from ttame.reporting.explained_image import ExplainedImage, of_one_image
from ttame.reporting.file_names import safe_label
from ttame.reporting.report_contents import ReportFacts
from ttame.results.explanation import Explanation
from ttame.results.prediction import FOUND_FROM

PICTURE = ".jpg"
"""Overlays at a photo's own size take a tenth of what they take as PNG; maps hold the numbers."""

_LONGEST_SIDE = 65_500
"""Of a JPEG."""


class PhotoFiles:
    """Draws explained photos and saves their maps.

    Args:
        folder: the folder of the report.
        facts: what is the same for all photos.
    """

    def __init__(self, folder: Path, facts: ReportFacts) -> None:
        self._folder = folder
        self._facts = facts

    def image(
        self, name: str, photo: Image.Image, explanations: Sequence[Explanation], index: int
    ) -> ExplainedImage:
        """Cut one photo out of explained batches, and check that it can be drawn.

        Args:
            name: what the user calls the photo.
            photo: RGB, as it was opened; not changed.
            explanations: one per method, of a batch that holds the photo, of the same classes.
            index: the index of the photo in the batch.

        Raises:
            ExplainerError: the explanations are about different classes.
            ImageError: no such image in the batch.
            ClassSelectionError: no class was explained.
            NonFiniteMapError: a map holds NaN or infinity.
        """
        cut = tuple(of_one_image(explanation, index) for explanation in explanations)
        _refuse_different_classes(cut)
        region = self._facts.preprocessing.region(photo.size)
        threshold = FOUND_FROM if self._facts.threshold is None else self._facts.threshold
        return ExplainedImage(name, photo, region, cut, threshold, self._facts.strength)

    def write(self, stem: str, image: ExplainedImage) -> tuple[dict[str, Any], dict[str, Any]]:
        """Write the pictures, overlays and maps of one photo.

        Args:
            stem: the stem of the files' names; no other photo of the report has it.
            image: the photo and its explanations.

        Returns:
            What ``explanations.json`` says about it, and what the page shows of it.

        Raises:
            OutputError: the disk is full.
        """
        one = len(image.explanations) == 1
        write = self._write_one_method if one else self._write_several_methods
        files, overlays = write(_drawable(image), stem)
        entry = image.page_entry(files, self._facts.scale, self._facts.labels)
        return image.record(files, overlays), entry

    def _write_one_method(
        self, image: ExplainedImage, stem: str
    ) -> tuple[dict[str, Any], list[dict[str, str]]]:
        """Write the files of an image; return their paths, and those of each class's overlay."""
        method = image.explanation.method
        picture, maps = f"pictures/{stem}{PICTURE}", f"maps/{stem}.safetensors"
        remark = image.remark()
        title = image.heading + (f" – {remark}" if remark else "")
        heatmaps = image.class_heatmaps(self._facts.labels[method])
        if self._facts.pictures == "all":
            self._write_panel(image, heatmaps, title, picture)
        self._write_map(image.explanation, maps)
        overlays: list[dict[str, str]] = []
        for number, shown in enumerate(heatmaps, start=1):
            if self._facts.pictures == "none":
                break
            path = f"overlays/{stem}/{number}-{safe_label(shown.label)}{PICTURE}"
            self._write_overlay(image, shown, path)
            overlays.append({method: path})
        pictures = [picture] if self._facts.pictures == "all" else []
        return {"pictures": pictures, "maps": {method: maps}}, overlays

    def _write_several_methods(
        self, image: ExplainedImage, stem: str
    ) -> tuple[dict[str, Any], list[dict[str, str]]]:
        """Write the files of an image; return their paths, and those of each class's overlays."""
        maps, pictures, overlays = {}, [], []
        for explanation in image.explanations:
            path = f"maps/{stem}/{safe_label(explanation.method)}.safetensors"
            self._write_map(explanation, path)
            maps[explanation.method] = path
        places = image.drawn() if self._facts.pictures != "none" else []
        for number, place in enumerate(places, start=1):
            shown = image.method_heatmaps(place, self._facts.labels)
            label = image.explanation.target_label(0, place)
            folder = f"{stem}/{number}-{safe_label(label)}"
            title = f"{image.heading} – {image.class_title(place)}"
            if self._facts.pictures == "all":
                self._write_panel(image, shown, title, f"pictures/{folder}{PICTURE}")
                pictures.append(f"pictures/{folder}{PICTURE}")
            paths = {method: f"overlays/{folder}/{safe_label(method)}{PICTURE}" for method in maps}
            for tile, path in zip(shown, paths.values(), strict=True):
                self._write_overlay(image, tile, path)
            overlays.append(paths)
        return {"pictures": pictures, "maps": maps}, overlays

    def _write_map(self, explanation: Explanation, path: str) -> None:
        # The folder is a new one, or was swept when its run was continued.
        write_bytes(self._folder / path, explanation.to_bytes(), swept=True)

    def _write_panel(
        self,
        image: ExplainedImage,
        heatmaps: Sequence[ClassHeatmap] | Sequence[MethodHeatmap],
        title: str,
        path: str,
    ) -> None:
        panel = draw_panel(
            image.photo,
            image.region,
            heatmaps,
            title=title,
            scale=self._facts.scale,
            opacity=self._facts.opacity,
        )
        _save_picture(panel, self._folder / path)

    def _write_overlay(
        self, image: ExplainedImage, shown: ClassHeatmap | MethodHeatmap, path: str
    ) -> None:
        overlay = overlay_heatmap(
            image.photo,
            shown.heatmap,
            image.region,
            scale=self._facts.scale,
            opacity=self._facts.opacity * shown.share,
        )
        _save_picture(overlay, self._folder / path)


def _drawable(image: ExplainedImage) -> ExplainedImage:
    """With the photo reduced if it is so long and narrow that it was read at its full size."""
    photo = image.photo
    if photo.width * photo.height <= MOST_PIXELS_AT_FULL_SIZE:
        return image
    excess = photo.width * photo.height / MOST_PIXELS_REDUCED
    width, height = (max(1, int(side / excess**0.5)) for side in photo.size)
    # By a whole number first, in one pass, which is several times quicker.
    reduced = photo.resize((width, height), Image.Resampling.BOX, reducing_gap=1.0)
    region = scaled_region(image.region, photo.size, reduced.size)
    return dataclasses.replace(image, photo=reduced, region=region)


def _refuse_different_classes(explanations: Sequence[Explanation]) -> None:
    for explanation in explanations[1:]:
        first = explanations[0]
        same_classes = torch.equal(explanation.classes, first.classes)
        if not same_classes or explanation.target_labels != first.target_labels:
            raise ExplainerError(
                f"{explanation.method} explains other classes than {first.method}",
                allowed="the same classes or other targets by every method",
                remedy="passing the first explanation's classes to the other explainers",
            )


def _save_picture(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if max(picture.size) > _LONGEST_SIDE:
        picture = picture.copy()
        picture.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE))
    # Colours at full resolution: that of a heatmap is what the picture is about.
    picture.save(path, "JPEG", quality=90, subsampling=0)
