"""Recipro-CAM: Byun and Lee, arXiv 2209.14074."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor

from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import EVERY_TARGET, MethodCard
from ttame.explainers.contract.request import RawMaps, Request
from ttame.explainers.contract.target_scores import ScoreKind, checked_score, target_scores
from ttame.explainers.methods.activation.activation_gradients import on_one_layer
from ttame.explainers.passes.tail_pass import TailPass
from ttame.features.feature_taps import LayerOutput


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class ReciproCam(Explainer):
    """Recipro-CAM: ``S_c(i,j) = p_c(A ⊙ e_ij)``, what the classifier says of one place alone.

    ``A`` (C, h, w) is the last feature map, ``e_ij`` a spatial mask that is 1 at (i,j) and 0
    elsewhere, ``p_c`` the probability of class c after the rest of the network. Only that rest runs
    for the h·w masked copies; the network before it runs once for the batch and once more for each
    chunk of copies. One run serves all classes.

    On tokens the prefix tokens are kept and the other patch tokens set to 0, also where the
    residual goes round the tapped layer unmasked; ``vit_recipro_cam`` has the choices that its
    papers make.

    Args:
        classifier: its last tap is used.
        layer: read features here instead, e.g. ``"layer3"``.
        score: ``"probability"`` is the paper's; ``"logit"`` is what OpenVINO's implementation
            returns, and keeps its scale where one class takes all the probability.
        gaussian: spread ``e_ij`` over the 3×3 neighbourhood with weights [1 2 1; 2 4 2; 1 2 1]/16;
            neighbours keep their own features. Off in the published code.

    Raises:
        ExplainerError: an unknown score.
        TapError: the layer does not exist or gives no features.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> recipro = ReciproCam(tiny_classifier())
        >>> recipro(torch.zeros(2, 3, 16, 16), "all").maps.shape
        torch.Size([2, 5, 4, 4])
    """

    card = MethodCard(
        name="recipro_cam",
        title="Recipro-CAM",
        family="class activation",
        networks="any with feature maps or patch tokens",
        cost="2 forwards and N runs of the layers after the tap, all classes",
        paper="Byun and Lee, arXiv 2209.14074",
        targets=EVERY_TARGET,
    )

    layer: str | None = None
    score: ScoreKind = "probability"
    gaussian: bool = False
    tail: TailPass = dataclasses.field(init=False, repr=False)

    def __post_init__(self) -> None:
        checked_score(self.score)
        self._keep(classifier=on_one_layer(self.classifier, self.layer))
        self._keep(tail=TailPass(self.classifier))

    def _decided(self) -> dict[str, Any]:
        return {"layer": str(self.tail.tap)}

    @torch.no_grad()
    def _raw_maps(self, images: Tensor, request: Request) -> RawMaps:
        reading, variant_bytes = self.tail.read(images)
        targets = request.targets(reading.logits)
        height, width = reading.feature_maps[0].shape[2:]
        maps = torch.empty(
            *targets.shape, height * width, device=targets.device, dtype=torch.float32
        )

        def change(outputs: Tensor, places: Tensor) -> Tensor:
            masks = place_masks(places, (height, width), gaussian=self.gaussian)
            return mask_places(outputs, masks.to(outputs.dtype), self.tail.tap)

        for chunk in self.tail.run(
            images,
            reading,
            height * width,
            change,
            at_once=self.tail.at_once(variant_bytes, request.memory_budget),
            progress=request.progress,
        ):
            scores = target_scores(
                chunk.logits, targets[chunk.images], self.score, self.classifier.outputs
            )
            maps[chunk.images, :, chunk.variants] = scores
        return RawMaps(reading.logits, targets, maps.reshape(*targets.shape, height, width))


def place_masks(places: Tensor, grid: tuple[int, int], *, gaussian: bool) -> Tensor:
    """Masks that keep one place of a grid, or its neighbourhood.

    Args:
        places: (n,) int64, numbered row by row.
        grid: (h, w).
        gaussian: keep the 3×3 neighbourhood with weights [1 2 1; 2 4 2; 1 2 1]/16.

    Returns:
        (n, h, w) float32.

    Example:
        >>> place_masks(torch.tensor([4]), (3, 3), gaussian=True)[0] * 16
        tensor([[1., 2., 1.],
                [2., 4., 2.],
                [1., 2., 1.]])
    """
    rows = torch.arange(grid[0], device=places.device) - (places // grid[1])[:, None]
    columns = torch.arange(grid[1], device=places.device) - (places % grid[1])[:, None]
    if gaussian:
        down, across = ((2 - offset.abs()).clamp(min=0) / 4 for offset in (rows, columns))
    else:
        down, across = ((offset == 0).float() for offset in (rows, columns))
    return down[:, :, None] * across[:, None, :]


def mask_places(outputs: Tensor, masks: Tensor, tap: LayerOutput) -> Tensor:
    """Multiply every channel of a layer's output by a spatial mask; prefix tokens are kept.

    Args:
        outputs: (n, ...) as the layer returned it.
        masks: (n, h, w), same dtype.
        tap: says how the output is laid out.

    Returns:
        Same shape as ``outputs``.
    """
    if tap.layout == "channels first":
        return outputs * masks[:, None]
    if tap.layout == "channels last":
        return outputs * masks[..., None]
    kept = torch.ones(len(masks), tap.prefix_tokens, dtype=masks.dtype, device=masks.device)
    return outputs * torch.cat([kept, masks.flatten(1)], dim=1)[..., None]
