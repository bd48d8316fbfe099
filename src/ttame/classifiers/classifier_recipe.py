"""How a classifier was loaded, so that it can be loaded again."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ttame.images.preprocessing import Preprocessing
from ttame.outputs import SOFTMAX


@dataclasses.dataclass(frozen=True)
class ClassifierRecipe:
    """How :func:`ttame.load_classifier` made a classifier, so that it can be made again.

    Attributes:
        name: as passed, e.g. ``"timm/resnet18"``.
        weights: ``"default"``, ``"none"`` or a path.
        image_size: (H, W) in pixels if it was passed.
        network_options: passed on to the library that builds the network.
        class_names: C names if they were passed, instead of the library's own.
        outputs: the kind of its outputs; see :class:`ttame.Outputs`.
        weights_seed: the seed of random weights; ``None`` where they are not random, or from a
            version of ttame that did not seed them.
        preprocessing: if it was said, instead of the library's own.
    """

    name: str
    weights: str = "default"
    image_size: tuple[int, int] | None = None
    network_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    class_names: tuple[str, ...] | None = None
    outputs: str = SOFTMAX.kind
    weights_seed: int | None = None
    preprocessing: Preprocessing | None = None
