"""Class activation maps with the extractors of torchcam.

The extractor sees what goes into the model, by a hook that is there until the extractor is left,
closed with ``remove_hooks()`` or collected; nothing else of the model is touched. The maps are
those of evaluation mode, computed anew, so that neither gradients nor a graph have to be kept.

Not here: torchcam's GradCAMpp, whose weights are not those of the paper (use
``ttame.make_explainer("grad_cam_plus_plus", ...)``), its ScoreCAM, whose masks are scaled before
they are resized, and SSCAM, ISCAM, SmoothGradCAMpp, FinerCAM, RefineCAM and LeGrad.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ttame.compat.explained_network import classifier_of, layer_name
from ttame.errors import ExplainerError, TapError
from ttame.explainers.known_explainers import make_explainer
from ttame.networks.giving_back import gives_everything_back
from ttame.networks.network_trace import trace_network

SMALLEST_RANGE = 1e-8
"""What torchcam adds to a map's range before it divides by it."""


class _Seen(threading.local):
    """What this thread gave to the model last."""

    images: Tensor | None = None
    explaining: bool = False

    def saw(self, images: Tensor | None) -> None:
        self.images = images

    def look_away(self, explaining: bool) -> None:
        """While ttame runs the model itself, what goes into it does not count."""
        self.explaining = explaining


class Extractor:
    """What the extractors share.

    Args:
        model: maps (N, 3, H, W) to (N, C) scores.
        target_layer: a module of the model, its dotted name, or several; the last layer with a
            feature map if not given.
        input_shape: (3, H, W), on which that layer is looked for.

    Raises:
        TapError: a layer that is not part of the model, or no layer with a feature map.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> model = tiny_classifier().network
        >>> with GradCAM(model, input_shape=(3, 16, 16)) as extractor:
        ...     scores = model(torch.ones(2, 3, 16, 16))
        ...     maps = extractor([1, 4], scores)
        >>> extractor.target_names, maps[0].shape
        (['3'], torch.Size([2, 4, 4]))
    """

    method: ClassVar[str]

    @gives_everything_back
    def __init__(
        self,
        model: nn.Module,
        target_layer: nn.Module | str | Sequence[nn.Module | str] | None = None,
        input_shape: tuple[int, ...] = (3, 224, 224),
    ) -> None:
        self.model = model
        if target_layer is None:
            self.target_names = [last_spatial_layer(model, (input_shape[1], input_shape[2]))]
        else:
            one = isinstance(target_layer, nn.Module | str)
            layers: Any = [target_layer] if one else target_layer
            self.target_names = [layer_name(model, layer) for layer in layers]
        self._seen = _Seen()
        handle = model.register_forward_pre_hook(_remembering(self._seen), with_kwargs=True)
        self._removing = weakref.finalize(self, handle.remove)

    def __enter__(self) -> Extractor:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.remove_hooks()

    def remove_hooks(self) -> None:
        """Take the hook off the model; the extractor sees nothing any more."""
        self._removing()

    @gives_everything_back
    def __call__(
        self, class_idx: int | Sequence[int], scores: Tensor, normalized: bool = True
    ) -> list[Tensor]:
        """Explain the images that this thread gave to the model last.

        Args:
            class_idx: one class for all images, or one per image.
            scores: (N, C) that the model returned for them.
            normalized: whether each map is brought to [0, 1].

        Returns:
            One (N, h, w) float32 per target layer.

        Raises:
            ExplainerError: the model has seen no images, or the scores are not theirs.
        """
        images = self._seen.images
        if images is None:
            raise ExplainerError(
                "no images: the model has not run since the extractor was made",
                remedy="scores = model(images), then extractor(class_idx, scores)",
            )
        size = (int(images.shape[2]), int(images.shape[3]))
        classes = class_idx if isinstance(class_idx, int) else list(class_idx)
        self._seen.look_away(True)
        try:
            maps = []
            for name in self.target_names:
                classifier = classifier_of(self.model, size, layer=name).with_taps([name])
                explanation = make_explainer(self.method, classifier)(images, classes)
                _refuse_other_scores(scores, explanation.logits)
                maps.append(explanation.maps[:, 0])
        finally:
            self._seen.look_away(False)
        return [_in_unit_range(some) for some in maps] if normalized else maps


class GradCAM(Extractor):
    """Grad-CAM, called as in torchcam.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> model = tiny_classifier().network
        >>> with GradCAM(model, input_shape=(3, 16, 16)) as extractor:
        ...     extractor(1, model(torch.ones(1, 3, 16, 16)))[0].shape
        torch.Size([1, 4, 4])
    """

    method = "grad_cam"


class XGradCAM(Extractor):
    """XGrad-CAM, called as in torchcam.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> model = tiny_classifier().network
        >>> with XGradCAM(model, input_shape=(3, 16, 16)) as extractor:
        ...     extractor(1, model(torch.ones(1, 3, 16, 16)))[0].shape
        torch.Size([1, 4, 4])
    """

    method = "xgrad_cam"


class LayerCAM(Extractor):
    """LayerCAM, called as in torchcam.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> model = tiny_classifier().network
        >>> with LayerCAM(model, input_shape=(3, 16, 16)) as extractor:
        ...     extractor(1, model(torch.ones(1, 3, 16, 16)))[0].shape
        torch.Size([1, 4, 4])
    """

    method = "layer_cam"


class CAM(Extractor):
    """CAM, called as in torchcam; the linear layer is found without ``fc_layer``.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> model = tiny_classifier().network
        >>> with CAM(model, input_shape=(3, 16, 16)) as extractor:
        ...     extractor(1, model(torch.ones(1, 3, 16, 16)))[0].shape
        torch.Size([1, 4, 4])
    """

    method = "cam"


def last_spatial_layer(model: nn.Module, size: tuple[int, int]) -> str:
    """The layer that is the last to put out more than one place.

    Raises:
        TapError: there is none.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> last_spatial_layer(tiny_classifier().network, (16, 16))
        '3'
    """
    layers = trace_network(model, size).layers
    spatial = [
        layer
        for layer in layers
        if layer.name and len(layer.shape) == 4 and layer.shape[2] * layer.shape[3] > 1
    ]
    if not spatial:
        raise TapError("no layer with a feature map", remedy="target_layer=...")
    return max(spatial, key=lambda layer: layer.order).name


def _remembering(seen: _Seen) -> Any:
    def hook(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if seen.explaining:
            return
        given = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        seen.saw(given[0].detach() if given else None)

    return hook


def _refuse_other_scores(scores: Tensor, logits: Tensor) -> None:
    same = isinstance(scores, Tensor) and scores.shape == logits.shape
    if not same or not torch.allclose(scores.detach().float(), logits.float(), 1e-3, 1e-3):
        raise ExplainerError(
            "scores that the model does not give in evaluation mode for the images it saw last",
            allowed="scores = model(images) from directly before",
            remedy="model.eval()",
        )


def _in_unit_range(maps: Tensor) -> Tensor:
    lowest = maps.amin(dim=(1, 2), keepdim=True)
    return (maps - lowest) / (maps.amax(dim=(1, 2), keepdim=True) - lowest + SMALLEST_RANGE)
