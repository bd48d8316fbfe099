"""CAM: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.feature_taps import FeatureTap
from ttame.classifiers.layer_outputs import reading, uncompiled, watching_inputs
from ttame.classifiers.tap_choice import describe_layer
from ttame.errors import ExplainerError, TapError
from ttame.explainers.explainer import ChooseClasses, Explainer, RawMaps
from ttame.explainers.method_card import MethodCard


@dataclasses.dataclass(frozen=True)
class PooledLinearHead:
    """The end of a network whose logits are linear in globally averaged features.

    Attributes:
        features: the features whose places are averaged: a feature map, channels first or last,
            or the patch tokens of a transformer that averages them after its last norm.
        linear: dotted name of the ``nn.Linear`` that turns the averages into logits.
    """

    features: FeatureTap
    linear: str


class Cam(Explainer):
    """Class activation mapping: ``S_c = Σ_k W_ck A_k``.

    ``A_k`` is channel k of the features before global average pooling, (h, w), ``W`` the (C, k)
    weights of the linear layer after it. ``mean(S_c) + b_c`` is the logit of c. Maps are
    (B, K, h, w) on the features' grid, signed; drawing min–maxes them, where the paper does not
    rectify either.

    The features are found by looking: a dry run shows which layer's average is what the last
    linear layer reads. This holds for ResNets and their like, for Swin Transformers, and for
    Vision Transformers that average their patch tokens after the final norm.

    Args:
        classifier: its logits must be linear in globally averaged features.

    Raises:
        ExplainerError: they are not.

    Example:
        >>> from ttame.preprocessing import Preprocessing
        >>> network = nn.Sequential(
        ...     nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
        ...     nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
        >>> cam = Cam(Classifier(network, preprocessing=Preprocessing.imagenet(16)))
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
    )

    def __init__(self, classifier: Classifier) -> None:
        self.head = find_pooled_linear_head(classifier)
        self.classifier = classifier.with_taps([self.head.features])

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, choose_classes: ChooseClasses) -> RawMaps:
        read = self.classifier.read_features(images)
        classes = choose_classes(read.logits)
        weight = _linear(self.classifier, self.head.linear).weight[classes]
        maps = torch.einsum("bkc,bchw->bkhw", weight.float(), read.feature_maps[0].float())
        return RawMaps(read.logits, classes, maps)


def find_pooled_linear_head(classifier: Classifier) -> PooledLinearHead:
    """Find the features whose average the last linear layer reads, and check that it is so.

    Raises:
        ExplainerError: the logits are not linear in globally averaged features.
    """
    network, trace = uncompiled(classifier.network), classifier.trace
    linears = [
        layer.name
        for layer in trace.layers
        if isinstance(network.get_submodule(layer.name), nn.Linear)
    ]
    if linears:
        # The last such layer before the pooling comes first: it is the one that is averaged.
        taps = [describe_layer(network, trace, layer) for layer in reversed(trace.layers)]
        width = _linear(classifier, linears[-1]).in_features
        candidates = [tap for tap in taps if tap is not None and tap.channels == width]
        for tap in _averaged(classifier, candidates, linears[-1]):
            return PooledLinearHead(tap, linears[-1])
    raise ExplainerError(
        f"cam is not defined for {classifier.name}: its logits are not one linear layer on "
        "globally averaged features",
        remedy="grad_cam",
    )


def _averaged(
    classifier: Classifier, candidates: list[FeatureTap], linear: str
) -> list[FeatureTap]:
    """The candidates whose average over the places is what the linear layer gets.

    The input is compared as well as the logits: a head that starts at zero gives the same logits
    for any features.
    """
    network, size = uncompiled(classifier.network), classifier.preprocessing.input_size
    layer = _linear(classifier, linear)
    images = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    given: list[Tensor] = []

    def keep(_layer: nn.Module, args: tuple[Any, ...], _kwargs: dict[str, Any]) -> None:
        given[:] = [args[0].float()]

    modules = {tap.layer: network.get_submodule(tap.layer) for tap in candidates}
    with torch.no_grad(), reading(modules) as outputs, watching_inputs([(layer, keep)]):
        logits = classifier.logits(images).float()
    bias = None if layer.bias is None else layer.bias.float()
    found = []
    for tap in candidates:
        try:
            features = tap.feature_map(outputs.get(tap.layer), size).float()
        except TapError:
            continue
        averages = features.mean(dim=(2, 3))
        again = F.linear(averages, layer.weight.float(), bias)
        if _alike(averages, given[0], classifier.dtype) and _alike(again, logits, classifier.dtype):
            found.append(tap)
    return found


def _alike(actual: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Whether two results differ by no more than rounding in ``dtype`` explains."""
    share = max(1e-4, 8 * torch.finfo(dtype).eps)
    return actual.shape == expected.shape and torch.allclose(
        actual, expected, rtol=10 * share, atol=share * float(expected.abs().max())
    )


def _linear(classifier: Classifier, name: str) -> nn.Linear:
    layer = uncompiled(classifier.network).get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer
