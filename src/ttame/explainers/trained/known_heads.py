"""The heads that can be trained."""

from __future__ import annotations

import importlib

from ttame.classifiers.any_classifier import Explainable
from ttame.explainers.trained.head import Head, HeadConfig, HeadPlan
from ttame.explainers.trained.head_settings import HeadSettings
from ttame.explainers.trained.known_head_settings import HEAD_SETTINGS


def _head_of(settings: type[HeadSettings]) -> type[Head]:
    file = importlib.import_module(f"ttame.explainers.trained.{settings.head_file}")
    heads = (each for each in vars(file).values() if isinstance(each, type))
    return next(
        each for each in heads if issubclass(each, Head) and vars(each).get("Settings") is settings
    )


HEADS: dict[str, type[Head]] = {
    kind: _head_of(settings) for kind, settings in HEAD_SETTINGS.items()
}
"""Kind, as settings name it, to class."""


def plan_head(classifier: Explainable, settings: HeadSettings) -> HeadPlan:
    """See what a head of these settings reads of a classifier.

    Raises:
        ExplainerError: it cannot read this classifier.

    Example:
        >>> from ttame.explainers.trained.known_head_settings import head_settings
        >>> from ttame.testing import tiny_classifier
        >>> classifier = tiny_classifier()
        >>> config = plan_head(classifier, head_settings("few-shot")).config
        >>> config.settings.parts, config.inputs["class_layer"]
        (('prior', 'embedding', 'gate'), '6')
    """
    return HEADS[settings.kind].plan(classifier, settings)


def make_head(config: HeadConfig) -> Head:
    """The untrained head of a configuration.

    Raises:
        ExplainerError: it describes a head that cannot be.
    """
    return HEADS[config.settings.kind].from_config(config)
