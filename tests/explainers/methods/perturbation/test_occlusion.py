from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.conftest import assert_close
from tests.explainers.methods.perturbation_material import (
    IMAGES_OF_FOLDING,
    noise_images,
    runs_of,
)
from tests.tiny_networks import TINY, tiny_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import ExplainerError
from ttame.explainers.methods.perturbation.occlusion import Occlusion


def slow_occlusion(
    classifier: Classifier,
    image: Tensor,
    target: int,
    window: tuple[int, int],
    stride: tuple[int, int],
    cover: Tensor | float = 0.0,
    score: str = "logit",
) -> Tensor:
    """Window by window and pixel by pixel, (H, W)."""

    def score_of(picture: Tensor) -> float:
        logits = classifier.logits(picture[None])[0].detach()
        return float((logits.softmax(0) if score == "probability" else logits)[target])

    height, width = image.shape[1:]
    total, count = torch.zeros(height, width), torch.zeros(height, width)
    top = 0
    while True:
        left = 0
        while True:
            area = (slice(top, top + window[0]), slice(left, left + window[1]))
            covered = image.clone()
            covered[(slice(None), *area)] = cover
            total[area] += score_of(image) - score_of(covered)
            count[area] += 1
            if left + window[1] >= width:
                break
            left += stride[1]
        if top + window[0] >= height:
            break
        top += stride[0]
    return total / count


@pytest.mark.parametrize(
    ("window", "stride"), [((16, 16), (16, 16)), ((20, 12), (9, 11)), ((48, 64), (1, 1))]
)
@pytest.mark.parametrize("score", ["logit", "probability"])
def test_it_is_the_formula(window: Any, stride: Any, score: Any) -> None:
    classifier = TINY["transformers vit"]()
    images = noise_images(classifier)
    explainer = Occlusion(classifier, window=window, stride=stride, score=score)
    maps = explainer(images, [[4, 1], [0, 5]]).maps
    for image, targets, row in zip(images, [[4, 1], [0, 5]], maps, strict=True):
        for target, ours in zip(targets, row, strict=True):
            slow = slow_occlusion(classifier, image, target, window, stride, score=score)
            assert_close(ours, slow, 1e-4)


def test_black_covers() -> None:
    classifier = tiny_cnn()
    images = noise_images(classifier, count=1)
    black = (-torch.tensor([0.485, 0.456, 0.406]) / torch.tensor([0.229, 0.224, 0.225]))[
        :, None, None
    ]
    maps = Occlusion(classifier, window=16, stride=8, fill="black")(images, 3).maps[0, 0]
    assert_close(maps, slow_occlusion(classifier, images[0], 3, (16, 16), (8, 8), black), 1e-4)


@pytest.mark.parametrize(("window", "stride"), [((8, 8), (4, 4)), ((10, 7), (6, 5))])
def test_captum_agrees(window: tuple[int, int], stride: tuple[int, int]) -> None:
    attr = pytest.importorskip("captum.attr")
    classifier = tiny_cnn()
    images = noise_images(classifier)
    ours = Occlusion(classifier, window=window, stride=stride)(images, 2).maps[:, 0]
    with classifier.frozen() as network:
        theirs = attr.Occlusion(network).attribute(
            images,
            sliding_window_shapes=(3, *window),
            strides=(3, *stride),
            target=2,
        )
    assert_close(ours, theirs[:, 0], 1e-4)


def test_windows_follow_the_image_where_none_are_given() -> None:
    classifier = tiny_cnn(56)
    sizes = runs_of(classifier.network)
    maps = Occlusion(classifier)(noise_images(classifier, count=1)).maps
    assert maps.shape == (1, 1, 56, 56)
    # 8 pixels every 4: 13 places along each side; the image itself; the one that is measured.
    assert sum(sizes) == 13 * 13 + 1 + 1 + IMAGES_OF_FOLDING


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"window": 0}, "window 0.*at least 1"),
        ({"window": (3, 4, 5)}, r"window \(3, 4, 5\).*32 or \(32, 48\)"),
        ({"window": 8, "stride": 9}, r"stride \(9, 9\).*uncovered.*at most the window"),
        ({"window": 8, "stride": (8, 9)}, r"stride \(8, 9\).*uncovered"),
        ({"fill": "white"}, "fill='white'.*'black' or 'mean colour'"),
        ({"score": "odds"}, "score 'odds'"),
    ],
)
def test_bad_options(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ExplainerError, match=message):
        Occlusion(tiny_cnn(), **options)


def test_a_window_larger_than_the_image() -> None:
    explainer = Occlusion(tiny_cnn(), window=(40, 8), stride=4)
    with pytest.raises(ExplainerError, match="40x8 pixels on images of 32x32"):
        explainer(noise_images(explainer.classifier))
