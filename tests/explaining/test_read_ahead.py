"""Photos that other processes read: the same batches, and errors as they are."""

from __future__ import annotations

import pytest
import torch

from tests.explaining.test_explain_photos import Photos
from ttame.errors import DatasetError
from ttame.explaining.read_ahead import BatchesOfPhotos, ReadBatch, read_ahead
from ttame.images.preprocessing import Preprocessing

PREPROCESSING = Preprocessing.imagenet(16)


class Unusable(Photos):
    """Photos of which one cannot be asked for."""

    def read(self, index: int) -> object:  # type: ignore[override]
        if index == 5:
            raise DatasetError("the disk is gone", remedy="another disk")
        return super().read(index)


def read(photos: Photos, workers: int, batches: tuple[int, ...] = (0, 3, 1)) -> list[ReadBatch]:
    dataset = BatchesOfPhotos(photos, PREPROCESSING, 2)
    return list(read_ahead(dataset, batches, workers=workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_come_in_the_order_that_was_asked_for(workers: int) -> None:
    photos = Photos(7, torn=[2, 3, 1])
    found = read(photos, workers)
    assert [batch.batch for batch in found] == [0, 3, 1]
    assert [batch.numbers for batch in found] == [(0,), (6,), ()]
    assert found[2].images is None
    assert [number for number, _ in found[2].skipped] == [2, 3]
    assert found[0].skipped[0][1] == "item 1 of list is torn"
    expected = PREPROCESSING.prepare(photos.read(6))[None]
    assert found[1].images is not None and torch.equal(found[1].images, expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_of_the_data_comes_as_it_was(workers: int) -> None:
    with pytest.raises(DatasetError) as problem:
        read(Unusable(7), workers, (0, 2))
    assert str(problem.value) == "the disk is gone; try: another disk"


def test_the_random_numbers_of_the_user_are_left_alone() -> None:
    before = torch.get_rng_state()
    read(Photos(4), 0, (0, 1))
    assert torch.equal(torch.get_rng_state(), before)
