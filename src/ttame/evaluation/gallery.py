"""Which photos a report shows: where methods disagree most, and where they fail."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ttame.classifiers.classifier import Classifier
from ttame.datasets.photo_source import PhotoSource
from ttame.errors import ImageError
from ttame.evaluation.kept_maps import MOST_PICTURED, kept_maps, pictured_images
from ttame.evaluation.row_store import RowStore
from ttame.evaluation.summary import MeasuredMethod
from ttame.files.printable_names import printable
from ttame.images.band_photo import Picture
from ttame.results.evaluation import ColumnFacts, Evaluation
from ttame.results.gallery_photo import GalleryPhoto


def gallery_of(
    evaluation: Evaluation,
    folder: Path,
    classifier: Classifier,
    photos: PhotoSource,
    *,
    disagreeing: int = 8,
    failing: int = 4,
) -> list[GalleryPhoto]:
    """Choose photos and put the maps of every method next to them.

    Disagreement is the standard deviation of the methods' values in the first column that says
    better or worse; failing photos are those on which even the best method's value is bad.

    Args:
        evaluation: the table.
        folder: the folder of the evaluation, with its rows and maps.
        classifier: for the predictions of the chosen photos.
        photos: the data.
        disagreeing: how many photos to show of the first kind.
        failing: how many of the second.
    """
    methods = [MeasuredMethod(RowStore(folder), method.name) for method in evaluation.methods]
    column = _deciding(evaluation, methods)
    if column is None:
        return []
    by_image = _values(methods, column, _candidates(methods, folder))
    spread = {n: float(np.std(list(values.values()))) for n, values in by_image.items()}
    sign = 1 if column.better == "lower" else -1
    best = {n: min(sign * value for value in values.values()) for n, values in by_image.items()}
    chosen = sorted(spread, key=lambda n: (-spread[n], n))[:disagreeing]
    chosen += [n for n in sorted(best, key=lambda n: (-best[n], n)) if n not in chosen][:failing]
    maps = {method.label: dict(kept_maps(folder, method.label, chosen)) for method in methods}
    return [
        entry
        for number in chosen
        if (entry := _entry(number, methods, maps, evaluation, classifier, photos, spread))
    ]


def _deciding(evaluation: Evaluation, methods: Sequence[MeasuredMethod]) -> ColumnFacts | None:
    """The first column that is better or worse and has values of single images.

    Shares below 1 rank places; a column at 100 % can be bought by hiding nothing.
    """
    usable = [
        column
        for column in evaluation.columns
        if column.better != "neither" and any(column.key in method.values for method in methods)
    ]
    ranking = [column for column in usable if not column.key.endswith("@100")]
    return next(iter(ranking or usable), None)


def _candidates(methods: Sequence[MeasuredMethod], folder: Path) -> np.ndarray | None:
    """The numbers of the images whose maps were kept; ``None`` for all of them."""
    if max(len(method.images) for method in methods) <= MOST_PICTURED:
        return None
    return np.array(sorted(pictured_images(folder, methods[0].label)))


def _values(
    methods: Sequence[MeasuredMethod], column: ColumnFacts, among: np.ndarray | None
) -> dict[int, dict[str, float]]:
    found: dict[int, dict[str, float]] = {}
    for method in methods:
        values = method.values.get(column.key)
        if values is None:
            continue
        there = ~np.isnan(values)
        if among is not None:
            there &= np.isin(method.images, among)
        for number, value in zip(
            method.images[there].tolist(), values[there].tolist(), strict=True
        ):
            found.setdefault(number, {})[method.label] = value
    return found


def _entry(
    number: int,
    methods: Sequence[MeasuredMethod],
    maps: dict[str, dict[int, np.ndarray]],
    evaluation: Evaluation,
    classifier: Classifier,
    photos: PhotoSource,
    spread: dict[int, float],
) -> GalleryPhoto | None:
    try:
        photo = photos.read(number)
    except ImageError:  # it was readable when it was measured
        return None
    image = classifier.prepare(photo)
    probabilities = classifier.probabilities(image)[0]
    places = {method.label: np.flatnonzero(method.images == number) for method in methods}
    shown = [method for method in methods if len(places[method.label])]
    of_class = int(shown[0].classes[places[shown[0].label][0]])
    keys = [column.key for column in evaluation.columns]
    return GalleryPhoto(
        photo=_as_seen(classifier, photo),
        name=printable(photos.key(number)),
        class_label=classifier.class_label(of_class),
        probability=float(probabilities[of_class]),
        heatmaps={
            method.label: maps[method.label][number]
            for method in shown
            if number in maps[method.label]
        },
        values={
            method.label: {
                key: float(method.values[key][places[method.label][0]])
                for key in keys
                if key in method.values
            }
            for method in shown
        },
        disagreement=spread[number],
    )


def _as_seen(classifier: Classifier, photo: Picture) -> np.ndarray:
    """(H, W, 3) uint8: resized and cropped as for the network, in colours for people."""
    preprocessing = classifier.preprocessing
    pixels = preprocessing.for_channels("rgb").pixels(preprocessing.drawn(photo))
    seen: np.ndarray = (pixels.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy()
    return seen
