"""Shares in a normalised average find what decides, on a CNN made like ConvNeXt."""

from __future__ import annotations

import pytest
import torch

from benchmarks.planted_digits.digit_classifier import (
    kept_convolutional_classifier,
    share_recognised,
)
from benchmarks.planted_digits.planted_images import plant_digits
from benchmarks.planted_digits.planted_scores import FoundDigits
from scripts.docs.planted_digits_page import PAGE, listed_scores
from ttame.classifiers.linear_end import find_linear_end

FIND_THE_DIGIT = {"cam": (85.0, 80.0), "class_evidence": (85.0, 80.0)}
"""The least share of images in which they point at the digit, and, of two, at the right one."""


@pytest.fixture(scope="module")
def found() -> FoundDigits:
    return FoundDigits(kept_convolutional_classifier(), [], count=40)


def test_the_digit_decides_and_nothing_else(found: FoundDigits) -> None:
    images = plant_digits("held out", 500, torch.Generator().manual_seed(77))
    classifier, labels = found.classifier, images.labels
    assert share_recognised(classifier, images.pixels, labels) >= 0.9
    assert share_recognised(classifier, images.without(images.decoys), labels) >= 0.9
    assert share_recognised(classifier, images.without(images.digits), labels) <= 0.2


def test_its_average_is_normalised(found: FoundDigits) -> None:
    end = find_linear_end(found.classifier)
    assert end is not None
    assert end.features.to_config() == "normalised:features:norm"


@pytest.mark.parametrize("name", FIND_THE_DIGIT)
def test_shares_point_at_the_digit_that_is_asked_for(name: str, found: FoundDigits) -> None:
    pointing, apart = FIND_THE_DIGIT[name]
    assert float(found.pointing(name).mean()) >= pointing
    assert float(found.telling_apart(name).mean()) >= apart


def test_the_page_agrees(found: FoundDigits) -> None:
    listed = listed_scores(PAGE.read_text(encoding="utf-8"), convolutional=True)
    assert listed.keys() >= {*found.explainers, "few_shot"}
    for name, (pointing, apart) in FIND_THE_DIGIT.items():
        assert listed[name][0] >= pointing and listed[name][1] >= apart
