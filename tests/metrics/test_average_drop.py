"""Average Drop and Increase in Confidence against golden tensors and numbers worked out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.conftest import Golden, assert_close
from tests.golden_networks import golden_cnn
from ttame.classifiers.classifier import Classifier
from ttame.errors import TtameError
from ttame.images.pixel_masking import mask_images
from ttame.images.preprocessing import Preprocessing
from ttame.images.saliency_maps import keep_above_quantile, resize_maps, to_unit_range
from ttame.metrics.average_drop import (
    average_drop,
    drop_of,
    increase_in_confidence,
    increase_of,
    published_masks,
)

KEPT = {"0": 1.0, "50": 0.5, "85": 0.15}


@pytest.mark.parametrize("percent", KEPT)
def test_masks_and_masked_images_equal_the_published_ones(percent: str) -> None:
    golden = Golden("masked_inputs")
    preprocessing = Preprocessing.imagenet(64)
    assert_close(to_unit_range(golden["input.raw_maps"]), golden["output.normalize_min_max"], 1e-6)
    masks = published_masks(golden["input.raw_maps"], (64, 64), KEPT[percent])
    assert_close(masks, golden[f"output.mask_{percent}"], 1e-5)
    masked = mask_images(golden["input.images"], masks, preprocessing, "raw")
    assert_close(masked, golden[f"output.normalized.masked_{percent}"], 1e-5)
    raw = golden["input.raw_images"] * masks
    assert_close(raw, golden[f"output.raw.masked_{percent}"], 1e-5)


def test_masks_selected_at_random_equal_the_published_ones() -> None:
    golden = Golden("masked_inputs")
    own = golden["input.masks_random"].diagonal().permute(2, 0, 1)[:, None]
    masks = keep_above_quantile(resize_maps(own, (64, 64)), 0.5)
    masked = golden["input.raw_images"] * masks
    assert_close(masked, golden["output.random.raw.masked_50"], 1e-5)


def test_means_over_images_equal_the_published_figures() -> None:
    golden = Golden("masked_inputs")
    before, after = golden["input.original_confidence"], golden["input.new_confidence"]
    assert_close(drop_of(before, after).mean(), golden["output.AD"], 1e-6)
    assert_close(increase_of(before, after).mean(), golden["output.IC"], 1e-6)


@pytest.mark.parametrize("percent", KEPT)
def test_every_image_of_a_network_equals_the_published_figures(percent: str) -> None:
    golden = Golden("ad_ic")
    network = golden_cnn(golden.under("weights."))
    classifier = Classifier(network, preprocessing=Preprocessing.imagenet(64))
    images, maps = golden["input.images"], golden["input.maps"][:, 0]
    labels, before = golden["output.labels"], golden["output.confidence"]
    after = golden[f"output.new_confidence_{percent}"]

    def measured(metric: type(average_drop)) -> Tensor:  # type: ignore[valid-type]
        return metric(  # type: ignore[no-any-return]
            classifier.probabilities,
            images,
            maps,
            labels,
            classifier.preprocessing,
            kept_share=KEPT[percent],
        )

    drops, increases = measured(average_drop), measured(increase_in_confidence)
    slow_drops = [
        100 * max(0.0, float(o - n)) / float(o) for o, n in zip(before, after, strict=True)
    ]
    slow_increases = [100.0 * (n > o) for o, n in zip(before.tolist(), after.tolist(), strict=True)]
    assert drops.tolist() == pytest.approx(slow_drops, abs=2e-3)
    assert increases.tolist() == slow_increases
    assert float(drops.mean()) == pytest.approx(float(golden[f"output.AD_{percent}"]), abs=1e-3)
    assert float(increases.mean()) == pytest.approx(float(golden[f"output.IC_{percent}"]))


PLAIN = Preprocessing(input_size=(1, 4), resize=1, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
"""Pixels go into the network as they are."""


def brightness(images: Tensor) -> Tensor:
    """Class 0 is as probable as the image is bright, class 1 as it is dark."""
    bright = images.mean(dim=(1, 2, 3))
    return torch.stack([bright, 1 - bright], dim=1)


def four_pixels(*values: float) -> Tensor:
    return torch.tensor(values).expand(3, 1, 4)[None]


@pytest.mark.parametrize(
    ("kept_share", "wanted", "drop", "increase"),
    [
        # map 0, 1, 2, 4 → mask 0, ¼, ½, 1; pixels .2, .4, .8, .6, mean .5
        # all kept: 0 + .1 + .4 + .6 = 1.1, mean .275: class 0 loses .225 of .5
        (1.0, 0, 45.0, 0.0),
        (1.0, 1, 0.0, 100.0),
        # half kept: the median of the mask is .375, ¼ falls away: mean .25 of .5 is lost
        (0.5, 0, 50.0, 0.0),
        # 15 % kept: the 85 % quantile lies at position 2.55, ½ + .55·½ = .775; only 1 stays:
        # mean .15, .35 of .5 is lost
        (0.15, 0, 70.0, 0.0),
        (0.15, 1, 0.0, 100.0),
    ],
)
def test_four_pixels_worked_out_by_hand(
    kept_share: float, wanted: int, drop: float, increase: float
) -> None:
    images = four_pixels(0.2, 0.4, 0.8, 0.6)
    maps = torch.tensor([[[0.0, 1.0, 2.0, 4.0]]])
    classes = torch.tensor([wanted])
    found = average_drop(brightness, images, maps, classes, PLAIN, kept_share=kept_share)
    assert found.tolist() == pytest.approx([drop], rel=1e-5)
    found = increase_in_confidence(brightness, images, maps, classes, PLAIN, kept_share=kept_share)
    assert found.tolist() == [increase]


def test_removed_pixels_are_black_or_have_the_mean_colour() -> None:
    grey = Preprocessing(input_size=(1, 4), resize=1, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))

    def of_normalised(images: Tensor) -> Tensor:
        return brightness(grey.denormalise(images))

    images = grey.normalise(four_pixels(0.8, 0.8, 0.8, 0.8))
    maps = torch.tensor([[[0.0, 0.0, 1.0, 1.0]]])
    classes = torch.tensor([0])
    # Half of the image becomes black: .8 → .4. Or grey: .8 → .65.
    black = average_drop(of_normalised, images, maps, classes, grey)
    mean_colour = average_drop(of_normalised, images, maps, classes, grey, space="normalised")
    assert black.tolist() == pytest.approx([50.0], rel=1e-5)
    assert mean_colour.tolist() == pytest.approx([18.75], rel=1e-5)


def test_special_confidences() -> None:
    before = torch.tensor([0.5, 0.0, 0.0, 0.4])
    after = torch.tensor([0.5, 0.0, 0.3, 0.0])
    assert drop_of(before, after).tolist() == [0.0, 0.0, 0.0, 100.0]
    assert increase_of(before, after).tolist() == [0.0, 0.0, 100.0, 0.0]


def test_a_batch_equals_its_images() -> None:
    images = torch.rand(3, 3, 1, 4)
    maps = torch.randn(3, 1, 2)
    classes = torch.tensor([0, 1, 0])
    together = average_drop(brightness, images, maps, classes, PLAIN, kept_share=0.5)
    for i in range(3):
        one = slice(i, i + 1)
        alone = average_drop(
            brightness, images[one], maps[one], classes[one], PLAIN, kept_share=0.5
        )
        assert float(alone) == pytest.approx(float(together[i]), rel=1e-5)


@pytest.mark.parametrize("share", [0.0, -0.5, 15.0, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(TtameError, match="kept share"):
        published_masks(torch.rand(1, 1, 2, 2), (4, 4), share)
