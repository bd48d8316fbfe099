"""What a head will look like on a classifier, before its weights exist."""

from __future__ import annotations

import dataclasses

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.linear_end import (
    evidence_tap,
    find_class_layer,
    find_linear_end,
    linear_layer,
)
from ttame.errors import ExplainerError
from ttame.explainers.trained.attention_head import AttentionHead
from ttame.explainers.trained.head_settings import HeadSettings
from ttame.explainers.trained.shared_head import HeadInputs, SharedHead
from ttame.features.tap_choice import MOST_TAPS
from ttame.features.tap_names import Tap, parse_tap
from ttame.features.token_contributions import TokenContributions

TrainedHead = AttentionHead | SharedHead


@dataclasses.dataclass(frozen=True, eq=False)
class HeadPlan:
    """A head that is still to be made.

    Attributes:
        classifier: with all taps that the head reads; a few-shot head may read one more than the
            classifier had.
        settings: what was asked for, without a prior where the classifier has none to give.
        inputs: of a few-shot head; ``None`` for other variants.
    """

    classifier: Classifier
    settings: HeadSettings
    inputs: HeadInputs | None = None

    @property
    def prior_layer(self) -> str | None:
        """Name of the tap that a few-shot head's prior is made of; ``None`` without a prior."""
        if self.inputs is None or self.inputs.pooled is None:
            return None
        return str(self.classifier.taps[self.inputs.pooled])

    @property
    def reads_contributions(self) -> bool:
        """Whether the prior is made of what tokens add to the class token."""
        return any(isinstance(tap, TokenContributions) for tap in self.classifier.taps)

    def make(self, seed: int = 0) -> TrainedHead:
        """The untrained head, whose initial weights the seed decides."""
        count = self.classifier.number_of_classes
        if self.inputs is not None:
            return SharedHead(self.inputs, count, self.settings, seed=seed).float()
        channels = [tap.channels for tap in self.classifier.taps]
        return AttentionHead(channels, count, self.settings, seed=seed).float()


def plan_head(classifier: Classifier, settings: HeadSettings) -> HeadPlan:
    """See what a head of these settings reads of a classifier.

    A few-shot head has a prior where the classifier's logits are linear in pooled features, in
    their normalised average, or in a class token; see
    :func:`ttame.classifiers.linear_end.find_linear_end`. Elsewhere it is made without one. Of a
    class token it reads what each token adds to it; where that is not found, the patch tokens
    behind the final normalisation.

    Raises:
        ExplainerError: the classifier has more taps than leave room for the pooled features.

    Example:
        >>> from torch import nn
        >>> from ttame.images.preprocessing import Preprocessing
        >>> network = nn.Sequential(
        ...     nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        ...     nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
        >>> classifier = Classifier(network, preprocessing=Preprocessing.imagenet(16))
        >>> plan = plan_head(classifier, HeadSettings("few-shot"))
        >>> plan.settings.parts, plan.inputs.class_layer
        (('prior', 'embedding', 'gate'), '6')
    """
    if settings.variant != "few-shot":
        return HeadPlan(classifier, settings)
    end = find_linear_end(classifier)
    layer = end.layer if end is not None else find_class_layer(classifier)
    width = linear_layer(classifier, layer).in_features if layer else 0
    branched = classifier.taps
    pooled = None
    if end is not None and settings.prior:
        evidence = evidence_tap(classifier, end)
        classifier = _also_reading(classifier, evidence)
        pooled = str(evidence)
    read = [str(tap) for tap in classifier.taps]
    inputs = HeadInputs(
        channels=tuple(tap.channels for tap in classifier.taps),
        branched=tuple(read.index(str(tap)) for tap in branched),
        pooled=None if pooled is None else read.index(pooled),
        class_layer=layer or "",
        class_width=width,
    )
    settings = dataclasses.replace(settings, prior=pooled is not None)
    return HeadPlan(classifier, settings, inputs)


def _also_reading(classifier: Classifier, evidence: Tap) -> Classifier:
    """The classifier with this tap among its own."""
    taps = classifier.taps
    if str(evidence) in map(str, taps):
        return classifier
    if len(taps) == MOST_TAPS:
        raise ExplainerError(
            f"a few-shot head on {len(taps)} taps and the features that {classifier.name} pools",
            allowed=f"{MOST_TAPS} taps altogether",
            remedy=f"{MOST_TAPS - 1} taps, or ttame train --without prior",
        )
    return classifier.with_taps([*taps, evidence])


def evidence_in_words(layer: str) -> str:
    """What a prior is made of, given the name of its tap.

    Example:
        >>> evidence_in_words("contributions:norm")
        'contributions:norm, what each token adds to the class token'
        >>> evidence_in_words("layer4")
        'layer4, the features of each place'
    """
    return f"{layer}, {parse_tap(layer).in_words}"
