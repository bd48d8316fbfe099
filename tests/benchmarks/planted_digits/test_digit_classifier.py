"""The small networks that read planted digits."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from benchmarks.planted_digits.digit_classifier import (
    PREPROCESSING,
    kept_digit_classifier,
    trained_convolutional_classifier,
    trained_digit_classifier,
)
from benchmarks.planted_digits.planted_images import plant_digits


def test_training_depends_on_nothing_but_the_seed() -> None:
    torch.manual_seed(1)
    once = trained_digit_classifier(seed=5, steps=2).network.state_dict()
    torch.manual_seed(2)
    again = trained_digit_classifier(seed=5, steps=2).network.state_dict()
    other = trained_digit_classifier(seed=6, steps=2).network.state_dict()
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not torch.equal(once["head.weight"], other["head.weight"])


def test_the_cnn_depends_on_the_seed_too() -> None:
    once, again, other = (
        trained_convolutional_classifier(seed=seed, steps=2).network.state_dict()
        for seed in (5, 5, 6)
    )
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not torch.equal(once["head.weight"], other["head.weight"])


def test_training_makes_the_networks_that_are_kept() -> None:
    """As far as the shapes of their weights go; the scores tell what they have learnt."""
    kept = kept_digit_classifier().network.state_dict()
    trained = trained_digit_classifier(steps=1).network.state_dict()
    assert {name: w.shape for name, w in kept.items()} == {n: w.shape for n, w in trained.items()}


def test_a_few_steps_of_training_begin_to_learn() -> None:
    images = plant_digits("training", 64, torch.Generator().manual_seed(3))
    losses = [
        F.cross_entropy(
            trained_digit_classifier(steps=steps).logits(PREPROCESSING.normalise(images.pixels)),
            images.labels,
        )
        for steps in (1, 30)
    ]
    assert losses[1] < losses[0] - 0.1
