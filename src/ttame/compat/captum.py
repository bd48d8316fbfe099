"""Attribution with the classes and calls of Captum, for networks that classify images.

Differences that help: the network may be in training mode and is left as it was; ``target=None``
is each image's top-1 class, where Captum refuses networks with several outputs; maps have no graph.

Not here, because ttame has no such method: Captum's DeepLift, GradientShap, GuidedBackprop,
Deconvolution, FeatureAblation, KernelShap, Lime, NoiseTunnel, its neuron methods and its other
layer methods. ``riemann_trapezoid`` is not offered either: Captum's weights do not add up to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ttame.classifiers.class_selection import ClassSelection
from ttame.classifiers.classifier import Classifier
from ttame.compat.captum_inputs import (
    Baselines,
    FromPixels,
    Inputs,
    by_baseline,
    classifier_from_pixels,
    explained_targets,
    images_of,
    in_form_of,
    of_one_input,
    one_per_image,
)
from ttame.compat.explained_network import layer_name
from ttame.errors import ExplainerError
from ttame.explainers.contract.request import Request
from ttame.explainers.known_explainers import make_explainer
from ttame.explainers.methods.gradient.averaged_gradients import averaged_gradients
from ttame.explainers.methods.gradient.integrated_gradients import Quadrature, quadrature_rule
from ttame.networks.giving_back import gives_everything_back

_RULES: dict[str, Quadrature] = {
    "gausslegendre": "gauss-legendre",
    "riemann_middle": "midpoint",
    "riemann_right": "right",
}


class _Attribution:
    """What the classes share: the network, as a classifier of images of each size.

    Args:
        forward_func: the network, or a function, from (B, 3, H, W) to (B, C).
    """

    def __init__(self, forward_func: nn.Module | Callable[[Tensor], Tensor]) -> None:
        self.forward_func = forward_func
        self._network = FromPixels(forward_func)
        self._classifiers: dict[tuple[int, ...], Classifier] = {}

    def _classifier(self, images: Tensor) -> Classifier:
        size = tuple(images.shape[1:])
        if size not in self._classifiers:
            self._classifiers[size] = classifier_from_pixels(self._network, images)
        return self._classifiers[size]

    def _gradients(
        self,
        images: Tensor,
        target: ClassSelection,
        weights: Sequence[float] = (1.0,),
        variant: Callable[[Tensor, int], Tensor] = lambda images, _number: images,
    ) -> Tensor:
        """Of each image's target with respect to its pixels, (B, 3, H, W) float32."""
        classifier = self._classifier(images)
        with torch.no_grad():
            targets = explained_targets(classifier.logits(images), target)
        request = Request(lambda _scores: targets)
        gradients = averaged_gradients(
            classifier, images, targets, weights=weights, variant=variant, request=request
        )
        return gradients[:, 0]


class Saliency(_Attribution):
    """The gradient of a class's score with respect to the pixels, called as in Captum.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> network = tiny_classifier().network
        >>> Saliency(network).attribute(torch.zeros(2, 3, 16, 16), target=1).shape
        torch.Size([2, 3, 16, 16])
    """

    @gives_everything_back
    def attribute(
        self,
        inputs: Inputs,
        target: ClassSelection = None,
        abs: bool = True,
        additional_forward_args: None = None,
    ) -> Any:
        """Attribute to pixels.

        Args:
            inputs: see :data:`Inputs`.
            target: one class for all images, or one per image.
            abs: whether signs are dropped.
            additional_forward_args: not offered.

        Returns:
            (B, 3, H, W) float32; a tuple for a tuple.
        """
        images = images_of(inputs, additional_forward_args)
        gradients = self._gradients(images, target)
        return in_form_of(inputs, gradients.abs() if abs else gradients)


class InputXGradient(_Attribution):
    """Pixels times their gradients, called as in Captum.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> network = tiny_classifier().network
        >>> InputXGradient(network).attribute(torch.ones(2, 3, 16, 16), target=[1, 0]).shape
        torch.Size([2, 3, 16, 16])
    """

    @gives_everything_back
    def attribute(
        self,
        inputs: Inputs,
        target: ClassSelection = None,
        additional_forward_args: None = None,
    ) -> Any:
        """Attribute to pixels; see :meth:`Saliency.attribute`."""
        images = images_of(inputs, additional_forward_args)
        return in_form_of(inputs, images.float() * self._gradients(images, target))


