"""A T-TAME head for the network that reads planted digits."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState, GradientState
from torch.utils.data import TensorDataset

from tests.planted_digits.planted_images import plant_digits
from ttame.classifiers.classifier import Classifier
from ttame.explainers.attention.attention_explainer import AttentionExplainer
from ttame.training.train_explainer import train_explainer
from ttame.training.training_settings import training_settings

IMAGES = 1200


def trained_digit_explainer(classifier: Classifier, folder: Path) -> AttentionExplainer:
    """Train the head as a user would, without labels, on images of its own."""
    planted = plant_digits("training", IMAGES, torch.Generator().manual_seed(1))
    dataset = TensorDataset((255 * planted.pixels).to(torch.uint8))
    settings = training_settings(
        "t-tame", epochs=2, learning_rate=0.1, workers=0, augmentation="none", held_out_at_most=50
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("ACCELERATE_USE_CPU", "true")
        try:
            return train_explainer(classifier, dataset, folder, settings)
        finally:
            # Accelerate keeps its device for the whole life of a process.
            AcceleratorState._reset_state(reset_partial_state=True)
            GradientState._reset_state()
