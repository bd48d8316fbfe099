"""A few-shot head for good: its batch norms folded, and nothing computed that maps do not need."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttame.classifiers.class_contrast import against_rivals
from ttame.explainers.trained.attention_head import map_grid
from ttame.explainers.trained.class_rows import rows_in_common
from ttame.explainers.trained.head_settings import MinMaxMaps
from ttame.explainers.trained.map_scale import scaled_maps
from ttame.explainers.trained.shared_head import SharedHead
from ttame.explainers.trained.shared_head_layers import WIDTH, Branch
from ttame.images.map_details import blurring_matrices, plain_blurring_matrices
from ttame.images.saliency_maps import resize_maps

Grid = tuple[int, int]


class Evidence(Protocol):
    """What each place gives to the last linear layer, (B, D, h, w), seen through products."""

    def average(self) -> Tensor:
        """(B, D), over the places."""

    def products(self, rows: Tensor) -> Tensor:
        """(B, K, h, w) products of each place with rows, (B, K, D) or (1, K, D)."""


class FoldedSharedHead(nn.Module):
    """The maps of a :class:`~ttame.explainers.trained.shared_head.SharedHead` in fewer operations.

    What is linear is done together, in the words of that class: batch norms go into the weights
    before them; ``G [c_k; 0] + g`` of all classes is a table; the gate is one more row of ``E``;
    the cosine is divided after the classes are mixed; blur, batch norm and enlargement of the prior
    are products with matrices of a grid's side. The results are the same but for rounding.

    Args:
        head: it is not changed.
        rows: (C, D) class weights; ``None`` for a head that does without.
    """

    def __init__(self, head: SharedHead, rows: Tensor | None) -> None:
        super().__init__()
        parts = head.settings.parts
        self.number_of_classes = head.number_of_classes
        self.details = head.settings.details
        self.blur = head.settings.blur
        self.contrast = head.settings.contrast
        self.kind = head.settings.maps.kind
        if isinstance(head.settings.maps, MinMaxMaps):
            constant = torch.zeros_like(head.exponent)
            self.register_buffer("exponent", head.exponent.clone())
        else:
            constant = head.bias.detach().clone()
            self.exponent = None
        self.places = _Places(head) if {"embedding", "gate"} & {*parts} else None
        gates = int("gate" in parts)
        self.classes = _Classes(head, rows, gates) if "embedding" in parts else None
        if "prior" in parts:
            scale, shift = _affine(head.prior_norm)
            self.prior_scale: Tensor
            self.register_buffer("prior_scale", scale)
            constant = constant + shift.sum()
        self.constant: Tensor
        self.register_buffer("constant", constant)
        self.requires_grad_(False).eval()

    def forward(
        self,
        features: Sequence[Tensor],
        classes: Tensor | None,
        rows: Tensor | None = None,
        evidence: Evidence | None = None,
        logits: Tensor | None = None,
    ) -> Tensor:
        """Make the maps as explanations hold them.

        Args:
            features: (B, C_i, h_i, w_i) float32 of each branch, first to last.
            classes: (B, K) int64; ``None`` for all in their order.
            rows: (C, D) class weights, if the head needs any.
            evidence: of the prior, if the head has one.
            logits: (B, C) float32, if the prior contrasts classes.

        Returns:
            (B, K, S, S') float32.
        """
        first = features[0]
        grid = map_grid((int(first.shape[2]), int(first.shape[3])))
        chosen = None
        if rows is not None:
            chosen = rows[None] if classes is None else rows[classes]
        maps = self.constant
        if self.places is not None:
            wanted = self.classes and self.classes(classes, chosen, evidence)
            maps = maps + self.places(features, wanted, grid)
        if evidence is not None:
            assert chosen is not None
            found = evidence.products(chosen)
            maps = maps + _prior(found, self.prior_scale[:2], self.blur, grid)
            if self.contrast:
                assert rows is not None and logits is not None
                contrast = against_rivals(found, evidence.products, rows, logits, classes)
                maps = maps + _prior(contrast, self.prior_scale[2:], self.blur, grid)
        count = self.number_of_classes if classes is None else classes.shape[1]
        maps = maps.expand(first.shape[0], count, *grid)
        return scaled_maps(_with_details(maps, self.details), self.kind, self.exponent)


class _Classes(nn.Module):
    """What the embeddings of places are compared with, as long as the scale says.

    They are (B, K, 64 + gates), with zeros where places have their gate.
    """

    def __init__(self, head: SharedHead, rows: Tensor | None, gates: int) -> None:
        super().__init__()
        self.scale: Tensor
        self.mean: Tensor
        self.register_buffer("scale", head.embedding_scale.detach().clone())
        self.found: nn.Linear | None = None
        layer = head.class_embedding
        if isinstance(layer, nn.Embedding):
            self.table = nn.Parameter(F.pad(layer.weight.detach(), (0, gates)))
            return
        assert rows is not None
        mean, spread = rows_in_common(rows)
        width = rows.shape[1]
        weight = layer.weight.detach()
        sought = F.linear((rows - mean) / spread, weight[:, :width], layer.bias)
        self.table = nn.Parameter(F.pad(sought.detach(), (0, gates)))
        if weight.shape[1] > width:
            self.register_buffer("mean", mean)
            self.found = _linear(F.pad(weight[:, width:] / spread, (0, 0, 0, gates)))

    def forward(
        self, classes: Tensor | None, rows: Tensor | None, evidence: Evidence | None
    ) -> Tensor:
        embedded = self.table[None] if classes is None else self.table[classes]
        if self.found is not None:
            assert rows is not None and evidence is not None
            strength = _relative_strength(evidence.average())
            embedded = embedded + self.found((rows - self.mean) * strength[:, None])
        return embedded * (self.scale / _length(embedded, -1))


class _Places(nn.Module):
    """Gate and embedding of each place: (B, K or 1, S, S')."""

    def __init__(self, head: SharedHead) -> None:
        super().__init__()
        scale, shift = _affine(head.fusion.batch_norm)
        weight = head.fusion.convolution.weight.detach().flatten(1) * scale[:, None]
        shares = torch.split(weight, WIDTH, dim=1)
        branches = [branch for branch in head.branches if isinstance(branch, Branch)]
        self.branches = nn.ModuleList(_folded(branch) for branch in branches)
        self.mixes = nn.ModuleList(
            _convolution(share[:, :, None, None], shift if place == 0 else None)
            for place, share in enumerate(shares)
        )
        around = head.surroundings
        scale, shift = _affine(around.batch_norm)
        weight = around.depthwise.weight.detach() * scale[:, None, None, None]
        self.depthwise = _convolution(weight, shift, groups=WIDTH)
        self.pointwise = _convolution(around.pointwise.weight.detach(), around.pointwise.bias)
        self.joint, self.embeds = _joint(head)

    def forward(self, features: Sequence[Tensor], wanted: Tensor | None, grid: Grid) -> Tensor:
        mixed: dict[Grid, Tensor] = {}
        for branch, mix, given in zip(self.branches, self.mixes, features, strict=True):
            part = mix(branch(given).relu())
            size = (int(part.shape[2]), int(part.shape[3]))
            mixed[size] = mixed[size] + part if size in mixed else part
        *others, last = (_enlarged(part, grid) for part in reversed(mixed.values()))
        fused = (last + sum(others[1:], others[0]) if others else last).relu()
        fused = fused + self.pointwise(self.depthwise(fused).relu())
        joint: Tensor = self.joint(fused).flatten(2)
        if wanted is None:
            return joint.reshape(*joint.shape[:2], *grid)
        found = wanted @ joint
        squares = self.embeds @ (joint * joint)
        maps: Tensor = found / squares.sqrt().clamp_min(_SMALLEST)
        if joint.shape[1] > WIDTH:
            maps = maps + joint[:, WIDTH:]
        return maps.reshape(*maps.shape[:2], *grid)


_SMALLEST = 1e-12
"""Divisor, as the head has it."""


def _length(vectors: Tensor, axis: int) -> Tensor:
    length: Tensor = torch.linalg.vector_norm(vectors, dim=axis, keepdim=True)
    return length.clamp_min(_SMALLEST)


def _relative_strength(pooled: Tensor) -> Tensor:
    """(B, D) features over the standard deviation of their channels."""
    centred = pooled - pooled.mean(dim=1, keepdim=True)
    return pooled * (math.sqrt(pooled.shape[1]) / _length(centred, 1))


def _enlarged(maps: Tensor, grid: Grid) -> Tensor:
    """As :func:`resize_maps`; by a whole factor where it is one, which a runtime does faster."""
    height, width = int(maps.shape[2]), int(maps.shape[3])
    if (height, width) == grid or grid[0] % height or grid[1] % width:
        return resize_maps(maps, grid)
    factors = (grid[0] / height, grid[1] / width)
    return F.interpolate(maps, scale_factor=factors, mode="bilinear", align_corners=False)


def _joint(head: SharedHead) -> tuple[nn.Conv2d, nn.Parameter]:
    """Embedding and gate as one convolution, and (1, rows) with ones where it embeds."""
    weights, biases = [], []
    embeds = "embedding" in head.settings.parts
    if embeds:
        weights.append(head.place_embedding.weight.detach())
        assert head.place_embedding.bias is not None
        biases.append(head.place_embedding.bias.detach())
    if "gate" in head.settings.parts:
        weights.append(head.gate.weight.detach())
        biases.append(weights[0].new_zeros(1))
    joint = _convolution(torch.cat(weights), torch.cat(biases))
    ones = joint.weight.new_zeros(1, joint.out_channels)
    ones[:, : WIDTH * embeds] = 1
    return joint, nn.Parameter(ones)


def _prior(maps: Tensor, scale: Tensor, deviation: float, grid: Grid) -> Tensor:
    """Sharp and broad, each times its scale, enlarged and added: (B, K, h, w) to (B, K, S, S')."""
    broad = plain_blurring_matrices(maps, deviation) if deviation else blurring_matrices(maps)
    larger = [_enlarging(maps, axis, side) for axis, side in zip((2, 3), grid, strict=True)]
    rows, columns = (
        torch.stack([large, large @ blur]) for large, blur in zip(larger, broad, strict=True)
    )
    rows = rows * scale[:, None, None]
    both = rows[:, None] @ maps[:, None] @ columns.transpose(1, 2)[:, None]
    return both.sum(dim=1)


def _enlarging(maps: Tensor, axis: int, side: int) -> Tensor:
    """(side, n) matrix that resizes along an axis of length n as :func:`resize_maps` does."""
    length = int(maps.shape[axis])
    each = torch.eye(length, dtype=maps.dtype, device=maps.device)
    return resize_maps(each[None, None], (side, length))[0, 0]


def _with_details(maps: Tensor, share: float) -> Tensor:
    """As :func:`ttame.images.map_details.with_details`, with one operation less."""
    if share == 1:
        return maps
    down, right = blurring_matrices(maps)
    return share * maps + ((1 - share) * down) @ maps @ right.T


def _folded(branch: Branch) -> nn.Conv2d:
    """Convolution and batch norm."""
    scale, shift = _affine(branch.batch_norm)
    return _convolution(branch.convolution.weight.detach() * scale[:, None, None, None], shift)


def _affine(norm: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """What a batch norm with fixed statistics multiplies by, and what it adds."""
    mean, variance = norm.running_mean, norm.running_var
    assert mean is not None and variance is not None
    scale = norm.weight.detach().double() / (variance.double() + norm.eps).sqrt()
    shift = norm.bias.detach().double() - mean.double() * scale
    return scale.to(mean.dtype), shift.to(mean.dtype)


def _convolution(weight: Tensor, bias: Tensor | None, groups: int = 1) -> nn.Conv2d:
    """A layer with these weights, which keeps the size of maps."""
    outputs, inputs, side, _ = weight.shape
    layer = nn.Conv2d(
        inputs * groups,
        outputs,
        side,
        padding=side // 2,
        groups=groups,
        bias=bias is not None,
        device="meta",
    )
    layer.register_parameter("weight", nn.Parameter(weight.clone()))
    if bias is not None:
        layer.register_parameter("bias", nn.Parameter(bias.detach().clone()))
    return layer


def _linear(weight: Tensor) -> nn.Linear:
    layer = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    layer.register_parameter("weight", nn.Parameter(weight.clone()))
    return layer
