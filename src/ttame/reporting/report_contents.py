"""What a report says as a whole: ``explanations.json``, ``explanations.csv`` and the pages."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from ttame.drawing.colour_scales import DEFAULT_SCALE, colour_scale
from ttame.drawing.heatmap_overlay import DEFAULT_OPACITY, opacity_scale
from ttame.drawing.map_strength import Strength, check_strength
from ttame.errors import UnknownNameError
from ttame.files.record_files import write_records
from ttame.images.preprocessing import Preprocessing
from ttame.reporting.explanation_page import write_pages
from ttame.reporting.explanation_table import write_table
from ttame.reporting.method_label import MethodLabel
from ttame.reporting.record_spool import Records

Pictures = Literal["none", "overlays", "all"]
"""What is drawn as files of its own: nothing, an overlay per map, or panels too."""

SCHEMA_VERSION = 2
"""Of ``explanations.json``. Version 1 knew one method: each class had ``map`` and ``overlay``."""


@dataclasses.dataclass(frozen=True)
class ComparedClass:
    """The class that the explained ones are compared with: what speaks for them rather than it.

    Example:
        >>> dataclasses.asdict(ComparedClass(282, "tiger cat"))
        {'index': 282, 'name': 'tiger cat'}
    """

    index: int
    name: str


@dataclasses.dataclass(frozen=True, eq=False)
class ReportFacts:
    """What is the same for all photos of a report.

    Attributes:
        preprocessing: the preprocessing of the classifier.
        title: heads the page.
        methods: name to provenance, in order.
        labels: method to what stands below its pictures.
        left_out: methods that do not take part, to the reason why.
        rather_than: the class that all others are compared with, if there is one.
        scale: one of :func:`ttame.drawing.colour_scales.known_scales`.
        opacity: the opacity of the highest value in the pictures, in [0, 1].
        threshold: the probability from which one of independent findings counts as found; ``None``
            where exactly one class is true of a photo.
        pictures: which files are drawn; the page has its own pictures in any case.
        strength: the strength of the maps in the pictures, and at first on the page.

    Raises:
        UnknownNameError: no such colour scale, pictures or strength.
        ImageError: an opacity outside [0, 1].
    """

    preprocessing: Preprocessing
    title: str = "Explanations"
    methods: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    labels: Mapping[str, MethodLabel] = dataclasses.field(default_factory=dict)
    left_out: Mapping[str, str] = dataclasses.field(default_factory=dict)
    rather_than: ComparedClass | None = None
    scale: str = DEFAULT_SCALE
    opacity: float = DEFAULT_OPACITY
    threshold: float | None = None
    pictures: Pictures = "all"
    strength: Strength = "own"

    def __post_init__(self) -> None:
        # Asked here, because a wrong name must not surface after the first long batch.
        colour_scale(self.scale)
        opacity_scale(self.opacity)
        check_strength(self.strength)
        known = get_args(Pictures)
        if self.pictures not in known:
            raise UnknownNameError(f"pictures {self.pictures!r}", allowed=", ".join(known))

    def drawn_as(self) -> list[Any]:
        """How the pictures look: what a later run must have in common to go on."""
        # Own scales go without saying, so that what older versions left goes on.
        strength = [] if self.strength == "own" else [self.strength]
        return [self.pictures, self.scale, self.opacity, *strength]

    def as_json(self) -> dict[str, Any]:
        """What ``explanations.json`` says before it comes to the photos."""
        return {
            "schema_version": SCHEMA_VERSION,
            "title": self.title,
            "methods": [
                {
                    "name": name,
                    "title": self.labels[name].title,
                    "drawn_as": "pixels" if self.labels[name].of_pixels else "grid",
                    "provenance": dict(provenance),
                }
                for name, provenance in self.methods.items()
            ],
            "methods_left_out": dict(self.left_out),
            "rather_than": dataclasses.asdict(self.rather_than) if self.rather_than else None,
            "preprocessing": self.preprocessing.as_json(),
            "colour_scale": self.scale,
            # Where exactly one class is true there is none.
            **({} if self.threshold is None else {"threshold": self.threshold}),
            "opacity": self.opacity,
            "pictures": self.pictures,
            "strength": self.strength,
        }


def write_contents(
    folder: Path, facts: ReportFacts, images: Records, entries: Records, skipped: Records
) -> None:
    """Write ``explanations.json``, the table and the pages, one photo in memory at a time.

    Args:
        folder: the folder of the report.
        facts: what is the same for all photos.
        images: one record per photo, from ``ExplainedImage.record``.
        entries: one record per photo, from ``ExplainedImage.page_entry``.
        skipped: name, heading and reason of each photo that was not explained.
    """
    about = facts.as_json()
    lists = {"images": images, "not_explained": skipped}
    write_records(folder / "explanations.json", about, lists)
    write_table(folder / "explanations.csv", images)
    write_pages(folder, about, facts.preprocessing, entries, skipped)
