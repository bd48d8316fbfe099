"""Class activation methods with the calling convention of pytorch-grad-cam."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.classifiers.targets import Target
from ttame.compat.cam_targets import ImageTarget, classes_of, target_of
from ttame.compat.explained_network import (
    FlatOutputs,
    ReshapedTap,
    classifier_of,
    layer_name,
)
from ttame.errors import ClassSelectionError, ExplainerError, ImageError
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.contract.method_card import MethodCard
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.methods.activation.activation_gradients import ActivationGradientMethod
from ttame.explainers.methods.activation.eigen_cam import principal_evidence
from ttame.features.feature_taps import LayerOutput
from ttame.images.saliency_maps import resize_maps
from ttame.networks.giving_back import gives_everything_back
from ttame.results.explanation import Explanation

SMALLEST_RANGE = 1e-7
"""What pytorch-grad-cam adds to the maximum before it divides by it."""

BRIGHTNESS = (0.9, 1.0, 1.1)
"""What ``aug_smooth`` multiplies the normalised images by."""


class ClassActivationMaps:
    """Maps as pytorch-grad-cam returns them: numpy, (B, H, W), float32 in [0, 1].

    The raw map of every target layer is cut off at 0, scaled to [0, 1] and resized bilinearly to
    the image; the mean over the layers is scaled once more. A map with little evidence looks as
    strong as any other then, which is why an :class:`ttame.Explanation` keeps the raw map.

    What differs: the model may be in training mode, return an output with ``.logits``, and have
    gradients of its own, all of which it keeps; nothing has to be released; a Vision Transformer
    needs no ``reshape_transform``; the number of targets must be that of the images.

    Args:
        model: maps (B, 3, H, W) to (B, C) scores; or, with functions as targets, to a tensor of any
            shape, such as the (B, C, H, W) scores of a segmentation.
        target_layers: modules of the model, or their dotted names.
        reshape_transform: turns the output of a target layer into (B, C, h, w). The layout is
            found without it; if it is given, it is used.

    Attributes:
        outputs: what the model returned in the last call.

    Raises:
        TapError: a layer that is not part of the model, or whose output is not a feature map.
        ExplainerError: no target layers.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        ...                       nn.Flatten(), nn.Linear(8, 5))
        >>> from ttame.compat import ClassifierOutputTarget
        >>> with GradCAM(model=model, target_layers=[model[1]]) as cam:
        ...     maps = cam(torch.zeros(2, 3, 16, 16), [ClassifierOutputTarget(3)] * 2)
        >>> maps.shape, maps.dtype
        ((2, 16, 16), dtype('float32'))
    """

    method: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    @gives_everything_back
    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module | str],
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        if isinstance(target_layers, nn.Module | str):
            target_layers = [target_layers]
        self.model = model
        self.target_layers = list(target_layers)
        self.layer_names = [layer_name(model, layer) for layer in self.target_layers]
        if not self.layer_names:
            raise ExplainerError("no target layers", allowed="at least one module of the model")
        self.reshape_transform = reshape_transform
        self.outputs: Tensor | None = None
        self._explainers: dict[tuple[int, int, bool, bool], list[Explainer]] = {}
        self._flat = FlatOutputs(model)

    @gives_everything_back
    def __call__(
        self,
        input_tensor: Tensor,
        targets: Sequence[Any] | None = None,
        aug_smooth: bool = False,
        eigen_smooth: bool = False,
    ) -> NDArray[np.float32]:
        """Explain a batch.

        Args:
            input_tensor: (B, 3, H, W) float, normalised as the model expects it.
            targets: one per image: ints or :class:`ClassifierOutputTarget`; or functions from the
                image's output, without the dimension of the batch, to one number; ``None`` for each
                image's top-1 class.
            aug_smooth: average over the image and its mirror image, each with its values times 0.9,
                1 and 1.1: six times the cost. Classes that are not given are those of the image
                itself.
            eigen_smooth: take the main component of what the channels contribute instead of their
                sum; it has the sign of the sum. Not for :class:`ScoreCAM` and
                :class:`AblationCAM`; :class:`EigenCAM`, :class:`EigenGradCAM` and
                :class:`FullGrad` have no sum and stay as they are.

        Returns:
            (B, H, W) float32 in [0, 1].

        Raises:
            ImageError: not a batch of images.
            ClassSelectionError: targets that name no class, or not one for each image.
            ExplainerError: a kind of smoothing that is not offered.
        """
        if not isinstance(input_tensor, Tensor) or input_tensor.ndim != 4:
            came = getattr(input_tensor, "shape", type(input_tensor).__name__)
            raise ImageError(f"input_tensor {came}", allowed="a (B, 3, H, W) tensor")
        plain, outputs = self._maps(input_tensor, targets, eigen_smooth)
        self.outputs = outputs
        if not aug_smooth:
            return _as_array(plain)
        if targets is None:
            targets = outputs.argmax(dim=1).tolist()
        total = torch.zeros_like(plain)
        for factor in BRIGHTNESS:
            brighter = factor * input_tensor
            total += self._maps(brighter, targets, eigen_smooth)[0]
            total += self._maps(brighter.flip(3), targets, eigen_smooth)[0].flip(3)
        return _as_array(total / (2 * len(BRIGHTNESS)))

    def _maps(
        self, images: Tensor, targets: Sequence[Any] | None, eigen_smooth: bool
    ) -> tuple[Tensor, Tensor]:
        """Maps (B, 1, H, W) in [0, 1], and what the model returned."""
        size = (int(images.shape[2]), int(images.shape[3]))
        classes = classes_of(targets)
        flat = targets is not None and classes is None
        layers = []
        for explainer in self._explainers_at(size, flat, eigen_smooth):
            if flat:
                parts = list(self._explained(explainer, images, targets or ()))
            else:
                parts = [explainer(images, classes)]
            maps = torch.cat([part.maps for part in parts])
            outputs = torch.cat([part.logits for part in parts])
            layers.append(resize_maps(_scaled(maps.relu()), size))
        if flat:
            outputs = outputs.reshape(len(outputs), *self._flat.shape)
        return _scaled(torch.stack(layers).mean(dim=0)), outputs

    def _explained(
        self, explainer: Explainer, images: Tensor, functions: Sequence[ImageTarget]
    ) -> Iterator[Explanation]:
        """All images at once where they share a function; else one after the other."""
        if len(functions) != len(images):
            raise ClassSelectionError(
                f"{len(functions)} targets for {len(images)} images", allowed="one per image"
            )
        if all(function is functions[0] for function in functions):
            yield explainer(images, target=self._target(functions[0]))
            return
        for image, function in zip(images, functions, strict=True):
            yield explainer(image[None], target=self._target(function))

    def _target(self, function: ImageTarget) -> Target:
        return target_of(function, self._flat.shape)

    def __enter__(self) -> ClassActivationMaps:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is left to be released."""

    def _explainers_at(
        self, size: tuple[int, int], flat: bool, eigen_smooth: bool
    ) -> list[Explainer]:
        """One for each target layer; the model's layers are looked at once for each size."""
        key = (*size, flat, eigen_smooth)
        if key not in self._explainers:
            prefix = "network." if flat else ""
            self._explainers[key] = self._made(
                self._flat if flat else self.model,
                size,
                [prefix + name for name in self.layer_names],
                eigen_smooth,
            )
        return self._explainers[key]

    def _made(
        self, network: nn.Module, size: tuple[int, int], layers: list[str], eigen_smooth: bool
    ) -> list[Explainer]:
        classifier = classifier_of(network, size, layer=layers[0])
        made = [
            make_explainer(
                self.method, classifier.with_taps([self._tap(classifier, name)]), **self.options
            )
            for name in layers
        ]
        return [_eigen_smoothed(explainer) for explainer in made] if eigen_smooth else made

    def _tap(self, classifier: Classifier, name: str) -> str | LayerOutput:
        if self.reshape_transform is None:
            return name
        return ReshapedTap.of(classifier, name, self.reshape_transform)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)
