"""Trained heads for the network that reads planted digits: T-TAME's and the few-shot one."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from accelerate.state import AcceleratorState, GradientState
from torch.utils.data import TensorDataset

from benchmarks.planted_digits.planted_images import plant_digits
from ttame.classifiers.classifier import Classifier
from ttame.explainers.trained.attention_explainer import AttentionExplainer
from ttame.training.train_explainer import train_explainer
from ttame.training.training_settings import training_settings

IMAGES = 1200
"""To train on, for the numbers on the page."""

PRESETS: dict[str, dict[str, Any]] = {
    "t-tame": {"epochs": 2, "learning_rate": 0.1},
    "few-shot-quick": {"epochs": 2},
}


def trained_digit_explainers(
    classifier: Classifier,
    folder: Path,
    presets: Sequence[str] = tuple(PRESETS),
    images: int = IMAGES,
) -> list[AttentionExplainer]:
    """Train the heads as a user would, without labels, on images of their own."""
    return [_trained(classifier, folder / preset, preset, images) for preset in presets]


def _trained(classifier: Classifier, folder: Path, preset: str, images: int) -> AttentionExplainer:
    planted = plant_digits("training", images, torch.Generator().manual_seed(1))
    dataset = TensorDataset((255 * planted.pixels).to(torch.uint8))
    settings = training_settings(
        preset, workers=0, augmentation="none", held_out_at_most=50, **PRESETS[preset]
    )
    with mock.patch.dict(os.environ, ACCELERATE_USE_CPU="true"):
        try:
            return train_explainer(classifier, dataset, folder, settings)
        finally:
            # Accelerate keeps its device for the whole life of a process.
            AcceleratorState._reset_state(reset_partial_state=True)
            GradientState._reset_state()