class IntegratedGradients(_Attribution):
    """Integrated gradients, called as in Captum.

    Args:
        forward_func: the network.
        multiply_by_inputs: whether the averaged gradients are multiplied by the distance from the
            baseline, as the paper does.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> gradients = IntegratedGradients(tiny_classifier().network)
        >>> maps, delta = gradients.attribute(torch.ones(2, 3, 16, 16), target=1, n_steps=8,
        ...                                   return_convergence_delta=True)
        >>> maps.shape, delta.shape
        (torch.Size([2, 3, 16, 16]), torch.Size([2]))
    """

    def __init__(
        self,
        forward_func: nn.Module | Callable[[Tensor], Tensor],
        multiply_by_inputs: bool = True,
    ) -> None:
        super().__init__(forward_func)
        self.multiply_by_inputs = multiply_by_inputs

    @gives_everything_back
    def attribute(
        self,
        inputs: Inputs,
        baselines: Baselines = None,
        target: ClassSelection = None,
        additional_forward_args: None = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
    ) -> Any:
        """Attribute to pixels.

        Args:
            inputs: see :data:`Inputs`.
            baselines: where the way to the image begins; see :data:`Baselines`.
            target: one class for all images, or one per image.
            additional_forward_args: not offered.
            n_steps: points on the way.
            method: ``"gausslegendre"``, ``"riemann_right"`` or ``"riemann_middle"``.
            internal_batch_size: changes nothing: as many points run at once as memory allows.
            return_convergence_delta: whether to return also how far the attributions of an image
                are from adding up to what the score gained on the way.

        Returns:
            (B, 3, H, W) float32, a tuple for a tuple; with the delta a pair of that and (B,).

        Raises:
            ExplainerError: no steps, or another method.
        """
        images = images_of(inputs, additional_forward_args)
        if method not in _RULES or n_steps < 1:
            raise ExplainerError(
                f"method={method!r} with {n_steps} steps",
                allowed=f"{' or '.join(map(repr, _RULES))}, with at least 1 step",
            )
        points, weights = quadrature_rule(n_steps, _RULES[method])
        maps, deltas = [], []
        for some, base, wanted in by_baseline(images, baselines, target):
            way = _Way(base, points)
            gradients = self._gradients(some, wanted, weights, way.point)
            distance = (some - base).float()
            maps.append(distance * gradients)
            deltas.append(maps[-1].sum(dim=(1, 2, 3)) - self._gain(some, base, wanted))
            if not self.multiply_by_inputs:
                maps[-1] = gradients
        attributions = in_form_of(inputs, torch.cat(maps))
        return (attributions, torch.cat(deltas)) if return_convergence_delta else attributions

    @torch.no_grad()
    def _gain(self, images: Tensor, base: Tensor, target: ClassSelection) -> Tensor:
        """What each image's score is above that of its baseline, (B,)."""
        classifier = self._classifier(images)
        after = classifier.logits(images)
        before = classifier.logits(base.expand_as(images))
        targets = explained_targets(after, target)
        return (targets.of(after.float()) - targets.of(before.float()))[:, 0]


class _Way:
    """The points between a baseline and images."""

    def __init__(self, base: Tensor, points: Sequence[float]) -> None:
        self.base, self.points = base, points

    def point(self, images: Tensor, number: int) -> Tensor:
        return self.base + self.points[number] * (images - self.base)


