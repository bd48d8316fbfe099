"""Insertion and deletion against the published code's numbers and answers worked out by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.conftest import Golden, assert_close
from tests.golden_networks import golden_cnn
from tests.metrics.measured import batch_of, brightness, grey
from ttame.metrics.grounds import blurred, ground_images
from ttame.metrics.insertion_deletion import (
    DELETION,
    INSERTION,
    changing_images,
    deletion,
    insertion,
)
from ttame.metrics.known_metrics import METRICS
from ttame.metrics.measuring_batch import Probabilities
from ttame.metrics.pixel_ranking import most_relevant_first
from ttame.metrics.protocol import Protocol

FIRST = torch.tensor([0])


def step_of(pixels: int, size: tuple[int, int]) -> int:
    """The protocol's step that changes so many pixels of an image of that size."""
    return round(pixels * 224**2 / (size[0] * size[1]))


def golden_probabilities(golden: Golden) -> Probabilities:
    network = golden_cnn(golden.under("weights."))
    return lambda images: network(images).softmax(dim=1).detach()


@pytest.mark.parametrize("change", ["insertion", "deletion"])
def test_equals_the_published_curves(change: str) -> None:
    golden = Golden("insertion_deletion")
    start = {"insertion": "insertion_blur", "deletion": "deletion_zero"}[change]
    measure = {"insertion": insertion, "deletion": deletion}[change]
    probabilities = golden_probabilities(golden)
    images, maps = golden["input.images"], golden["input.saliency"]
    classes = golden["output.probabilities"].argmax(dim=1)
    step = step_of(golden.number("pixels_per_step"), (64, 64))
    areas = measure(probabilities, images, maps, classes, step=step)
    assert_close(areas, 100 * golden[f"output.{start}.auc"], 2e-5)
    versions = changing_images(images, maps, Protocol("rise", step=step), change)  # type: ignore[arg-type]
    scores = [probabilities(v).gather(1, classes[:, None])[:, 0] for v in versions]
    assert_close(torch.stack(scores, dim=1), golden[f"output.{start}.scores"], 2e-5)


def test_deletion_of_four_pixels_by_hand() -> None:
    maps = torch.tensor([[[4.0, 3.0, 2.0, 1.0]]])
    # .5, .3, .2, .15, 0
    area = deletion(brightness, grey(0.8, 0.4, 0.2, 0.6), maps, FIRST)
    assert area.item() == pytest.approx(100 * (0.25 + 0.3 + 0.2 + 0.15) / 4)


def test_insertion_of_four_pixels_by_hand() -> None:
    image = grey(0.9, 0.0, 0.0, 0.3)
    start = blurred(image, (3, 1.0))[0, 0, 0].tolist()
    # The fourth pixel comes first, then the second, third, first.
    values = [start, [*start[:3], 0.3], [start[0], 0, start[2], 0.3], [start[0], 0, 0, 0.3]]
    s = [sum(row) / 4 for row in values] + [0.3]
    maps = torch.tensor([[[-1.0, 3.0, 2.0, 9.0]]])
    area = insertion(brightness, image, maps, FIRST, blur=(3, 1.0))
    assert area.item() == pytest.approx(100 * (s[0] / 2 + s[1] + s[2] + s[3] + s[4] / 2) / 4)


def test_a_perfect_map_of_a_sum_network_is_the_best_of_all_orders() -> None:
    image = grey(0.9, 0.1, 0.4, 0.7, 0.2)
    orders = torch.tensor(list(itertools.permutations([0.0, 1.0, 2.0, 3.0, 4.0])))[:, None]
    many, classes = image.expand(len(orders), -1, -1, -1), torch.zeros(len(orders)).long()
    best_insertion = insertion(brightness, many, orders, classes, blur=(3, 1.0)).max()
    perfect = (image - blurred(image, (3, 1.0)))[:, 0]
    found = insertion(brightness, image, perfect, FIRST, blur=(3, 1.0))
    assert found.item() == pytest.approx(best_insertion.item())
    best_deletion = deletion(brightness, many, orders, classes).min()
    found = deletion(brightness, image, image[:, 0], FIRST)
    assert found.item() == pytest.approx(best_deletion.item())


def test_opposite_maps_of_a_sum_network_share_the_whole() -> None:
    images, maps = torch.rand(3, 3, 6, 5), torch.randn(3, 6, 5)
    classes = torch.zeros(3).long()
    both = deletion(brightness, images, maps, classes) + deletion(
        brightness, images, -maps, classes
    )
    assert torch.allclose(both, 100 * images.mean(dim=(1, 2, 3)), atol=1e-3)


def slow_deletion(image: Tensor, order: list[int], step: int) -> list[float]:
    """Probabilities in percent after each step, with loops."""
    flat = image.flatten(1).clone()
    curve = [100 * float(flat.mean())]
    while order:
        now, order = order[:step], order[step:]
        for pixel in now:
            flat[:, pixel] = 0
        curve.append(100 * float(flat.mean()))
    return curve


