"""The few-shot head: what one class teaches about places, every class shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttame.errors import ExplainerError
from ttame.explainers.trained.attention_head import map_grid, mix_channels
from ttame.explainers.trained.global_batch_norm import GlobalBatchNorm2d
from ttame.explainers.trained.head_settings import HeadSettings
from ttame.explainers.trained.map_scale import scaled_maps
from ttame.images.map_details import with_details
from ttame.images.saliency_maps import resize_maps, to_unit_range

WIDTH = 64
"""Channels of the branches and of the embedding."""

_PRIOR_WEIGHT = 1.5
"""Of each channel of the prior's batch norm at first. Their variance is also that between images,
so that a smaller weight would let the prior vary less over a picture than the embedding, and AdamW
takes long to catch up."""

_SMALLEST_SPREAD = 1e-12
"""Of class weights; a classifier whose last layer still is zero has none to divide by."""


@dataclasses.dataclass(frozen=True)
class HeadInputs:
    """What a few-shot head reads of its classifier.

    Attributes:
        channels: of every tap, first to last.
        branched: positions of the taps that a branch reads; the first one gives the grid.
        pooled: position of the tap that holds what a place gives to the last linear layer: the
            features which the classifier pools for it, or what each token adds to the class token
            that it reads. ``None`` without, and then there is no prior. This tap may have a branch
            as well.
        class_layer: dotted name of the linear layer that gives the logits; empty if there is
            none, and then an embedding is learned for every class.
        class_width: length of the rows of this layer; 0 without it.

    Raises:
        ExplainerError: inputs that do not fit together.
    """

    channels: tuple[int, ...]
    branched: tuple[int, ...]
    pooled: int | None = None
    class_layer: str = ""
    class_width: int = 0

    def __post_init__(self) -> None:
        positions = {*self.branched, *([] if self.pooled is None else [self.pooled])}
        if not self.branched or positions != set(range(len(self.channels))):
            raise ExplainerError(
                f"branches on taps {list(self.branched)} of {len(self.channels)}",
                allowed="at least one, and every tap read",
            )
        if bool(self.class_layer) != bool(self.class_width):
            raise ExplainerError(
                f"class layer {self.class_layer!r} with rows of length {self.class_width}",
                allowed="both or neither",
            )
        if self.pooled is not None and self.channels[self.pooled] != self.class_width:
            raise ExplainerError(
                f"pooled features with {self.channels[self.pooled]} channels for class weights of "
                f"{self.class_width}",
                allowed="the features that the classifier pools for its last linear layer",
            )


class SharedHead(nn.Module):
    """A head whose classes share all weights, so that a few hundred images train it.

    T-TAME's head owns a row of the fusion layer per class, which only images of this class teach.
    Here the map logit of class k at place x is a sum of three parts, prior, embedding and gate::

        m_k(x) =  Σ BatchNorm[ w_k · A ; blur(w_k · A) ](x)     the classifier's own evidence
               +  s · cos( E Z(x) + e, G [c_k; c_k ⊙ a] + g )   what place and class have in common
               +  v · Z(x) + b                                  the same for all classes

        Z      =  Y + U ReLU( BatchNorm( D ∗ Y )) + u             D: 3×3, channel by channel
        Y      =  ReLU( BatchNorm( W [up(Y_1); …; up(Y_n)] ))     W: 1×1, n·64 → 64
        Y_i    =  ReLU( BatchNorm( W_i ∗ F_i ))                   W_i: 1×1, C_i → 64

    ``F_i`` are the tapped feature maps, ``A`` the features that the classifier pools for its last
    linear layer, whose rows are ``w_k`` (C × D), their shares in an average that is normalised
    before it, or what each token adds to the class token that it reads. ``c_k = (w_k − w̄)/σ`` is
    such a row without the mean row, over the standard deviation of all entries; ``a`` is the mean
    of ``A`` over the places, over the standard deviation of its channels: what the class looks for,
    and what of it this image has. For a CNN with average pooling the prior is CAM, for a Vision
    Transformer with a class token the direct contribution of each token to the logit, both as they
    are and blurred over a seventh of the picture: single tokens say little, their surroundings a
    lot. The batch norm has one channel for each of the two and none for classes, whose order it
    keeps. Gate and ``U`` start at zero: an untrained head is its prior with a little noise. A class
    without training images has its prior, its gate and an embedding made of its weights.

    Parts that the settings leave out do not exist; ``b`` does with each of them, since it decides
    how much of the picture a sigmoid keeps. A min–max takes it out, so that heads of such maps do
    without (the biases of the prior's batch norm are then offsets without effect); they have an
    exponent, which training moves to where the maps have the wanted mean.
    Without a linear layer, ``G … + g`` is a learned table of classes.

    Args:
        inputs: what it reads of the classifier.
        number_of_classes: C.
        settings: of variant ``"few-shot"``; which parts it has.
        seed: of the initial weights.

    Raises:
        ExplainerError: settings that do not fit the inputs, or without any part.

    Example:
        >>> inputs = HeadInputs((8, 16, 32), branched=(0, 1), pooled=2, class_layer="fc",
        ...                     class_width=32)
        >>> head = SharedHead(inputs, 5, HeadSettings("few-shot"))
        >>> features = [torch.randn(2, 8, 14, 14), torch.randn(2, 16, 7, 7),
        ...             torch.randn(2, 32, 7, 7)]
        >>> head(features, torch.tensor([[3], [1]]), class_weights=torch.randn(5, 32)).shape
        torch.Size([2, 1, 14, 14])
    """

    def __init__(
        self, inputs: HeadInputs, number_of_classes: int, settings: HeadSettings, *, seed: int = 0
    ) -> None:
        super().__init__()
        _check(inputs, number_of_classes, settings)
        self.inputs = inputs
        self.number_of_classes = number_of_classes
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            if settings.embedding or settings.gate:
                widths = [inputs.channels[position] for position in inputs.branched]
                self.branches = nn.ModuleList([_Branch(width) for width in widths])
                self.fusion = _Branch(WIDTH * len(widths))
                self.surroundings = _Surroundings()
            if settings.prior:
                self.prior_norm = GlobalBatchNorm2d(2)
                nn.init.constant_(self.prior_norm.weight, _PRIOR_WEIGHT)
            if settings.embedding:
                self.place_embedding = nn.Conv2d(WIDTH, WIDTH, kernel_size=1)
                self.class_embedding = (
                    nn.Linear(inputs.class_width * (1 + settings.prior), WIDTH)
                    if inputs.class_layer
                    else nn.Embedding(number_of_classes, WIDTH)
                )
                self.embedding_scale = nn.Parameter(torch.ones(()))
            if settings.gate:
                self.gate = nn.Conv2d(WIDTH, 1, kernel_size=1, bias=False)
                nn.init.zeros_(self.gate.weight)
            if settings.maps == "min-max":
                self.exponent: Tensor
                self.register_buffer("exponent", torch.ones(()))
            else:
                self.bias = nn.Parameter(torch.zeros(()))

    @property
    def channels(self) -> tuple[int, ...]:
        """Of every tap, first to last."""
        return self.inputs.channels

    def forward(
        self,
        feature_maps: Sequence[Tensor],
        classes: Tensor | None = None,
        *,
        class_weights: Tensor | None = None,
    ) -> Tensor:
        """Compute the maps of some classes, before any activation.

        Args:
            feature_maps: one (B, C_i, h_i, w_i) per tap.
            classes: ``None`` for all C; (K,) int64 for the same classes for every image; (B, K)
                for classes of their own.
            class_weights: (C, D), the rows of the classifier's last linear layer; ``None`` for a
                classifier without one.

        Returns:
            (B, K, S, S') in the dtype of the features, on the grid of the first branched tap.

        Raises:
            ExplainerError: the head compares places with class weights, and there are none.
        """
        if class_weights is None and self.inputs.class_layer:
            raise ExplainerError(
                "a few-shot head without class weights",
                allowed=f"class_weights=, the weight of {self.inputs.class_layer}",
            )
        first = feature_maps[self.inputs.branched[0]]
        grid = map_grid((int(first.shape[2]), int(first.shape[3])))
        if classes is None:
            classes = torch.arange(self.number_of_classes, device=first.device)
        maps = first.new_zeros(len(first), classes.shape[-1], *grid)
        if self.settings.maps != "min-max":
            maps = maps + self.bias
        evidence = None if self.inputs.pooled is None else feature_maps[self.inputs.pooled]
        if self.settings.embedding or self.settings.gate:
            fused = self._fused(feature_maps, grid)
            if self.settings.gate:
                maps = maps + self.gate(fused)
            if self.settings.embedding:
                maps = maps + self._common(fused, classes, class_weights, evidence)
        if evidence is not None:
            assert class_weights is not None
            maps = maps + resize_maps(self._prior(evidence, classes, class_weights), grid)
        return maps

    def scaled(self, maps: Tensor) -> Tensor:
        """What explanations hold of (B, K, h, w) maps before any activation; see ``map_scale``."""
        exponent = self.exponent if self.settings.maps == "min-max" else None
        maps = with_details(maps, self.settings.details)
        return scaled_maps(maps, self.settings.maps, exponent)

    def unit_range(self, maps: Tensor) -> Tensor:
        """Min–max maps before the exponent, (B, K, h, w) in [0, 1]."""
        return to_unit_range(with_details(maps, self.settings.details))

    @torch.no_grad()
    def move_exponent(self, logarithm: Tensor) -> None:
        """Move the exponent of min–max maps a tenth of the way, as batch norm its statistics.

        Args:
            logarithm: scalar, of the exponent that suits the last batch.
        """
        self.exponent.copy_(self.exponent.log().lerp(logarithm, 0.1).exp())

    def _fused(self, feature_maps: Sequence[Tensor], grid: tuple[int, int]) -> Tensor:
        """Z: all branches together, on the grid of the maps, with what surrounds a place."""
        pairs = zip(self.branches, self.inputs.branched, strict=True)
        parts = [resize_maps(branch(feature_maps[position]), grid) for branch, position in pairs]
        fused: Tensor = self.surroundings(self.fusion(torch.cat(parts, dim=1)))
        return fused

    def _common(
        self,
        fused: Tensor,
        classes: Tensor,
        class_weights: Tensor | None,
        evidence: Tensor | None,
    ) -> Tensor:
        """The scaled cosine of every place with every class."""
        if isinstance(self.class_embedding, nn.Embedding):
            of_classes = self.class_embedding(classes)
        else:
            assert class_weights is not None
            spread = class_weights.std(correction=0).clamp_min(_SMALLEST_SPREAD)
            sought = (class_weights[classes] - class_weights.mean(dim=0)) / spread
            if evidence is not None:
                sought = _with_what_is_there(sought, evidence)
            of_classes = self.class_embedding(sought)
        cosine = mix_channels(
            F.normalize(self.place_embedding(fused), dim=1), F.normalize(of_classes, dim=-1)
        )
        return cosine * self.embedding_scale

    def _prior(self, evidence: Tensor, classes: Tensor, class_weights: Tensor) -> Tensor:
        """The classifier's own evidence on its own grid, sharp and broad, normalised as a whole."""
        maps = mix_channels(evidence, class_weights[classes])
        both = torch.stack([maps, with_details(maps, 0)], dim=2)
        normalised: Tensor = self.prior_norm(both.flatten(0, 1))
        return normalised.sum(dim=1).reshape(maps.shape)


def _check(inputs: HeadInputs, number_of_classes: int, settings: HeadSettings) -> None:
    """Refuse what gives no head, or one with a part that is never used."""
    if settings.variant != "few-shot" or settings.class_token != "drop":
        raise ExplainerError(
            f"a shared head of variant {settings.variant}, class_token={settings.class_token!r}",
            allowed="variant few-shot, class_token='drop'",
        )
    if number_of_classes < 1 or min(inputs.channels) < 1:
        raise ExplainerError(
            f"a head for channels {list(inputs.channels)} and {number_of_classes} classes",
            allowed="taps with channels, and at least one class",
        )
    if settings.prior != (inputs.pooled is not None):
        raise ExplainerError(
            f"prior={settings.prior} with pooled={inputs.pooled}",
            allowed="a prior where there are pooled features, and nowhere else",
        )
    if not settings.parts:
        raise ExplainerError(
            "a few-shot head without prior, embedding and gate", allowed="at least one of them"
        )


class _Branch(nn.Module):
    """1×1 convolution to the shared width, batch norm, ReLU."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        # Batch norm would subtract a bias again: its gradient is rounding, which AdamW enlarges.
        self.convolution = nn.Conv2d(channels, WIDTH, kernel_size=1, bias=False)
        self.batch_norm = GlobalBatchNorm2d(WIDTH)

    def forward(self, features: Tensor) -> Tensor:
        """(B, C, h, w) to (B, 64, h, w)."""
        normalised: Tensor = self.batch_norm(self.convolution(features))
        return normalised.relu()


class _Surroundings(nn.Module):
    """Adds to every place what its neighbours tell: a residual of one depthwise convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(WIDTH, WIDTH, kernel_size=3, padding=1, groups=WIDTH, bias=False)
        # Depthwise gradients come in another memory layout, which several processes warn of.
        self.depthwise.weight.register_hook(_plainly_laid_out)  # type: ignore[no-untyped-call]
        self.batch_norm = GlobalBatchNorm2d(WIDTH)
        self.pointwise = nn.Conv2d(WIDTH, WIDTH, kernel_size=1)
        nn.init.zeros_(self.pointwise.weight)
        assert self.pointwise.bias is not None
        nn.init.zeros_(self.pointwise.bias)

    def forward(self, features: Tensor) -> Tensor:
        """(B, 64, h, w) to the same."""
        seen: Tensor = self.pointwise(self.batch_norm(self.depthwise(features)).relu())
        return features + seen


def _plainly_laid_out(gradient: Tensor) -> Tensor:
    # contiguous() would leave it: a side of length 1 may have any stride.
    return gradient.clone(memory_format=torch.contiguous_format)


def _with_what_is_there(sought: Tensor, evidence: Tensor) -> Tensor:
    """What (K, D) or (B, K, D) classes look for, beside what of it each image has: (B, K, 2·D)."""
    pooled = evidence.mean(dim=(2, 3))
    present = pooled / pooled.std(dim=1, keepdim=True, correction=0).clamp_min(_SMALLEST_SPREAD)
    found = sought * present[:, None]
    return torch.cat([sought.expand_as(found), found], dim=2)
