"""The maps of a few-shot head out of one pass, with as little work as they need."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.feature_reading import FeatureReading
from ttame.classifiers.linear_end import class_weights
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.explainers.trained.attention_head import mix_channels
from ttame.explainers.trained.shared_head import SharedHead
from ttame.exporting.folded_head import FoldedSharedHead
from ttame.exporting.one_pass_maps import MapSource, Read
from ttame.features.contribution_factors import ContributionFactors, FactorReading
from ttame.features.token_contributions import TokenContributions
from ttame.networks.layer_outputs import uncompiled


class SharedHeadMaps(MapSource):
    """Those of a few-shot head, whose weights are copied.

    What each token adds to a class token is not multiplied out, unless a branch reads it too.

    Args:
        explainer: an explainer whose head is a few-shot one.
    """

    def __init__(self, explainer: AttentionExplainer) -> None:
        head = cast("SharedHead", explainer.head)
        classifier, inputs = explainer.classifier, head.inputs
        super().__init__(classifier)
        self.layer = inputs.class_layer
        rows = class_weights(classifier, self.layer).float() if self.layer else None
        self.head = FoldedSharedHead(head, rows)
        self.branched, self.pooled = inputs.branched, inputs.pooled
        self.contrast = head.settings.contrast
        self.factored: TokenContributions | None = None
        self.reader, self.centres = classifier, False
        if self.pooled is not None and self.pooled not in self.branched:
            others = list(classifier.taps)
            evidence = others.pop(self.pooled)
            if isinstance(evidence, TokenContributions):
                self.factored = evidence
                norm = uncompiled(classifier.network).get_submodule(evidence.layer)
                self.centres = isinstance(norm, nn.LayerNorm)
                # Here, since this looks at numbers, which a pass that is recorded does not have.
                self.reader = classifier.with_taps(others)
                self.branched = tuple(place - (place > self.pooled) for place in self.branched)

    def read(self, classifier: Classifier, images: Tensor) -> Read:
        """Read what the head does: features, rows of the last layer, logits, and any factors."""
        rows = (class_weights(classifier, self.layer).float(),) if self.layer else ()
        if self.factored is None:
            reading = self.reader.read_features(images)
            features = (maps.float() for maps in reading.feature_maps)
            return Read(reading.logits, (*features, *rows, *self._logits(reading)))
        network = uncompiled(classifier.network)
        factors = FactorReading(network, classifier.trace, self.factored)
        with factors.watching():
            reading = self.reader.read_features(images)
        features = (maps.float() for maps in reading.feature_maps)
        found = (*features, *rows, *self._logits(reading), *factors.found().tensors)
        return Read(reading.logits, found)

    def forward(self, tensors: Sequence[Tensor], classes: Tensor | None) -> Tensor:
        """Run the head."""
        count = len(self.reader.taps)
        features, rest = tensors[:count], tensors[count:]
        rows = rest[0] if self.layer else None
        logits = rest[1] if self.contrast else None
        evidence: Features | _Factors | None = None
        if self.factored is not None:
            factors = ContributionFactors.of_tensors(
                rest[1 + self.contrast :], centres=self.centres
            )
            evidence = _Factors(factors, self.factored)
        elif self.pooled is not None:
            evidence = Features(features[self.pooled])
        branched = [features[place] for place in self.branched]
        maps: Tensor = self.head(branched, classes, rows, evidence, logits)
        return maps

    def _logits(self, reading: FeatureReading) -> tuple[Tensor, ...]:
        # A copy: the scores are put out as well.
        return (reading.logits.float().clone(),) if self.contrast else ()


@dataclasses.dataclass(frozen=True, eq=False)
class Features:
    """Evidence that is there as features, (B, D, h, w)."""

    features: Tensor

    def average(self) -> Tensor:
        """Over the places, in the words of networks: a runtime does equal operations once."""
        return self.features.mean(dim=(-1, -2), keepdim=True).flatten(1)

    def products(self, rows: Tensor) -> Tensor:
        """Of places and rows."""
        return mix_channels(self.features, rows)


@dataclasses.dataclass(frozen=True, eq=False)
class _Factors:
    """Evidence of tokens that is not multiplied out."""

    factors: ContributionFactors
    tap: TokenContributions

    def average(self) -> Tensor:
        """Over the patches."""
        return self.factors.average(self.tap.prefix_tokens)

    def products(self, rows: Tensor) -> Tensor:
        """Of patches and rows, on the patches' grid."""
        found = self.factors.products(rows)[:, :, self.tap.prefix_tokens :]
        grid = self.tap.grid_at(self.tap.image_size, found.shape[2])
        return found.reshape(*found.shape[:2], *grid)