def test_deletion_to_noise_and_insertion_on_the_mean_colour_step_by_step() -> None:
    image, order = torch.rand(1, 3, 2, 3), [4, 0, 5, 1, 3, 2]
    maps = torch.empty(6)
    maps[order] = torch.arange(6.0, 0, -1)
    maps = maps.reshape(1, 2, 3)
    noise = ground_images(image, "noise", seed=3, numbers=[9]).flatten(2)
    changed, shown = image.flatten(2).clone(), torch.zeros(1, 3, 6)
    deleted, inserted = [float(changed.mean())], [0.0]
    for pixel in order:
        changed[:, :, pixel] = noise[:, :, pixel]
        shown[:, :, pixel] = image.flatten(2)[:, :, pixel]
        deleted.append(float(changed.mean()))
        inserted.append(float(shown.mean()))
    for function, ground, curve in (
        (deletion, "noise", deleted),
        (insertion, "mean", inserted),
    ):
        found = function(
            brightness, image, maps, FIRST, step=step_of(1, (2, 3)), ground=ground,  # type: ignore[arg-type]
            seed=3, numbers=[9],
        )  # fmt: skip
        expected = 100 * (sum(curve) - (curve[0] + curve[-1]) / 2) / 6
        assert found.item() == pytest.approx(expected, abs=1e-3)


def test_the_metrics_of_grounds_differ_and_all_end_alike() -> None:
    images, maps = torch.rand(2, 3, 9, 7), torch.randn(2, 3, 3)
    batch, protocol = batch_of(images, maps, torch.tensor([0, 1])), Protocol("rise", step=9000)
    found = {
        name: METRICS[name].measure(batch, protocol)
        for name in ("insertion", "insertion_on_mean", "insertion_on_noise")
    }
    ends = [values[f"{name}.curve@100"] for name, values in found.items()]
    assert torch.equal(ends[0], ends[1]) and torch.equal(ends[0], ends[2])
    areas = torch.stack([values[name] for name, values in found.items()])
    assert len(areas.unique(dim=0)) == 3
    names = ("deletion", "deletion_to_blur", "deletion_to_noise")
    starts = [METRICS[name].measure(batch, protocol)[f"{name}.curve@0"] for name in names]
    assert torch.equal(starts[0], starts[1]) and torch.equal(starts[0], starts[2])


@pytest.mark.parametrize("step", [1, 3, 7, 42])
def test_a_constant_map_deletes_in_the_fixed_order(step: int) -> None:
    image, size = torch.rand(1, 3, 7, 6), (7, 6)
    order = most_relevant_first(torch.zeros(1, 7, 6), seed=5)[0].tolist()
    curve = slow_deletion(image[0], order, step)
    expected = (sum(curve) - (curve[0] + curve[-1]) / 2) / (len(curve) - 1)
    found = deletion(
        brightness, image, torch.full((1, 3, 3), 2.0), FIRST, step=step_of(step, size), seed=5
    )
    assert found.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("step", [1, 4, 13, 30])
def test_measured_curves_interpolate_between_the_steps(step: int) -> None:
    image, maps = torch.rand(1, 3, 5, 6), torch.randn(1, 5, 6)
    curve = slow_deletion(image[0], most_relevant_first(maps)[0].tolist(), step)
    places = [min(100.0, 100 * index * step / 30) for index in range(len(curve))]
    protocol = Protocol("rise", step=step_of(step, (5, 6)))
    values = DELETION.measure(batch_of(image, maps, FIRST), protocol)
    for place in range(0, 101, 5):
        expected = np.interp(place, places, curve)
        assert values[f"deletion.curve@{place}"].item() == pytest.approx(expected, abs=1e-4)
    assert len(values) == 22


def test_metrics_equal_their_functions_in_batches_and_alone() -> None:
    images, maps = torch.rand(5, 3, 9, 7), torch.randn(5, 3, 3)
    classes = torch.tensor([0, 1, 0, 1, 1])
    step = step_of(10, (9, 7))
    protocol = Protocol("rise", step=step)
    batch = batch_of(images, maps, classes)
    for metric, function in ((INSERTION, insertion), (DELETION, deletion)):
        together = metric.measure(batch, protocol)
        area = function(brightness, images, maps, classes, step=step)
        assert torch.equal(together[metric.name], area)
        for row in range(5):
            alone = metric.measure(
                batch_of(images[[row]], maps[[row]], classes[[row]], numbers=(row,)), protocol
            )
            for key, values in alone.items():
                assert torch.allclose(values, together[key][[row]], atol=1e-4), key


def test_the_default_step_gives_28_steps_at_any_size() -> None:
    for size in [(224, 224), (112, 448), (56, 56)]:
        images, maps = torch.zeros(1, 3, *size), torch.rand(1, 7, 7)
        assert len(list(changing_images(images, maps, Protocol("rise"), "deletion"))) == 29


def test_the_protocol_is_followed() -> None:
    images, maps = torch.rand(1, 3, 12, 12), torch.rand(1, 3, 3)
    batch = batch_of(images, maps, FIRST)
    default = INSERTION.measure(batch, Protocol("rise"))["insertion"]
    for changed in (
        Protocol("rise", blur=(3, 1.0)),
        Protocol("rise", upsampling="bicubic"),
        Protocol("rise", step=20_000),
    ):
        assert not torch.equal(default, INSERTION.measure(batch, changed)["insertion"])
    assert (INSERTION.better, DELETION.better) == ("higher", "lower")
