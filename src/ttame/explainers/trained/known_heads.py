"""The heads that can be trained: one line each."""

from __future__ import annotations

from ttame.classifiers.classifier import Classifier
from ttame.explainers.trained.attention_head import AttentionHead
from ttame.explainers.trained.head import Head, HeadConfig, HeadPlan
from ttame.explainers.trained.head_settings import HeadSettings
from ttame.explainers.trained.l_cam_head import LCamHead
from ttame.explainers.trained.settings_part import choices_of
from ttame.explainers.trained.shared_head import SharedHead

_CLASSES: tuple[type[Head], ...] = (
    AttentionHead,
    LCamHead,
    SharedHead,
)

HEADS: dict[str, type[Head]] = {
    kind: head for head in _CLASSES for kind in choices_of(head.Settings, "kind")
}
"""Kind, as settings name it, to class."""


def plan_head(classifier: Classifier, settings: HeadSettings) -> HeadPlan:
    """See what a head of these settings reads of a classifier.

    Raises:
        ExplainerError: it cannot read this classifier.

    Example:
        >>> from ttame.explainers.trained.head_settings import head_settings
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
