"""The few-shot head: what one class teaches about places, every class shares."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttame.classifiers.any_classifier import Explainable
from ttame.classifiers.feature_reading import FeatureReading
from ttame.classifiers.linear_end import class_weights as class_weights_of
from ttame.errors import ExplainerError
from ttame.explainers.trained.attention_head import map_grid, mix_channels
from ttame.explainers.trained.class_rows import rows_in_common, with_what_is_there
from ttame.explainers.trained.global_batch_norm import GlobalBatchNorm2d
from ttame.explainers.trained.head import Gather, Head, HeadConfig, HeadInputs, HeadPlan
from ttame.explainers.trained.head_settings import HeadSettings, MinMaxMaps, SharedHeadSettings
from ttame.explainers.trained.map_scale import exponents_for_means, scaled_maps
from ttame.explainers.trained.shared_head_inputs import (
    SharedHeadInputs,
    check_settings,
    evidence_in_words,
    find_inputs,
)
from ttame.explainers.trained.shared_head_layers import WIDTH, Branch, Surroundings
from ttame.explainers.trained.shared_head_prior import prior_channels
from ttame.images.map_details import with_details
from ttame.images.saliency_maps import resize_maps, to_unit_range
from ttame.networks.layer_outputs import uncompiled

_PARTS = {
    "prior": "the classifier's own evidence for the class at each place",
    "embedding": "what place and class have in common",
    "gate": "the same for all classes",
}

_PRIOR_WEIGHT = 1.5
"""Of each channel of the prior's batch norm at first. Their variance is also that between images,
so that a smaller weight would let the prior vary less over a picture than the embedding, and AdamW
takes long to catch up."""


class SharedHead(Head):
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
    lot. With ``contrast`` the prior also holds, sharp and broad, the evidence for k against that
    for the classes that the classifier would say instead::

        (w_k − Σ_{j≠k} q_j w_j) · A        q = softmax of the logits without that of k

    to first order the gradient of ``log(p_k / (1 − p_k))``: what k shares with its rivals decides
    nothing, see :mod:`ttame.classifiers.class_contrast`. The batch norm has one channel for each of
    the two or four and none for classes, whose order it keeps. Gate and ``U`` start at zero: an
    untrained head is its prior with a little noise. A class without training images has its prior,
    its gate and an embedding made of its weights.

    Parts that the settings leave out do not exist; ``b`` does with each of them, since it decides
    how much of the picture a sigmoid keeps. A min–max takes it out, so that heads of such maps do
    without (the biases of the prior's batch norm are then offsets without effect); they have an
    exponent, which training moves to where the maps have the wanted mean.
    Without a linear layer, ``G … + g`` is a learned table of classes.

    Args:
        inputs: what it reads of the classifier.
        number_of_classes: C.
        settings: which parts it has, and what its maps are.
        seed: the seed of the initial weights.

    Raises:
        ExplainerError: settings that do not fit the inputs, or without any part.

    Example:
        >>> inputs = SharedHeadInputs((8, 16, 32), branched=(0, 1), pooled=2, class_layer="fc",
        ...                           class_width=32)
        >>> head = SharedHead(inputs, 5, SharedHeadSettings())
        >>> features = [torch.randn(2, 8, 14, 14), torch.randn(2, 16, 7, 7),
        ...             torch.randn(2, 32, 7, 7)]
        >>> head(features, torch.tensor([[3], [1]]), class_weights=torch.randn(5, 32)).shape
        torch.Size([2, 1, 14, 14])
    """

    Settings: ClassVar[type[HeadSettings]] = SharedHeadSettings
    settings: SharedHeadSettings

    def __init__(
        self,
        inputs: SharedHeadInputs,
        number_of_classes: int,
        settings: SharedHeadSettings,
        *,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_settings(inputs, number_of_classes, settings)
        self.inputs = inputs
        self.channels = inputs.channels
        self.number_of_classes = number_of_classes
        self.settings = settings
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            parts = settings.parts
            if "embedding" in parts or "gate" in parts:
                widths = [inputs.channels[position] for position in inputs.branched]
                self.branches = nn.ModuleList([Branch(width) for width in widths])
                self.fusion = Branch(WIDTH * len(widths))
                self.surroundings = Surroundings()
            if "prior" in parts:
                self.prior_norm = GlobalBatchNorm2d(4 if settings.contrast else 2)
                nn.init.constant_(self.prior_norm.weight, _PRIOR_WEIGHT)
            if "embedding" in parts:
                self.place_embedding = nn.Conv2d(WIDTH, WIDTH, kernel_size=1)
                self.class_embedding = (
                    nn.Linear(inputs.class_width * (1 + ("prior" in parts)), WIDTH)
                    if inputs.class_layer
                    else nn.Embedding(number_of_classes, WIDTH)
                )
                self.embedding_scale = nn.Parameter(torch.ones((), dtype=torch.float32))
            if "gate" in parts:
                self.gate = nn.Conv2d(WIDTH, 1, kernel_size=1, bias=False)
                nn.init.zeros_(self.gate.weight)
            if isinstance(settings.maps, MinMaxMaps):
                self.exponent: Tensor
                self.register_buffer("exponent", torch.ones((), dtype=torch.float32))
            else:
                self.bias = nn.Parameter(torch.zeros((), dtype=torch.float32))
        self.float()  # whatever the session's default is

    @classmethod
    def plan(cls, classifier: Explainable, settings: HeadSettings) -> HeadPlan:
        """A head whose branches read the classifier's taps.

        It has no prior where the classifier offers none, but then an embedding, without which all
        classes would have one map; and a contrast where it has a prior and classes compete.
        """
        assert isinstance(settings, SharedHeadSettings)
        if settings.last_tap_only:
            classifier = classifier.with_taps(classifier.taps[-1:])
        classifier, inputs = find_inputs(classifier, prior="prior" in settings.parts)
        if inputs.pooled is None and "prior" in settings.parts:
            others = set(settings.without) - {"embedding"}
            settings = dataclasses.replace(settings, without=("prior", *sorted(others)))
        if settings.contrast and (inputs.pooled is None or not _contrasts(classifier)):
            settings = dataclasses.replace(settings, contrast=False)
        classes = classifier.number_of_classes
        config = HeadConfig(settings, inputs.channels, classes, inputs.as_json())
        return HeadPlan(classifier, cls, config)

    @classmethod
    def from_config(cls, config: HeadConfig, *, seed: int = 0) -> Self:
        """The untrained head."""
        assert isinstance(config.settings, SharedHeadSettings)
        inputs = SharedHeadInputs.from_json(config.inputs, config.channels)
        return cls(inputs, config.number_of_classes, config.settings, seed=seed)

    def to_config(self) -> HeadConfig:
        """What :meth:`from_config` makes an untrained one of."""
        return dataclasses.replace(super().to_config(), inputs=self.inputs.as_json())

    def check(self, classifier: Explainable) -> None:
        """Refuse other taps, classes or outputs, or another last linear layer."""
        super().check(classifier)
        if self.settings.contrast and not _contrasts(classifier):
            raise ExplainerError(
                f"a head that contrasts classes, for {classifier.outputs.kind} outputs",
                allowed="outputs of which a softmax over two classes or more makes probabilities",
            )
        name, width = self.inputs.class_layer, self.inputs.class_width
        if not name:
            return
        layer = dict(uncompiled(classifier.network).named_modules()).get(name)
        rows = (
            class_weights_of(classifier, name) if isinstance(layer, nn.Linear | nn.Conv2d) else None
        )
        if rows is None or rows.shape != (self.number_of_classes, width):
            raise ExplainerError(
                f"a head for the class weights of a linear layer {name!r} of shape "
                f"{(self.number_of_classes, width)}",
                allowed=f"a classifier that has it, unlike {classifier.name}",
            )

    def inputs_of(self, classifier: Explainable, reading: FeatureReading) -> HeadInputs:
        """The features, and the rows of the last linear layer as they are now."""
        inputs = super().inputs_of(classifier, reading)
        found = {"places": reading.places, "present": reading.present}
        others = {name: where for name, where in found.items() if where is not None}
        if self.inputs.class_layer:
            rows = class_weights_of(classifier, self.inputs.class_layer)
            others["class_weights"] = rows.float()
        if self.settings.contrast:
            others["logits"] = reading.logits.float()
        return inputs._replace(others=others)

    @property
    def shapes_of_others(self) -> dict[str, tuple[int, ...]]:
        """The shape of the class weights, if the classifier has any, and of an image's logits."""
        if not self.inputs.class_layer:
            return {}
        logits = {"logits": (1, self.number_of_classes)} if self.settings.contrast else {}
        return {"class_weights": (self.number_of_classes, self.inputs.class_width), **logits}

    def forward(
        self,
        feature_maps: Sequence[Tensor],
        classes: Tensor | None = None,
        *,
        class_weights: Tensor | None = None,
        places: Tensor | None = None,
        present: Tensor | None = None,
        logits: Tensor | None = None,
    ) -> Tensor:
        """Compute the maps of some classes, before any activation.

        Args:
            feature_maps: one (B, C_i, h_i, w_i) per tap.
            classes: ``None`` for all C; (K,) int64 for the same classes for every image; (B, K)
                for classes of their own.
            class_weights: (C, D), the rows of the classifier's last linear layer; ``None`` for a
                classifier without one.
            places: (B, 1, h, w) bool, on the grid of all taps: only they have evidence, and in
                training only they count in the statistics of batch norms.
            present: (B, 1, h, w) bool, on the same grid: nothing comes from elsewhere.
            logits: (B, C), for a prior with ``contrast``; others do not look at them.

        Returns:
            (B, K, S, S') in the dtype of the features, on the grid of the first branched tap.

        Raises:
            ExplainerError: the head reads class weights or logits, and there are none.
        """
        self._refuse_missing(class_weights, logits)
        first = feature_maps[self.inputs.branched[0]]
        grid = map_grid((int(first.shape[2]), int(first.shape[3])))
        if classes is None:
            classes = torch.arange(self.number_of_classes, device=first.device)
        maps = first.new_zeros(first.shape[0], classes.shape[-1], *grid)
        if not isinstance(self.settings.maps, MinMaxMaps):
            maps = maps + self.bias
        evidence = None if self.inputs.pooled is None else feature_maps[self.inputs.pooled]
        if evidence is not None and places is not None:
            # As many times as there are places: shares of a sum become as large as what is averaged
            # elsewhere, so that the prior weighs as much in a long text as in a short one.
            evidence = evidence * (places * places.sum(dim=(2, 3), keepdim=True))
        parts = self.settings.parts
        if "embedding" in parts or "gate" in parts:
            fused = self._fused(feature_maps, grid, places, present)
            if "gate" in parts:
                maps = maps + self.gate(fused)
            if "embedding" in parts:
                maps = maps + self._common(fused, classes, class_weights, evidence)
        if evidence is not None:
            assert class_weights is not None
            prior = self._prior(evidence, classes, class_weights, places, logits)
            maps = maps + resize_maps(prior, grid)
        return maps

    def shown(self, maps: Tensor) -> Tensor:
        """Maps with the share of short-range differences that the settings keep."""
        return with_details(maps, self.settings.details)

    def explained(self, maps: Tensor, places: Tensor | None = None) -> Tensor:
        """What explanations hold of (B, K, h, w) maps before any activation; see ``map_scale``."""
        exponent = self.exponent if isinstance(self.settings.maps, MinMaxMaps) else None
        return scaled_maps(self.shown(maps), self.settings.maps.kind, exponent, places)

    def unit_range(self, maps: Tensor) -> Tensor:
        """Min–max maps before the exponent, (B, K, h, w) in [0, 1]."""
        return to_unit_range(self.shown(maps))

    @torch.no_grad()
    def follow(self, maps: Tensor, gather: Gather) -> None:
        """Move the exponent of min–max maps to where the whole batch has the wanted mean.

        It goes a tenth of the way, as batch norm its statistics.
        """
        if not isinstance(self.settings.maps, MinMaxMaps):
            return
        together = gather(self.unit_range(maps.detach()).flatten())[None]
        mean = torch.full((1,), self.settings.maps.mean_map, dtype=torch.float32).to(together)
        logarithm = exponents_for_means(together, mean)[0].log()
        self.exponent.copy_(self.exponent.log().lerp(logarithm, 0.1).exp())

    @property
    def evidence(self) -> int | None:
        """Position of the tap that the prior is made of; ``None`` without a prior."""
        return self.inputs.pooled

    def facts(self, layers: Sequence[str]) -> dict[str, str]:
        """The parts that the head has and lacks, what its prior is made of, and its details."""
        has, lacks = self.settings.parts, [name for name in _PARTS if name in self.settings.without]
        words = ", ".join(f"{name} ({_PARTS[name]})" for name in has)
        facts = {"parts of the head": words + f"; without {' and '.join(lacks)}" * bool(lacks)}
        if self.inputs.pooled is not None:
            facts["the prior is made of"] = evidence_in_words(layers[self.inputs.pooled])
        if self.settings.contrast:
            facts["the prior also holds"] = (
                "the evidence for a class against that for the classes said instead"
            )
        if self.settings.details < 1:
            share = f"{self.settings.details:g}"
            facts["details"] = f"maps keep {share} of their short-range differences"
        return facts

    def provenance(self) -> dict[str, Any]:
        """Also how many of the details are kept, and a contrast if there is one."""
        contrast = {"contrast": True} if self.settings.contrast else {}
        return {**super().provenance(), "details": self.settings.details, **contrast}

    def _refuse_missing(self, class_weights: Tensor | None, logits: Tensor | None) -> None:
        needed = f"class_weights=, the weight of {self.inputs.class_layer}"
        if class_weights is None and self.inputs.class_layer:
            raise ExplainerError("a few-shot head without class weights", allowed=needed)
        if logits is None and self.settings.contrast:
            raise ExplainerError("a few-shot head with contrast, without logits", allowed="logits=")

    def _fused(
        self,
        feature_maps: Sequence[Tensor],
        grid: tuple[int, int],
        places: Tensor | None,
        present: Tensor | None,
    ) -> Tensor:
        """Z: all branches together, on the grid of the maps, with what surrounds a place."""
        # Flattened, so that gradients come in the layout that processes exchange.
        shares = torch.split(self.fusion.convolution.weight.flatten(1), WIDTH, dim=1)
        branches = zip(self.branches, self.inputs.branched, shares, strict=True)
        # Mixed before the upsampling, which a 1x1 convolution does not mind: fewer places.
        first, *others = [
            resize_maps(
                F.conv2d(branch(feature_maps[position], places), share[:, :, None, None]), grid
            )
            for branch, position, share in branches
        ]
        normalised = self.fusion.batch_norm(sum(others, first), places)
        fused: Tensor = self.surroundings(normalised.relu(), places, present)
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
            mean, spread = rows_in_common(class_weights)
            sought = (class_weights[classes] - mean) / spread
            if evidence is not None:
                sought = with_what_is_there(sought, evidence)
            of_classes = self.class_embedding(sought)
        cosine = mix_channels(
            F.normalize(self.place_embedding(fused), dim=1), F.normalize(of_classes, dim=-1)
        )
        return cosine * self.embedding_scale

    def _prior(
        self,
        evidence: Tensor,
        classes: Tensor,
        class_weights: Tensor,
        places: Tensor | None,
        logits: Tensor | None,
    ) -> Tensor:
        """The classifier's own evidence on its own grid, sharp and broad, normalised as a whole."""
        rivals = logits if self.settings.contrast else None
        channels = prior_channels(evidence, classes, class_weights, rivals, self.settings.blur)
        if places is not None:
            places = places.repeat_interleave(channels.shape[1], dim=0)
        normalised: Tensor = self.prior_norm(channels.flatten(0, 1), places)
        return normalised.sum(dim=1).reshape(channels[:, :, 0].shape)


def _contrasts(classifier: Explainable) -> bool:
    return classifier.outputs.contrasts and classifier.number_of_classes > 1
