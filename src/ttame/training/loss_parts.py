"""A loss as the sum of parts that have names."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class LossParts:
    """The weighted terms of a loss, each a scalar; their sum is what is minimised.

    Example:
        >>> import torch
        >>> parts = LossParts({"drop": torch.tensor(0.5), "other": torch.tensor(0.25)})
        >>> parts.as_floats()
        {'loss': 0.75, 'drop': 0.5, 'other': 0.25}
    """

    weighted: Mapping[str, Tensor]

    @property
    def total(self) -> Tensor:
        """The loss."""
        first, *others = self.weighted.values()
        return sum(others, start=first)

    def as_floats(self) -> dict[str, float]:
        """Part name to number, ``"loss"`` first."""
        parts = {"loss": self.total, **self.weighted}
        return {name: float(part.detach()) for name, part in parts.items()}
