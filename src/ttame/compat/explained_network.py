"""A network as the other libraries take it: any module, any output, layers by object or name."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassifierError, TapError, near_matches
from ttame.features.feature_taps import LayerOutput, TapLayout
from ttame.images.preprocessing import Preprocessing
from ttame.networks.layer_outputs import first_tensor, uncompiled
from ttame.outputs import OwnOutputs


class RawOutputs(OwnOutputs):
    """What the network returns, whatever it means: that is what the other libraries explain."""

    def __init__(self) -> None:
        super().__init__(lambda output: output, torch.sigmoid, exclusive=False)

    def class_rows(self, rows: Tensor) -> Tensor | None:
        """The rows of a last linear layer are those of the classes."""
        return rows


def classifier_of(
    network: nn.Module,
    size: tuple[int, int],
    *,
    layer: str | None = None,
    tap: LayerOutput | None = None,
) -> Classifier:
    """The network as a classifier of normalised images of one size.

    Args:
        network: maps (B, 3, H, W) to (B, C).
        size: (H, W) in pixels.
        layer: one that will be read, so that no taps are looked for: the rules might find none.
        tap: the same, where more than the layer's name is known.
    """
    preprocessing = dataclasses.replace(Preprocessing.imagenet(), input_size=size)
    if tap is None and layer is not None:
        tap = LayerOutput(layer, "tokens", 1, (1, 1), size)
    taps = None if tap is None else [tap]
    return Classifier(network, preprocessing=preprocessing, taps=taps, outputs=RawOutputs())


class FlatOutputs(nn.Module):
    """A network whose output of any shape is put into rows, (B, N).

    Attributes:
        network: the network.
        shape: the shape of one image's output, once the network has run.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = uncompiled(network)
        self.shape: tuple[int, ...] = ()
        self.training = network.training  # of this module only: the network keeps its modes

    def forward(self, images: Tensor) -> Tensor:
        """(B, ...) numbers of any network as (B, N)."""
        output = first_tensor(self.network(images))
        if output is None:
            raise ClassifierError("the network returns no tensor", allowed="a tensor per batch")
        self.shape = tuple(output.shape[1:])
        return output.reshape(len(output), -1)


@dataclasses.dataclass(frozen=True)
class ReshapedTap(LayerOutput):
    """A tap whose output the user turns into a feature map.

    Attributes:
        reshape_transform: the layer's output to (B, C, h, w).
    """

    reshape_transform: Callable[[Tensor], Tensor] = dataclasses.field(kw_only=True)

    @classmethod
    def of(
        cls, classifier: Classifier, layer: str, reshape_transform: Callable[[Tensor], Tensor]
    ) -> ReshapedTap:
        """Try the transform on zeros in the shape of the layer's output."""
        record = classifier.trace.by_name().get(layer)
        if record is None:
            raise TapError(f"target layer {layer!r} gives no features")
        _, channels, height, width = reshape_transform(
            torch.zeros(record.shape, dtype=torch.float32)
        ).shape
        layout: TapLayout = "tokens"
        if len(record.shape) == 4:
            layout = "channels first" if record.shape[1] == channels else "channels last"
        return cls(
            layer,
            layout,
            channels,
            (height, width),
            classifier.trace.image_size,
            reshape_transform=reshape_transform,
        )

    def feature_map(self, output: Any, image_size: tuple[int, int]) -> Tensor:
        """(B, C, h, w), as the transform makes it."""
        return self.reshape_transform(self.tensor(output))

    def tensor(self, output: Any) -> Tensor:
        """The layer's output, which the transform takes."""
        tensor = first_tensor(output)
        if tensor is None:
            raise TapError(f"layer {self.layer} gave no tensor")
        return tensor


def layer_name(model: nn.Module, layer: nn.Module | str) -> str:
    """The dotted name of a module in a model, which must be the very same object.

    Raises:
        TapError: it is not part of the model; with the names of modules of its kind.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU())
        >>> layer_name(model, model[1])
        '1'
    """
    modules: dict[str, nn.Module] = dict(uncompiled(model).named_modules())
    if isinstance(layer, str):
        if layer in modules:
            return layer
        near = near_matches(layer, modules)
        raise TapError(f"target layer {layer!r} does not exist", remedy=" or ".join(near))
    for name, module in modules.items():
        if module is uncompiled(layer) and name:
            return name
    kind = type(layer).__name__
    alike = [name for name, module in modules.items() if type(module).__name__ == kind and name]
    raise TapError(
        f"target layer {kind} is not part of the model",
        allowed="modules of the very model that was passed, or their names",
        remedy=" or ".join(f"model.get_submodule({name!r})" for name in alike[-2:]),
    )
