"""Max-sensitivity against a slow loop, Captum, and explainers whose change is known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tests.metrics.measured import batch_of, own_picture
from ttame.metrics.image_generator import image_generator
from ttame.metrics.protocol import Protocol
from ttame.metrics.sensitivity_max import (
    RADIUS,
    SAMPLES,
    SENSITIVITY_MAX,
    relative_change,
    sensitivity_max,
    uniform_noise,
)


def test_it_equals_a_slow_loop() -> None:
    images, classes = torch.rand(2, 3, 4, 6), torch.tensor([0, 1])
    maps = own_picture(images, classes)
    found = sensitivity_max(own_picture, images, maps, classes, seed=3, numbers=[8, 2])
    for b, number in enumerate((8, 2)):
        generator = image_generator(3, number, "sensitivity")
        changes = []
        for _ in range(SAMPLES):
            noise = RADIUS * (2 * torch.rand(3, 4, 6, generator=generator) - 1)
            # The map is the mean over colours, up to its sign: it changes by the mean noise.
            changes.append(float(noise.mean(dim=0).norm() / images[b].mean(dim=0).norm()))
        assert float(found[b]) == pytest.approx(max(changes), rel=1e-4)


def test_noise_fills_the_box_and_no_more() -> None:
    generators = [image_generator(0, 0, "a"), image_generator(0, 1, "a")]
    noise = uniform_noise(torch.zeros(2, 3, 40, 40), 0.02, generators)
    assert 0.0199 < float(noise.max()) <= 0.02
    assert -0.0199 > float(noise.min()) >= -0.02
    assert abs(float(noise.mean())) < 1e-3
    assert not torch.equal(noise[0], noise[1])


def test_the_explained_class_is_explained_again() -> None:
    asked = []

    def explain(images: Tensor, classes: Tensor) -> Tensor:
        asked.append(classes.tolist())
        return own_picture(images, classes)

    images, classes = torch.rand(2, 3, 4, 4), torch.tensor([1, 0])
    batch = batch_of(images, own_picture(images, classes), classes, explain)
    value = SENSITIVITY_MAX.measure(batch, Protocol("test"))["sensitivity_max"]
    assert asked == [[1, 0]] * SAMPLES
    assert bool((value < 0.05).all()) and bool((value > 0).all())


def test_the_metric_depends_on_image_numbers_and_seed_not_on_the_batch() -> None:
    images, classes = torch.rand(3, 3, 4, 4), torch.tensor([0, 1, 0])
    maps = own_picture(images, classes)

    def measured(rows: slice, numbers: tuple[int, ...], seed: int = 0) -> Tensor:
        batch = batch_of(images[rows], maps[rows], classes[rows], numbers=numbers)
        return SENSITIVITY_MAX.measure(batch, Protocol("test", seed=seed))["sensitivity_max"]

    together = measured(slice(0, 3), (5, 6, 7))
    assert float(measured(slice(2, 3), (7,))) == pytest.approx(float(together[2]), rel=1e-5)
    assert bool((measured(slice(0, 3), (5, 6, 7), seed=1) != together).all())


def test_a_map_of_zeros_counts_its_change_itself() -> None:
    assert relative_change(torch.zeros(1, 1, 2), torch.tensor([[[3.0, 4.0]]])).tolist() == [5.0]
    assert relative_change(torch.zeros(1, 1, 2), torch.zeros(1, 1, 2)).tolist() == [0.0]


def test_captum_agrees() -> None:
    captum = pytest.importorskip("captum.metrics")
    images, classes = torch.rand(2, 3, 4, 4), torch.tensor([0, 1])
    generators = [image_generator(0, number, "sensitivity") for number in range(2)]

    def perturb(inputs: Tensor, radius: float) -> Tensor:
        draws = len(inputs) // 2  # The rows of an image come one after the other.
        noise = [uniform_noise(images, radius, generators) for _ in range(draws)]
        return inputs + torch.stack(noise, dim=1).flatten(0, 1)

    def explain(inputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor]:
        rows = inputs[0] if isinstance(inputs, tuple) else inputs
        return (own_picture(rows, classes.repeat_interleave(len(rows) // 2)),)

    expected = captum.sensitivity_max(
        explain, images, perturb, perturb_radius=RADIUS, n_perturb_samples=SAMPLES
    )
    found = sensitivity_max(own_picture, images, own_picture(images, classes), classes)
    assert found.tolist() == pytest.approx(expected.tolist(), rel=1e-4)
