"""Ablation-CAM: Desai and Ramaswamy, WACV 2020."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.classifiers.feature_reading import FeatureReading
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.option_checks import check_choice
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.methods.activation.activation_gradients import on_one_layer
from ttame.explainers.methods.activation.weighted_channels import weighted_channels
from ttame.explainers.passes.tail_pass import TailPass

Replacement = Literal["zero", "far below minimum"]
Divisor = Literal["magnitude", "logit"]

FAR_BELOW = 1e7
"""How far below the minimum the most used implementation puts an ablated channel."""

SMALLEST_DIVISOR = 1e-6
"""Of a logit that is 0 to rounding. A map's scale means nothing there; its shape still does."""


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class AblationCam(Explainer):
    """Ablation-CAM: ``S = (Σ_k w_k A_k)⁺``, ``w_k = (f_c − f_c|A_k := 0) / |f_c|``.

    ``A_k`` is channel k of the last feature map and ``f_c`` the logit of class c: a channel weighs
    as much as its loss costs the class. Only the layers after the tap run for the C ablated copies;
    all classes share them. On tokens a channel is ablated in every token, prefix tokens too.

    Deviations. The paper divides by ``f_c``, which turns the whole map round where the logit is
    negative; by default its magnitude divides, which is the same for a positive logit. The most
    used published code sets a channel to ``min A − 1e7`` instead of 0 unless ``min A`` is 0, which
    saturates whatever follows. (It also subtracts more for every further channel of its batches;
    that changes its maps by 2e-6 and is left out.)

    Args:
        classifier: its last tap is used.
        layer: read features here instead.
        replacement: what an ablated channel is set to: ``"zero"`` (the paper), or
            ``"far below minimum"`` (the published code; needs float32).
        divisor: ``"magnitude"`` or ``"logit"`` (the paper). Neither is allowed below 1e-6.
        rectified: whether ``(·)⁺`` is applied; without it the map is signed.

    Raises:
        ExplainerError: an unknown option.
        TapError: the layer does not exist or gives no features.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> ablation = AblationCam(tiny_classifier())
        >>> ablation(torch.zeros(2, 3, 16, 16), "top2").maps.shape
        torch.Size([2, 2, 4, 4])
    """

    card = MethodCard(
        name="ablation_cam",
        title="Ablation-CAM",
        family="class activation",
        networks="any with feature maps or patch tokens",
        cost="2 forwards and C runs of the layers after the tap, all classes",
        paper="Desai and Ramaswamy, WACV 2020",
        targets=EVERY_TARGET,
    )

    layer: str | None = None
    replacement: Replacement = "zero"
    divisor: Divisor = "magnitude"
    rectified: bool = True
    tail: TailPass = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_choice(self.method, "replacement", self.replacement, get_args(Replacement))
        check_choice(self.method, "divisor", self.divisor, get_args(Divisor))
        self._keep(classifier=on_one_layer(self.classifier, self.layer))
        self._keep(tail=TailPass(self.classifier))

    def _decided(self) -> dict[str, Any]:
        return {"layer": str(self.tail.tap)}

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        reading, variant_bytes = self.tail.read(images)
        targets = request.targets(reading.logits)
        weights = self._drops(images, reading, targets, variant_bytes, request)
        values = targets.of(reading.logits.float())
        divisor = values.abs().clamp(min=SMALLEST_DIVISOR)
        if self.divisor == "logit":
            divisor = divisor.copysign(values)
        weights = weights / divisor[..., None]
        maps = weighted_channels(weights, reading.feature_maps[0])
        return RawMaps(reading.logits, targets, maps.relu() if self.rectified else maps)

    def _drops(
        self,
        images: Tensor,
        reading: FeatureReading,
        targets: ExplainedTargets,
        variant_bytes: int,
        request: Request,
    ) -> Tensor:
        """How much each target loses with each channel: (B, K, C) float32."""
        tap = self.tail.tap
        before = targets.of(reading.logits.float())
        drops = torch.empty(
            *targets.shape, tap.channels, device=targets.device, dtype=torch.float32
        )

        def change(outputs: Tensor, channels: Tensor) -> Tensor:
            rows = torch.arange(len(outputs), device=outputs.device)
            channels_first = outputs if tap.layout == "channels first" else outputs.movedim(-1, 1)
            fill = self._fill(outputs)
            channels_first[rows, channels] = fill.reshape(-1, *[1] * (outputs.ndim - 2))
            return outputs

        at_once = self.tail.at_once(variant_bytes, request.memory_budget)
        for chunk in self.tail.run(
            images, reading, tap.channels, change, at_once=at_once, progress=request.progress
        ):
            after = targets[chunk.images].of(chunk.logits.float())
            drops[chunk.images, :, chunk.variants] = before[chunk.images] - after
        return drops

    def _fill(self, outputs: Tensor) -> Tensor:
        """What every row's ablated channel is set to, (n,)."""
        minima = outputs.flatten(1).amin(dim=1)
        if self.replacement == "zero":
            return torch.zeros_like(minima)
        return torch.where(minima == 0, 0.0, minima - FAR_BELOW).to(outputs.dtype)
