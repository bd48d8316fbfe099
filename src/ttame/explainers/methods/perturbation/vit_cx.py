"""ViT-CX: Xie et al., arXiv 2211.03064."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.classifiers.transformer_layout import transformer_layout
from ttame.errors import ExplainerError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import (
    bytes_needed,
    in_chunks,
    items_at_once,
    most_at_once,
    part_of,
)
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_scores import target_scores
from ttame.explainers.methods.activation.activation_gradients import on_one_layer
from ttame.explainers.methods.perturbation.complete_linkage import complete_linkage
from ttame.images.saliency_maps import has_evidence, resize_maps, to_unit_range

MAPS_AT_ONCE = 64
"""Channels that are upsampled together to find their minimum and maximum."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class VitCx(Explainer):
    """ViT-CX: causal scores of masks that are clusters of a Vision Transformer's channel maps.

    ``s_i = p_c(x⊙M_i + n⊙(1−M_i)) − p_c(x + n⊙(1−M_i)) + p_c(x)`` and
    ``S = 1/m Σ_i s_i M_i / Σ_j M_j``, pixel by pixel. Every channel of the tapped patch tokens is
    upsampled bilinearly and scaled to [0, 1]; channels are clustered agglomeratively (complete
    linkage, cosine distance of the upsampled maps); the m masks ``M_i`` are the clusters' sums,
    scaled to [0, 1] again. ``x`` is the normalised image, ``p_c`` the probability of class c,
    ``n ~ N(0, σ²)`` noise that hides without a hard edge and whose own effect the second term
    takes away. A pixel that no mask covers gets 0.

    All classes share the passes. Clustering uses that upsampling is linear and never builds the
    upsampled maps of all channels at once; masks are made chunk by chunk.

    The paper draws noise anew in places; here one noise image, fixed by the seed, serves all masks
    and all images, so that a map depends neither on its batch nor on the memory budget.

    Args:
        classifier: a Vision Transformer with patch tokens on one grid.
        layer: read tokens here instead of the first norm of the last block.
        distance: clusters whose most distant channels are less than this apart are merged.
        noise: σ, in units of the normalised image.
        seed: the seed of the noise.

    Raises:
        ExplainerError: the network is not a Vision Transformer; an option out of range.
        TapError: the layer does not exist or gives no patch tokens.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> vit_cx = VitCx(tiny_classifier("vit", size=32))
        >>> vit_cx(torch.zeros(1, 3, 32, 32), "top2").maps.shape
        torch.Size([1, 2, 32, 32])
    """

    card = MethodCard(
        name="vit_cx",
        title="ViT-CX",
        family="perturbation",
        networks="Vision Transformers",
        cost="1 + 2·masks forwards (tens to hundreds), all classes",
        paper="Xie et al., arXiv 2211.03064",
        targets=EVERY_TARGET,
        random=True,
        map_is="pixels",
    )

    layer: str | None = None
    distance: float = 0.1
    noise: float = 0.1
    seed: int = 0

    def __post_init__(self) -> None:
        if transformer_layout(self.classifier) is None:
            raise ExplainerError(
                f"vit_cx is not defined for {self.classifier.name}: it has no patch tokens that "
                "keep their grid through all blocks",
                remedy="score_cam or rise",
            )
        if not 0 <= self.distance <= 2:
            raise ExplainerError(f"distance {self.distance}", allowed="0 to 2, a cosine distance")
        if self.noise < 0:
            raise ExplainerError(f"noise {self.noise}", allowed="at least 0")
        self._keep(classifier=on_one_layer(self.classifier, self.layer))

    def _decided(self) -> dict[str, Any]:
        return {"layer": str(self.classifier.taps[0])}

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        reading = self.classifier.read_features(images)
        targets = request.targets(reading.logits)
        images = images.to(reading.logits)
        size = (int(images.shape[2]), int(images.shape[3]))
        clusters = [
            cluster_maps(features, size, self.distance)
            for features in reading.feature_maps[0].float()
        ]
        total, before = sum(len(cluster) for cluster in clusters), 0
        maps = []
        for index, cluster in enumerate(clusters):
            progress = part_of(request.progress, before, total)
            asked = dataclasses.replace(request, progress=progress)
            image = images[index : index + 1]
            maps.append(self._map(image, targets[index : index + 1], cluster, asked))
            before += len(cluster)
        return RawMaps(reading.logits, targets, torch.stack(maps))

    def _map(
        self, image: Tensor, targets: ExplainedTargets, clusters: Tensor, request: Request
    ) -> Tensor:
        """The (K, H, W) maps of one image, given the (m, h, w) sums of its clusters."""
        size = (int(image.shape[2]), int(image.shape[3]))
        generator = torch.Generator().manual_seed(self.seed)
        noise = self.noise * torch.randn(image.shape, generator=generator, dtype=torch.float32).to(
            image
        )
        whole = self._values(image, targets)
        weighted = torch.zeros(
            targets.shape[1], size[0] * size[1], device=image.device, dtype=torch.float32
        )
        coverage = torch.zeros(size[0] * size[1], device=image.device, dtype=torch.float32)

        def add(part: slice) -> None:
            masks = to_unit_range(resize_maps(clusters[part, None], size))
            kept = masks.to(image.dtype)
            noisy = noise * (1 - kept)
            masked = self._values(image * kept + noisy, targets)
            unmasked = self._values(image + noisy, targets)
            weighted.addmm_((masked - unmasked + whole).T, masks.flatten(1))
            coverage.add_(masks.flatten(1).sum(dim=0))

        item = bytes_needed(lambda: add(slice(0, 1)))
        weighted.zero_()
        coverage.zero_()
        at_once = items_at_once(item, request.memory_budget, most_at_once(image.device))
        for part in in_chunks(len(clusters), at_once, request.progress):
            add(part)
        covered = torch.where(coverage > 0, coverage, torch.ones_like(coverage))
        return (weighted / covered / len(clusters)).reshape(-1, *size)

    def _values(self, images: Tensor, targets: ExplainedTargets) -> Tensor:
        """Of one image's targets for (n, 3, H, W) variants of the image: (n, K)."""
        return target_scores(
            self.classifier.logits(images),
            targets.repeated(len(images)),
            "probability",
            self.classifier.outputs,
        )


