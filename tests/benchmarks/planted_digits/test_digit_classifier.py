"""The small network that reads planted digits."""

from __future__ import annotations

import torch

from benchmarks.planted_digits.digit_classifier import trained_digit_classifier


def test_training_depends_on_nothing_but_the_seed() -> None:
    torch.manual_seed(1)
    once = trained_digit_classifier(seed=5, steps=2).network.state_dict()
    torch.manual_seed(2)
    again = trained_digit_classifier(seed=5, steps=2).network.state_dict()
    other = trained_digit_classifier(seed=6, steps=2).network.state_dict()
    assert all(torch.equal(once[name], again[name]) for name in once)
    assert not torch.equal(once["head.weight"], other["head.weight"])
