"""Every process count and every resume sees the same batches."""

from __future__ import annotations

import pytest

from ttame.training.batch_order import BatchOrder


def test_an_epoch_has_every_image_once_in_another_order() -> None:
    first = [image for batch in BatchOrder(12, 4) for image in batch]
    second = [image for batch in BatchOrder(12, 4, epoch=1) for image in batch]
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert first == [image for batch in BatchOrder(12, 4) for image in batch]
    assert first != [image for batch in BatchOrder(12, 4, seed=1) for image in batch]


def test_the_last_incomplete_batch_is_dropped() -> None:
    assert [len(batch) for batch in BatchOrder(11, 4)] == [4, 4]


@pytest.mark.parametrize(("parts", "processes"), [(1, 2), (2, 1), (2, 2), (4, 2)])
def test_parts_and_processes_share_the_same_batches(parts: int, processes: int) -> None:
    whole = list(BatchOrder(25, 8, seed=3, epoch=2))
    shares = [
        list(BatchOrder(25, 8, parts, processes, process, seed=3, epoch=2))
        for process in range(processes)
    ]
    for step, batch in enumerate(whole):
        pieces = [
            image
            for part in range(parts)
            for process in range(processes)
            for image in shares[process][step * parts + part]
        ]
        assert pieces == batch


def test_a_resumed_epoch_leaves_out_the_steps_done() -> None:
    whole = list(BatchOrder(20, 4, parts=2))
    resumed = BatchOrder(20, 4, parts=2, first_step=3)
    assert list(resumed) == whole[6:]
    assert len(resumed) == 4
