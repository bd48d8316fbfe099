"""CAM: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.linear_end import LinearEnd, find_linear_end
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import LINEAR_TARGETS, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.methods.activation.last_grid import (
    LastGrid,
    find_last_grid,
    gradient_evidence,
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class Cam(Explainer):
    """Class activation mapping: ``S_c = Σ_k W_ck A_k``.

    ``A_k`` is channel k of the features before global average pooling, (h, w), ``W`` the (C, k)
    weights of the linear layer after it. ``mean(S_c) + b_c`` is the logit of c. Maps are
    (B, K, h, w) on the features' grid, signed; drawing min–maxes them, where the paper does not
    rectify either.

    The features are found by looking: a dry run shows which layer's average is what the last
    linear layer reads. This holds for ResNets and their like, for Swin Transformers, and for
    Vision Transformers that average their patch tokens after the final norm. Where a LayerNorm or
    RMSNorm comes behind the average, as in ConvNeXt and BEiT, ``A`` is what each place gives to
    its output (:mod:`ttame.features.normalised_average`); ``mean(S_c) + b_c`` still is the
    logit. Where the logits are cosines ``s (w_c/|w_c|)·(ā/|ā|)`` of the averaged features ā, are
    divided by a temperature, or are the mean of several linear layers, the weights are the
    gradients of the logit with respect to ā, with ``|ā|`` held constant: ``S_c`` then is
    ``s (w_c/|w_c|)·A/|ā|``, whose mean is the logit.

    Args:
        classifier: its logits must be linear in globally averaged features, up to what these are
            divided by.

    Raises:
        ExplainerError: they are not.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> cam = Cam(tiny_classifier())
        >>> cam(torch.zeros(2, 3, 16, 16), "all").maps.shape
        torch.Size([2, 5, 4, 4])
    """

    card = MethodCard(
        name="cam",
        title="CAM",
        family="class activation",
        networks="logits linear in globally averaged features",
        cost="1 forward, all classes",
        paper="Zhou et al., CVPR 2016",
        targets=LINEAR_TARGETS,
    )

    end: LinearEnd | LastGrid = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        end = find_linear_end(self.classifier) or _averaged(self.classifier)
        if end is None or (isinstance(end, LinearEnd) and end.pooling != "average"):
            raise ExplainerError(
                f"cam is not defined for {self.classifier.name}: its logits are not one linear "
                "layer on globally averaged features",
                remedy="grad_cam",
            )
        self._keep(end=end, classifier=self.classifier.with_taps([end.features]))

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        return evidence_maps(self.classifier, self.end, images, request)


def _averaged(classifier: Explainable) -> LastGrid | None:
    found = find_last_grid(classifier)
    return found if found is not None and found.linear else None


def evidence_maps(
    classifier: Explainable, end: LinearEnd | LastGrid, images: Tensor, request: Request
) -> RawMaps:
    """The linear layer, without its bias, on every place of the classifier's only tap.

    Without such a layer, the gradients of the scores take its place.
    """
    if isinstance(end, LastGrid):
        return gradient_evidence(classifier, images, request)
    read = classifier.read_features(images)
    targets = request.linear_targets(read.logits)
    weight = targets.mix(end.weights(classifier).float())
    maps = torch.einsum("bkc,bchw->bkhw", weight, read.feature_maps[0].float())
    return RawMaps(read.logits, targets, maps)
