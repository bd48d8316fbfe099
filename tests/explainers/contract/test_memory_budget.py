from __future__ import annotations

import pytest
import torch

from tests.tiny_networks import TINY, tiny_cnn
from ttame.errors import MemoryLimitError
from ttame.explainers.contract.memory_budget import (
    MARGIN,
    ActivationMeter,
    bytes_needed,
    bytes_per_image,
    in_chunks,
    items_at_once,
    most_at_once,
    parse_memory,
)


def test_only_what_is_alive_together_counts() -> None:
    with ActivationMeter() as meter:
        for _ in range(5):
            torch.zeros(1000)
    assert (meter.peak, meter.live) == (4000, 0)
    with ActivationMeter() as meter:
        kept = [torch.zeros(1000) for _ in range(5)]
    assert (meter.peak, meter.live) == (20_000, 20_000)
    kept.clear()
    assert meter.live == 0


def test_weights_views_and_work_in_place_take_nothing() -> None:
    weight = torch.ones(100, 100)
    with ActivationMeter() as meter:
        kept = [weight.t()[:50], weight.relu_(), weight.reshape(-1)[:10]]
    assert meter.peak == 0 < len(kept)
    with ActivationMeter() as meter:
        made = torch.zeros(50, 2)
        made.view(100).add_(1).unsqueeze(0)
    assert meter.peak == 400


def test_a_restart_keeps_what_is_alive() -> None:
    with ActivationMeter() as meter:
        kept = torch.zeros(10)
        torch.zeros(1000)
        meter.restart()
        assert meter.peak == 40
        more = torch.zeros(5)
    assert meter.peak == 60
    assert len(kept) + len(more) == 15


def test_other_threads_are_not_counted() -> None:
    import threading

    with ActivationMeter() as meter:
        thread = threading.Thread(target=lambda: torch.zeros(1000))
        thread.start()
        thread.join()
    assert meter.peak == 0


def test_an_image_needs_what_its_widest_place_needs() -> None:
    classifier = tiny_cnn(32)
    small, large = (bytes_per_image(classifier, torch.zeros(2, 3, s, s)) for s in (32, 64))
    # Three of 8 channels at half the size, at least: input, output and the image.
    assert small >= MARGIN * (8 * 16 * 16 * 2) * 4
    assert 3.5 < large / small < 4.5
    graph = bytes_per_image(classifier, torch.zeros(2, 3, 32, 32), gradients=True)
    assert graph > 1.3 * small


@pytest.mark.parametrize("network", TINY)
def test_a_batch_needs_no_more_than_its_images(network: str) -> None:
    classifier = TINY[network]()
    images = torch.zeros(6, 3, *classifier.preprocessing.input_size)
    with torch.no_grad():
        batch = bytes_needed(lambda: classifier.logits(images))
    assert batch <= 6 * bytes_per_image(classifier, images)


def test_chunks() -> None:
    steps: list[tuple[int, int]] = []
    parts = list(in_chunks(7, 3, lambda done, total: steps.append((done, total))))
    assert parts == [slice(0, 3), slice(3, 6), slice(6, 7)]
    assert steps == [(3, 7), (6, 7), (7, 7)]
    assert items_at_once(10, 100, most=4) == 4
    assert most_at_once(torch.device("cpu")) < most_at_once(torch.device("cuda"))


@pytest.mark.parametrize(
    ("text", "size"),
    [("2GiB", 2**31), ("1.5 kb", 1500), (512, 512), ("10", 10), (" 3 MiB ", 3 * 2**20), ("7b", 7)],
)
def test_amounts_of_memory(text: str | int, size: int) -> None:
    assert parse_memory(text) == size


@pytest.mark.parametrize(
    "text", ["", "lots", "-1GiB", 0, "0.2", "2 TiB", "i", "2GiBs", "5i", "5ki"]
)
def test_bad_amounts_of_memory(text: str | int) -> None:
    with pytest.raises(MemoryLimitError, match="allowed: 512MiB"):
        parse_memory(text)
