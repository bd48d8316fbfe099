"""ROAD against the published code's tensors and numbers worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from tests.colour_findings import colour_classifier, red_and_green
from tests.conftest import Golden
from tests.golden_networks import golden_cnn
from tests.metrics.measured import batch_of, brightness, grey, plain
from ttame.images.preprocessing import Preprocessing
from ttame.metrics.measuring_batch import MeasuringBatch
from ttame.metrics.pixel_ranking import most_relevant_first, removed_pixels
from ttame.metrics.protocol import Protocol
from ttame.metrics.road import (
    ROAD_LEAST_RELEVANT_FIRST,
    ROAD_MOST_RELEVANT_FIRST,
    PixelOrder,
    imputed_images,
    road,
)

FIRST = torch.tensor([0])
METRICS = (ROAD_MOST_RELEVANT_FIRST, ROAD_LEAST_RELEVANT_FIRST)
ORDERS: tuple[PixelOrder, ...] = ("most relevant first", "least relevant first")


def test_images_equal_the_published_ones_where_the_masks_do() -> None:
    golden = Golden("road")
    images, maps = golden["input.images"], golden["input.saliency"]
    protocol = Protocol("road", road_noise=0)
    made = imputed_images(images, maps, plain(64, 64), (0, 1), protocol, ORDERS)
    places = [
        (order, percent)
        for order in ("most", "least")
        for percent in golden.number("removed_percent")
    ]
    compared = 0
    for version, (order, percent) in zip(made, places, strict=True):
        if percent in (30, 90):
            published = golden[f"output.saliency.{order}_{percent}.images"]
            # One pixel of the mask may differ, see test_pixel_ranking.py.
            assert (version - published).abs().flatten().quantile(0.97) < 0.01
            compared += 1
    assert compared == 4


def test_scores_equal_the_published_ones() -> None:
    golden = Golden("road")
    network = golden_cnn(golden.under("weights."))

    def probabilities(images: Tensor) -> Tensor:
        return network(images).softmax(dim=1).detach()

    images, maps = golden["input.images"], golden["input.saliency"]
    classes = golden["output.logits"].argmax(dim=1)
    for order, name in zip(ORDERS, ("most", "least"), strict=True):
        found = road(
            probabilities, images, maps, classes, plain(64, 64),
            order=order, score="probability", noise=0,
        )  # fmt: skip
        published = golden[f"output.saliency.{name}.logits"].softmax(dim=2)
        expected = published[:, torch.arange(2), classes].mean(dim=0)
        assert torch.allclose(found, 100 * expected, atol=0.1)


def test_four_pixels_by_hand() -> None:
    image = grey(0.9, 0.3, 0.9, 0.3)
    maps = torch.tensor([[[1.0, 4.0, 3.0, 2.0]]])

    def score(order: PixelOrder, shares: tuple[float, ...]) -> float:
        return road(
            brightness, image, maps, FIRST, plain(1, 4),
            order=order, shares=shares, score="probability", noise=0,
        ).item()  # fmt: skip

    # The second pixel becomes the mean of its neighbours, .9.
    assert score("most relevant first", (0.25,)) == pytest.approx(100 * (2.7 + 0.3) / 4)
    # The second and third lie on the line from .9 to .3.
    assert score("most relevant first", (0.5,)) == pytest.approx(60, abs=1e-3)
    # The first pixel becomes its only neighbour, .3.
    assert score("least relevant first", (0.25,)) == pytest.approx(100 * 1.8 / 4)
    assert score("least relevant first", (0.25, 0.5)) == pytest.approx(
        (45 + 100 * (0.3 + 0.3 + 0.9 + 0.9) / 4) / 2
    )


def test_accuracy_is_whether_the_class_is_still_top_1() -> None:
    image = grey(0.9, 0.3, 0.9, 0.3)
    maps = torch.tensor([[[1.0, 4.0, 3.0, 2.0]]])
    batch = batch_of(image, maps, FIRST)
    values = ROAD_LEAST_RELEVANT_FIRST.measure(
        batch, Protocol("road", removed_shares=(0.25, 0.5), road_noise=0)
    )
    assert {key: value.item() for key, value in values.items()} == {
        "road_least_relevant_first": 50.0,
        "road_least_relevant_first.curve@25": 0.0,
        "road_least_relevant_first.curve@50": 100.0,
    }


def test_protocols_do_not_mix_in_one_batch() -> None:
    batch = batch_of(torch.rand(1, 3, 9, 9), torch.rand(1, 3, 3), FIRST)
    values = [
        ROAD_MOST_RELEVANT_FIRST.measure(
            batch, Protocol("road", removed_shares=(share,), road_score="probability")
        )["road_most_relevant_first"]
        for share in (0.2, 0.8)
    ]
    assert not torch.equal(*values)


def imputed_once(noise: float, numbers: tuple[int, ...], seed: int = 0) -> Tensor:
    protocol = Protocol("road", removed_shares=(0.3,), road_noise=noise, seed=seed)
    images = torch.linspace(-1, 1, 3 * 40 * 30).reshape(1, 3, 40, 30).repeat(len(numbers), 1, 1, 1)
    maps = torch.linspace(0, 1, 1200).reshape(1, 40, 30).repeat(len(numbers), 1, 1)
    made = imputed_images(images, maps, Preprocessing.imagenet(40), numbers, protocol, ORDERS[:1])
    return Preprocessing.imagenet(40).denormalise(next(made))


def test_noise_of_the_named_deviation_is_added_to_imputed_pixels_only() -> None:
    difference = imputed_once(0.01, (0,)) - imputed_once(0.0, (0,))
    # The last 360 pixels are the most relevant.
    touched = difference.flatten(2)[:, :, 840:]
    assert difference.flatten(2)[:, :, :840].abs().max() < 1e-6
    assert touched.std().item() == pytest.approx(0.01, rel=0.1)
    assert abs(touched.mean().item()) < 0.001


def test_noise_belongs_to_the_image_and_the_seed() -> None:
    both, other = imputed_once(0.01, (3, 8)), imputed_once(0.01, (8,))
    assert torch.allclose(both[1], other[0], atol=1e-6)
    assert (both[0] - both[1]).abs().max() > 0.005
    assert (imputed_once(0.01, (8,), seed=1) - other).abs().max() > 0.005
    state = torch.get_rng_state()
    imputed_once(0.01, (8,))
    assert torch.equal(state, torch.get_rng_state())


def test_imputing_does_not_depend_on_the_normalisation() -> None:
    images, maps = torch.rand(1, 3, 12, 12), torch.rand(1, 12, 12)
    protocol = Protocol("road", removed_shares=(0.5,), road_noise=0)
    preprocessing = Preprocessing.imagenet(12)
    (raw,) = imputed_images(images, maps, plain(12, 12), (0,), protocol, ORDERS[:1])
    (normalised,) = imputed_images(
        preprocessing.normalise(images), maps, preprocessing, (0,), protocol, ORDERS[:1]
    )
    assert torch.allclose(preprocessing.denormalise(normalised), raw, atol=1e-4)


def test_both_orders_share_their_passes() -> None:
    asked = []

    def probabilities(images: Tensor) -> Tensor:
        asked.append(len(images))
        return brightness(images)

    images, maps = torch.rand(2, 3, 8, 8), torch.rand(2, 4, 4)
    batch = MeasuringBatch(
        probabilities, images, maps, torch.tensor([0, 1]), plain(8, 8), lambda i, c: maps, (0, 1)
    )
    protocol = Protocol("road", removed_shares=(0.1, 0.5, 0.9))
    for metric in METRICS:
        metric.measure(batch, protocol)
    assert sum(asked) == 2 * 2 * 3
    assert max(asked) <= 16


def test_metrics_equal_the_function_in_batches_and_alone() -> None:
    images, maps = torch.rand(5, 3, 20, 17), torch.randn(5, 3, 3)
    classes, numbers = torch.tensor([0, 1, 0, 1, 1]), (4, 9, 2, 7, 30)
    protocol = Protocol("road", removed_shares=(0.1, 0.4, 0.9), road_score="probability")
    batch = batch_of(images, maps, classes, numbers=numbers)
    for metric, order in zip(METRICS, ORDERS, strict=True):
        together = metric.measure(batch, protocol)
        found = road(
            brightness, images, maps, classes, plain(20, 17),
            order=order, shares=(0.1, 0.4, 0.9), score="probability", numbers=numbers,
        )  # fmt: skip
        assert torch.allclose(together[metric.name], found)
        for row in range(5):
            alone = batch_of(images[[row]], maps[[row]], classes[[row]], numbers=(numbers[row],))
            for key, values in metric.measure(alone, protocol).items():
                assert torch.allclose(values, together[key][[row]], atol=1e-3), key


def test_removes_exactly_the_share_of_a_map_with_equal_values() -> None:
    images, maps = torch.rand(1, 3, 10, 10), torch.relu(torch.randn(1, 10, 10) - 0.5)
    protocol = Protocol("road", removed_shares=(0.5, 0.7))
    made = list(imputed_images(images, maps, plain(10, 10), (0,), protocol, ORDERS))
    order = most_relevant_first(maps)
    firsts = [order, order, order.flip(1), order.flip(1)]
    for version, first, share in zip(made, firsts, (0.5, 0.7, 0.5, 0.7), strict=True):
        changed = ((version - images).abs() > 1e-6).any(dim=1)
        assert torch.equal(changed, removed_pixels(first, share, (10, 10)))


def test_directions() -> None:
    assert [metric.better for metric in METRICS] == ["lower", "higher"]


def test_a_finding_survives_by_its_own_probability() -> None:
    """Green is found, red is more probable; pixels without green are imputed first."""
    classifier = colour_classifier()
    images = red_and_green()[None].float() / 255
    arguments = (
        classifier.probabilities, images, images[:, 1], torch.tensor([1]), classifier.preprocessing
    )  # fmt: skip
    # With 10 % of the red gone the order of the two is as it was.
    options: dict[str, Any] = {"order": "least relevant first", "shares": (0.1,), "noise": 0.0}
    assert float(road(*arguments, **options, exclusive=False)) == 100
    assert float(road(*arguments, **options)) == 0
