"""A folder with explained images: pictures, maps, one JSON file and one page."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import torch
from numpy.typing import ArrayLike
from PIL import Image
from torch import Tensor

from ttame.drawing.colour_scales import DEFAULT_SCALE, colour_scale
from ttame.drawing.explanation_panel import (
    ClassHeatmap,
    MethodHeatmap,
    draw_panel,
    scaled_region,
)
from ttame.drawing.heatmap_overlay import DEFAULT_OPACITY, opacity_scale, overlay_heatmap
from ttame.errors import ExplainerError
from ttame.files.atomic_writing import whole_folder
from ttame.images.photos import MOST_PIXELS_AT_FULL_SIZE, MOST_PIXELS_REDUCED
from ttame.images.preprocessing import Preprocessing
from ttame.reporting.explained_image import ExplainedImage, last_part, of_one_image
from ttame.reporting.explanation_page import write_page
from ttame.reporting.file_names import UniqueStems, safe_label
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.record_spool import RecordSpool
from ttame.results.explanation import Explanation

SCHEMA_VERSION = 2
"""Of ``explanations.json``. Version 1 knew one method: each class had ``map`` and ``overlay``."""


class ExplanationReportWriter:
    """Writes a report image by image; the folder appears whole when the block succeeds.

    By one method::

        index.html                  one page that opens offline and can be sent alone
        explanations.json           schema_version, methods, preprocessing, images
        pictures/NAME.png           photo and overlays side by side
        overlays/NAME/1-CLASS.png   each overlay at the photo's own size
        maps/NAME.safetensors       the raw maps, for Explanation.load

    By several methods, which the page shows side by side for each class::

        pictures/NAME/1-CLASS.png          photo and every method's overlay side by side
        overlays/NAME/1-CLASS/METHOD.png   each overlay at the photo's own size
        maps/NAME/METHOD.safetensors       the raw maps, for Explanation.load

    Of a photo of more than 26 megapixels, overlays have the size at which it was read
    (:func:`ttame.images.photos.read_photo`), and at most so many pixels. ``width``, ``height`` and
    ``region`` in ``explanations.json`` are those of the photo's file.

    Memory does not grow with the number of images, but for their file names.

    Args:
        folder: where the report goes.
        preprocessing: of the classifier; says which part of each photo the network saw.
        title: heads the page.
        overwrite: replace an existing folder, once the new report is complete.
        scale: one of :func:`ttame.drawing.colour_scales.known_scales`.
        opacity: opacity of the highest value in the pictures, in [0, 1].
        labels: method to what stands below its pictures; a method without one goes by its name.
        left_out: methods that do not take part, to the reason why; the page says so.

    Raises:
        UnknownNameError: no such colour scale.
        ImageError: an opacity outside [0, 1].
        OutputError: on entering, if the folder exists and may not be overwritten; whenever the
            place cannot be written.

    Example:
        >>> import tempfile, torch
        >>> explanation = Explanation(torch.eye(2).reshape(1, 1, 2, 2), torch.tensor([[1]]),
        ...     torch.zeros(1, 2), image_size=(8, 8), class_names=("cat", "dog"))
        >>> with tempfile.TemporaryDirectory() as place:
        ...     folder = Path(place) / "report"
        ...     preprocessing = Preprocessing.imagenet(8)
        ...     with ExplanationReportWriter(folder, preprocessing=preprocessing) as report:
        ...         report.add("rex.png", Image.new("RGB", (12, 9)), explanation)
        ...         report.skip("torn.png", "torn.png is no readable image")
        ...     sorted(path.name for path in folder.iterdir())
        ['explanations.json', 'index.html', 'maps', 'overlays', 'pictures']
    """

    def __init__(
        self,
        folder: Path | str,
        *,
        preprocessing: Preprocessing,
        title: str = "Explanations",
        overwrite: bool = False,
        scale: str = DEFAULT_SCALE,
        opacity: float = DEFAULT_OPACITY,
        labels: Mapping[str, MethodLabel] | None = None,
        left_out: Mapping[str, str] | None = None,
    ) -> None:
        # Asked here, because a wrong name must not surface after the first long batch.
        colour_scale(scale)
        opacity_scale(opacity)
        self.folder = Path(folder)
        self.preprocessing = preprocessing
        self.title = title
        self.scale = scale
        self.opacity = opacity
        self._place = whole_folder(self.folder, overwrite=overwrite)
        self._spools = contextlib.ExitStack()
        self._stems = UniqueStems()
        self._labels = dict(labels or {})
        self._left_out = dict(left_out or {})
        self._methods: list[dict[str, Any]] = []

    def __enter__(self) -> ExplanationReportWriter:
        self._temporary = self._place.__enter__()
        self._records = self._spools.enter_context(RecordSpool(self._temporary))
        self._page_entries = self._spools.enter_context(RecordSpool(self._temporary))
        self._skipped = self._spools.enter_context(RecordSpool(self._temporary))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # Closed from the inside out: first the page, then the spools, then the folder's rename.
        with contextlib.ExitStack() as closing:
            closing.push(self._place)
            closing.push(self._spools)
            if problem is not None:
                raise problem
            self._finish()

    def add(
        self,
        name: str,
        photo: Image.Image,
        explanations: Explanation | Sequence[Explanation],
        index: int = 0,
    ) -> None:
        """Write everything about one image.

        Args:
            name: what the user calls the image, usually its path.
            photo: RGB, as it was opened, before any preprocessing; not changed.
            explanations: of a batch that holds this image; one per method, of the same classes,
                to show methods side by side.
            index: of the image in the batch.

        Raises:
            ExplainerError: the explanations come from other methods than those before, or are
                about different classes.
            ImageError: no such image in the batch.
            ClassSelectionError: no class was explained.
            NonFiniteMapError: a map holds NaN or infinity.
            OutputError: the disk is full.
        """
        given = [explanations] if isinstance(explanations, Explanation) else list(explanations)
        cut = tuple(of_one_image(explanation, index) for explanation in given)
        _refuse_different_classes(cut)
        image = ExplainedImage(name, photo, self.preprocessing.region(photo.size), cut)
        self._remember(given)
        stem = self._stems.take(name)
        write = self._write_one_method if len(cut) == 1 else self._write_several_methods
        files, overlays = write(_drawable(image), stem)
        self._records.append(image.record(files, overlays))
        self._page_entries.append(image.page_entry(files, self.scale, self._labels))

    def skip(self, name: str, reason: str) -> None:
        """Name an image that could not be explained.

        Args:
            name: what the user calls the image, usually its path.
            reason: one line for people.
        """
        self._skipped.append({"name": name, "heading": last_part(name), "reason": reason})

    @property
    def n_explained(self) -> int:
        """Images added so far."""
        return len(self._records)

    @property
    def n_skipped(self) -> int:
        """Images skipped so far."""
        return len(self._skipped)

    def _remember(self, explanations: Sequence[Explanation]) -> None:
        methods = [explanation.method for explanation in explanations]
        if not self._methods:
            repeated = {method for method in methods if methods.count(method) > 1}
            if repeated or not methods:
                raise ExplainerError(
                    f"explanations by {', '.join(methods) or 'no method'} of one image",
                    allowed="one explanation per method",
                )
            self._methods = [
                {"name": explanation.method, "provenance": dict(explanation.provenance)}
                for explanation in explanations
            ]
            for method in methods:
                self._labels.setdefault(method, MethodLabel(method))
        before = [described["name"] for described in self._methods]
        if methods != before:
            raise ExplainerError(
                f"an explanation by {', '.join(map(repr, methods))} in a report about "
                f"{', '.join(map(repr, before))}",
                allowed="the same methods for every image",
                remedy="an ExplanationReportWriter for each",
            )

    def _write_one_method(
        self, image: ExplainedImage, stem: str
    ) -> tuple[dict[str, Any], list[dict[str, str]]]:
        """Write the files of an image; return their paths, and those of each class's overlay."""
        method = image.explanation.method
        picture, maps = f"pictures/{stem}.png", f"maps/{stem}.safetensors"
        remark = image.remark()
        title = image.heading + (f" – {remark}" if remark else "")
        heatmaps = image.class_heatmaps(self._labels[method])
        self._write_panel(image, heatmaps, title, picture)
        image.explanation.save(self._temporary / maps)
        overlays = []
        for number, shown in enumerate(heatmaps, start=1):
            path = f"overlays/{stem}/{number}-{safe_label(shown.label)}.png"
            self._write_overlay(image, shown.heatmap, path)
            overlays.append({method: path})
        return {"pictures": [picture], "maps": {method: maps}}, overlays

    def _write_several_methods(
        self, image: ExplainedImage, stem: str
    ) -> tuple[dict[str, Any], list[dict[str, str]]]:
        """Write the files of an image; return their paths, and those of each class's overlays."""
        maps, pictures, overlays = {}, [], []
        for explanation in image.explanations:
            path = f"maps/{stem}/{safe_label(explanation.method)}.safetensors"
            explanation.save(self._temporary / path)
            maps[explanation.method] = path
        for number, place in enumerate(image.drawn(), start=1):
            shown = image.method_heatmaps(place, self._labels)
            label = image.explanation.target_label(0, place)
            folder = f"{stem}/{number}-{safe_label(label)}"
            title = f"{image.heading} – {image.class_title(place)}"
            self._write_panel(image, shown, title, f"pictures/{folder}.png")
            pictures.append(f"pictures/{folder}.png")
            paths = {method: f"overlays/{folder}/{safe_label(method)}.png" for method in maps}
            for tile, path in zip(shown, paths.values(), strict=True):
                self._write_overlay(image, tile.heatmap, path)
            overlays.append(paths)
        return {"pictures": pictures, "maps": maps}, overlays

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
            scale=self.scale,
            opacity=self.opacity,
        )
        _save_picture(panel, self._temporary / path)

    def _write_overlay(self, image: ExplainedImage, heatmap: Tensor | ArrayLike, path: str) -> None:
        overlay = overlay_heatmap(
            image.photo, heatmap, image.region, scale=self.scale, opacity=self.opacity
        )
        _save_picture(overlay, self._temporary / path)

    def _finish(self) -> None:
        about = {
            "schema_version": SCHEMA_VERSION,
            "title": self.title,
            "methods": [
                {
                    "name": described["name"],
                    "title": self._labels[described["name"]].title,
                    "drawn_as": "pixels" if self._labels[described["name"]].of_pixels else "grid",
                    "provenance": described["provenance"],
                }
                for described in self._methods
            ],
            "methods_left_out": self._left_out,
            "preprocessing": self.preprocessing.as_json(),
            "colour_scale": self.scale,
        }
        with _opened(self._temporary / "explanations.json") as file:
            _write_records(file, about, {"images": self._records, "not_explained": self._skipped})
        with _opened(self._temporary / "index.html") as file:
            write_page(
                file, about, self.preprocessing, self.opacity, self._page_entries, self._skipped
            )


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


def _opened(path: Path) -> TextIO:
    """For writing; file names may hold bytes that are no UTF-8."""
    return path.open("w", encoding="utf-8", errors="backslashreplace")


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
    # Light compression: a photo of 24 million pixels would take seconds for a few percent.
    picture.save(path, "PNG", compress_level=3)


def _write_records(
    file: TextIO, about: Mapping[str, Any], lists: Mapping[str, Iterable[Mapping[str, Any]]]
) -> None:
    """Write one JSON object whose ``lists`` are never in memory as a whole."""
    described = json.dumps(about, indent=2, ensure_ascii=False, allow_nan=False, default=str)
    file.write(described.removesuffix("\n}"))
    for name, records in lists.items():
        file.write(f",\n  {json.dumps(name)}: [")
        separator = "\n"
        for record in records:
            file.write(separator + json.dumps(record, ensure_ascii=False, allow_nan=False))
            separator = ",\n"
        file.write("\n  ]")
    file.write("\n}\n")
