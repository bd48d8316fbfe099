"""The optimiser and its schedule."""

from __future__ import annotations

from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from ttame.training.optimiser_settings import OptimiserSettings


def make_optimiser(head: nn.Module, settings: OptimiserSettings) -> Optimizer:
    """The optimiser of these settings; weight decay on weights, none on biases.

    Batch norm's weights are decayed as published.
    """
    weights = [p for name, p in head.named_parameters() if not name.endswith("bias")]
    biases = [p for name, p in head.named_parameters() if name.endswith("bias")]
    rate = settings.learning_rate
    groups: list[dict[str, Any]] = [
        {"params": weights, "lr": rate, "weight_decay": settings.weight_decay},
        {
            "params": biases,
            "lr": rate * settings.bias_learning_rate_factor,
            "weight_decay": 0.0,
        },
    ]
    return settings.make(groups)


def make_schedule(optimiser: Optimizer, settings: OptimiserSettings, steps: int) -> OneCycleLR:
    """OneCycleLR over all steps: from max/25 up to max at 30 %, down to max/250,000.

    With SGD its defaults also cycle the momentum 0.95 → 0.85 → 0.95, as in the published runs, so
    the configured momentum is never used. AdamW keeps its own.
    """
    peaks = [settings.learning_rate, settings.learning_rate * settings.bias_learning_rate_factor]
    cycles = bool(settings.moved_by_the_schedule)
    return OneCycleLR(optimiser, max_lr=peaks, total_steps=steps, cycle_momentum=cycles)
