"""CAM: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.linear_end import LinearEnd, find_linear_end
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import LINEAR_TARGETS, MethodCard
from ttame.explainers.contract.request import RawMaps, Request


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
    logit.

    Args:
        classifier: its logits must be linear in globally averaged features.

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

    end: LinearEnd = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        end = find_linear_end(self.classifier)
        if end is None or end.pooling != "average":
            raise ExplainerError(
                f"cam is not defined for {self.classifier.name}: its logits are not one linear "
                "layer on globally averaged features",
                remedy="grad_cam",
            )
        self._keep(end=end, classifier=self.classifier.with_taps([end.features]))

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        return evidence_maps(self.classifier, self.end, images, request)


def evidence_maps(
    classifier: Classifier, end: LinearEnd, images: Tensor, request: Request
) -> RawMaps:
    """The linear layer, without its bias, on every place of the classifier's only tap."""
    read = classifier.read_features(images)
    targets = request.linear_targets(read.logits)
    weight = targets.mix(end.weights(classifier).float())
    maps = torch.einsum("bkc,bchw->bkhw", weight, read.feature_maps[0].float())
    return RawMaps(read.logits, targets, maps)
