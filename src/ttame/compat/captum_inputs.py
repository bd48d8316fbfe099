"""What Captum's calls take: images, baselines and targets, and a network behind its pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, overload

import torch
from torch import Tensor, nn

from ttame.classifiers.class_selection import ClassSelection
from ttame.classifiers.classifier import Classifier
from ttame.classifiers.explained_targets import ExplainedTargets
from ttame.classifiers.targets import Target
from ttame.compat.explained_network import classifier_of
from ttame.errors import ExplainerError, ImageError
from ttame.features.feature_taps import LayerOutput
from ttame.networks.layer_outputs import uncompiled

Inputs = Tensor | tuple[Tensor]
"""(B, 3, H, W) normalised images, or a tuple of that one tensor; attributions come alike."""

Baselines = float | Tensor | tuple[float | Tensor] | None
"""A number for all values, (1, 3, H, W), or (B, 3, H, W); ``None`` for 0."""


class FromPixels(nn.Module):
    """A network or a function with a layer at its input, so that any of them has one to read.

    Args:
        network: the network, or a function.
        base: what is added to the images: the network then sees 0 where they are its baseline.
    """

    def __init__(
        self, network: nn.Module | Callable[[Tensor], Tensor], base: Tensor | None = None
    ) -> None:
        super().__init__()
        self.pixels = nn.Identity()
        self.network = uncompiled(network) if isinstance(network, nn.Module) else network
        self.base = base
        # Of this module only: the network keeps its modes.
        self.training = getattr(network, "training", False)

    def forward(self, images: Tensor) -> Any:
        """What the network gives for images, which are told from their baseline."""
        seen = self.pixels(images)
        return self.network(seen if self.base is None else seen + self.base.to(seen))


def classifier_from_pixels(network: FromPixels, images: Tensor) -> Classifier:
    """A classifier of images like these, which reads their pixels."""
    size = (int(images.shape[2]), int(images.shape[3]))
    return classifier_of(
        network, size, tap=LayerOutput("pixels", "channels first", images.shape[1], size, size)
    )


def images_of(inputs: Inputs, additional_forward_args: Any) -> Tensor:
    """The one tensor of images.

    Raises:
        ExplainerError: other arguments for the network.
        ImageError: several inputs, or other than (B, 3, H, W).
    """
    if additional_forward_args is not None:
        raise ExplainerError(
            "additional_forward_args",
            allowed="networks that take images alone",
            remedy="a module that passes the other arguments itself",
        )
    images = inputs[0] if isinstance(inputs, tuple) and len(inputs) == 1 else inputs
    if not isinstance(images, Tensor) or images.ndim != 4:
        came = getattr(images, "shape", type(images).__name__)
        raise ImageError(f"inputs {came}", allowed="one (B, 3, H, W) tensor")
    return images.detach()


@overload
def in_form_of(inputs: Tensor, maps: Tensor) -> Tensor: ...
@overload
def in_form_of(inputs: tuple[Tensor], maps: Tensor) -> tuple[Tensor]: ...
def in_form_of(inputs: Inputs, maps: Tensor) -> Tensor | tuple[Tensor]:
    """A tuple for a tuple."""
    return (maps,) if isinstance(inputs, tuple) else maps


def one_per_image(target: ClassSelection) -> ClassSelection:
    """A tensor of one class counts for all images, as in Captum."""
    return int(target) if isinstance(target, Tensor) and target.numel() == 1 else target


def explained_targets(scores: Tensor, target: ClassSelection) -> ExplainedTargets:
    """The targets of images with these (B, C) scores."""
    return Target.of(one_per_image(target)).explained(scores)


def of_one_input(sizes: int | tuple[Any, ...]) -> tuple[int, ...]:
    """Sizes of the one input, which Captum also takes inside another tuple."""
    if isinstance(sizes, int):
        return (sizes,)
    return tuple(sizes[0]) if isinstance(sizes[0], tuple) else tuple(sizes)


def by_baseline(
    images: Tensor, baselines: Baselines, target: ClassSelection
) -> Iterator[tuple[Tensor, Tensor, ClassSelection]]:
    """Images that share a baseline, the baseline (1, 3, H, W), and their targets."""
    given = baselines[0] if isinstance(baselines, tuple) else baselines
    base = torch.as_tensor(0.0 if given is None else given).to(images)
    if base.ndim < 4 or len(base) == 1:
        yield images, base.expand(1, *images.shape[1:]), target
        return
    if base.shape != images.shape:
        raise ImageError(
            f"baselines {tuple(base.shape)} for inputs {tuple(images.shape)}",
            allowed="a number, or baselines for one image or for all",
        )
    several = target is not None and not isinstance(target, int | str)
    for index in range(len(images)):
        one = target[index] if several and len(target) > 1 else target  # type: ignore[arg-type, index]
        yield images[index : index + 1], base[index : index + 1], one