class _EigenSmoothed(ActivationGradientMethod):
    """Another method, with the main component of its channels' contributions for their sum."""

    smoothed: ActivationGradientMethod

    @property
    def card(self) -> MethodCard:
        return self.smoothed.card

    def channel_maps(self, features: Tensor, gradients: Tensor) -> Tensor:
        return self.smoothed.channel_maps(features, gradients)

    def evidence(self, features: Tensor, gradients: Tensor) -> Tensor:
        return principal_evidence(self.channel_maps(features, gradients))


def _eigen_smoothed(explainer: Explainer) -> Explainer:
    if isinstance(explainer, ActivationGradientMethod):
        return _EigenSmoothed(explainer.classifier, smoothed=explainer)
    if explainer.method in ("score_cam", "ablation_cam"):
        raise ExplainerError(
            f"eigen_smooth=True for {explainer.card.title}",
            allowed="eigen_smooth=True for methods that weigh channels by gradients",
            remedy="eigen_smooth=False, aug_smooth=True",
        )
    return explainer


class GradCAM(ClassActivationMaps):
    """Grad-CAM, called as in pytorch-grad-cam."""

    method = "grad_cam"


class GradCAMPlusPlus(ClassActivationMaps):
    """Grad-CAM++, called as in pytorch-grad-cam."""

    method = "grad_cam_plus_plus"


