"""How well the maps of every method find a planted digit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from benchmarks.planted_digits.digit_classifier import PREPROCESSING
from benchmarks.planted_digits.planted_images import plant_digits, plant_two_digits
from ttame.classifiers.classifier import Classifier
from ttame.evaluation.paired_statistics import bootstrap_interval
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import make_explainer, methods_for
from ttame.metrics.energy_inside import energy_inside
from ttame.metrics.pointing_game import pointing_game

BASELINE = "centre_gaussian"
AT_ONCE = 25
"""Images in a batch."""

OPTIONS: dict[str, dict[str, Any]] = {
    "extremal_perturbation": {"areas": (0.1,), "steps": 30, "cell": 4},
    "iia": {"image_steps": 2, "attention_steps": 3},
    "integrated_gradients": {"steps": 20},
    "meaningful_perturbation": {"steps": 40, "cell": 4},
    "occlusion": {"stride": 8},
    "rise": {"masks": 300},
    "smooth_grad": {"samples": 10},
}
"""Of methods whose default is many times as many passes; all others have their defaults."""


class Mean(NamedTuple):
    """A mean over images with its 95 % bootstrap interval.

    Every digit has as many images as any other, so it is the mean over classes, too.
    """

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Tensor) -> Mean:
        """From (B,) values."""
        return cls(float(values.mean()), *bootstrap_interval([values.double().numpy()]))


class FoundDigits:
    """Held-out images, and how well methods find their digits; each is measured when asked for.

    Args:
        classifier: reads planted digits.
        trained: of methods that the registry cannot make without training.
        count: of images with one digit, and of digits in images with two.
        options: name of a method to options that differ from its defaults.
    """

    def __init__(
        self,
        classifier: Classifier,
        trained: Sequence[Explainer],
        count: int,
        options: Mapping[str, Mapping[str, Any]] = OPTIONS,
    ) -> None:
        defined, self.reasons = methods_for(classifier)
        for name, changed in options.items():
            defined[name] = make_explainer(name, classifier, **changed)
        self.classifier = classifier
        self.explainers: dict[str, Explainer] = {
            **defined,
            **{explainer.method: explainer for explainer in trained},
        }
        for explainer in trained:
            self.reasons.pop(explainer.method)
        random = torch.Generator().manual_seed(1000)
        self.images = plant_digits("held out", count, random)
        self.pairs = plant_two_digits("held out", count // 2, random)
        self._maps: dict[str, Tensor] = {}
        self._pair_maps: dict[str, Tensor] = {}

    def maps(self, name: str) -> Tensor:
        """(B, h, w) raw maps of the planted class of every image."""
        if name not in self._maps:
            explained = self._explained(name, self.images.pixels, self.images.labels[:, None])
            self._maps[name] = explained[:, 0]
        return self._maps[name]

    def pair_maps(self, name: str) -> Tensor:
        """(B / 2, 2, h, w) raw maps of both classes of every image with two digits."""
        if name not in self._pair_maps:
            classes = torch.stack([self.pairs.labels, self.pairs.decoy_labels], dim=1)
            self._pair_maps[name] = self._explained(name, self.pairs.pixels, classes)
        return self._pair_maps[name]

    def pointing(self, name: str) -> Tensor:
        """(B,) percent: whether the maps are highest on the digit."""
        return pointing_game(self.maps(name), self.images.digits)

    def energy(self, name: str) -> Tensor:
        """(B,) percent: how much of the maps lies on the digit."""
        return energy_inside(self.maps(name), self.images.digits)

    def telling_apart(self, name: str) -> Tensor:
        """(B / 2,) percent: of two digits, how many are pointed at when their class is asked for.

        A map that is the same for all classes reaches 50 at best.
        """
        maps = self.pair_maps(name)
        first = pointing_game(maps[:, 0], self.pairs.digits)
        second = pointing_game(maps[:, 1], self.pairs.decoys)
        return (first + second) / 2

    def _explained(self, name: str, pixels: Tensor, classes: Tensor) -> Tensor:
        images = PREPROCESSING.normalise(pixels).split(AT_ONCE)
        explainer = self.explainers[name]
        return torch.cat(
            [
                explainer(part, asked).maps
                for part, asked in zip(images, classes.split(AT_ONCE), strict=True)
            ]
        )
