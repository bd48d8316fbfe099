"""What every trained head fulfils; training, saving and inspecting know only this."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.feature_reading import FeatureReading
from ttame.errors import ExplainerError
from ttame.explainers.trained.head_settings import HeadSettings
from ttame.explainers.trained.map_scale import scaled_maps

Gather = Callable[[Tensor], Tensor]
"""Gives the values of all processes that share a batch, one after the other."""


@dataclasses.dataclass(frozen=True)
class HeadConfig:
    """All that makes a head, but for its weights.

    Attributes:
        settings: which head; without the parts for which the classifier has no material.
        channels: the channels of every tap, first to last.
        number_of_classes: the number of classes of the classifier.
        inputs: what else this kind of head must know to be made again, as plain values.
    """

    settings: HeadSettings
    channels: tuple[int, ...]
    number_of_classes: int
    inputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class HeadInputs(NamedTuple):
    """What a head is called with, besides classes: tensors only.

    Attributes:
        features: one (B, C_i, h_i, w_i) float32 per tap.
        others: what the head reads besides features, by the names of its arguments.
    """

    features: list[Tensor]
    others: dict[str, Tensor]


class Head(nn.Module, ABC):
    """Maps from a reading: ``head(features, classes, **others)`` gives (B, K, h, w).

    ``classes`` is ``None`` for all, (K,) for the same classes for every image, or (B, K).

    Attributes:
        Settings: the class of this head's settings.
        settings: the settings of this head.
        channels: the channels of every tap, first to last.
        number_of_classes: the number of classes of the classifier.
    """

    Settings: ClassVar[type[HeadSettings]]
    settings: HeadSettings
    channels: tuple[int, ...]
    number_of_classes: int

    @classmethod
    @abstractmethod
    def plan(cls, classifier: Explainable, settings: HeadSettings) -> HeadPlan:
        """See what a head of these settings reads of a classifier, before its weights exist.

        Raises:
            ExplainerError: it cannot read this classifier.
        """

    @classmethod
    @abstractmethod
    def from_config(cls, config: HeadConfig, *, seed: int = 0) -> Self:
        """The untrained head, whose initial weights the seed decides.

        Args:
            config: possibly from a stranger's file.
            seed: the seed of the weights.

        Raises:
            ExplainerError: it describes a head that cannot be.
        """

    def to_config(self) -> HeadConfig:
        """What :meth:`from_config` makes an untrained one of."""
        return HeadConfig(self.settings, self.channels, self.number_of_classes)

    def check(self, classifier: Explainable) -> None:
        """Refuse a classifier that does not have what this head reads.

        Raises:
            ExplainerError: names what is missing.
        """
        tapped = tuple(tap.channels for tap in classifier.taps)
        if self.channels != tapped or self.number_of_classes != classifier.number_of_classes:
            raise ExplainerError(
                f"a head for channels {self.channels} and {self.number_of_classes} classes",
                allowed=f"channels {tapped} and {classifier.number_of_classes} classes, as "
                f"{classifier.name} has them",
            )

    def inputs_of(self, classifier: Explainable, reading: FeatureReading) -> HeadInputs:
        """What this head reads of a batch, and of the classifier itself."""
        return HeadInputs([features.float() for features in reading.feature_maps], {})

    @property
    def shapes_of_others(self) -> dict[str, tuple[int, ...]]:
        """The shapes of what the head reads besides features, by the names of its arguments."""
        return {}

    def maps(
        self,
        classifier: Explainable,
        reading: FeatureReading,
        classes: Tensor | None,
        *,
        wrapped: nn.Module | None = None,
    ) -> Tensor:
        """The maps of some classes, before any activation.

        Args:
            classifier: whose features were read.
            reading: the reading of a batch of images.
            classes: see the class.
            wrapped: the head as it is called in training, where several processes share it.

        Returns:
            (B, K, h, w) float32.
        """
        features, others = self.inputs_of(classifier, reading)
        maps: Tensor = (wrapped or self)(features, classes, **others)
        return maps

    def shown(self, maps: Tensor) -> Tensor:
        """(B, K, h, w) maps with the details that explanations keep, before any activation."""
        return maps

    def explained(self, maps: Tensor, places: Tensor | None = None) -> Tensor:
        """What explanations hold of (B, K, h, w) maps before any activation.

        Args:
            maps: of the head.
            places: (B, 1, h, w) bool, where something is that a map can speak of, on its grid;
                ``None`` for everywhere.
        """
        return scaled_maps(self.shown(maps), self.settings.maps.kind, places=places)

    def follow(self, maps: Tensor, gather: Gather) -> None:
        """Learn from a batch what no gradient teaches; most heads have nothing of that kind.

        Args:
            maps: (B, 1, h, w) of this process, before any activation.
            gather: of the processes that share the batch.
        """

    @property
    def evidence(self) -> int | None:
        """Position of the tap that holds the classifier's own evidence, if the head reads one."""
        return None

    def facts(self, layers: Sequence[str]) -> dict[str, str]:
        """What a card says of this head, name to words.

        Args:
            layers: the name of every tap.
        """
        return {}

    def provenance(self) -> dict[str, Any]:
        """What the maps depend on besides the weights."""
        return {
            "head": self.settings.kind,
            "parts": list(self.settings.parts),
            "details": 1.0,
            "maps": self.settings.maps.kind,
        }


@dataclasses.dataclass(frozen=True, eq=False)
class HeadPlan:
    """A head that is still to be made.

    Attributes:
        classifier: with all taps that the head reads; a few-shot head may read one more than the
            classifier had.
        kind: the head's class.
        config: what it is made of.
    """

    classifier: Explainable
    kind: type[Head]
    config: HeadConfig

    def make(self, seed: int = 0) -> Head:
        """The untrained head, whose initial weights the seed decides."""
        return self.kind.from_config(self.config, seed=seed)


def tapped_config(classifier: Explainable, settings: HeadSettings) -> HeadConfig:
    """The configuration of a head that reads nothing but the classifier's taps."""
    channels = tuple(tap.channels for tap in classifier.taps)
    return HeadConfig(settings, channels, classifier.number_of_classes)
