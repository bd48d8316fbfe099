"""Some images, explained by a file and by PyTorch."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.exporting.graph_formats import Arrays
from ttame.results.explanation import Explanation


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Some images, explained by the file and by PyTorch.

    Attributes:
        pixels: (B, H, W, 3) uint8.
        found: what the file says.
        expected: what PyTorch says of the same classes.
        of_photos: whether they are photos, not noise.
    """

    pixels: np.ndarray
    found: Arrays
    expected: Explanation
    of_photos: bool = True

    def difference(self, name: str) -> float:
        """The largest difference of a result, as a share of its largest value."""
        expected: Tensor = getattr(self.expected, name).cpu()
        found = torch.from_numpy(self.found[name]).float()
        if found.shape != expected.shape or not bool(found.isfinite().all()):
            return float("inf")
        largest = float(expected.abs().max())
        return float((found - expected).abs().max()) / (largest or 1.0)

    def images(self, classifier: Classifier) -> Tensor:
        """The images as a classifier takes them."""
        return images_of(self.pixels, classifier)

    def chosen_wrongly(self) -> float:
        """By how much the classes' logits are below those of the most probable ones, as a share."""
        logits = self.expected.logits.cpu()
        classes = torch.from_numpy(self.found["classes"])
        chosen = logits.gather(1, classes)
        wanted = logits.topk(classes.shape[1], dim=1).values
        return float((chosen - wanted).abs().max() / logits.abs().max().clamp_min(1e-12))


def images_of(pixels: np.ndarray, classifier: Classifier) -> Tensor:
    """(B, H, W, 3) uint8 as the classifier's images."""
    scaled = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return classifier.preprocessing.normalise(scaled).to(classifier.device)
