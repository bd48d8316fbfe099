"""Whether a written file says what PyTorch says."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError, setting
from ttame.explainers.contract.explainer import Explainer
from ttame.exporting.comparison import Comparison, images_of
from ttame.exporting.exported_facts import ASKED, ExportedFacts
from ttame.exporting.graph_formats import Run
from ttame.exporting.photo_fitting import fitted, laid_on
from ttame.exporting.precision_cost import precision_cost
from ttame.images.photos import read_photo
from ttame.images.rgb_conversion import to_rgb

Photo = Image.Image | Path | str
"""A photo that is open already, or the path of one."""

MOST_DIFFERENT = 1e-4
"""Of logits and maps in float32, as a share of the largest of a batch."""

_RANDOM_IMAGES = 3

_NOISE_SIZES = ((37, 301), (480, 90))
"""(height, width) in pixels."""


def compare(
    run: Run, explainer: Explainer, facts: ExportedFacts, photos: Sequence[Photo]
) -> list[Comparison]:
    """Run a file, and explain the same images with PyTorch: noise, then photos.

    Args:
        run: the file.
        explainer: that was exported.
        facts: what the file is.
        photos: real ones.
    """
    batches = _whole_photos if facts.takes == "photos" else _batches
    return [
        _compared(run, explainer, facts, pixels, of_photos=of_photos)
        for of_photos, pixels in batches(explainer.classifier, photos, facts.batch_size)
    ]


def check_parity(
    comparisons: Sequence[Comparison], facts: ExportedFacts, classifier: Classifier
) -> dict[str, float]:
    """How far the file is from PyTorch.

    Args:
        comparisons: of noise and photos.
        facts: what the file is.
        classifier: in float32.

    Returns:
        The differences of logits and maps; of another precision than float32 what it costs first,
        see :func:`ttame.exporting.precision_cost.precision_cost`.

    Raises:
        ExplainerError: a float32 file differs by more than 1e-4; or one of another precision gave
            NaN or infinity.
    """
    differences = {
        name: max(comparison.difference(name) for comparison in comparisons)
        for name in ("logits", "maps")
    }
    if facts.precision != "float32":
        if np.inf in differences.values():
            raise ExplainerError(
                f"the results in {facts.precision} are not finite",
                remedy=f"the same without {setting(facts.precision)}",
            )
        of_photos = [comparison for comparison in comparisons if comparison.of_photos]
        return {**precision_cost(of_photos or comparisons, classifier), **differences}
    if facts.top_k != "all":
        wrong = max(comparison.chosen_wrongly() for comparison in comparisons)
        differences["classes"] = wrong
    for name, difference in differences.items():
        if not difference <= MOST_DIFFERENT:
            raise ExplainerError(
                f"the written file's {name} differ from PyTorch's by {difference:.2g} of the "
                "largest; nothing was written",
                allowed=f"{MOST_DIFFERENT:g}",
            )
    return differences


def _compared(
    run: Run, explainer: Explainer, facts: ExportedFacts, pixels: np.ndarray, *, of_photos: bool
) -> Comparison:
    found = run(inputs_of(pixels, facts))
    classifier, photos = explainer.classifier, torch.from_numpy(pixels)
    if facts.takes == "photos":
        crop = fitted(photos, classifier.preprocessing).permute(0, 2, 3, 1)
        images = images_of(crop.to(torch.uint8).numpy(), classifier)
    else:
        images = images_of(pixels, classifier)
    expected = explainer(images, torch.from_numpy(found["classes"]))
    if facts.takes == "photos":
        on_photos = laid_on(expected.maps.cpu(), photos, classifier.preprocessing.crop)
        expected = dataclasses.replace(expected, maps=on_photos)
    return Comparison(pixels, found, expected, of_photos)


def inputs_of(pixels: np.ndarray, facts: ExportedFacts) -> dict[str, np.ndarray]:
    """What a file takes, for (B, H, W, 3) uint8 and the most probable classes."""
    given = {facts.first_input: pixels}
    if facts.takes == "images":
        scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
        given = {facts.first_input: facts.preprocess().normalise(scaled).numpy()}
    if facts.chooses_classes:
        count = facts.number_of_classes if facts.top_k == "all" else facts.top_k
        places = -1 - np.arange(min(count, facts.number_of_classes), dtype=np.int64)
        given[ASKED] = np.broadcast_to(places, (len(pixels), len(places))).copy()
    return given


def _batches(
    classifier: Classifier, photos: Sequence[Photo], batch_size: int | None
) -> Iterator[tuple[bool, np.ndarray]]:
    """Noise, then photos, in batches of the file's size; without one, of one and of several.

    Each with whether it is of photos.
    """
    height, width = classifier.preprocessing.input_size
    noise = np.random.default_rng(0).integers(
        0, 256, (_RANDOM_IMAGES, height, width, 3), dtype=np.uint8
    )
    prepared = [pixels_of(photo, classifier) for photo in photos]
    yield from ((False, batch) for batch in _in_batches(noise, batch_size))
    if prepared:
        yield from ((True, batch) for batch in _in_batches(np.stack(prepared), batch_size))


def _whole_photos(
    _classifier: Classifier, photos: Sequence[Photo], batch_size: int | None
) -> Iterator[tuple[bool, np.ndarray]]:
    """Noise lying and upright, smaller and larger, then photos of their own sizes."""
    noise = np.random.default_rng(0)
    for height, width in _NOISE_SIZES:
        pixels = noise.integers(0, 256, (height, width, 3), dtype=np.uint8)
        yield False, np.stack([pixels] * (batch_size or 2))
    for photo in photos:
        opened = to_rgb(photo) if isinstance(photo, Image.Image) else read_photo(photo)
        yield True, np.stack([np.array(opened, dtype=np.uint8)] * (batch_size or 1))


def _in_batches(pixels: np.ndarray, batch_size: int | None) -> Iterator[np.ndarray]:
    if batch_size is None:
        yield pixels[:1]
        yield from (pixels[first : first + 8] for first in range(0, len(pixels), 8))
        return
    batches = -(-len(pixels) // batch_size)
    repeated = np.concatenate([pixels] * batch_size)[: batches * batch_size]
    yield from np.split(repeated, batches)


def pixels_of(photo: Photo, classifier: Classifier) -> np.ndarray:
    """A photo as (H, W, 3) uint8, resized and cropped."""
    opened = to_rgb(photo) if isinstance(photo, Image.Image) else read_photo(photo)
    scaled = classifier.preprocessing.pixels(opened)
    return (scaled * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
