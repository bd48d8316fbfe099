"""Eigen-CAM: Muhammad and Yeasin, arXiv 2008.00299."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.methods.activation.activation_gradients import (
    ACTIVATION_NETWORKS,
    on_one_layer,
)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class EigenCam(Explainer):
    """The direction in which an image's features vary most: ``S = X v``.

    ``X`` is the image's (N, C) matrix of features at the N = h·w places of the tapped layer, with
    every column centred, and ``v`` its first right singular vector. One map serves all classes.
    Maps are (B, K, h, w) on the layer's grid, signed.

    Deviation: a singular vector's sign is arbitrary, and published code leaves it to the linear
    algebra library, so that some maps come out inverted. Here the map is flipped where
    ``|min S| > |max S|`` (Seg-Eigen-CAM, doi 10.3390/app15137562): the few places that stand out
    are taken for the object. The vector comes from the smaller of the two Gram matrices of ``X``
    in double precision, which is cheaper than a singular value decomposition and as accurate.

    Args:
        classifier: the network to explain.
        layer: dotted name of the layer to read instead of the classifier's last tap.

    Raises:
        TapError: there is no such layer, or its output is not a feature map.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> eigen_cam = EigenCam(tiny_classifier())
        >>> eigen_cam(torch.zeros(2, 3, 16, 16)).maps.shape
        torch.Size([2, 1, 4, 4])
    """

    card = MethodCard(
        name="eigen_cam",
        title="Eigen-CAM",
        family="class activation",
        networks=ACTIVATION_NETWORKS,
        cost="1 forward, all classes",
        paper="Muhammad and Yeasin, arXiv 2008.00299",
        targets=EVERY_TARGET,
        class_specific=False,
    )

    layer: str | None = None

    def __post_init__(self) -> None:
        self._keep(classifier=on_one_layer(self.classifier, self.layer))

    def _decided(self) -> dict[str, Any]:
        return {"layer": str(self.classifier.taps[0])}

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        reading = self.classifier.read_features(images)
        targets = request.targets(reading.logits)
        maps = principal_component_maps(reading.feature_maps[0])
        return RawMaps(reading.logits, targets, maps[:, None].expand(-1, targets.shape[1], -1, -1))


def principal_component_maps(features: Tensor) -> Tensor:
    """Project every image's centred features on their first right singular vector.

    Args:
        features: (B, C, h, w).

    Returns:
        (B, h, w) float32, of the sign that makes its largest absolute value positive.

    Example:
        >>> features = torch.tensor([[[[-1.0, -1.0, -1.0, 3.0]], [[0.0, 0.0, 0.0, 0.0]]]])
        >>> principal_component_maps(features)
        tensor([[[-1., -1., -1.,  3.]]])
    """
    places = features.double().flatten(2).transpose(1, 2)
    centred = places - places.mean(dim=1, keepdim=True)
    count, channels = centred.shape[1:]
    if count <= channels:
        values, vectors = torch.linalg.eigh(centred @ centred.transpose(1, 2))
        projections = vectors[..., -1] * values[:, -1:].clamp(min=0).sqrt()
    else:
        _, vectors = torch.linalg.eigh(centred.transpose(1, 2) @ centred)
        projections = (centred @ vectors[..., -1:]).squeeze(-1)
    upside_down = projections.amin(dim=1).abs() > projections.amax(dim=1).abs()
    projections = torch.where(upside_down[:, None], -projections, projections)
    return projections.reshape(len(features), *features.shape[2:]).float()


def principal_evidence(contributions: Tensor) -> Tensor:
    """The main component of what channels contribute, of the sign of their sum.

    Args:
        contributions: (B, C, h, w), signed.

    Returns:
        (B, h, w) float32: the projection of :func:`principal_component_maps`, flipped where it
        falls as the sum of the channels rises.

    Example:
        >>> speaks_against = torch.tensor([[[[1.0, 1.0, 1.0, -3.0]], [[0.0, 0.0, 0.0, 0.0]]]])
        >>> principal_evidence(speaks_against)
        tensor([[[ 1.,  1.,  1., -3.]]])
    """
    projections = principal_component_maps(contributions)
    together = (projections * contributions.sum(dim=1)).sum(dim=(1, 2))
    return torch.where(together[:, None, None] < 0, -projections, projections)