def cluster_maps(features: Tensor, size: tuple[int, int], distance: float) -> Tensor:
    """Cluster the channels of one image by how alike their upsampled, scaled maps are.

    Bilinear upsampling is linear and keeps constants. So a scaled upsampled map is the upsampling
    of a scaled small map ``a``, and the products of upsampled maps are ``a Q aᵀ`` with one small
    matrix ``Q``.

    Args:
        features: (C, h, w) float32.
        size: (H, W) in pixels.
        distance: below which clusters are merged.

    Returns:
        (m, h, w) float32: the sums of the clusters' small maps, whose upsampling is the sum of
        their upsampled maps. A channel that is constant belongs to no cluster; if all are, the one
        map is 0.
    """
    features = features[has_evidence(features)]
    if not len(features):
        return torch.zeros(1, *features.shape[1:], device=features.device, dtype=torch.float32)
    extremes = [
        torch.stack(resize_maps(features[part, None], size).flatten(1).aminmax(dim=1))
        for part in in_chunks(len(features), MAPS_AT_ONCE)
    ]
    lowest, highest = torch.cat(extremes, dim=1)[..., None, None]
    scaled = (features - lowest) / (highest - lowest)
    down, across = (
        _upsampling(features.shape[1 + axis], size[axis]).to(features.device) for axis in (0, 1)
    )
    maps = scaled.double()
    products = torch.einsum("chw,hg,wv->cgv", maps, down.T @ down, across.T @ across)
    gram = products.flatten(1) @ maps.flatten(1).T
    lengths = gram.diagonal().sqrt()
    labels = complete_linkage(1 - gram / (lengths[:, None] * lengths), distance)
    sums = torch.zeros(
        int(labels.max()) + 1, *scaled.shape[1:], device=scaled.device, dtype=torch.float32
    )
    return sums.index_add_(0, labels.to(scaled.device), scaled)


def _upsampling(small: int, large: int) -> Tensor:
    """The (large, small) float64 matrix of bilinear upsampling along one axis."""
    identity = torch.eye(small, dtype=torch.float64)[None, None]
    matrix = F.interpolate(identity, size=(large, small), mode="bilinear", align_corners=False)
    return matrix[0, 0]
