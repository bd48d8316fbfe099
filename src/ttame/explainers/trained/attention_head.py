"""The trained head: features of a frozen classifier in, one map per class out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.errors import ExplainerError
from ttame.explainers.trained.global_batch_norm import GlobalBatchNorm2d
from ttame.explainers.trained.head import HeadPlan
from ttame.explainers.trained.head_settings import AttentionHeadSettings, HeadSettings
from ttame.explainers.trained.token_gated_head import TokenGatedHead
from ttame.images.saliency_maps import resize_maps

LARGEST_GRID = 56
"""The published cap on the height of the maps."""


class AttentionHead(TokenGatedHead):
    """T-TAME's attention head (arXiv 2403.04523; the same as TAME's, arXiv 2301.07407).

    With ``F_i`` the tapped feature maps, C_i × h_i × w_i, i = 1..M::

        Z_i = up( ReLU( BatchNorm( W_i ∗ F_i + b_i ) + F_i ) )        1×1 convolution
        m   = W ∗ concat(Z_1 .. Z_M) + b                              1×1 convolution to K classes

    ``m`` is returned; ``sigmoid(m)`` is the mask of training. All branches are upsampled
    bilinearly to the grid of the first tap, at most 56 rows.

    Two deviations in the order of computation, none in the result. The fusion runs before the
    upsampling: both are linear, and the weights of an interpolation sum to one, so they commute,
    and a few class maps are upsampled instead of thousands of channels. And only the rows of
    ``W`` that belong to the asked classes are used. A third one in the grid: it has the aspect
    ratio of the first tap, where the published code takes its height for both sides.

    Args:
        channels: C_i of each tap, first to last.
        number_of_classes: K.
        settings: the settings of this kind.
        seed: the seed of the initial weights (PyTorch's defaults for convolutions).

    Example:
        >>> head = AttentionHead([8, 16], number_of_classes=5)
        >>> features = [torch.randn(2, 8, 14, 14), torch.randn(2, 16, 7, 7)]
        >>> head(features).shape, head(features, torch.tensor([[3], [1]])).shape
        (torch.Size([2, 5, 14, 14]), torch.Size([2, 1, 14, 14]))
    """

    Settings: ClassVar[type[HeadSettings]] = AttentionHeadSettings
    settings: AttentionHeadSettings

    def __init__(
        self,
        channels: Sequence[int],
        number_of_classes: int,
        settings: AttentionHeadSettings = AttentionHeadSettings(),  # noqa: B008 - frozen
        *,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not channels or min(channels) < 1 or number_of_classes < 1:
            raise ExplainerError(
                f"a head for channels {list(channels)} and {number_of_classes} classes",
                allowed="at least one tap with a channel, and at least one class",
            )
        self.channels = tuple(channels)
        self.number_of_classes = number_of_classes
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            branches = [_Branch(width, number_of_classes, settings.kind) for width in channels]
            self.branches = nn.ModuleList(branches)
            self._widths = tuple(branch.width for branch in branches)
            self.fusion = nn.Conv2d(sum(self._widths), number_of_classes, kernel_size=1)
        self.float()  # whatever the session's default is

    @classmethod
    def plan(cls, classifier: Explainable, settings: HeadSettings) -> HeadPlan:
        """A head on the classifier's taps."""
        assert isinstance(settings, AttentionHeadSettings)
        if settings.last_tap_only:
            classifier = classifier.with_taps(classifier.taps[-1:])
        return cls._planned(classifier, settings)

    def forward(self, feature_maps: Sequence[Tensor], classes: Tensor | None = None) -> Tensor:
        """Compute the maps of some classes, before the sigmoid.

        Args:
            feature_maps: one (B, C_i, h_i, w_i) per tap.
            classes: ``None`` for all K; (K',) int64 for the same classes for every image;
                (B, K') for classes of their own.

        Returns:
            (B, K', S, S') in the dtype of the features; S × S' is the grid of the first tap.
        """
        grid = self.map_grid(feature_maps[0])
        rows = self._fusion_rows(classes)
        maps: dict[tuple[int, int], Tensor] = {}
        shares = torch.split(rows, list(self._widths), dim=-1)
        for branch, features, share in zip(self.branches, feature_maps, shares, strict=True):
            part = mix_channels(branch(features), share)
            size = (int(part.shape[2]), int(part.shape[3]))
            # Taps of one size are added before the upsampling.
            maps[size] = maps[size] + part if size in maps else part
        total = sum_of_resized(maps, grid)
        bias = self.fusion.bias
        assert bias is not None
        return total + (bias if classes is None else bias[classes])[..., None, None]

    def map_grid(self, first_feature_map: Tensor) -> tuple[int, int]:
        """The (rows, columns) of the maps for this first feature map."""
        return map_grid((int(first_feature_map.shape[2]), int(first_feature_map.shape[3])))

    def _fusion_rows(self, classes: Tensor | None) -> Tensor:
        """The rows of the fusion weights: (K', ΣC) if shared by all images, else (B, K', ΣC)."""
        weight = self.fusion.weight.flatten(1)
        return weight if classes is None else weight[classes]


class _Branch(nn.Module):
    """One branch of the head, up to and including its activation, at the tap's resolution."""

    def __init__(self, channels: int, number_of_classes: int, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.width = number_of_classes if kind == "no-skip" else channels
        self.convolution = nn.Conv2d(channels, self.width, kernel_size=1)
        if kind in ("t-tame", "no-skip", "sigmoid-in-branch"):
            self.batch_norm = GlobalBatchNorm2d(self.width)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to (B, width, h, w)."""
        if not self.training and hasattr(self, "batch_norm"):
            branch = self._folded(features)
        else:
            branch = self.convolution(features)
            if hasattr(self, "batch_norm"):
                branch = self.batch_norm(branch)
            if self.kind in ("t-tame", "sigmoid-in-branch"):
                branch = branch + features
        return branch.sigmoid() if self.kind == "sigmoid-in-branch" else branch.relu()

    def _folded(self, features: Tensor) -> Tensor:
        """Convolution, batch norm and skip connection as a single convolution.

        With fixed statistics all three are linear: ``s·(W x + b − μ) + β + x`` is
        ``(diag(s)·W + I) x + s·(b − μ) + β`` with ``s = γ / sqrt(σ² + ε)``.
        """
        norm, convolution = self.batch_norm, self.convolution
        mean, variance, bias = norm.running_mean, norm.running_var, convolution.bias
        assert mean is not None and variance is not None and bias is not None
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        weight = convolution.weight.flatten(1) * scale[:, None]
        if self.kind != "no-skip":
            weight = weight + torch.eye(self.width, dtype=weight.dtype, device=weight.device)
        shift = scale * (bias - mean) + norm.bias
        return _at_every_place(features, weight.to(features.dtype), shift.to(features.dtype))


def map_grid(first_grid: tuple[int, int]) -> tuple[int, int]:
    """The grid of the maps: that of the first tap, shrunk to at most 56 rows.

    Example:
        >>> map_grid((28, 28)), map_grid((112, 224))
        ((28, 28), (56, 112))
    """
    rows, columns = first_grid
    if rows <= LARGEST_GRID:
        return rows, columns
    return LARGEST_GRID, max(1, round(columns * LARGEST_GRID / rows))


def sum_of_resized(maps: dict[tuple[int, int], Tensor], grid: tuple[int, int]) -> Tensor:
    """Resize maps of several grids to one grid (bilinear, half-pixel centres) and add them."""
    resized = [resize_maps(part, grid) for part in maps.values()]
    total = resized[0]
    for part in resized[1:]:
        total = total + part
    return total


def _at_every_place(features: Tensor, weight: Tensor, shift: Tensor) -> Tensor:
    """A 1×1 convolution, (B, C, h, w) to (B, C', h, w).

    Features whose channels lie side by side in memory, as those of tokens and of channels-last
    networks do, are multiplied as one matrix: the convolution would copy them first.
    """
    if features.is_contiguous():
        return F.conv2d(features, weight[:, :, None, None], shift)
    images, channels, rows, columns = features.shape
    places = features.permute(0, 2, 3, 1).reshape(-1, channels)
    product = torch.addmm(shift, places, weight.t())
    return product.view(images, rows, columns, -1).permute(0, 3, 1, 2)


def mix_channels(features: Tensor, rows: Tensor) -> Tensor:
    """Sum the channels at every place, weighted by rows that all images share or by their own.

    Args:
        features: (B, C, h, w).
        rows: (K, C) or (B, K, C), cast to the dtype of the features.

    Returns:
        (B, K, h, w).
    """
    if rows.ndim == 2:
        return F.conv2d(features, rows[:, :, None, None].to(features.dtype))
    images, _, height, width = features.shape
    mixed = rows.to(features.dtype) @ features.flatten(2)
    return mixed.reshape(images, rows.shape[1], height, width)
