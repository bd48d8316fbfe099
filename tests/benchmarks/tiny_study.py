"""What a small few-shot study is made of: a plan, an explainer, a leaderboard, boxes."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import leaderboard_rows
from benchmarks.few_shot_plans import ROAD, Plan
from benchmarks.few_shot_study import Study
from tests.datasets.noise_photos import save_photo
from ttame.classifiers.classifier import Classifier
from ttame.evaluation.evaluate_methods import evaluate
from ttame.explainers.trained.attention_explainer import (
    AttentionExplainer,
    new_attention_explainer,
)
from ttame.explainers.trained.known_head_settings import head_settings

PHOTOS = 10
PLAN = Plan(
    leaderboard="tiny",
    rivals=("grad_cam",),
    read_rivals=("layer_cam",),
    costly=("recipro_cam", "rise"),
    others=(),
    order_rivals=("grad_cam",),
    ordering=ROAD.metrics,
    checked=("centre_gaussian",),
    aims={"average_drop@100": 12},
    photos=PHOTOS,
    road_photos=5,
    curve_photos=2,
)


def few_shot(classifier: Classifier, seed: int = 0) -> AttentionExplainer:
    settings = head_settings("few-shot")
    return new_attention_explainer(classifier, settings, method="few_shot", seed=seed)


def lend(study: Study, names: tuple[str, ...], limit: int = 5) -> Path:
    """Measure some methods as the leaderboard does."""
    folder = leaderboard_rows.LEADERBOARDS / PLAN.leaderboard
    explainers = {name: study.explainers[name] for name in names}
    evaluate(study.classifier, study.photos, explainers, folder, limit=limit)
    return folder


def draw_boxes(folder: Path, covered: list[int], label: int = 1) -> None:
    """Photos of 40x40 pixels with one box each."""
    for number in range(len(covered)):
        save_photo(folder / "images" / f"{number}.png", number, (40, 40))
    content = {
        "images": [
            {"id": n, "file_name": f"{n}.png", "width": 40, "height": 40}
            for n in range(len(covered))
        ],
        "annotations": [
            {"id": n, "image_id": n, "category_id": 9, "bbox": [4, 4, side, side], "area": 1}
            for n, side in enumerate(covered)
        ],
        "categories": [{"id": 9, "name": f"kind {label}", "imagenet1k_index": label}],
    }
    (folder / "annotations.json").write_text(json.dumps(content))
