"""The rows and columns of the ablation of the few-shot explainer."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

MODELS = ("efficientnet_lite0", "hybrid_vit_lite0")
PRECISIONS = {"efficientnet_lite0": "no", "hybrid_vit_lite0": "bf16"}
"""Mixed precision of all trainings of a classifier; bf16 takes 0.6 times as long here."""

STEPS = 88
BATCH = 32
MEASURED = 100
REPORTED = 200
COLUMNS = {
    "average_drop@100": "AD 100 %",
    "average_drop@50": "AD 50 %",
    "average_drop@15": "AD 15 %",
    "increase_in_confidence@100": "IC 100 %",
    "increase_in_confidence@50": "IC 50 %",
    "increase_in_confidence@15": "IC 15 %",
    "mean_map": "mean map",
}
WHOLE = "few-shot"
BUNDLED = "bundled"
PRIOR = "prior-alone"
ROAD = ("road_most_relevant_first", "road_least_relevant_first")
WITH_TIES = (WHOLE, "loss-sigmoid")
"""Rows that are also measured without ties: a sigmoid gives many places the value 1."""

FAMILIES = {
    "held_ground.insertion": "insertion",
    "held_ground.deletion": "deletion",
    "held_ground.road": "ROAD",
    "held_ground.hard_masks": "hard masks",
    "held_ground.saco": "SaCo",
}
"""Of held-ground, in percent, higher is better."""
BY_HELD_GROUND = (
    WHOLE, "removing", "grounds", "removing-grounds", "zeros-and-ones", "random-masks",
    "random-masks-no-contrast", "random-masks-embedding", "no-random-masks",
)  # fmt: skip
"""Rows that are also measured by a protocol that none of the objectives asks for."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One kind of training.

    Attributes:
        words: for the table.
        changes: of the settings of the preset.
        preset: where they start.
        images: how many to train on; more than 800 take the rest from Tiny-ImageNet.
        taps: positions among the classifier's default taps; all if empty.
        like: the row whose head this one takes, with other ``details``.
        details: of that head's maps.
        trained: whether there is anything to train; else the prior alone.
    """

    words: str
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    preset: str = "few-shot-quick"
    images: int = 800
    taps: tuple[int, ...] = ()
    like: str = ""
    details: float = 0.5
    trained: bool = True


PUBLISHED_LOSS = {"objective": "t-tame", "learning_rate": 1e-3}
ROWS = {
    WHOLE: Row("the preset"),
    "published": Row(
        "T-TAME as published, at a rate of 0.03", {"learning_rate": 0.03}, preset="t-tame"
    ),
    PRIOR: Row("prior alone, nothing trained", trained=False),
    "no-prior": Row("without prior", {"without": "prior"}),
    "no-embedding": Row("without embedding", {"without": "embedding"}),
    "no-gate": Row("without gate", {"without": "gate"}),
    "loss-sigmoid": Row(
        "T-TAME's loss at a rate of 0.001, sigmoid maps", {**PUBLISHED_LOSS, "maps": "sigmoid"}
    ),
    "loss-raw": Row(
        "T-TAME's loss at a rate of 0.001, raw maps", {**PUBLISHED_LOSS, "maps": "raw"}
    ),
    "raw": Row("raw maps", {"maps": "raw"}),
    "all-details": Row("all details", like=WHOLE, details=1.0),
    "no-details": Row("no details", like=WHOLE, details=0.0),
    "last-tap": Row("last tap alone", taps=(2,)),
    "first-tap": Row("first tap alone", taps=(0,)),
    "crops": Row("crops instead of zooms", {"augmentation": "random crop and flip"}),
    "removing": Row("40 % of the images lose their most relevant places", {"removing": 0.4}),
    "grounds": Row("several grounds instead of black", {"masked": "grounds"}),
    "removing-grounds": Row(
        "both, and narrower edges", {"removing": 0.4, "masked": "grounds", "edge": 0.15}
    ),
    "zeros-and-ones": Row(
        "all masks of zeros and ones, several grounds, 40 % removed",
        {"removing": 0.4, "masked": "grounds", "hard": 1.0, "straight_through": True},
    ),
    "random-masks": Row(
        "random masks, contrast, several grounds, without embedding", preset="few-shot"
    ),
    "random-masks-no-contrast": Row(
        "the same without contrast", {"contrast": False}, preset="few-shot"
    ),
    "random-masks-embedding": Row(
        "the same with embedding", {"without": "nothing"}, preset="few-shot"
    ),
    "no-random-masks": Row("the same without random masks", {"random_masks": 0}, preset="few-shot"),
    "images-100": Row("100 images", images=100),
    "images-300": Row("300 images", images=300),
    "images-10000": Row("10,000 images, 9,200 of Tiny-ImageNet", images=10_000),
}
