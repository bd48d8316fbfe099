"""What a source of networks hands over."""

from __future__ import annotations

import dataclasses

from torch import nn

from ttame.images.preprocessing import Preprocessing


@dataclasses.dataclass(frozen=True)
class LoadedNetwork:
    """A network as its library built it.

    Attributes:
        network: maps (B, 3, H, W) to logits.
        preprocessing: the one that belongs to its weights.
        class_names: in the order of the logits, or ``None`` if the library has none.
    """

    network: nn.Module
    preprocessing: Preprocessing
    class_names: tuple[str, ...] | None


def with_image_size(
    preprocessing: Preprocessing, image_size: tuple[int, int] | None
) -> Preprocessing:
    """The same preprocessing for another input size; the share that the crop cuts off stays.

    Example:
        >>> with_image_size(Preprocessing.imagenet(224), (448, 448)).resize
        512
    """
    if image_size is None or image_size == preprocessing.input_size:
        return preprocessing
    down = image_size[0] / preprocessing.input_size[0]
    across = image_size[1] / preprocessing.input_size[1]
    resize: int | tuple[int, int]
    if isinstance(preprocessing.resize, int):
        # The shorter side must still cover the larger side of the crop's change.
        resize = round(preprocessing.resize * max(down, across))
    else:
        resize = (round(preprocessing.resize[0] * down), round(preprocessing.resize[1] * across))
    return dataclasses.replace(preprocessing, input_size=image_size, resize=resize)


def imagenet_class_names() -> tuple[str, ...]:
    """The 1000 ImageNet-1k class names in the usual order, as torchvision publishes them."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])
