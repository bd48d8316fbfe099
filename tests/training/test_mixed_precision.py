from __future__ import annotations

import torch
from accelerate import Accelerator

from benchmarks.reliability.as_found import changes, everything
from tests.classifiers.interruptions import Striker
from ttame.networks.giving_back import gives_everything_back
from ttame.training.mixed_precision import in_mixed_precision


def test_no_interrupt_leaves_autocast_on() -> None:
    accelerator = Accelerator(cpu=True, mixed_precision="bf16")
    seen: set[bool] = set()

    @gives_everything_back
    def run() -> None:
        with in_mixed_precision(accelerator):
            seen.add(torch.is_autocast_enabled("cpu"))

    run()
    before = everything()
    moment = 0
    while Striker(moment).run(run):
        assert not changes(before, everything()), moment
        moment += 1
    assert moment > 10
    assert seen == {True}
