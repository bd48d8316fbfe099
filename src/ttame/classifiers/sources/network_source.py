"""What a source of networks hands over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

from torch import nn

from ttame.classifiers.classifier_recipe import ClassifierRecipe
from ttame.errors import SAYING_PREPROCESSING, ClassifierError, either
from ttame.features.tap_names import Tap
from ttame.images.preprocessing import Preprocessing
from ttame.outputs import Outputs


@dataclasses.dataclass(frozen=True)
class LoadedNetwork:
    """A network as its library built it.

    Attributes:
        network: maps (B, 3, H, W) to logits.
        preprocessing: the one that belongs to its weights, or ``None`` if nothing says it.
        class_names: in the order of the logits, or ``None`` if the library has none.
        outputs: what the outputs mean, or ``None`` if nothing says it.
        outputs_reason: what says it, in a few words.
        taps: where features are read; chosen automatically if ``None``.
        examined: layers that are known to be on the way to the scores, of a network that is known
            to show them the whole photo, upright: neither is looked at again.

    Example:
        >>> loaded = LoadedNetwork(nn.Flatten(), Preprocessing.imagenet(32), ("cat", "dog"))
        >>> loaded.preprocessing.input_size, loaded.class_names
        ((32, 32), ('cat', 'dog'))
    """

    network: nn.Module
    preprocessing: Preprocessing | None
    class_names: tuple[str, ...] | None = None
    outputs: Outputs | str | None = None
    outputs_reason: str = ""
    taps: Sequence[str | Tap] | None = None
    examined: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class NetworkSource:
    """Where networks come from.

    Attributes:
        load: builds the network of a recipe. Weights of a file are loaded afterwards, so that it
            only has to tell ``"default"`` from the others.
        class_count_option: the network option that sets how many classes the network has, or
            ``None`` if there is none.
        names: gives those of all its networks, from which similar ones are suggested.
    """

    load: Callable[[ClassifierRecipe], LoadedNetwork]
    class_count_option: str | None = None
    names: Callable[[], Sequence[str]] = tuple


def said_preprocessing(name: str, loaded: LoadedNetwork) -> Preprocessing:
    """The preprocessing of a network whose source must know it.

    Raises:
        ClassifierError: it does not.
    """
    if loaded.preprocessing is None:
        raise ClassifierError(
            f"{name} does not say how its pixels are prepared",
            remedy=SAYING_PREPROCESSING,
        )
    return loaded.preprocessing


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
    resize: int | tuple[int, int] | Literal["pad"]
    if preprocessing.resize == "pad":
        resize = "pad"
    elif isinstance(preprocessing.resize, int):
        # The shorter side must still cover the larger side of the crop's change.
        resize = round(preprocessing.resize * max(down, across))
    else:
        resize = (round(preprocessing.resize[0] * down), round(preprocessing.resize[1] * across))
    return dataclasses.replace(preprocessing, input_size=image_size, resize=resize)


def imagenet_class_names() -> tuple[str, ...]:
    """The 1000 ImageNet-1k class names in the usual order, as torchvision publishes them."""
    from torchvision.models import ResNet18_Weights

    return tuple(ResNet18_Weights.DEFAULT.meta["categories"])


def classifies_texts(name: str) -> ClassifierError:
    """What to say of a network that classifies something else than photos."""
    return ClassifierError(
        f"{name} classifies texts",
        allowed="a classifier of photos",
        remedy=either(
            f"ttame.text.load({name!r})",
            f'ttame explain --model {name} --text "...", ttame train --text-data FILE, or ttame '
            "evaluate --text-data FILE",
        ),
    )
