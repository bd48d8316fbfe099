"""Two small networks that read planted digits, trained from nothing in seconds.

``python -m benchmarks.planted_digits.digit_classifier`` trains both and keeps their weights beside
this file, in half precision: the tests explain these and need not train them.
"""

from __future__ import annotations

import math
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmarks.planted_digits.planted_images import CLASSES, SIZE, plant_digits
from ttame.classifiers.classifier import Classifier
from ttame.images.preprocessing import Preprocessing

PREPROCESSING = Preprocessing(
    input_size=(SIZE, SIZE), resize=(SIZE, SIZE), mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25)
)
KEPT = Path(__file__).parent / "transformer.safetensors"
KEPT_CONVOLUTIONAL = Path(__file__).parent / "convolutional.safetensors"
STEPS = 250
CONVOLUTIONAL_STEPS = 300
BATCH = 64
CONVOLUTIONAL_RATE = 5e-3
MATRIX_RATE = 0.02
OTHER_RATE = 3e-3
WARM_UP = 0.1


def trained_digit_classifier(*, seed: int = 0, steps: int = STEPS) -> Classifier:
    """Train a Vision Transformer; the same seed gives the same weights.

    Args:
        seed: of the weights at the start and of the images.
        steps: of the optimisers.
    """
    network = _new_network(seed)
    return _trained(network, _optimisers(network), seed, steps)


def trained_convolutional_classifier(
    *, seed: int = 0, steps: int = CONVOLUTIONAL_STEPS
) -> Classifier:
    """Train a CNN that averages its features and normalises then, as ConvNeXt does."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = _Convolutional()
    optimiser = torch.optim.AdamW(network.parameters(), lr=CONVOLUTIONAL_RATE)
    return _trained(network, [optimiser], seed, steps)


def kept_digit_classifier() -> Classifier:
    """The Vision Transformer as it was trained once."""
    return _with_weights(_new_network(0), KEPT)


def kept_convolutional_classifier() -> Classifier:
    """The CNN as it was trained once."""
    return _with_weights(_Convolutional(), KEPT_CONVOLUTIONAL)


def keep(classifier: Classifier, path: Path) -> None:
    """Write a trained network's weights, in half precision."""
    weights = classifier.network.state_dict()
    save_file({name: w.half() if w.is_floating_point() else w for name, w in weights.items()}, path)


def _with_weights(network: nn.Module, path: Path) -> Classifier:
    network.load_state_dict(load_file(path))
    return _classifier(network)


def _trained(
    network: nn.Module, optimisers: list[torch.optim.Optimizer], seed: int, steps: int
) -> Classifier:
    """Train on fresh images in every step."""
    images = torch.Generator().manual_seed(seed)
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
    return _classifier(network)


def _classifier(network: nn.Module) -> Classifier:
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


class _Convolutional(nn.Module):
    """Five convolutions to an 8×8 grid, on which a digit covers 2×2 places."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            _block(3, 16, 2), _block(16, 32, 2), _block(32, 32, 1), _block(32, 64, 2),
            nn.Conv2d(64, 64, 3, padding=1),
        )  # fmt: skip
        self.norm = nn.LayerNorm(64)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.norm(self.features(images).mean(dim=(2, 3))))
        return logits


def _block(width_before: int, width: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(width_before, width, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())


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


if __name__ == "__main__":
    torch.set_num_threads(1)
    keep(trained_digit_classifier(), KEPT)
    keep(trained_convolutional_classifier(), KEPT_CONVOLUTIONAL)
