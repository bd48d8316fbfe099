"""Photos with the maps of every method side by side, ready for the page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from ttame.drawing.captions import percent
from ttame.drawing.heatmap_overlay import checked_heatmap
from ttame.images.saliency_maps import has_evidence, resize_maps
from ttame.reporting.embedded_pictures import HEAT_SIDE, heat_address, photo_address
from ttame.reporting.evaluation_standing import method_titles
from ttame.reporting.evaluation_table import table_rows
from ttame.reporting.explained_image import last_part
from ttame.reporting.written_values import WriteNumber, number_writer
from ttame.results.evaluation import Evaluation
from ttame.results.gallery_photo import GalleryPhoto

PHOTO_SIDE = 320
"""Pixels of the longer side: a page holds many photos, and networks saw them small."""


def gallery_cards(
    evaluation: Evaluation, gallery: Sequence[GalleryPhoto], scale: str
) -> Iterator[dict[str, Any]]:
    """One record per photo, in the order given; its methods are in the order of the table."""
    titles = method_titles(evaluation)
    writers = _value_writers(evaluation, gallery)
    order = [row["number"] for row in table_rows(evaluation)]
    methods = [(number, evaluation.methods[number]) for number in order]
    for entry in gallery:
        photo = _picture(entry.photo)
        yield {
            "heading": last_part(entry.name),
            "name": entry.name,
            "class_label": entry.class_label,
            "percent": percent(entry.probability),
            "disagreement": "" if math.isnan(entry.disagreement) else f"{entry.disagreement:.2f}",
            "photo": photo_address(photo, PHOTO_SIDE),
            "aspect": f"{photo.width} / {photo.height}",
            "framed": False,
            "tiles": [
                {
                    "number": number,
                    "title": titles[method.name],
                    "family": method.family,
                    "heat": _heat(entry, method.name, photo, scale),
                    "values": _values(entry.values.get(method.name, {}), writers),
                }
                for number, method in methods
                if method.name in entry.heatmaps
            ],
        }


def _picture(photo: Any) -> Image.Image:
    return photo if isinstance(photo, Image.Image) else Image.fromarray(np.asarray(photo))


def _heat(entry: GalleryPhoto, method: str, photo: Image.Image, scale: str) -> str:
    heatmap = checked_heatmap(entry.heatmaps[method])
    if not bool(has_evidence(heatmap)):
        return ""
    factor = min(1.0, HEAT_SIDE / max(photo.size))
    grid = (max(1, round(photo.height * factor)), max(1, round(photo.width * factor)))
    return heat_address(resize_maps(heatmap[None, None], grid)[0, 0].clamp(0, 1).numpy(), scale)


def _value_writers(
    evaluation: Evaluation, gallery: Sequence[GalleryPhoto]
) -> Mapping[str, tuple[str, WriteNumber, str]]:
    """Column key to title, writer and unit, for the columns that photos have values of."""
    found: dict[str, list[float]] = {}
    for entry in gallery:
        for values in entry.values.values():
            for key, value in values.items():
                found.setdefault(key, []).append(value)
    facts = {column.key: column for column in evaluation.columns}
    keys = [key for key in facts if key in found] + [key for key in found if key not in facts]
    return {
        key: (
            facts[key].title if key in facts else key,
            number_writer(found[key], facts[key].unit if key in facts else ""),
            facts[key].unit if key in facts else "",
        )
        for key in keys
    }


def _values(
    values: Mapping[str, float], writers: Mapping[str, tuple[str, WriteNumber, str]]
) -> list[tuple[str, str]]:
    return [
        (title, f"{write(values[key])} {unit}".rstrip())
        for key, (title, write, unit) in writers.items()
        if key in values
    ]
