"""Class activation methods with the calling convention of pytorch-grad-cam."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ttame.classifiers.classifier import Classifier
from ttame.errors import ClassSelectionError, ExplainerError, ImageError, TapError, near_matches
from ttame.explainers.contract.explainer import Explainer
from ttame.explainers.known_explainers import make_explainer
from ttame.features.feature_taps import LayerOutput, TapLayout
from ttame.images.preprocessing import Preprocessing
from ttame.images.saliency_maps import resize_maps
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.layer_outputs import first_tensor, uncompiled

SMALLEST_RANGE = 1e-7
"""What pytorch-grad-cam adds to the maximum before it divides by it."""


@dataclasses.dataclass(frozen=True)
class ClassifierOutputTarget:
    """The class that a map is asked for.

    Attributes:
        category: its index.
    """

    category: int


class ClassActivationMaps:
    """Maps as pytorch-grad-cam returns them: numpy, (B, H, W), float32 in [0, 1].

    The raw map of every target layer is cut off at 0, scaled to [0, 1] and resized bilinearly to
    the image; the mean over the layers is scaled once more. A map with little evidence looks as
    strong as any other then, which is why an :class:`ttame.Explanation` keeps the raw map.

    What differs: the model may be in training mode, return an output with ``.logits``, and have
    gradients of its own, all of which it keeps; nothing has to be released; a Vision Transformer
    needs no ``reshape_transform``; the number of targets must be that of the images.

    Args:
        model: maps (B, 3, H, W) to (B, C) logits.
        target_layers: modules of the model, or their dotted names.
        reshape_transform: turns the output of a target layer into (B, C, h, w). The layout is
            found without it; if it is given, it is used.

    Attributes:
        outputs: the (B, C) logits of the last call.

    Raises:
        TapError: a layer that is not part of the model, or whose output is not a feature map.
        ExplainerError: no target layers.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        ...                       nn.Flatten(), nn.Linear(8, 5))
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
        self._explainers: dict[tuple[int, int], list[Explainer]] = {}

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
            targets: for each image an object with ``.category``, or an int; ``None`` for each
                image's top-1 class.
            aug_smooth: not offered.
            eigen_smooth: not offered.

        Returns:
            (B, H, W) float32 in [0, 1].

        Raises:
            ImageError: not a batch of images.
            ClassSelectionError: targets that name no class, or not one for each image.
            ExplainerError: a kind of smoothing is asked for.
        """
        for name, asked in (("aug_smooth", aug_smooth), ("eigen_smooth", eigen_smooth)):
            if asked:
                raise ExplainerError(f"{name}=True", allowed="False; smoothing is not offered")
        if not isinstance(input_tensor, Tensor) or input_tensor.ndim != 4:
            came = getattr(input_tensor, "shape", type(input_tensor).__name__)
            raise ImageError(f"input_tensor {came}", allowed="a (B, 3, H, W) tensor")
        size = (int(input_tensor.shape[2]), int(input_tensor.shape[3]))
        classes = None if targets is None else [category_of(target) for target in targets]
        layers = []
        for explainer in self._explainers_at(size):
            explanation = explainer(input_tensor, classes)
            self.outputs = explanation.logits
            layers.append(resize_maps(_scaled(explanation.maps.relu()), size))
        maps: NDArray[np.float32] = _scaled(torch.stack(layers).mean(dim=0))[:, 0].cpu().numpy()
        return maps

    def __enter__(self) -> ClassActivationMaps:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Nothing is left to be released."""

    def _explainers_at(self, size: tuple[int, int]) -> list[Explainer]:
        """One for each target layer; the model's layers are looked at once for each size."""
        if size not in self._explainers:
            preprocessing = dataclasses.replace(Preprocessing.imagenet(), input_size=size)
            # No taps of its own are looked for: the rules might find none in such a model.
            first = LayerOutput(self.layer_names[0], "tokens", 1, (1, 1), size)
            classifier = Classifier(self.model, preprocessing=preprocessing, taps=[first])
            self._explainers[size] = [
                make_explainer(
                    self.method, classifier.with_taps([self._tap(classifier, name)]), **self.options
                )
                for name in self.layer_names
            ]
        return self._explainers[size]

    def _tap(self, classifier: Classifier, name: str) -> str | LayerOutput:
        if self.reshape_transform is None:
            return name
        return _ReshapedTap.of(classifier, name, self.reshape_transform)


@dataclasses.dataclass(frozen=True)
class _ReshapedTap(LayerOutput):
    """A tap whose output the user turns into a feature map."""

    reshape_transform: Callable[[Tensor], Tensor] = dataclasses.field(kw_only=True)

    @classmethod
    def of(
        cls, classifier: Classifier, layer: str, reshape_transform: Callable[[Tensor], Tensor]
    ) -> _ReshapedTap:
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
        return self.reshape_transform(self.tensor(output))

    def tensor(self, output: Any) -> Tensor:
        tensor = first_tensor(output)
        if tensor is None:
            raise TapError(f"layer {self.layer} gave no tensor")
        return tensor


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


def category_of(target: Any) -> int:
    """The class that a target names: an int, or its ``category``.

    Raises:
        ClassSelectionError: it names none.
    """
    category = getattr(target, "category", target)
    try:
        return int(category)
    except (TypeError, ValueError) as problem:
        raise ClassSelectionError(
            f"a {type(target).__name__} as target",
            allowed="an int, or an object with a .category such as ClassifierOutputTarget(281)",
        ) from problem


def _scaled(maps: Tensor) -> Tensor:
    """Subtract the minimum and divide by the maximum of what is left, each map by its own."""
    maps = maps - maps.amin(dim=(-2, -1), keepdim=True)
    return maps / (maps.amax(dim=(-2, -1), keepdim=True) + SMALLEST_RANGE)
