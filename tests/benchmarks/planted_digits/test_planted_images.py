"""Images of which it is known where the digit is."""

from __future__ import annotations

import torch

from benchmarks.planted_digits.planted_images import (
    CLASSES,
    DIGIT,
    SIZE,
    plant_digits,
    plant_two_digits,
)


def test_all_images_of_a_seed_are_the_same_and_balanced() -> None:
    once, again, other = (
        plant_digits("training", 20, torch.Generator().manual_seed(seed)) for seed in (3, 3, 4)
    )
    assert torch.equal(once.pixels, again.pixels)
    assert not torch.equal(once.pixels, other.pixels)
    assert once.labels.bincount().tolist() == [2] * CLASSES
    assert once.pixels.min() >= 0 and once.pixels.max() <= 1


def test_boxes_say_where_digit_and_decoy_are() -> None:
    images = plant_digits("held out", 200, torch.Generator().manual_seed(0))
    for boxes in (images.digits, images.decoys):
        assert (boxes.flatten(1).sum(dim=1) == DIGIT**2).all()
        assert boxes.float().mean(dim=0).gt(0).all(), "everywhere in the picture"
    assert not (images.digits & images.decoys).any()
    changed = (images.pixels != images.textures).any(dim=1)
    assert not (changed & ~images.digits & ~images.decoys).any()
    assert (changed & images.digits).flatten(1).any(dim=1).all()


def test_two_digits_differ_and_both_are_whole() -> None:
    pairs = plant_two_digits("held out", 200, torch.Generator().manual_seed(0))
    assert (pairs.labels != pairs.decoy_labels).all()
    assert not (pairs.digits & pairs.decoys).any()


def test_a_decoy_says_nothing_about_the_digit() -> None:
    """It is made of the same digit as often as chance has it."""
    images = plant_digits("held out", 2000, torch.Generator().manual_seed(0))
    assert 0.07 < (images.labels == images.decoy_labels).float().mean() < 0.13


def test_the_centre_is_a_weak_guess() -> None:
    images = plant_digits("held out", 2000, torch.Generator().manual_seed(0))
    middle = slice(SIZE // 2 - 1, SIZE // 2 + 1)
    assert images.digits[:, middle, middle].float().mean() < 0.12
