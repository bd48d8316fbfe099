"""What Quantus calls when it wants a map."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from ttame.classifiers.classifier import Classifier
from ttame.explainers.known_explainers import make_explainer
from ttame.images.preprocessing import Preprocessing

ExplainFunction = Callable[..., NDArray[np.float32]]
"""``(model, inputs, targets, **anything) -> (B, 3, H, W)``."""


def quantus_explain_func(
    method: str, *, preprocessing: Preprocessing | None = None, **options: Any
) -> ExplainFunction:
    """Make the ``explain_func`` of Quantus's metrics.

    The function explains the model that it is given, not one that was fixed beforehand: metrics
    that randomise the model's weights pass a changed copy, and a map that ignored it would look
    far too good.

    Args:
        method: name in the registry.
        preprocessing: the preprocessing of the model, if the method needs its normalisation
            (integrated gradients do, for black pixels); ImageNet's if not given. The size is taken
            from the inputs.
        **options: the method's own.

    Returns:
        ``explain_func(model, inputs, targets, **anything)`` that takes (B, 3, H, W) and (B,)
        arrays and returns (B, 3, H, W) float32, as :meth:`ttame.Explainer.attribute` does. Further
        keywords that Quantus passes on, such as ``device``, change nothing.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1),
        ...                       nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
        >>> explain = quantus_explain_func("grad_cam")
        >>> explain(model, np.zeros((2, 3, 16, 16), np.float32), np.array([1, 4])).shape
        (2, 3, 16, 16)
    """
    usual = preprocessing or Preprocessing.imagenet()

    def explain(
        model: nn.Module, inputs: Any, targets: Any = None, **_anything: Any
    ) -> NDArray[np.float32]:
        images = torch.as_tensor(inputs)
        classes = None if targets is None else torch.as_tensor(targets)
        sized = dataclasses.replace(usual, input_size=(images.shape[2], images.shape[3]))
        explainer = make_explainer(method, Classifier(model, preprocessing=sized), **options)
        maps: NDArray[np.float32] = explainer.attribute(images, classes).cpu().numpy()
        return maps

    return explain
