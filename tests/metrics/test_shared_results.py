"""What is shared between metrics, and what never is."""

from __future__ import annotations

import gc
import weakref

import torch
from torch import Tensor

from ttame.metrics.shared_results import SharedResults


class Counting:
    def __init__(self) -> None:
        self.asked = 0

    def doubled(self, images: Tensor, *, plus: float = 0.0) -> Tensor:
        self.asked += 1
        return 2 * images + plus


def test_the_same_question_is_answered_once() -> None:
    shared, network, images = SharedResults(), Counting(), torch.rand(2)
    first = shared.once(network.doubled, images, plus=1.0)
    assert shared.once(network.doubled, images, plus=1.0) is first
    assert network.asked == 1


def test_other_images_options_and_functions_are_other_questions() -> None:
    shared, network, images = SharedResults(), Counting(), torch.rand(2)
    first = shared.once(network.doubled, images)
    assert torch.equal(shared.once(network.doubled, images, plus=1.0), first + 1)
    # Of the same values, but another tensor: what would be changed of it is not known.
    shared.once(network.doubled, images.clone())
    shared.once(Counting().doubled, images)
    assert network.asked == 3


def test_tensors_that_were_dropped_lend_their_identity_to_nobody() -> None:
    shared, network = SharedResults(), Counting()
    for value in range(50):
        assert shared.once(network.doubled, torch.tensor([float(value)])).item() == 2 * value


def test_what_has_no_hash_is_told_apart_by_identity() -> None:
    shared, first, second = SharedResults(), [1, 2], [1, 2]
    asked: list[list[int]] = []

    def total(numbers: list[int]) -> int:
        asked.append(numbers)
        return sum(numbers)

    assert [shared.once(total, numbers) for numbers in (first, first, second)] == [3, 3, 3]
    assert len(asked) == 2


def test_images_go_when_it_goes_even_if_it_was_handed_on() -> None:
    def inner(images: Tensor, shared: SharedResults) -> Tensor:
        return shared.once(torch.neg, images)

    gc.disable()
    try:
        shared, images = SharedResults(), torch.rand(2)
        gone = weakref.ref(images)
        shared.once(inner, images, shared=shared)
        del shared, images
        assert gone() is None
    finally:
        gc.enable()
