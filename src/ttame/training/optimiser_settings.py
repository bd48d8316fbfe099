"""The optimisers of a training; loads nothing heavy."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

from ttame.explainers.trained.settings_part import (
    ABOVE_ZERO,
    BELOW_ONE,
    ZERO_OR_MORE,
    SettingsPart,
    number,
)

if TYPE_CHECKING:
    from torch.optim import Optimizer


@dataclasses.dataclass(frozen=True)
class OptimiserSettings(SettingsPart, abc.ABC):
    """What all optimisers can be told.

    Attributes:
        learning_rate: The peak of the one-cycle schedule.
        bias_learning_rate_factor: Learning rate of biases, relative to that of weights. Biases
            have no weight decay.
        weight_decay: Weight decay, also of batch norm.
    """

    kind: str = ""
    learning_rate: float = number(1e-3, ABOVE_ZERO)
    bias_learning_rate_factor: float = number(1.0, ZERO_OR_MORE)
    weight_decay: float = number(5e-4, ZERO_OR_MORE)

    @property
    def moved_by_the_schedule(self) -> Mapping[str, float]:
        """What the one-cycle schedule moves besides the rate, with the value outside of it."""
        return {}

    @abc.abstractmethod
    def make(self, groups: list[dict[str, Any]]) -> Optimizer:
        """The optimiser of these groups of parameters, each with its rate and weight decay."""


@dataclasses.dataclass(frozen=True)
class Sgd(OptimiserSettings):
    """SGD with Nesterov momentum (published).

    Attributes:
        momentum: Momentum of SGD (Nesterov), also with --find-learning-rate. In a training the
            one-cycle schedule moves it from 0.95 to 0.85 and back, as in the published runs.
    """

    kind: Literal["sgd"] = "sgd"
    momentum: float = number(0.9, BELOW_ONE)

    @property
    def moved_by_the_schedule(self) -> Mapping[str, float]:
        """The momentum."""
        return {"momentum": self.momentum}

    def make(self, groups: list[dict[str, Any]]) -> Optimizer:
        """SGD."""
        from torch.optim import SGD

        return SGD(groups, lr=self.learning_rate, momentum=self.momentum, nesterov=True)


@dataclasses.dataclass(frozen=True)
class AdamW(OptimiserSettings):
    """AdamW, which has no momentum to set."""

    kind: Literal["adamw"] = "adamw"

    def make(self, groups: list[dict[str, Any]]) -> Optimizer:
        """AdamW."""
        from torch.optim import AdamW as TorchAdamW

        return TorchAdamW(groups, lr=self.learning_rate)
