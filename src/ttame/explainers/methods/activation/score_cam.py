"""Score-CAM: Wang et al., arXiv 1910.01279."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import (
    bytes_needed,
    in_chunks,
    items_at_once,
    most_at_once,
)
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_scores import ScoreKind, checked_score, target_scores
from ttame.explainers.methods.activation.activation_gradients import on_one_layer
from ttame.explainers.methods.activation.weighted_channels import precise, weighted_channels
from ttame.images.saliency_maps import to_unit_range


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ScoreCam(Explainer):
    """Score-CAM: ``S = (Σ_k w_k A_k)⁺``, ``w = softmax_k f_c(x ⊙ M_k)``, ``M_k = mm(up(A_k))``.

    ``A_k`` is channel k of the last feature map, ``up`` bilinear upsampling to the image, ``mm``
    scaling to [0, 1] by minimum and maximum, ``x`` the normalised image (a removed pixel has the
    data set's mean colour), ``f_c`` the logit of class c. The paper subtracts the score of a
    baseline image, which is the same for all channels and cancels in the softmax.

    One forward pass for each channel that is not constant: 512 for VGG-16, 1280 for
    EfficientNet-Lite0, 2048 for ResNet-50. All constant channels have the same empty mask and share
    one pass. All classes share the passes. Masks are made chunk by chunk.

    Args:
        classifier: its last tap is used.
        layer: read features here instead.
        score: ``"logit"`` as in the paper's formula. A softmax over logits is close to one-hot
            where they differ by more than a few units: the map is then that of few channels. Over
            ``"probability"``, scores within [0, 1], no channel weighs more than e times another,
            and the map is nearly the mean channel, whatever the class; hence the default.
        align_corners: of the upsampling of masks; the most used published code has it true, where
            maps are resized with it false.
        rectified: whether ``(·)⁺`` is applied; without it the map is signed.

    Raises:
        ExplainerError: an unknown score.
        TapError: the layer does not exist or gives no features.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> score_cam = ScoreCam(tiny_classifier())
        >>> score_cam(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 4, 4])
    """

    card = MethodCard(
        name="score_cam",
        title="Score-CAM",
        family="class activation",
        networks="any with feature maps or patch tokens",
        cost="1 + C forwards, all classes",
        paper="Wang et al., arXiv 1910.01279",
        targets=EVERY_TARGET,
    )

    layer: str | None = None
    score: ScoreKind = "logit"
    align_corners: bool = False
    rectified: bool = True

    def __post_init__(self) -> None:
        checked_score(self.score)
        self._keep(classifier=on_one_layer(self.classifier, self.layer))

    def _decided(self) -> dict[str, Any]:
        return {"layer": str(self.classifier.taps[0])}

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        reading = self.classifier.read_features(images)
        targets = request.targets(reading.logits)
        features = reading.feature_maps[0].float()
        weights = precise(self._scores(images, features, targets, request)).softmax(dim=2)
        maps = weighted_channels(weights, features)
        return RawMaps(reading.logits, targets, maps.relu() if self.rectified else maps)

    def _scores(
        self, images: Tensor, features: Tensor, targets: ExplainedTargets, request: Request
    ) -> Tensor:
        """Of every target and channel: (B, K, C) float32."""
        images = images.to(features.device)
        classifier = self.classifier.for_many_passes()
        empty = classifier.logits(torch.zeros_like(images[:1])).expand(len(images), -1)
        of_empty = target_scores(empty, targets, self.score, classifier.outputs)
        scores = of_empty[..., None].repeat(1, 1, features.shape[1])
        varies = features.amax(dim=(2, 3)) > features.amin(dim=(2, 3))
        of_image, channels = varies.nonzero(as_tuple=True)

        def score(part: slice) -> None:
            rows, channel = of_image[part], channels[part]
            masks = self._masks(features[rows, channel], (images.shape[2], images.shape[3]))
            logits = classifier.logits(images[rows] * masks.to(images.dtype))
            scores[rows, :, channel] = target_scores(
                logits, targets[rows], self.score, classifier.outputs
            )

        if len(channels):
            item = bytes_needed(lambda: score(slice(0, 1)))
            size = items_at_once(item, request.memory_budget, most_at_once(images.device))
            for part in in_chunks(len(channels), size, request.progress):
                score(part)
        return scores

    def _masks(self, channels: Tensor, size: tuple[int, int]) -> Tensor:
        """(n, h, w) channels as (n, 1, H, W) masks in [0, 1]."""
        upsampled = F.interpolate(
            channels[:, None], size=size, mode="bilinear", align_corners=self.align_corners
        )
        return to_unit_range(upsampled)
