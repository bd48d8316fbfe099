"""A small Vision Transformer that reads planted digits, trained from nothing in seconds."""

from __future__ import annotations

import math

import timm
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.planted_digits.planted_images import CLASSES, SIZE, plant_digits
from ttame.classifiers.classifier import Classifier
from ttame.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(
    input_size=(SIZE, SIZE), resize=(SIZE, SIZE), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
)
STEPS = 250
BATCH = 64
MATRIX_RATE = 0.02
OTHER_RATE = 3e-3
WARM_UP = 0.1


def trained_digit_classifier(*, seed: int = 0, steps: int = STEPS) -> Classifier:
    """Train a network on fresh images in every step; the same seed gives the same weights.

    Args:
        seed: of the weights at the start and of the images.
        steps: of the optimisers.
    """
    network = _new_network(seed)
    images = torch.Generator().manual_seed(seed)
    optimisers = _optimisers(network)
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: _rate(step / steps))
        for optimiser in optimisers
    ]
    for _ in range(steps):
        planted = plant_digits("training", BATCH, images)
        logits = network(PREPROCESSING.normalise(planted.pixels))
        F.cross_entropy(logits, planted.labels).backward()
        for optimiser, schedule in zip(optimisers, schedules, strict=True):
            optimiser.step()
            optimiser.zero_grad()
            schedule.step()
    return Classifier(
        network.eval(),
        preprocessing=PREPROCESSING,
        class_names=[f"digit {label}" for label in range(CLASSES)],
        name="planted digits",
    )


def share_recognised(classifier: Classifier, pixels: Tensor, labels: Tensor) -> float:
    """How many of the images, (B, 3, 64, 64) in [0, 1], get their label; in [0, 1]."""
    logits = classifier.logits(PREPROCESSING.normalise(pixels))
    return float((logits.argmax(dim=1) == labels).float().mean())


def _new_network(seed: int) -> nn.Module:
    """Three blocks on an 8×8 grid of patches; a digit covers 2×2 of them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network: nn.Module = timm.models.VisionTransformer(
            img_size=SIZE,
            patch_size=8,
            embed_dim=64,
            depth=3,
            num_heads=4,
            mlp_ratio=2,
            num_classes=CLASSES,
        )
    return network


def _optimisers(network: nn.Module) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the blocks, which it trains in a fraction of AdamW's steps."""
    matrices, others = [], []
    for name, parameter in network.named_parameters():
        inner = parameter.ndim == 2 and name.startswith("blocks.")
        (matrices if inner else others).append(parameter)
    return [
        torch.optim.Muon(matrices, lr=MATRIX_RATE, weight_decay=0.01),
        torch.optim.AdamW(others, lr=OTHER_RATE, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def _rate(progress: float) -> float:
    """The share of the learning rate: a short way up, then down a cosine."""
    return min(1.0, (progress + 0.002) / WARM_UP) * (0.5 + 0.5 * math.cos(math.pi * progress))
