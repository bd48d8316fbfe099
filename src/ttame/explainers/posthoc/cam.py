"""CAM: Zhou et al., Learning Deep Features for Discriminative Localization, CVPR 2016."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.layer_outputs import reading, uncompiled
from ttame.errors import ExplainerError
from ttame.explainers.explainer import ChooseClasses, Explainer, RawMaps
from ttame.explainers.method_card import MethodCard


@dataclasses.dataclass(frozen=True)
class PooledLinearHead:
    """The end of a network whose logits are linear in globally averaged features.

    Attributes:
        features: the layer whose (B, C, h, w) output is averaged.
        linear: the ``nn.Linear`` that turns the averages into logits.
    """

    features: str
    linear: str


class Cam(Explainer):
    """Class activation mapping: ``S_c = Σ_k W_ck A_k``.

    ``A_k`` is channel k of the features before global average pooling, ``W`` the weights of the
    linear layer after it. ``mean(S_c) + b_c`` is the logit of c. The map is signed; drawing it
    min–maxes, where the paper does not rectify either.

    Args:
        classifier: its logits must be linear in globally averaged features.

    Raises:
        ExplainerError: they are not.

    Example:
        >>> from ttame.preprocessing import Preprocessing
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(),
        ...                         nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        >>> cam = Cam(Classifier(network, preprocessing=Preprocessing.imagenet(16)))
        >>> cam(torch.zeros(2, 3, 16, 16), "all").maps.shape
        torch.Size([2, 5, 8, 8])
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
        self.classifier = classifier
        self.head = find_pooled_linear_head(classifier)

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, choose_classes: ChooseClasses) -> RawMaps:
        network = uncompiled(self.classifier.network)
        with reading({self.head.features: network.get_submodule(self.head.features)}) as outputs:
            logits = self.classifier.logits(images)
        classes = choose_classes(logits)
        weight = network.get_parameter(f"{self.head.linear}.weight")[classes]
        return RawMaps(
            logits, classes, torch.einsum("bkc,bchw->bkhw", weight, outputs[self.head.features])
        )


def find_pooled_linear_head(classifier: Classifier) -> PooledLinearHead:
    """Find the features whose average the last linear layer reads, and check that it is so.

    Raises:
        ExplainerError: the logits are not linear in globally averaged features.
    """
    network = uncompiled(classifier.network)
    linears = [name for name, module in network.named_modules() if isinstance(module, nn.Linear)]
    records = classifier.trace.by_name()
    used = sorted((name for name in linears if name in records), key=lambda n: records[n].order)
    missing = ExplainerError(
        f"cam is not defined for {classifier.name}: its logits are not one linear layer on "
        "globally averaged features",
        remedy="grad_cam",
    )
    if not used:
        raise missing
    last = used[-1]
    width = network.get_parameter(f"{last}.weight").shape[1]
    candidates = [
        layer.name
        for layer in classifier.trace.layers
        if len(layer.shape) == 4 and layer.shape[1] == width and layer.order < records[last].order
    ]
    size = classifier.preprocessing.input_size
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(1, 3, *size, generator=generator)
    modules = {name: network.get_submodule(name) for name in candidates}
    with torch.no_grad(), reading(modules) as outputs:
        logits = classifier.logits(images)
    linear = network.get_submodule(last)
    # The last such layer before the pooling: later ones may be pooled already.
    for name in sorted(candidates, key=lambda n: records[n].order, reverse=True):
        features = outputs[name]
        if features.shape[2] * features.shape[3] > 1:
            again = linear(features.mean(dim=(2, 3)))
            if torch.allclose(again, logits, rtol=1e-3, atol=1e-4 * float(logits.abs().max())):
                return PooledLinearHead(name, last)
    raise missing
