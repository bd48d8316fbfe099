"""What a server explains: a classifier with its methods, or an exported file."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassSelectionError, ExplainerError, ImageError, UnknownNameError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.memory_budget import Progress
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.known_explainers import EXPLAINERS
from ttame.exporting.exported_explainer import ExportedExplainer
from ttame.images.preprocessing import Preprocessing
from ttame.results.explanation import Explanation
from ttame.serving.wanted import Wanted, selection_of, target_of


@dataclasses.dataclass(frozen=True)
class ServedMethod:
    """A method that may be asked for.

    Attributes:
        name: as requests say it.
        card: the card of the method.
        options: that it was made with.
    """

    name: str
    card: MethodCard
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def all_at_once(self) -> bool:
        """Whether the maps of many classes cost no more than that of one.

        Example:
            >>> ServedMethod("cam", EXPLAINERS["cam"].card).all_at_once
            True
            >>> ServedMethod("grad_cam", EXPLAINERS["grad_cam"].card).all_at_once
            False
        """
        return "per class" not in self.card.cost


class ServedNetwork(ABC):
    """A network at work for strangers: what one input is, a prediction, and an explanation.

    An *input* is what the network takes for one photo, without the batch's dimension.

    Attributes:
        name: the name of the classifier.
        class_names: C names, or none.
        number_of_classes: C.
        exclusive: whether exactly one class is true of a photo.
        preprocessing: how a photo becomes an input.
        methods: name to method; the first is taken where none is named.
    """

    name: str
    class_names: tuple[str, ...]
    number_of_classes: int
    exclusive: bool
    preprocessing: Preprocessing
    methods: Mapping[str, ServedMethod]

    def pixels(self, photo: Image.Image, *, prepared: bool = False) -> Tensor:
        """What the network sees of an upright photo, (C, H, W) float32 in [0, 1].

        Args:
            photo: a photo of any size.
            prepared: whether it shows just what the network sees, so that it is not cropped.

        Raises:
            ImageError: the network takes other channels than a photo has.
        """
        how = self.preprocessing
        if prepared:
            how = dataclasses.replace(how, resize=how.input_size)
        return how.pixels(photo)

    def label(self, index: int) -> str:
        """The name of a class."""
        return self.class_names[index] if self.class_names else f"class {index}"

    @abstractmethod
    def input_of(self, pixels: Tensor) -> Tensor:
        """The input of (C, H, W) float pixels in [0, 1]."""

    def accept(self, image: Tensor) -> Tensor:
        """The input of a (C, H, W) float32 image that is normalised already.

        Raises:
            ImageError: the network takes pixels.
        """
        return image

    @abstractmethod
    def probabilities(self, inputs: Tensor) -> Tensor:
        """(B, C) float32 in [0, 1], on the CPU, of a batch of inputs."""

    @abstractmethod
    def explain(
        self, method: str, inputs: Tensor, wanted: Sequence[Wanted], progress: Progress
    ) -> Explanation:
        """Explain a batch of inputs by a method; on the CPU."""


def picture_of(pixels: Tensor) -> Image.Image:
    """What a network sees, as a picture: grey, RGB or RGBA.

    Args:
        pixels: (C, H, W) float in [0, 1], of one, three or four channels.

    Example:
        >>> picture_of(torch.ones(3, 2, 4)).size
        (4, 2)
    """
    values = (pixels * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(values[:, :, 0] if len(pixels) == 1 else values)


class TorchNetwork(ServedNetwork):
    """A classifier in PyTorch.

    Args:
        explainers: label to explainer, all of one classifier.

    Raises:
        ExplainerError: no method, or methods of several classifiers.

    Example:
        >>> from ttame.explainers.methods.activation.grad_cam import GradCam
        >>> from ttame.testing import tiny_classifier
        >>> list(TorchNetwork({"grad_cam": GradCam(tiny_classifier())}).methods)
        ['grad_cam']
    """

    def __init__(self, explainers: Mapping[str, Explainer]) -> None:
        if len({id(explainer.classifier.network) for explainer in explainers.values()}) != 1:
            raise ExplainerError("methods to serve", allowed="at least one, all of one classifier")
        self.classifier: Classifier = next(iter(explainers.values())).classifier
        self.name = self.classifier.name
        self.class_names = tuple(self.classifier.class_names)
        self.number_of_classes = self.classifier.number_of_classes
        self.exclusive = self.classifier.outputs.exclusive
        self.preprocessing = self.classifier.preprocessing
        self._explainers = {_shown(label): each for label, each in explainers.items()}
        self.methods = {
            label: ServedMethod(label, each.card, each.options)
            for label, each in self._explainers.items()
        }

    def input_of(self, pixels: Tensor) -> Tensor:
        """(C, H, W) float32, normalised."""
        return self.preprocessing.normalise(pixels)

    def probabilities(self, inputs: Tensor) -> Tensor:
        """(B, C) float32 in [0, 1]."""
        with torch.no_grad():
            return self.classifier.probabilities(inputs.to(self.classifier.device)).cpu()

    def explain(
        self, method: str, inputs: Tensor, wanted: Sequence[Wanted], progress: Progress
    ) -> Explanation:
        """Explain a batch of inputs."""
        found = self._explainers[method](inputs, target=target_of(wanted), progress=progress)
        return dataclasses.replace(found.to("cpu"), method=method)


class ExportedNetwork(ServedNetwork):
    """A file that ``ttame export`` wrote, run by ONNX Runtime.

    Args:
        exported: what :func:`ttame.load_exported` gives.
        name: the name of the file, for people.
    """

    def __init__(self, exported: ExportedExplainer, name: str) -> None:
        self.exported = exported
        self.name = name
        self.class_names = tuple(exported.class_names)
        self.number_of_classes = exported.facts.number_of_classes
        self.exclusive = exported.facts.exclusive
        self.preprocessing = exported.preprocessing
        if exported.method not in EXPLAINERS:
            raise UnknownNameError.of("method in an exported file", exported.method, EXPLAINERS)
        card = EXPLAINERS[exported.method].card
        self.methods = {exported.method: ServedMethod(exported.method, card)}

    def input_of(self, pixels: Tensor) -> Tensor:
        """(C, H, W) float32, normalised, or (H, W, 3) uint8 pixels, as the file takes them."""
        if self.exported.facts.takes == "images":
            return self.preprocessing.normalise(pixels)
        return (pixels * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous()

    def accept(self, image: Tensor) -> Tensor:
        """The image, where the file takes images."""
        if self.exported.facts.takes == "images":
            return image
        raise ImageError("a tensor for an exported file that takes pixels", allowed="a photo")

    def probabilities(self, inputs: Tensor) -> Tensor:
        """(B, C) float32 in [0, 1]."""
        return self.exported(inputs).probabilities

    def explain(
        self, method: str, inputs: Tensor, wanted: Sequence[Wanted], progress: Progress
    ) -> Explanation:
        """Explain a batch of inputs."""
        del method, progress
        if wanted[0].rather_than is not None or wanted[0].weights:
            raise ClassSelectionError("a comparison by an exported file", allowed="classes")
        found = self.exported(inputs, selection_of(wanted))
        return dataclasses.replace(found, crop=self.preprocessing.crop)


def _shown(label: str) -> str:
    """A method, or the last part of a folder's path: where it lies is nobody's business."""
    return label if label in EXPLAINERS else PurePath(label).name or label
