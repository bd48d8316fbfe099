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

    def forward(self, input: Tensor) -> Tensor:
        """Normalise (B, C, h, w)."""
        if not (self.training and dist.is_available() and dist.is_initialized()):
            return super().forward(input)
        if dist.get_world_size() == 1:
            return super().forward(input)
        return self._normalise_globally(input)

    def _normalise_globally(self, images: Tensor) -> Tensor:
        values = images.float()
        axes = (0, 2, 3)
        count = torch.tensor(float(values.numel() // values.shape[1]), device=values.device)
        sums = torch.cat([values.sum(axes), values.square().sum(axes), count[None]])
        sums = _sum_over_processes(sums)
        width = values.shape[1]
        total = sums[-1].detach()
        mean = sums[:width] / total
        variance = (sums[width : 2 * width] / total - mean.square()).clamp_min(0)
        self._update_running_statistics(mean.detach(), variance.detach(), float(total))
        shape = (1, width, 1, 1)
        scaled = (values - mean.reshape(shape)) * torch.rsqrt(variance + self.eps).reshape(shape)
        normalised = scaled * self.weight.reshape(shape) + self.bias.reshape(shape)
        return normalised.to(images.dtype)

    @torch.no_grad()
    def _update_running_statistics(self, mean: Tensor, variance: Tensor, count: float) -> None:
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.num_batches_tracked.add_(1)
        self.running_mean.lerp_(mean, self.momentum)
        # The running variance is the unbiased one, as in PyTorch.
        self.running_var.lerp_(variance * (count / max(count - 1, 1)), self.momentum)


class _SumOverProcesses(torch.autograd.Function):
    """An all-reduce whose gradient is the all-reduce of the gradients."""

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


def _sum_over_processes(values: Tensor) -> Tensor:
    result: Tensor = _SumOverProcesses.apply(values)
    return result
