"""The contract that every explanation method fulfils."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple, overload

import torch
from torch import Tensor

from ttame.classifiers.class_selection import ClassSelection, select_classes
from ttame.classifiers.classifier import Classifier, Photo
from ttame.errors import ClassSelectionError, NonFiniteMapError
from ttame.explainers.contract.differentiation import differentiating
from ttame.explainers.contract.memory_budget import DEFAULT_BUDGET, Progress
from ttame.explainers.contract.method_card import MethodCard
from ttame.images.saliency_maps import resize_maps
from ttame.memory_limit import FEWER_IMAGES, naming_the_setting
from ttame.networks.giving_back import gives_everything_back
from ttame.results.explanation import Explanation


class RawMaps(NamedTuple):
    """What a method computes: logits (B, C), classes (B, K) and raw maps (B, K, h, w)."""

    logits: Tensor
    classes: Tensor
    maps: Tensor


ChooseClasses = Callable[[Tensor], Tensor]
"""Given (B, C) logits, say which (B, K) classes of every image are to be explained."""


class Explainer(ABC):
    """A method that explains a classifier.

    Calling an explainer checks the input, chooses the classes, runs the method, refuses maps that
    are not finite, and returns an :class:`Explanation`. A method fills one hole, ``_raw_maps``.

    Attributes:
        card: the method's name, family, paper, cost and rights.
        classifier: the explained network.
        method: the method's name in the registry.
        options: what was set for this method, for the provenance of its maps.
        memory_budget: bytes of activations that a method with many passes may use at a time.
        progress: told the finished and total steps of a method with many passes.

    Example:
        >>> import ttame
        >>> classifier = ttame.load_classifier("efficientnet_lite0")
        >>> grad_cam = ttame.make_explainer("grad_cam", classifier)
        >>> grad_cam(torch.zeros(2, 3, 224, 224), classes=["tabby", "tiger cat"])
        <Explanation by grad_cam: maps 2 x 2 x 7 x 7>
    """

    card: MethodCard
    classifier: Classifier
    options: Mapping[str, Any] = MappingProxyType({})
    memory_budget: int = DEFAULT_BUDGET
    progress: Progress | None = None

    @property
    def method(self) -> str:
        """The method's name in the registry."""
        return self.card.name

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "__init__" in vars(cls):  # many methods try the network out when they are made
            cls.__init__ = gives_everything_back(cls.__init__)  # type: ignore[method-assign]

    @gives_everything_back
    def __call__(
        self, images: Tensor | Photo | Sequence[Photo], classes: ClassSelection = None
    ) -> Explanation:
        """Explain a batch of images.

        Args:
            images: (B, 3, H, W) float, normalised as ``classifier.prepare`` does it; or photos
                (PIL images or paths), which are prepared first.
            classes: ``None`` for each image's top-1 class, an int, (B,), (B, K), ``"all"``,
                ``"top3"``, a class name or a list of names.

        Returns:
            Raw maps (B, K, h, w) float32 on the classifier's device, with the prediction.

        Raises:
            ImageError: not a batch of images.
            ClassSelectionError: a class that does not exist.
            NonFiniteMapError: a map with NaN or infinity; it is never drawn as a blank.
            MemoryLimitError: the batch does not fit into memory.
        """
        if not isinstance(images, Tensor):
            images = self.classifier.prepare(images)

        def choose(logits: Tensor) -> Tensor:
            return select_classes(classes, logits, self.classifier.class_names)

        # Methods decide themselves what they differentiate, whatever the caller has switched off.
        with (
            differentiating(),
            naming_the_setting(FEWER_IMAGES),
        ):
            normal = images.clone() if images.is_inference() else images
            logits, chosen, maps = self._raw_maps(normal, choose)
        maps = maps.detach().float()
        self._refuse_non_finite(maps)
        return Explanation(
            maps=maps,
            classes=chosen,
            logits=logits.detach().float(),
            image_size=(int(images.shape[2]), int(images.shape[3])),
            class_names=self.classifier.class_names,
            method=self.method,
            provenance=self.provenance(),
            probabilities=self.classifier.outputs.probabilities(logits.detach()),
            exclusive=self.classifier.outputs.exclusive,
        )

    @overload
    def attribute(self, inputs: Tensor, target: ClassSelection = None) -> Tensor: ...

    @overload
    def attribute(self, inputs: tuple[Tensor], target: ClassSelection = None) -> tuple[Tensor]: ...

    def attribute(
        self, inputs: Tensor | tuple[Tensor], target: ClassSelection = None
    ) -> Tensor | tuple[Tensor]:
        """Explain a batch of images in the way of Captum, for code and metrics written for it.

        Args:
            inputs: (B, 3, H, W) float, normalised; or a tuple of that one tensor, as Captum's
                metrics pass it.
            target: one class for all images, (B,) classes, or ``None`` for each image's top-1.
                A tensor of one element counts for all images.

        Returns:
            Float32 without a graph, on the classifier's device, in the shape of the inputs, as
            Captum's metrics demand: the raw, signed map at the size of the image, each place's
            value in equal parts on its colours, so that their sum is the map. A tuple for a tuple.

        Raises:
            ClassSelectionError: several classes an image; otherwise the errors of a call.

        Example:
            >>> from torch import nn
            >>> from ttame.explainers.methods.activation.grad_cam import GradCam
            >>> from ttame.images.preprocessing import Preprocessing
            >>> network = nn.Sequential(
            ...     nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.Conv2d(8, 16, 3, 2, 1), nn.ReLU(),
            ...     nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
            >>> grad_cam = GradCam(Classifier(network, preprocessing=Preprocessing.imagenet(16)))
            >>> grad_cam.attribute(torch.zeros(2, 3, 16, 16), target=4).shape
            torch.Size([2, 3, 16, 16])
        """
        if isinstance(inputs, tuple):
            (images,) = inputs
            return (self.attribute(images, target),)
        if isinstance(target, Tensor) and target.numel() == 1:
            target = int(target)
        explanation = self(inputs, target)
        if explanation.maps.shape[1] > 1:
            raise ClassSelectionError(
                f"{explanation.maps.shape[1]} classes an image to attribute",
                allowed="one; calling the explainer gives the maps of several",
            )
        maps = resize_maps(explanation.maps, explanation.image_size)
        colours = inputs.shape[1]
        return (maps / colours).repeat(1, colours, 1, 1)

    def provenance(self) -> dict[str, Any]:
        """What the maps depend on besides the images, as strings and numbers."""
        return {"classifier": self.classifier.name, **self.options}

    @abstractmethod
    def _raw_maps(self, images: Tensor, choose_classes: ChooseClasses) -> RawMaps:
        """Compute raw maps, in any range; higher means more evidence.

        Args:
            images: (B, 3, H, W), not checked yet; the classifier's methods do that.
            choose_classes: call it once, when the logits are known.
        """

    def _refuse_non_finite(self, maps: Tensor) -> None:
        # One reduction: a sum is finite only if every value is, up to overflow, which is checked.
        if torch.isfinite(maps.sum()) or bool(torch.isfinite(maps).all()):
            return
        broken = (~torch.isfinite(maps)).flatten(1).any(dim=1).nonzero().flatten().tolist()
        raise NonFiniteMapError(
            f"{self.method} gave NaN or infinite maps for image {broken[0]} of the batch"
            + (f" and {len(broken) - 1} more" if len(broken) > 1 else ""),
            remedy="looking for NaN in the image, in the network's weights, or for fp16 overflow",
        )