class XGradCAM(ClassActivationMaps):
    """XGrad-CAM, called as in pytorch-grad-cam."""

    method = "xgrad_cam"


class HiResCAM(ClassActivationMaps):
    """HiResCAM, called as in pytorch-grad-cam."""

    method = "hires_cam"


class LayerCAM(ClassActivationMaps):
    """LayerCAM, called as in pytorch-grad-cam."""

    method = "layer_cam"


class EigenCAM(ClassActivationMaps):
    """Eigen-CAM, called as in pytorch-grad-cam, with a sign that does not depend on the machine."""

    method = "eigen_cam"


class ScoreCAM(ClassActivationMaps):
    """Score-CAM, called as in pytorch-grad-cam, whose upsampling of masks it has."""

    method = "score_cam"
    options: ClassVar[Mapping[str, Any]] = {"align_corners": True}


class AblationCAM(ClassActivationMaps):
    """Ablation-CAM, called as in pytorch-grad-cam, whose way of ablating it has."""

    method = "ablation_cam"
    options: ClassVar[Mapping[str, Any]] = {"replacement": "far below minimum", "divisor": "logit"}


class GradCAMElementWise(ClassActivationMaps):
    """Element-wise Grad-CAM, called as in pytorch-grad-cam."""

    method = "grad_cam_elementwise"


class EigenGradCAM(ClassActivationMaps):
    """Eigen-Grad-CAM, called as in pytorch-grad-cam, with a sign that has a meaning."""

    method = "eigen_grad_cam"


class FullGrad(ClassActivationMaps):
    """FullGrad, called as in pytorch-grad-cam; it reads every layer, whatever is named."""

    method = "full_grad"

    def __init__(
        self,
        model: nn.Module,
        target_layers: Sequence[nn.Module | str] = (),
        reshape_transform: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        del target_layers
        first = next(name for name, _ in model.named_modules() if name)
        super().__init__(model, [first], reshape_transform)

    def _made(
        self, network: nn.Module, size: tuple[int, int], layers: list[str], eigen_smooth: bool
    ) -> list[Explainer]:
        del layers, eigen_smooth
        return [make_explainer(self.method, classifier_of(network, size))]


def _as_array(maps: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = maps[:, 0].cpu().numpy()
    return array


def _scaled(maps: Tensor) -> Tensor:
    """Subtract the minimum and divide by the maximum of what is left, each map by its own."""
    maps = maps - maps.amin(dim=(-2, -1), keepdim=True)
    return maps / (maps.amax(dim=(-2, -1), keepdim=True) + SMALLEST_RANGE)
