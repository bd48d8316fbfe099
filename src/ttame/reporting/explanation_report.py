"""A folder with explained images: pictures, maps, one JSON file and one page."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

from PIL import Image

from ttame.atomic_writing import whole_folder
from ttame.drawing.colour_scales import DEFAULT_SCALE, colour_scale
from ttame.drawing.explanation_panel import draw_panel
from ttame.drawing.heatmap_overlay import DEFAULT_OPACITY, opacity_scale, overlay_heatmap
from ttame.errors import ExplainerError
from ttame.preprocessing import Preprocessing
from ttame.reporting.explained_image import ExplainedImage, last_part, of_one_image
from ttame.reporting.explanation_page import write_page
from ttame.reporting.file_names import UniqueStems, safe_label
from ttame.reporting.record_spool import RecordSpool
from ttame.results.explanation import Explanation

SCHEMA_VERSION = 1


class ExplanationReportWriter:
    """Writes a report image by image; the folder appears whole when the block succeeds.

    ::

        index.html                  one page that opens offline and can be sent alone
        explanations.json           schema_version, method, provenance, preprocessing, images
        pictures/NAME.png           photo and overlays side by side
        overlays/NAME/1-CLASS.png   each overlay at the photo's own size
        maps/NAME.safetensors       the raw maps, for Explanation.load

    Memory does not grow with the number of images, but for their file names.

    Args:
        folder: where the report goes.
        preprocessing: of the classifier; says which part of each photo the network saw.
        title: heads the page.
        overwrite: replace an existing folder, once the new report is complete.
        scale: one of :func:`ttame.drawing.colour_scales.known_scales`.
        opacity: opacity of the highest value in the pictures, in [0, 1].

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
        self._first: dict[str, Any] | None = None

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

    def add(self, name: str, photo: Image.Image, explanation: Explanation, index: int = 0) -> None:
        """Write everything about one image.

        Args:
            name: what the user calls the image, usually its path.
            photo: RGB, as it was opened, before any preprocessing; not changed.
            explanation: of a batch that holds this image.
            index: of the image in the batch.

        Raises:
            ExplainerError: the explanation comes from another method than those before.
            ImageError: no such image in the batch.
            ClassSelectionError: no class was explained.
            NonFiniteMapError: a map holds NaN or infinity.
            OutputError: the disk is full.
        """
        region = self.preprocessing.region(photo.size)
        image = ExplainedImage(name, photo, region, of_one_image(explanation, index))
        self._remember(explanation)
        stem = self._stems.take(name)
        files = {"picture": f"pictures/{stem}.png", "maps": f"maps/{stem}.safetensors"}
        self._write_panel(image, files["picture"])
        overlays = self._write_overlays(image, f"overlays/{stem}")
        image.explanation.save(self._temporary / files["maps"])
        self._records.append(image.record(files, overlays))
        self._page_entries.append(image.page_entry(files, self.scale))

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

    def _remember(self, explanation: Explanation) -> None:
        if self._first is None:
            self._first = {
                "method": explanation.method,
                "provenance": dict(explanation.provenance),
            }
        if explanation.method != self._first["method"]:
            raise ExplainerError(
                f"an explanation by {explanation.method!r} in a report about "
                f"{self._first['method']!r}",
                allowed="one explainer in a report",
                remedy="an ExplanationReportWriter for each",
            )

    def _write_panel(self, image: ExplainedImage, path: str) -> None:
        remark = image.remark()
        panel = draw_panel(
            image.photo,
            image.region,
            image.class_heatmaps(),
            title=image.heading + (f" – {remark}" if remark else ""),
            scale=self.scale,
            opacity=self.opacity,
        )
        _save_picture(panel, self._temporary / path)

    def _write_overlays(self, image: ExplainedImage, folder: str) -> list[str]:
        """Write one overlay per drawn class; return their paths within the report."""
        paths = []
        for number, shown in enumerate(image.class_heatmaps(), start=1):
            overlay = overlay_heatmap(
                image.photo,
                shown.heatmap,
                image.region,
                scale=self.scale,
                opacity=self.opacity,
            )
            paths.append(f"{folder}/{number}-{safe_label(shown.label)}.png")
            _save_picture(overlay, self._temporary / paths[-1])
        return paths

    def _finish(self) -> None:
        about = {
            "schema_version": SCHEMA_VERSION,
            "title": self.title,
            "method": "",
            "provenance": {},
            **(self._first or {}),
            "preprocessing": self.preprocessing.as_json(),
            "colour_scale": self.scale,
        }
        with (self._temporary / "explanations.json").open("w", encoding="utf-8") as file:
            _write_records(file, about, {"images": self._records, "not_explained": self._skipped})
        with (self._temporary / "index.html").open("w", encoding="utf-8") as file:
            write_page(
                file, about, self.preprocessing, self.opacity, self._page_entries, self._skipped
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