class Occlusion(_Attribution):
    """Occlusion by windows of all colours, called as in Captum.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> occlusion = Occlusion(tiny_classifier().network)
        >>> occlusion.attribute(torch.ones(1, 3, 16, 16), (3, 8, 8), strides=(3, 4, 4),
        ...                     target=1).shape
        torch.Size([1, 3, 16, 16])
    """

    @gives_everything_back
    def attribute(
        self,
        inputs: Inputs,
        sliding_window_shapes: tuple[int, ...],
        strides: int | tuple[int, ...] | None = None,
        baselines: Baselines = None,
        target: ClassSelection = None,
        additional_forward_args: None = None,
        perturbations_per_eval: int = 1,
        show_progress: bool = False,
    ) -> Any:
        """Attribute to pixels: what the score loses on average over the windows that cover one.

        Args:
            inputs: see :data:`Inputs`.
            sliding_window_shapes: (3, height, width) of a window.
            strides: how far the window moves, (3, down, across) or one number; 1 if not given.
            baselines: what covers; see :data:`Baselines`.
            target: one class for all images, or one per image.
            additional_forward_args: not offered.
            perturbations_per_eval: changes nothing: as many windows run at once as memory allows.
            show_progress: changes nothing.

        Returns:
            (B, 3, H, W) float32, the same for all colours; a tuple for a tuple.

        Raises:
            ExplainerError: a window that does not cover all colours.
        """
        images = images_of(inputs, additional_forward_args)
        window = of_one_input(sliding_window_shapes)
        colours = images.shape[1]
        if len(window) != 3 or window[0] != colours:
            raise ExplainerError(
                f"sliding_window_shapes={sliding_window_shapes}",
                allowed=f"({colours}, height, width): a window covers all colours",
            )
        steps = of_one_input(1 if strides is None else strides)
        stride = steps[-2:] if len(steps) == 3 else steps * 2
        maps = []
        for some, base, wanted in by_baseline(images, baselines, target):
            shifted = classifier_from_pixels(FromPixels(self.forward_func, base), some)
            explainer = make_explainer("occlusion", shifted, window=window[1:], stride=stride)
            maps.append(explainer(some - base, wanted).maps[:, :1])
        return in_form_of(inputs, torch.cat(maps).repeat(1, colours, 1, 1))


class LayerGradCam(_Attribution):
    """Grad-CAM at a layer, called as in Captum; signed unless asked otherwise.

    Args:
        forward_func: the network.
        layer: one of its modules, or its dotted name.
        device_ids: changes nothing.

    Example:
        >>> from ttame.testing import tiny_classifier
        >>> network = tiny_classifier().network
        >>> maps = LayerGradCam(network, network[1]).attribute(torch.ones(2, 3, 16, 16), target=1)
        >>> maps.shape, LayerAttribution.interpolate(maps, (16, 16)).shape
        (torch.Size([2, 1, 8, 8]), torch.Size([2, 1, 16, 16]))
    """

    def __init__(
        self, forward_func: nn.Module, layer: nn.Module | str, device_ids: Any = None
    ) -> None:
        super().__init__(forward_func)
        self.layer = f"network.{layer_name(forward_func, layer)}"

    @gives_everything_back
    def attribute(
        self,
        inputs: Inputs,
        target: ClassSelection = None,
        additional_forward_args: None = None,
        attribute_to_layer_input: bool = False,
        relu_attributions: bool = False,
    ) -> Any:
        """Attribute to the places of the layer.

        Args:
            inputs: see :data:`Inputs`.
            target: one class for all images, or one per image.
            additional_forward_args: not offered.
            attribute_to_layer_input: not offered; name the layer before.
            relu_attributions: whether negative values become 0, as in the paper.

        Returns:
            (B, 1, h, w) float32; a tuple for a tuple.
        """
        images = images_of(inputs, additional_forward_args)
        if attribute_to_layer_input:
            raise ExplainerError(
                "attribute_to_layer_input=True", allowed="False", remedy="the layer before"
            )
        explainer = make_explainer(
            "grad_cam", self._classifier(images), layer=self.layer, rectified=relu_attributions
        )
        return in_form_of(inputs, explainer(images, one_per_image(target)).maps)


class LayerAttribution:
    """Where Captum keeps its resizing.

    Example:
        >>> LayerAttribution.interpolate(torch.ones(2, 1, 4, 4), (8, 8)).shape
        torch.Size([2, 1, 8, 8])
    """

    @staticmethod
    def interpolate(
        layer_attribution: Tensor,
        interpolate_dims: int | tuple[int, ...],
        interpolate_mode: str = "nearest",
    ) -> Tensor:
        """Resize maps, (B, K, h, w), to a size (H, W)."""
        return F.interpolate(layer_attribution, interpolate_dims, mode=interpolate_mode)
