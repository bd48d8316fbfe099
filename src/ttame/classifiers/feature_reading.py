"""What one forward pass of a classifier gave."""

from __future__ import annotations

import dataclasses

from torch import Tensor


@dataclasses.dataclass(frozen=True, eq=False)
class FeatureReading:
    """What one forward pass of a classifier gave.

    Attributes:
        logits: (B, C), the scores of the classes.
        feature_maps: one (B, C_i, h_i, w_i) per tap, prefix tokens dropped.
        class_tokens: one (B, C_i) per tap, or ``None`` where the tap has no prefix tokens.
        layer_outputs: one tensor per tap as the layer put it out, whatever worked on it in place
            afterwards; gradients are taken with respect to these, and ``tap.feature_map`` turns
            them into maps.
        places: (B, 1, h, w) bool, where something is that a map can speak of; ``None`` for
            everywhere. Of texts it leaves out padding and special tokens.
        present: (B, 1, h, w) bool, where anything is at all; ``None`` for everywhere. Of texts it
            leaves out padding.
    """

    logits: Tensor
    feature_maps: tuple[Tensor, ...]
    class_tokens: tuple[Tensor | None, ...]
    layer_outputs: tuple[Tensor, ...]
    places: Tensor | None = None
    present: Tensor | None = None

    @property
    def grid(self) -> tuple[int, int]:
        """The (h, w) of the last feature maps; without any that of many a network's, 7×7."""
        if not self.feature_maps:
            return 7, 7
        rows, columns = self.feature_maps[-1].shape[2:]
        return rows, columns
