"""Whether a written file says what PyTorch says."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError, setting
from ttame.explainers.contract.explainer import Explainer
from ttame.exporting.explainable_classifier import Takes
from ttame.exporting.exported_facts import ASKED, ExportedFacts
from ttame.exporting.graph_formats import Arrays, Run
from ttame.images.photos import read_photo
from ttame.images.rgb_conversion import to_rgb
from ttame.results.explanation import Explanation

Photo = Image.Image | Path | str
"""A photo that is open already, or the path of one."""

MOST_DIFFERENT = 1e-4
"""Of logits and maps in float32, as a share of the largest of a batch."""

_RANDOM_IMAGES = 3


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Some images, explained by the file and by PyTorch.

    Attributes:
        pixels: (B, H, W, 3) uint8.
        found: what the file says.
        expected: what PyTorch says of the same classes.
    """

    pixels: np.ndarray
    found: Arrays
    expected: Explanation

    def difference(self, name: str) -> float:
        """The largest difference of a result, as a share of its largest value."""
        expected: Tensor = getattr(self.expected, name).cpu()
        found = torch.from_numpy(self.found[name]).float()
        if found.shape != expected.shape or not bool(found.isfinite().all()):
            return float("inf")
        largest = float(expected.abs().max())
        return float((found - expected).abs().max()) / (largest or 1.0)

    def chosen_wrongly(self) -> float:
        """By how much the classes' logits are below those of the most probable ones, as a share."""
        logits = self.expected.logits.cpu()
        classes = torch.from_numpy(self.found["classes"])
        chosen = logits.gather(1, classes)
        wanted = logits.topk(classes.shape[1], dim=1).values
        return float((chosen - wanted).abs().max() / logits.abs().max().clamp_min(1e-12))


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
    return [
        _compared(run, explainer, facts, pixels)
        for pixels in _batches(explainer.classifier, photos, facts.batch_size)
    ]


def check_parity(comparisons: Sequence[Comparison], facts: ExportedFacts) -> dict[str, float]:
    """How far the file is from PyTorch.

    Returns:
        For float32 the differences of logits and maps. For half precision what it costs: the share
        of images with the same most probable class, and the mean correlation of the maps.

    Raises:
        ExplainerError: a float32 file differs by more than 1e-4; or half precision gave NaN or
            infinity.
    """
    differences = {
        name: max(comparison.difference(name) for comparison in comparisons)
        for name in ("logits", "maps")
    }
    if facts.half:
        if np.inf in differences.values():
            raise ExplainerError(
                "in half precision the results are not finite",
                remedy=f"the same without {setting('half')}",
            )
        return {**_cost(comparisons), **differences}
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


def _cost(comparisons: Sequence[Comparison]) -> dict[str, float]:
    from ttame.metrics.map_correlation import pearson_correlation

    same, correlations = [], []
    for comparison in comparisons:
        found = torch.from_numpy(comparison.found["logits"]).argmax(dim=1)
        same += (found == comparison.expected.logits.cpu().argmax(dim=1)).tolist()
        maps = comparison.expected.maps.cpu().flatten(0, 1)
        also = torch.from_numpy(comparison.found["maps"]).float().flatten(0, 1)
        correlations += pearson_correlation(maps, also).tolist()
    return {
        "same top-1": sum(same) / len(same),
        "map correlation": sum(correlations) / len(correlations),
    }


def _compared(
    run: Run, explainer: Explainer, facts: ExportedFacts, pixels: np.ndarray
) -> Comparison:
    images = images_of(pixels, explainer.classifier)
    given = {facts.first_input: as_input(pixels, images, facts.takes)}
    if facts.chooses_classes:
        count = facts.number_of_classes if facts.top_k == "all" else facts.top_k
        places = -1 - np.arange(min(count, facts.number_of_classes), dtype=np.int64)
        given[ASKED] = np.broadcast_to(places, (len(pixels), len(places))).copy()
    found = run(given)
    expected = explainer(images, torch.from_numpy(found["classes"]))
    return Comparison(pixels, found, expected)


def images_of(pixels: np.ndarray, classifier: Classifier) -> Tensor:
    """(B, H, W, 3) uint8 as the classifier's images."""
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return classifier.preprocessing.normalise(scaled).to(classifier.device)


def as_input(pixels: np.ndarray, images: Tensor, takes: Takes) -> np.ndarray:
    """What a file takes."""
    return pixels if takes == "pixels" else images.cpu().numpy()


def _batches(
    classifier: Classifier, photos: Sequence[Photo], batch_size: int | None
) -> Iterator[np.ndarray]:
    """Noise, then photos, in batches of the file's size; without one, of one and of several."""
    height, width = classifier.preprocessing.input_size
    noise = np.random.default_rng(0).integers(
        0, 256, (_RANDOM_IMAGES, height, width, 3), dtype=np.uint8
    )
    prepared = [pixels_of(photo, classifier) for photo in photos]
    together = [noise, np.stack(prepared)] if prepared else [noise]
    for pixels in together:
        if batch_size is None:
            yield pixels[:1]
            yield from (pixels[first : first + 8] for first in range(0, len(pixels), 8))
        else:
            batches = -(-len(pixels) // batch_size)
            repeated = np.concatenate([pixels] * batch_size)[: batches * batch_size]
            yield from np.split(repeated, batches)


def pixels_of(photo: Photo, classifier: Classifier) -> np.ndarray:
    """A photo as (H, W, 3) uint8, resized and cropped."""
    opened = to_rgb(photo) if isinstance(photo, Image.Image) else read_photo(photo)
    scaled = classifier.preprocessing.pixels(opened)
    return (scaled * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
