"""Situations of other tasks: CLIP, SigLIP, segmentation, detection, regression.

``OTHER_TASKS`` holds each network as ttame puts it together, and a twin that computes the same
scores without ttame's modules. They return at least two scores, so that class 1 can be explained of
every one of them.
"""
# ruff: noqa: D101, D102 - small networks whose names say it

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scripts.docs.situations import Situation
from ttame.networks.box_score import ScoreOfBox
from ttame.networks.region_scores import ScoresOfRegions
from ttame.networks.value_scores import ValueAbove
from ttame.networks.zero_shot_scores import ZeroShotScores

_SIDES = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
    "num_attention_heads": 4, "image_size": 32, "patch_size": 8,
}  # fmt: skip
_TRANSFORMERS = ("grad_cam", "attn_lrp", "attention_rollout", "occlusion")
_ANY = ("grad_cam", "input_x_gradient", "occlusion")
_TEXTS = 3


def _texts(width: int) -> Tensor:
    return torch.randn(_TEXTS, width, generator=torch.Generator().manual_seed(5))


def _clip_tower() -> nn.Module:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    torch.manual_seed(0)
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**_SIDES, projection_dim=12)).eval()


def _siglip_tower() -> nn.Module:
    from transformers import SiglipVisionConfig, SiglipVisionModel

    torch.manual_seed(0)
    return SiglipVisionModel(SiglipVisionConfig(**_SIDES)).eval()


class Cosines(nn.Module):
    """The formula, written with ``F.normalize`` and a product."""

    def __init__(self, tower: nn.Module, read: str, texts: Tensor, scale: float, bias: float):
        super().__init__()
        self.image_tower, self.read, self.texts = tower, read, F.normalize(texts, dim=1)
        self.scale, self.bias = scale, bias

    def forward(self, images: Tensor) -> Tensor:
        embedding = getattr(self.image_tower(images), self.read)
        return self.scale * F.normalize(embedding, dim=1) @ self.texts.T + self.bias


class Dense(nn.Module):
    """Logits of pixels, or of boxes, on a grid."""

    def __init__(self, boxes: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.second = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 16, 3, 2, 1)
        self.third, self.fourth = nn.ReLU(), nn.Conv2d(16, 16, 3, 1, 1)
        self.fifth, self.head, self.boxes = nn.ReLU(), nn.Conv2d(16, 4, 1), boxes

    def forward(self, images: Tensor) -> Any:
        dense = self.head(self.fifth(self.fourth(self.third(self.second(self.first(images))))))
        if not self.boxes:
            return {"out": dense}
        scores = dense[:, :2, 3, 3].sigmoid()
        boxes = torch.tensor([[0.0, 0, 8, 8], [8, 8, 20, 20]], device=images.device)
        labels = torch.tensor([1, 1], device=images.device)
        return [{"boxes": boxes, "scores": each, "labels": labels} for each in scores]


_REGION = torch.zeros(32, 32, dtype=torch.bool)
_REGION[8:20, 4:28] = True


class SummedByHand(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = Dense()

    def forward(self, images: Tensor) -> Tensor:
        logits = F.interpolate(self.network(images)["out"], (32, 32), mode="bilinear")
        return logits[:, :, 8:20, 4:28].sum((2, 3))


class TwoBoxes(nn.Module):
    """The log odds of two boxes of one detector."""

    def __init__(self) -> None:
        super().__init__()
        self.network = Dense(boxes=True)
        self.boxes = [(0, 0, 8, 8), (8, 8, 20, 20)]

    def forward(self, images: Tensor) -> Tensor:
        scores = [ScoreOfBox(self.network, box, 1)(images) for box in self.boxes]
        return torch.cat(scores, 1).logit()


class TwoCells(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = Dense()

    def forward(self, images: Tensor) -> Tensor:
        scores: Tensor = self.network(images)["out"][:, :2, 3, 3]
        return scores


class Age(nn.Module):
    def __init__(self, halves: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.end, self.halves = nn.Conv2d(3, 8, 3, 2, 1), nn.Linear(8, 1), halves

    def forward(self, images: Tensor) -> Tensor:
        age: Tensor = self.end(self.first(images).relu().mean((2, 3)))
        return torch.cat([-(age - 30) / 10, (age - 30) / 10], 1) if self.halves else age


class BothAnswers(nn.Module):
    """A single logit's two answers, as binary outputs have them."""

    def __init__(self) -> None:
        super().__init__()
        self.above = ValueAbove(Age(), 30.0, unit=5.0)

    def forward(self, images: Tensor) -> Tensor:
        logit = self.above(images)
        return torch.cat([logit * -0.5, logit * 0.5], 1)


def _task(
    title: str,
    make: Callable[[], nn.Module],
    twin: Callable[[], nn.Module],
    *methods: str,
    taps: tuple[str, ...] | None = None,
) -> Situation:
    return Situation(title, make, twin=twin, taps=taps, methods=methods, tolerance=1e-3)


OTHER_TASKS = (
    _task(
        "a zero-shot classifier of CLIP",
        lambda: ZeroShotScores(_clip_tower(), _texts(12), scale=20.0),
        lambda: Cosines(_clip_tower(), "image_embeds", _texts(12), 20.0, 0.0),
        *_TRANSFORMERS,
    ),
    _task(
        "a zero-shot classifier of SigLIP",
        lambda: ZeroShotScores(_siglip_tower(), _texts(16), scale=20.0, bias=-3.0),
        lambda: Cosines(_siglip_tower(), "pooler_output", _texts(16), 20.0, -3.0),
        *_TRANSFORMERS,
    ),
    _task(
        "segmentation: the logits of a region",
        lambda: ScoresOfRegions(Dense(), _REGION),
        SummedByHand,
        *_ANY,
    ),
    _task(
        "detection: the score of a box",
        TwoBoxes,
        TwoCells,
        *_ANY,
        taps=("network.first", "network.fifth"),
    ),
    _task("regression: above a value", BothAnswers, lambda: Age(halves=True), *_ANY, "lrp"),
)
