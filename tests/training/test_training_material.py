from __future__ import annotations

import os
from typing import Any

import torch

from ttame.datasets.prepared_images import PreparedBatch
from ttame.training.training_material import loader_of


class Numbers:
    """Inputs that note in which process they are made."""

    def __init__(self, *, in_workers: bool) -> None:
        self.in_workers = in_workers

    def __len__(self) -> int:
        return 4

    def __getitem__(self, position: int) -> tuple[int, int]:
        return position, os.getpid()

    def set_epoch(self, epoch: int) -> None:
        raise AssertionError

    def collate(self, items: Any) -> PreparedBatch:
        positions, processes = zip(*items, strict=True)
        return PreparedBatch(torch.tensor(processes), torch.tensor(positions))


def test_batches_are_those_asked_for_and_the_users_generator_stays() -> None:
    before = torch.get_rng_state()
    loaded = list(loader_of(Numbers(in_workers=True), [[2, 0], [3]], 0))  # type: ignore[arg-type]
    assert [batch.indices.tolist() for batch in loaded] == [[2, 0], [3]]
    assert torch.equal(torch.get_rng_state(), before)


def test_only_some_inputs_are_made_in_other_processes() -> None:
    here = os.getpid()
    for in_workers in (True, False):
        loader = loader_of(Numbers(in_workers=in_workers), [[0, 1]], 1)  # type: ignore[arg-type]
        (batch,) = loader
        assert (batch.images != here).all() == in_workers
