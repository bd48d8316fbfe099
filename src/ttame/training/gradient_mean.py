"""Averaging gradients over processes in an order that never changes."""

from __future__ import annotations

from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


def average_in_order(head: nn.Module) -> None:
    """Let the processes of a wrapped head add their gradients from the first process to the last.

    An all-reduce adds three numbers or more in an order that depends on where they stand in the
    buffer, and after its first step the wrapper moves them. A resumed run, whose first step is
    another one, would round differently from an undisturbed run.

    Args:
        head: as the accelerator wrapped it; nothing is done to one that has no wrapper.
    """
    if isinstance(head, DistributedDataParallel):
        # A lambda, because torch refuses annotations that are text, as all are here.
        head.register_comm_hook(None, lambda state, bucket: _mean_in_order(bucket))


def _mean_in_order(bucket: Any) -> Any:
    """The future mean of a ``dist.GradBucket``; what is not there on every platform is untyped."""
    own: Tensor = bucket.buffer()
    processes = dist.get_world_size()
    gathered = own.new_empty(processes * own.numel())

    def mean(_: object) -> Tensor:
        parts = gathered.view(processes, -1).unbind()
        total = parts[0]
        for part in parts[1:]:
            total += part
        return total.div_(processes)

    gathering: Any = dist.all_gather_into_tensor(gathered, own, async_op=True)
    return gathering.get_future().then(mean)
