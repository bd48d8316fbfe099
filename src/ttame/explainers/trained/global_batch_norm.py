"""Batch normalisation over the batch of all processes."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor, nn


class GlobalBatchNorm2d(nn.BatchNorm2d):
    """``torch.nn.BatchNorm2d`` whose training statistics span all processes.

    With one process it is PyTorch's own layer. With several, two processes with half a batch each
    normalise as one process with the whole batch would. ``torch.nn.SyncBatchNorm`` does this on
    accelerators only; ttame also trains on several CPU processes.
    """

    def forward(self, input: Tensor, places: Tensor | None = None) -> Tensor:
        """Normalise (B, C, h, w).

        Args:
            input: the features.
            places: (B, 1, h, w) bool, of which the statistics of training are; all if not given.
                What pads short texts to the length of the longest one of the batch must not decide
                how large the values of words become.
        """
        if self.training and (places is not None or _processes() > 1):
            return self._normalise(input, places)
        return super().forward(input)

    def _normalise(self, features: Tensor, places: Tensor | None) -> Tensor:
        values = features if features.dtype == torch.float64 else features.float()
        axes, shape = (0, 2, 3), (1, -1, 1, 1)
        counted = values if places is None else values.where(places, 0)
        number = values.numel() / values.shape[1] if places is None else places.sum()
        count = values.new_ones(1) * number
        sums = _sum_over_processes(torch.cat([counted.sum(axes), count]))
        total = sums[-1].detach().clamp_min(1)
        mean = sums[:-1] / total
        # The mean first, then the squares around it: E[x²] − E[x]² would lose all digits where
        # the mean is large against the spread.
        centred = values - mean.reshape(shape)
        squares = centred.square()
        squares = squares if places is None else squares.where(places, 0)
        variance = _sum_over_processes(squares.sum(axes)) / total
        self._update_running_statistics(mean.detach(), variance.detach(), total)
        scaled = centred * torch.rsqrt(variance + self.eps).reshape(shape)
        normalised = scaled * self.weight.reshape(shape) + self.bias.reshape(shape)
        return normalised.to(features.dtype)

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: Tensor) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), self.momentum)
        # The running variance is the unbiased one, as in PyTorch.
        unbiased = variance * (count / (count - 1).clamp_min(1))
        self.running_var.lerp_(unbiased.to(self.running_var.dtype), self.momentum)


class _SumOverProcesses(torch.autograd.Function):
    """An all-reduce whose gradient is the all-reduce of the gradients.

    PyTorch 2.15 deprecates its own, ``torch.distributed.nn.functional.all_reduce``, with a
    warning; the successor that it names lives in a private module.
    """

    @staticmethod
    def forward(ctx: object, values: Tensor) -> Tensor:
        total = values.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: object, gradient: Tensor) -> Tensor:
        total = gradient.clone()
        dist.all_reduce(total)
        return total


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _sum_over_processes(values: Tensor) -> Tensor:
    if _processes() == 1:
        return values
    result: Tensor = _SumOverProcesses.apply(values)
    return result
