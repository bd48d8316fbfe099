"""The summary is the mean of its parts, and its parts are the columns next to it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from tests.metrics.measured import batch_of, brightness, grey, plain
from ttame.metrics.held_ground import held_ground, held_ground_parts
from ttame.metrics.known_metrics import known_metrics
from ttame.metrics.known_protocols import PROTOCOLS
from ttame.metrics.protocol import Protocol

PRESET = PROTOCOLS["held-ground"]


def explain(images: Tensor, classes: Tensor) -> Tensor:
    return torch.nn.functional.avg_pool2d(images.mean(dim=1), 3)


def test_it_is_made_of_the_columns_of_its_protocol() -> None:
    images, maps = torch.rand(3, 3, 12, 10), torch.randn(3, 4, 3)
    batch = batch_of(images, maps, torch.tensor([0, 1, 0]), explain)
    v = {}
    for metric in known_metrics(PRESET.metrics):
        v |= metric.measure(batch, PRESET)
    inserted = (v["insertion"] + v["insertion_on_mean"] + v["insertion_on_noise"]) / 3
    deleted = (v["deletion"] + v["deletion_to_blur"] + v["deletion_to_noise"]) / 3
    road = (v["road_least_relevant_first"] + 100 - v["road_most_relevant_first"]) / 2
    shares = (50, 30, 15, 5)
    hard = sum(v[f"hard_mask_kept@{s}"] + 100 - v[f"hard_mask_removed@{s}"] for s in shares) / 8
    saco = 50 + 50 * v["saco"]
    expected = (inserted + 100 - deleted + road + hard + saco) / 5
    assert torch.allclose(v["held_ground"], expected, atol=1e-3)
    assert torch.allclose(v["held_ground.hard_masks"], hard, atol=1e-3)
    assert torch.allclose(v["held_ground.deletion"], 100 - deleted, atol=1e-3)


def test_hard_masks_and_saco_of_four_pixels_by_hand() -> None:
    image = grey(0.8, 0.4, 0.2, 0.6)
    parts = held_ground_parts(
        brightness, image, image[:, 0], torch.tensor([0]), plain(1, 4), kept_shares=(0.5,)
    )
    # 1.4 of 2.0 stays with the two brightest pixels and 0.6 without them; every claim is right.
    assert parts["hard_masks"].item() == pytest.approx((70 + 100 - 30) / 2)
    assert parts["saco"].item() == 100


def test_nothing_is_asked_twice_next_to_its_columns() -> None:
    asked: list[int] = []

    def counting(images: Tensor) -> Tensor:
        asked.append(len(images))
        return brightness(images)

    images, maps = torch.rand(2, 3, 12, 10), torch.randn(2, 4, 3)
    names = [name for name in PRESET.metrics if name != "held_ground"]
    counts = []
    for chosen in (names, PRESET.metrics):
        asked.clear()
        batch = batch_of(images, maps, torch.tensor([0, 1]), explain)
        batch = dataclasses.replace(batch, probabilities=counting)
        for metric in known_metrics(chosen):
            metric.measure(batch, PRESET)
        counts.append(sum(asked))
    # The images; six curves of eleven; nine shares in two orders, four in two, ten groups.
    assert counts == [2 * (1 + 66 + 18 + 8 + 10)] * 2


def test_the_better_order_has_the_higher_number() -> None:
    images = torch.rand(4, 3, 10, 10)
    given = (torch.zeros(4).long(), plain(10, 10))
    # A bright noise would be brighter than the picture.
    probabilities = lambda pictures: brightness(pictures).clamp(0, 1)  # noqa: E731
    good, middling, bad = (
        held_ground(probabilities, images, maps, *given)
        for maps in (images.mean(dim=1), torch.rand(4, 10, 10), -images.mean(dim=1))
    )
    assert (good > middling).all() and (middling > bad).all()


def test_the_protocol_is_fixed() -> None:
    """It was registered before anything was chosen by it: changing this takes a new name."""
    assert PRESET.hash == "53c292879130"
    assert Protocol(
        name="held-ground", title=PRESET.title, source=PRESET.source,
        metrics=(
            "held_ground", "insertion", "insertion_on_mean", "insertion_on_noise", "deletion",
            "deletion_to_blur", "deletion_to_noise", "road_most_relevant_first",
            "road_least_relevant_first", "hard_mask_kept", "hard_mask_removed", "saco",
            "agreement_under_shifts", "agreement_under_noise",
        ),
        annotated_metrics=("pointing_game", "energy_inside"), gate_images=4,
        masked_in="normalised", mask="binary", ties="trimmed", kept_shares=(0.5, 0.3, 0.15, 0.05),
        removed_shares=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9), road_score="probability",
        step=5018,
    ) == PRESET  # fmt: skip


def test_published_protocols_kept_their_hashes() -> None:
    found = {name: protocol.hash for name, protocol in PROTOCOLS.items()}
    assert found | {"held-ground": ""} == {
        "t-tame": "2c932cde9d43", "chefer": "5c3db06bdf12", "chefer-target": "850fe366a9ba",
        "adcc": "b123f46c62fb", "rise": "dd822d165935", "road": "5852205dd8e7", "held-ground": "",
    }  # fmt: skip
