"""What heads share that read nothing but taps, perhaps multiplied by their class tokens."""

from __future__ import annotations

from typing import Self

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.feature_reading import FeatureReading
from ttame.explainers.trained.class_token import gated_features, refuse_without_class_token
from ttame.explainers.trained.head import Head, HeadConfig, HeadInputs, HeadPlan, tapped_config
from ttame.explainers.trained.head_settings import (
    AttentionHeadSettings,
    HeadSettings,
    LCamHeadSettings,
)


class TokenGatedHead(Head):
    """A head that is made of channels, classes and settings, which may ask for class tokens."""

    settings: AttentionHeadSettings | LCamHeadSettings

    @classmethod
    def _planned(cls, classifier: Explainable, settings: HeadSettings) -> HeadPlan:
        """A head on all taps of this classifier."""
        assert isinstance(settings, AttentionHeadSettings | LCamHeadSettings)
        if settings.class_token == "multiply":
            refuse_without_class_token(classifier)
        return HeadPlan(classifier, cls, tapped_config(classifier, settings))

    @classmethod
    def from_config(cls, config: HeadConfig, *, seed: int = 0) -> Self:
        """The untrained head."""
        assert isinstance(config.settings, cls.Settings)
        return cls(config.channels, config.number_of_classes, config.settings, seed=seed)

    def inputs_of(self, classifier: Explainable, reading: FeatureReading) -> HeadInputs:
        """The features, with or without the class token."""
        if self.settings.class_token == "multiply":
            return HeadInputs(gated_features(reading), {})
        return super().inputs_of(classifier, reading)
