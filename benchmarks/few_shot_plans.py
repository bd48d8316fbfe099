"""What is measured of the few-shot explainers: the metrics, and a plan for every classifier."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from ttame.metrics.known_protocols import known_protocol
from ttame.metrics.protocol import Protocol

T_TAME, RISE = known_protocol("t-tame"), known_protocol("rise")


@dataclasses.dataclass(frozen=True)
class Part:
    """Metrics that are measured on the same photos."""

    name: str
    protocol: Protocol
    metrics: tuple[str, ...]


MASKS = Part("masks", T_TAME, ("average_drop", "increase_in_confidence", "mean_map"))
ROAD = Part("road", T_TAME, ("road_most_relevant_first", "road_least_relevant_first"))
CURVES = Part("curves", RISE, RISE.metrics)
POINTING = Part(
    "pointing",
    dataclasses.replace(T_TAME, name="pointing-game", explained_class="label"),
    ("pointing_game", "energy_inside"),
)
COST = Part("cost", T_TAME, ("mean_map",))


@dataclasses.dataclass(frozen=True)
class Plan:
    """What is measured for a classifier.

    Attributes:
        leaderboard: folder of the ``ttame evaluate`` whose rows are read.
        rivals: methods that the trained explainer should beat on soft masks.
        read_rivals: those whose rows are only read from the leaderboard, as those of ``costly``.
        costly: methods with hundreds of passes, which a single pass should reach.
        others: what stands beside them.
        order_rivals: methods that it should beat on the metrics of ``ordering``.
        ordering: metrics of the order of places.
        checked: methods whose network is randomised too.
        aims: column to the number that it should reach.
        photos: for Average Drop and Increase in Confidence.
        road_photos: for ROAD; as many as the leaderboard has lets its rows be read.
        curve_photos: for insertion and deletion.
    """

    leaderboard: str
    rivals: tuple[str, ...]
    read_rivals: tuple[str, ...]
    costly: tuple[str, ...]
    others: tuple[str, ...]
    order_rivals: tuple[str, ...]
    ordering: tuple[str, ...]
    checked: tuple[str, ...]
    aims: Mapping[str, float]
    photos: int
    road_photos: int
    curve_photos: int


BASELINES = ("random", "centre_gaussian")
COSTLY = ("score_cam", "ablation_cam", "rise")
TRANSFORMER_RIVALS = (
    "transformer_attribution",
    "generic_attention",
    "attention_rollout",
    "vit_recipro_cam",
    "grad_cam",
)
PLANS = {
    "efficientnet_lite0": Plan(
        leaderboard="lite0",
        rivals=(
            "grad_cam", "grad_cam_plus_plus", "xgrad_cam", "hires_cam", "layer_cam", "cam",
            "eigen_cam", "recipro_cam", "iia",
        ),
        read_rivals=("input_x_gradient", "integrated_gradients", "smooth_grad"),
        costly=COSTLY,
        others=("t_tame",),
        order_rivals=("grad_cam",),
        ordering=(*ROAD.metrics, *CURVES.metrics),
        checked=("t_tame", "grad_cam", "cam", "centre_gaussian"),
        aims={
            "average_drop@100": 12,
            "average_drop@50": 35,
            "average_drop@15": 80,
            "increase_in_confidence@100": 42,
            "increase_in_confidence@50": 24,
            "increase_in_confidence@15": 4,
        },
        photos=200,
        road_photos=200,
        curve_photos=30,
    ),
    "hybrid_vit_lite0": Plan(
        leaderboard="hybrid_vit",
        rivals=TRANSFORMER_RIVALS,
        read_rivals=(),
        costly=COSTLY,
        others=("t_tame", "grad_cam_plus_plus", "legrad"),
        order_rivals=TRANSFORMER_RIVALS,
        ordering=ROAD.metrics,
        checked=("t_tame", "grad_cam", "vit_recipro_cam", "centre_gaussian"),
        aims={},
        photos=200,
        road_photos=100,
        curve_photos=10,
    ),
}  # fmt: skip
