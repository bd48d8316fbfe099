"""What the class activation methods share: features of one layer, and their gradients."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.classifier import Classifier
from ttame.errors import TapError
from ttame.explainers.contract.differentiation import differentiating
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_gradients import target_gradients
from ttame.explainers.passes.tapped_output import exchanging_output, tapped_output
from ttame.features.feature_taps import LayerOutput
from ttame.networks.layer_outputs import put_first_tensor

ACTIVATION_NETWORKS = "any with feature maps or patch tokens"
ACTIVATION_COST = "1 forward, 1 backward of the layers after the tap per class"


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ActivationGradientMethod(Explainer):
    """The methods that weigh the features ``A`` of one layer by the gradients ``g = ∂f_c/∂A``.

    One forward pass of the batch, and for each class an image one backward pass through the
    layers after the tapped one. A method fills one hole, ``channel_maps``.

    Args:
        classifier: the network to explain.
        layer: dotted name of the layer to read instead of the classifier's last tap: the last
            feature map of a CNN, the first norm of a Vision Transformer's last block. (After that
            block only the class token is read, so there the gradient of the patches is zero.)
        rectified: whether the map's negative values become 0, as in the paper. Without, it says
            also what speaks against the class.

    Raises:
        TapError: there is no such layer, or its output is not a feature map.
    """

    layer: str | None = None
    rectified: bool = True

    def __post_init__(self) -> None:
        self._keep(classifier=on_one_layer(self.classifier, self.layer))

    def _decided(self) -> dict[str, Any]:
        return {"layer": str(self.classifier.taps[0])}

    @abstractmethod
    def channel_maps(self, features: Tensor, gradients: Tensor) -> Tensor:
        """Weigh features by gradients.

        Args:
            features: A, (B, C, h, w) float32.
            gradients: g, (B, C, h, w) float32.

        Returns:
            (B, C, h, w) signed: what each channel contributes.
        """

    def evidence(self, features: Tensor, gradients: Tensor) -> Tensor:
        """The contributions of all channels together: their sum, (B, h, w) signed."""
        return self.channel_maps(features, gradients).sum(dim=1)

    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        tap = self.classifier.taps[0]
        size = (int(images.shape[-2]), int(images.shape[-1]))
        with differentiating():
            logits, output = read_from_layer(self.classifier, images)
            features = tap.feature_map(output, size).detach().float()
            targets = request.targets(logits.detach())
            maps = [
                self.evidence(features, tap.feature_map(gradient, size).float())
                for gradient in target_gradients(logits, targets, output)
            ]
        stacked = torch.stack(maps, dim=1)
        return RawMaps(logits, targets, stacked.relu() if self.rectified else stacked)


def on_one_layer(classifier: Classifier, layer: str | None) -> Classifier:
    """The classifier with one tap: the named layer, or its own last tap of a layer's output.

    Args:
        classifier: with taps of any kind.
        layer: dotted name of the layer; ``layer#0`` for the first of its runs instead of the last.

    Raises:
        TapError: there is no such layer, or its output is not a feature map; or what tokens add to
            the class token was asked for, on which no logit depends.
    """
    taps = classifier.taps if layer is None else classifier.with_taps([layer]).taps
    outputs = [tap for tap in taps if isinstance(tap, LayerOutput)]
    if not outputs:
        raise TapError(
            f"{taps[-1]}, which is not an output of a layer, as the layer of a method",
            allowed="a layer whose output the logits depend on",
            remedy="a classifier that also taps the output of a layer"
            if layer is None
            else f"layer={taps[-1].layer!r}, or no layer for the method's own choice",
        )
    return classifier.with_taps(outputs[-1:])


def read_from_layer(classifier: Explainable, images: Tensor) -> tuple[Tensor, Tensor]:
    """Run the network with a graph that begins at the output of the classifier's only tap.

    Args:
        classifier: has one tap.
        images: (B, 3, H, W), normalised.

    Returns:
        Logits (B, C), and the layer's output, which they can be differentiated by.
    """
    tap = tapped_output(classifier)
    outputs: list[Tensor] = []

    def begin_graph(output: Any) -> Any:
        leaf = tap.tensor(output).detach().requires_grad_()
        outputs[:] = [leaf]
        # The copy is for the layers behind that work in place, which a leaf does not allow.
        return put_first_tensor(output, leaf.clone())

    with exchanging_output(classifier, begin_graph):
        logits = classifier.logits(images.detach().clone())
    return logits, outputs[0]
